"""``lockgate down``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared


@click.command("down")
@shared()
@click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How many files, newest first.",
)
@click.option("--reason", default="lockgate down", help="Why; recorded.")
def command(steps: int, reason: str, **shared_options: Any) -> None:
    """Undo the newest migration with its down section. Refused in protected environments: production goes forward."""
    from lockgate.migrations.amend import Amendment
    from lockgate.migrations.limits import Limits
    from lockgate.release.amend import Desk
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.operator import operator_name
    from lockgate.release.project import read_files

    session = Session(**shared_options)
    refuse_application_role()
    target = session.target()
    desk = Desk(
        target,
        read_files(session.settings),
        session.settings,
        Limits.of(session.settings.migrations),
        Amendment(operator_name(), reason),
    )
    done = desk.down(steps)
    for note in desk.notes:
        session.output.note(f"note: {note}")
    session.output.json({"command": "down", "target": str(target), "undone": done})
    session.output.say(f"undone {', '.join(done)}")
