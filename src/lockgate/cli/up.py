"""``lockgate up``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared
from lockgate.cli.output import Progress


@click.command("up")
@shared()
@click.option(
    "--lock-wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How long to wait for another runner.",
)
@click.option("--all-regions", is_flag=True, help="Every region of --env: the canary first, then the rest.")
@click.option(
    "--tenants",
    metavar="FILE",
    default=None,
    help="Every database that this file names, one a line, on the target's server.",
)
@click.option(
    "--tenants-query",
    metavar="SQL",
    default=None,
    help="Every database that this query names, run in the target.",
)
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="How many databases at once, behind the canary.",
)
def command(
    lock_wait: float,
    all_regions: bool,
    tenants: str | None,
    tenants_query: str | None,
    concurrency: int,
    **shared_options: Any,
) -> None:
    """Apply pending migrations, each exactly once.

    When another runner holds the lock it waits, then does what is left; 75 when it gives up. 4 when it refuses before
    any change. Over many databases it stops at the first failure, and the same call goes on where it stopped.
    """
    import os

    from lockgate.migrations.limits import Limits
    from lockgate.migrations.progress import Log
    from lockgate.postgres.alarm import Alarm
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.lifeline import follow
    from lockgate.release.operator import new_identity
    from lockgate.release.project import read_files
    from lockgate.release.up import Run

    session = Session(**shared_options)
    refuse_application_role()
    if all_regions or tenants is not None or tenants_query is not None:
        from lockgate.cli.everywhere import up_everywhere

        up_everywhere(
            session,
            environment=shared_options["env"],
            regions=all_regions,
            tenants=tenants,
            query=tenants_query,
            concurrency=concurrency,
            lock_wait=lock_wait,
        )
        return
    files = read_files(session.settings)
    target = session.target()
    with Alarm() as alarm, Progress(session.output) as progress:
        follow(alarm, os.environ.get("LOCKGATE_LIFELINE"))
        run = Run(
            target,
            files,
            session.settings,
            Limits.of(session.settings.migrations),
            new_identity("up", os.environ.get("LOCKGATE_RELEASE_SHA") or None),
            Log(progress.event),
            alarm,
            lock_wait=lock_wait,
        )
        report = run.up()
    output = session.output
    output.json({"command": "up", **_fields(report)})
    if report.applied:
        output.say(
            f"{output.mark('done', 'good')}       {len(report.applied)} applied in {report.elapsed_seconds:.2f} s, now at {report.after}"
        )
    for note in report.notes:
        output.note(f"note: {note}")


def _fields(report: object) -> dict[str, object]:
    import msgspec

    return dict(msgspec.to_builtins(report))
