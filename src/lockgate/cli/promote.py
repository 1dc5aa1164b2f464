"""``lockgate promote``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared


@click.command("promote")
@shared(target=False)
@click.argument("name")
def command(name: str, **shared_options: Any) -> None:
    """Date a waiting contract file and move it to the migrations.

    NAME is that of the file in the contract directory, without .sql. Do it when no running release, and none to roll
    back to, needs what the file takes away.
    """
    from lockgate.release.promote import promote

    session = Session(**shared_options)
    done = promote(session.settings, name)
    session.output.json(
        {
            "command": "promote", "file": str(done.path), "revision": done.revision, "waited": str(done.waited),
            "notes": list(done.notes),
        }
    )  # fmt: skip
    for note in done.notes:
        session.output.note(f"note: {note}")
    session.output.say(str(done.path))
    session.output.note("next: lockgate check, then commit it")
