"""``lockgate release``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage
from lockgate.cli.output import Output, Progress
from lockgate.record.words import agree, counted


def _going(function: Any) -> Any:
    """The option of every call that runs steps."""
    return click.option(
        "--lock-wait",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        help="How long to wait for another runner.",
    )(function)


@click.group("release", invoke_without_command=True)
@shared()
@click.option("--sha", metavar="SHA", default=None, help="The git sha that is released.")
@_going
@click.option("--image", metavar="NAME@DIGEST", default="", help="The candidate's image, pinned by @sha256:.")
@click.option(
    "--rollback-image", metavar="NAME@DIGEST", default="", help="The image to go back to, pinned by @sha256:."
)
@click.option(
    "--contract",
    metavar="FILE",
    default="",
    help="The candidate's lockgate.contract.json: it has to fit the plan.",
)
@click.option(
    "--rollback-contract",
    metavar="FILE",
    default="",
    help="The same of the rollback image: it has to fit the plan too.",
)
@click.option("--no-migrations", is_flag=True, help="This release needs none; refused when some are pending.")
@click.option(
    "--break-glass",
    metavar="REASON",
    default="",
    help="Go without the full number of approvals, or through a freeze. Told in every artifact.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    sha: str | None,
    lock_wait: float,
    image: str,
    rollback_image: str,
    contract: str,
    rollback_contract: str,
    no_migrations: bool,
    break_glass: str,
    **shared_options: Any,
) -> None:
    """Release SHA: every step from the candidate to the resumed workers, journalled, and its artifacts, on failure too.

    A step whose part is not configured is skipped, and the record says so.
    """
    if ctx.invoked_subcommand is not None:
        return
    if not sha:
        raise usage("release needs --sha", "lockgate release --sha $(git rev-parse HEAD)")
    from lockgate.release.candidate import Options

    options = Options(
        image,
        rollback_image,
        contract,
        rollback_contract,
        migrations=not no_migrations,
        break_glass=break_glass.strip(),
    )
    _run(Session(**shared_options), sha, options, lock_wait)


def _run(session: Session, sha: str, options: Any, lock_wait: float, prior: Any = None) -> None:
    from lockgate.migrations.limits import Limits
    from lockgate.postgres.alarm import Alarm
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.pipeline import Release

    refuse_application_role()
    target = session.target()
    with Alarm() as alarm, Progress(session.output) as progress:
        released = Release(
            sha,
            target,
            session.settings,
            Limits.of(session.settings.migrations),
            progress.event,
            lock_wait=lock_wait,
            options=options,
            prior=prior,
        ).run(alarm)
    show(session.output, released)


@command.command("resume")
@shared()
@click.argument("sha", required=False, default="")
@_going
def resume_command(sha: str, lock_wait: float, **shared_options: Any) -> None:
    """Go on with the newest release that did not end well (or that of SHA): what is done stands, the rest is done."""
    _go_on(Session(**shared_options), sha, lock_wait, ())


@command.command("continue")
@shared()
@click.argument("sha", required=False, default="")
@_going
def continue_command(sha: str, lock_wait: float, **shared_options: Any) -> None:
    """Go on after another deployer has rolled the release out (release.hand_off)."""
    _go_on(Session(**shared_options), sha, lock_wait, ("handed-off",))


def _go_on(session: Session, sha: str, lock_wait: float, states: tuple[str, ...]) -> None:
    import msgspec

    from lockgate.errors import ConfigError
    from lockgate.migrations.limits import Limits
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.candidate import Options
    from lockgate.release.unfinished import unfinished

    refuse_application_role()
    row = unfinished(session.target(), Limits.of(session.settings.migrations), sha)
    if states and row.state not in states:
        raise ConfigError(
            f"release {row.release_key} of {row.sha[:12]} is {row.state}, not handed off",
            "NO_RELEASE",
            next="lockgate release resume",
        )
    _run(session, row.sha, msgspec.convert(dict(row.options), Options), lock_wait, row)


@command.command("replay")
@shared()
@click.argument("sha")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it is recorded.")
@click.option(
    "--image", metavar="NAME@DIGEST", default="", help="The image of that release, pinned by @sha256:."
)
@click.option(
    "--contract",
    metavar="FILE",
    default="",
    help="Its lockgate.contract.json: it has to fit the live schema.",
)
@_going
def replay_command(
    sha: str, reason: str, image: str, contract: str, lock_wait: float, **shared_options: Any
) -> None:
    """Release a sha that is known to be good once more, over a newer one. The schema stays as it is."""
    from lockgate.release.candidate import Options

    if not reason.strip():
        raise usage("--reason is empty", "lockgate release replay SHA --reason TEXT")
    options = Options(image, contract=contract, replay_reason=reason.strip())
    _run(Session(**shared_options), sha, options, lock_wait)


def show(output: Output, released: Any) -> None:
    """Print what a release did and where its artifact is."""
    import msgspec

    report = released.report
    output.json(
        {
            "command": "release",
            **msgspec.to_builtins(report),
            "checks": [msgspec.to_builtins(c) for c in released.checks],
            "artifact": str(released.path),
            "releaseKey": released.release_key,
            "handedOff": released.handed_off,
            "steps": [{k: v for k, v in s.items() if k != "evidence"} for s in released.steps],
        }
    )
    output.say()
    if released.steps:
        marks = {"done": "good", "skipped": "dim"}
        output.table(
            ("step", "state", "took", "evidence"),
            [
                (
                    s["name"],
                    output.mark(s["state"], marks.get(s["state"], "bad")),
                    f"{s['seconds']:.1f} s",
                    s["message"][:160],
                )
                for s in released.steps
            ],
        )
        output.say()
    if report.applied:
        output.table(
            ("revision", "name", "state", "took", "note"),
            [
                (f.revision, f.name, output.mark(f.state, "good"), f"{f.duration_ms} ms", f.note)
                for f in report.applied
            ],
        )
    else:
        output.say("nothing to apply: every migration is in the history already")
    output.say()
    output.table(
        ("check", "answer", "evidence"),
        [
            (c.id, output.mark(str(c.answer), "good" if c.passed else "bad"), c.details)
            for c in released.checks
        ],
    )
    output.say()
    if released.handed_off:
        output.say(f"{output.mark('handed off', 'warn')}: roll it out, then lockgate release continue")
    output.say(
        f"{output.mark('released', 'good')}: {len(report.applied)} applied in {report.elapsed_seconds:.2f} s, {report.before or 'an empty history'} -> {report.after or 'the same'}"
    )
    output.say(f"artifact: {released.path}")


@command.command("show")
@shared()
@click.argument("sha")
@click.option("--rebuild", is_flag=True, help="Make migration.json again from the database.")
def show_command(sha: str, rebuild: bool, **shared_options: Any) -> None:
    """Print the artifact of a release; with --rebuild write it again from the database first."""
    from lockgate.release import artifact

    session = Session(**shared_options)
    root = session.settings.path(session.settings.artifacts.directory)
    if rebuild:
        from lockgate.migrations.limits import Limits
        from lockgate.release.rebuild import rebuild as make
        from lockgate.release.record import pasteable

        target = session.target()
        made = pasteable(make(target, sha, Limits.of(session.settings.migrations)), target)
        path = artifact.write(root, sha, "migration.json", made)
    else:
        path = artifact.folder(root, sha) / "migration.json"
    if not path.is_file():
        raise usage(f"{path} is not there", f"lockgate release show {sha} --rebuild")
    import json

    content = json.loads(path.read_text("utf-8"))
    session.output.json({"command": "release show", "artifact": str(path), "content": content})
    session.output.say(f"{path}\n  {content['status']} {content['reasonCode']} {content['reason']}".rstrip())
    for event in content["statusTimeline"]:
        session.output.say(f"  {event['at']}  {event['status']:<12} {event['detail']}")


@command.command("recover")
@shared()
@click.argument("sha", required=False, default="")
@click.option("--choose", metavar="WAY", default="", help="Record that this way is taken.")
@click.option(
    "--actor", metavar="WHO", default=None, help="Who chooses (default: LOCKGATE_ACTOR, else the login)."
)
def recover_command(sha: str, choose: str, actor: str | None, **shared_options: Any) -> None:
    """The ways back from the newest release (or that of SHA): which can be taken, what each costs, what to type."""
    import msgspec

    from lockgate.migrations.limits import Limits
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.operator import operator_name
    from lockgate.release.recover import ways_back
    from lockgate.release.situation import choose as record
    from lockgate.release.situation import read_situation

    session = Session(**shared_options)
    if choose:
        refuse_application_role()
    target, limits = session.target(), Limits.of(session.settings.migrations)
    situation = read_situation(target, session.settings, limits, sha)
    recovery = ways_back(situation)
    if choose:
        record(target, limits, recovery, choose, actor or operator_name())
    session.output.json({"command": "release recover", **msgspec.to_builtins(recovery), "chosen": choose})
    say, mark = session.output.say, session.output.mark
    state = f"died, last sign of life {situation.died}" if situation.died else recovery.state
    say(f"release {recovery.release_key} of {recovery.sha[:12]}: {state} {recovery.reason_code}".rstrip())
    say(f"writes  {recovery.writes_lost}")
    say(f"workers {recovery.workers}")
    if recovery.migrating:
        say(mark(f"a migration runs still: {recovery.migrating}", "warn"))
    told = {
        "none": f"it {recovery.state if recovery.state == 'succeeded' else 'is superseded'}: nothing has to be recovered; the ways back on purpose:",
        "wait": "a release, or its migration, is under way: wait for it.",
        "call": "no way can be taken from here: call the owners.",
    }
    if recovery.recommended in told:
        say(mark(told[recovery.recommended], "warn"))
    for way in recovery.ways:
        say()
        first = way.id == recovery.recommended
        word = "take this one" if first else ("possible" if way.possible else "not possible")
        say(f"{mark(way.id, 'good' if way.possible else 'dim')} ({word}): {way.title}")
        say(f"  {way.why}")
        if way.possible:
            for line in way.commands:
                say(f"    {line}")
    if choose:
        say()
        say(f"recorded: {choose}")


@command.command("workers")
@shared()
@click.argument("act", type=click.Choice(["status", "pause", "resume"]), default="status")
@click.option("--reason", metavar="TEXT", default="", help="Why; recorded, needed for pause and resume.")
@click.option("--actor", metavar="WHO", default=None, help="Who (default: LOCKGATE_ACTOR, else the login).")
def workers_command(act: str, reason: str, actor: str | None, **shared_options: Any) -> None:
    """The workers by hand, on the way back from a release: how many run, pause them, or let them go."""
    import msgspec

    from lockgate.migrations.limits import Limits
    from lockgate.postgres.alarm import Alarm
    from lockgate.release import workers_hand
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    target, limits = session.target(), Limits.of(session.settings.migrations)
    if act != "status":
        refuse_application_role()
        if not reason.strip():
            raise usage(f"workers {act} needs --reason", f"lockgate release workers {act} --reason TEXT")
    who = (actor or operator_name()).strip()
    with Alarm() as alarm:
        if act == "status":
            seen = workers_hand.look_at(target, session.settings, limits, alarm)
        else:
            do = workers_hand.pause if act == "pause" else workers_hand.resume
            seen = do(target, session.settings, limits, alarm, who, reason.strip())
    output, row = session.output, seen.pause
    output.json({"command": "release workers", "act": act, **msgspec.to_builtins(seen)})
    told = (
        "nobody can tell how many workers run"
        if seen.running is None
        else f"{counted(seen.running, 'worker')} {agree(seen.running, 'runs', 'run')}"
    )
    if row is None:
        output.say(f"{told}; they were never paused")
    elif row.state == "resumed":
        output.say(f"{told}; paused at {row.paused_at}, resumed at {row.resumed_at}")
    else:
        output.say(f"{told}; {row.state} since {row.paused_at} by {row.owner}: {row.reason}")
        output.say(f"  {'OVERDUE since' if row.overdue else 'until'} {row.expires_at}")


@command.command("bundle")
@shared()
@click.argument("sha")
@click.option("--out", metavar="FILE", default=None, help="The archive (default: release-SHA.tar.gz).")
@click.option(
    "--key", metavar="KEYFILE", default=None, help="Sign the statement with this Ed25519 key (PEM)."
)
@click.option("--offline", is_flag=True, help="Leave out what only the database knows.")
def bundle_command(sha: str, out: str | None, key: str | None, offline: bool, **shared_options: Any) -> None:
    """Everything that an auditor asks for in one archive: artifacts, files, tables, their sums, and a statement."""
    from pathlib import Path

    from lockgate.release.bundle import make_bundle

    session = Session(**shared_options)
    s = session.settings
    path = Path(out) if out else Path(f"release-{sha[:12]}.tar.gz")
    try:
        sums = make_bundle(
            s.path(s.artifacts.directory),
            sha,
            s,
            path,
            target=None if offline else session.target(),
            key=Path(key) if key else None,
        )
    except OSError as error:
        raise usage(f"{path}: {error.strerror or error}", "Give another place with --out.") from None
    session.output.json(
        {"command": "release bundle", "archive": str(path), "signed": key is not None, "files": sums}
    )
    session.output.say(f"made  {path}: {counted(len(sums), 'file')}{', signed' if key else ''}")
