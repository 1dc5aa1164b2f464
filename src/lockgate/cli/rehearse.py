"""``lockgate rehearse``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared, usage
from lockgate.cli.output import Progress
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.moves.declaration import Declaration
    from lockgate.policy.model.snapshot import Snapshot
    from lockgate.postgres.scratch import Ground
    from lockgate.rehearsal.pgbench import Pgbench
    from lockgate.rehearsal.queries import QuerySet
    from lockgate.rehearsal.report import Rehearsal


@click.command("rehearse")
@shared(target=False)
@click.option(
    "--queries",
    metavar="NAME=FILE",
    multiple=True,
    help="The queries of a release that stays alive (.sql, or an export of pg_stat_statements as .csv or .json): do they survive? Repeat it.",
)
@click.option(
    "--from",
    "base",
    metavar="REV",
    default=None,
    help="The revision at which production stands: files up to it are replayed, the others rehearsed. Without it all are rehearsed.",
)
@click.option(
    "--from-status",
    metavar="FILE",
    default=None,
    help="The same, from what `lockgate status --format json` printed.",
)
@click.option(
    "--server-version",
    type=click.Choice(["16", "18"]),
    default=None,
    help="Major version of the scratch server (default: embedded.version).",
)
@click.option(
    "--bindir", metavar="DIR", default=None, help="Rehearse on the PostgreSQL whose programs are here."
)
@click.option(
    "--scratch-url",
    metavar="URL",
    default=None,
    help="Rehearse on this server, in databases that are made for it; its own database must be empty.",
)
@click.option(
    "--rows",
    type=click.IntRange(0, 10_000_000),
    default=20,
    show_default=True,
    help="How many rows each table gets.",
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Seed of the rows.")
@click.option(
    "--snapshot",
    metavar="FILE",
    default=None,
    help="What `lockgate snapshot` wrote of production: the cost of the change is extrapolated to its sizes. Its revision is the base where none is given.",
)
@click.option(
    "--scale",
    type=click.IntRange(1000, 100_000_000),
    default=25_000,
    show_default=True,
    help="With --snapshot: how many rows the largest table is measured with.",
)
@click.option(
    "--load",
    metavar="[queries|pgbench[:FILE,...]]",
    is_flag=False,
    flag_value="queries",
    default=None,
    help="Apply the files once more while clients read and write, and tell how long they waited. `pgbench` sends the same queries as fast as it can, or scripts of yours.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 40),
    default=4,
    show_default=True,
    help="With --load: how many clients, half of them writing.",
)
@click.option(
    "--sha", metavar="SHA", default=None, help="Leave rehearsal.json with the artifacts of this release too."
)
def command(
    queries: tuple[str, ...],
    base: str | None,
    from_status: str | None,
    server_version: str | None,
    bindir: str | None,
    scratch_url: str | None,
    rows: int,
    seed: int,
    snapshot: str | None,
    scale: int,
    load: str | None,
    clients: int,
    sha: str | None,
    **shared_options: Any,
) -> None:
    """Prove the pending migrations on a throw-away PostgreSQL. The target is never touched.

    Every file runs through the engine of `up`, on tables with rows; each statement's locks, rewrites and scans are measured;
    the queries of the releases that stay alive run before and after. Exits 1 when something failed, 5 when it cannot be told.
    """
    from datetime import UTC, datetime

    from msgspec import structs

    from lockgate.migrations.limits import Limits
    from lockgate.policy.facts import Server
    from lockgate.postgres.alarm import Alarm
    from lockgate.rehearsal.artifact import release_folder, write
    from lockgate.rehearsal.base import from_revision
    from lockgate.rehearsal.base import from_status as read_status
    from lockgate.rehearsal.proof import less_than_before
    from lockgate.rehearsal.rehearse import Rehearsing, Wish
    from lockgate.rehearsal.replay import Stage
    from lockgate.rehearsal.scaling import Scaling
    from lockgate.rehearsal.verdict import verdict_of
    from lockgate.release.operator import new_identity
    from lockgate.release.project import prepare_files, read_files, refuse_problems
    from lockgate.release.walk import options_of

    session = Session(**shared_options)
    settings = session.settings
    if base is not None and from_status is not None:
        raise usage("--from and --from-status name two bases", next="Give one of them.")
    if scratch_url is not None and (bindir is not None or server_version is not None):
        raise usage("--scratch-url goes with neither --bindir nor --server-version", next="Give one of them.")
    if bindir is not None and server_version is not None:
        raise usage("--bindir decides the version", next="Leave --server-version out.")
    if sha is not None:
        release_folder(settings, sha)  # a name that is none is refused before anything is started
    releases = _read(queries)
    bench = _pgbench(load)
    taken = None if snapshot is None else _snapshot(snapshot)
    if taken is not None and base is None and from_status is None:
        base = taken.schema_rev
    files = read_files(settings)
    refuse_problems(files.problems)
    prepared, problems = prepare_files(files.migrations, settings)
    refuse_problems(problems)
    plan = (
        read_status(files.migrations, Path(from_status))
        if from_status is not None
        else from_revision(files.migrations, base or "")
    )
    with (
        Alarm() as alarm,
        Progress(session.output) as progress,
        _ground(session, scratch_url, server_version, bindir) as ground,
    ):
        stage = Stage(
            files.migrations,
            prepared,
            Limits.of(settings.migrations),
            alarm,
            new_identity("rehearse"),
            _moves(session, {after for item in prepared.values() for after in item.directives.after}),
        )
        server = Server(version=ground.version // 10000, role="" if taken is None else taken.environment.role)
        options = options_of(settings.policy, server, *([] if taken is None else [taken.environment]))
        wish = Wish(
            stage, plan, options, settings.roles, datetime.now(UTC).date(), releases, rows, seed, settings.policy.judge_after,
            None if taken is None else Scaling(taken, scale, seed), clients if load else 0, bench,
            "scratch-url" if scratch_url else "bindir" if bindir else "embedded",
        )  # fmt: skip
        rehearsal = Rehearsing(ground, wish, progress.event).run()
    less = less_than_before(settings, rehearsal)
    if less is not None:
        checks = (*rehearsal.checks, less)
        verdict, code, reason = verdict_of(checks)
        rehearsal = structs.replace(
            rehearsal, checks=checks, verdict=str(verdict), reason_code=code, reason=reason
        )
    paths = [] if less is not None else write(settings, rehearsal, sha)
    _print(session, rehearsal, paths)
    leave({"pass": Exit.OK, "fail": Exit.FOUND, "hold": Exit.HOLD}[rehearsal.verdict])


def _read(given: tuple[str, ...]) -> "tuple[QuerySet, ...]":
    from lockgate.rehearsal.queries import read_queries

    found: dict[str, QuerySet] = {}
    for item in given:
        name, equals, file = item.partition("=")
        if not equals or not name.strip() or not file:
            raise usage(
                f"--queries {item[:80]}: write NAME=FILE", next="lockgate rehearse --queries old=old.sql"
            )
        if name in found:
            raise usage(f"--queries {name}: given twice", next="Give each release a name of its own.")
        found[name] = read_queries(name, Path(file))
    return tuple(found.values())


def _pgbench(load: str | None) -> "Pgbench | None":
    """The pgbench that --load asks for; None for lockgate's own clients."""
    from lockgate.postgres.programs import program
    from lockgate.rehearsal.pgbench import Pgbench, script_of

    if load in (None, "queries"):
        return None
    word, colon, files = load.partition(":")
    if word != "pgbench" or (colon and not files):
        raise usage(
            f"--load {load[:80]}: write queries, pgbench or pgbench:FILE",
            next="lockgate rehearse --load pgbench",
        )
    scripts = []
    for name in files.split(",") if files else ():
        try:
            scripts.append(script_of(Path(name).read_text("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise usage(
                f"--load {word}:{name[:80]}: {why}", next="lockgate rehearse --load pgbench"
            ) from None
    return Pgbench(str(program("pgbench", 0)), tuple(scripts))


def _snapshot(name: str) -> "Snapshot":
    from lockgate.policy.model.snapshot import read

    try:
        return read(Path(name).read_bytes())
    except OSError as error:
        raise usage(f"--snapshot {name}: {error.strerror}", next="lockgate rehearse --help") from None


def _ground(session: Session, url: str | None, version: str | None, bindir: str | None) -> "Ground":
    from lockgate.rehearsal.ground import foreign_ground, own_ground

    if url is not None:
        return foreign_ground(url, session.settings)
    return own_ground(session.settings, version=int(version) if version else None, bindir=bindir)


def _moves(session: Session, awaited: set[str]) -> "dict[str, Declaration]":
    """The moves in place that files wait for. Most projects have none, and what moves are made of takes long to load."""
    if not awaited:
        return {}
    from lockgate.moves.again import moves_in_place

    return moves_in_place(session.settings, awaited)


def _print(session: Session, rehearsal: "Rehearsal", paths: list[Path]) -> None:
    from lockgate.rehearsal.report import document

    output = session.output
    if output.format.value != "text":
        output.json({k: v for k, v in document(rehearsal).items() if k != "schemaVersion"})
        return
    from lockgate.cli.rehearsal_text import show

    show(output, rehearsal, [_from_here(path) for path in paths])


def _from_here(path: Path) -> str:
    """The path as it is typed from where the command was called."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
