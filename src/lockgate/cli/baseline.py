"""``lockgate baseline``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared
from lockgate.record.words import counted


@click.command("baseline")
@shared()
@click.option(
    "--until", metavar="REVISION", required=True, help="Adopt every pending file up to this revision."
)
@click.option("--reason", required=True, help="Why; recorded.")
@click.option("--actor", required=True, help="Who decided; recorded.")
def command(until: str, reason: str, actor: str, **shared_options: Any) -> None:
    """Adopt an existing database: record files as applied without running them.

    Rehearse first that the files give the schema which is there: nothing here compares them.
    """
    from lockgate.migrations.amend import Amendment
    from lockgate.migrations.limits import Limits
    from lockgate.release.amend import Desk
    from lockgate.release.project import read_files

    session = Session(**shared_options)
    target = session.target()
    desk = Desk(
        target,
        read_files(session.settings),
        session.settings,
        Limits.of(session.settings.migrations),
        Amendment(actor, reason),
    )
    done = desk.baseline(until)
    for note in desk.notes:
        session.output.note(f"note: {note}")
    session.output.json({"command": "baseline", "target": str(target), "adopted": done})
    session.output.say(f"adopted {counted(len(done), 'file')}, now at {done[-1]}; nothing was run")
