"""``lockgate release``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage
from lockgate.cli.output import Output, Progress


@click.group("release", invoke_without_command=True)
@shared()
@click.option("--sha", metavar="SHA", default=None, help="The git sha that is released.")
@click.option(
    "--lock-wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How long to wait for another runner.",
)
@click.pass_context
def command(ctx: click.Context, /, sha: str | None, lock_wait: float, **shared_options: Any) -> None:
    """Release SHA: check, plan, up, verify, and migration.json with its timeline, on failure too."""
    if ctx.invoked_subcommand is not None:
        return
    if not sha:
        raise usage("release needs --sha", "lockgate release --sha $(git rev-parse HEAD)")
    from lockgate.migrations.limits import Limits
    from lockgate.postgres.alarm import Alarm
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.pipeline import Release

    session = Session(**shared_options)
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
        ).run(alarm)
    show(session.output, released)


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
        }
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

        path = artifact.write(
            root, sha, "migration.json", make(session.target(), sha, Limits.of(session.settings.migrations))
        )
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
