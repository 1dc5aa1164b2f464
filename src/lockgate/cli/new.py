"""``lockgate new``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared


@click.command("new")
@shared(target=False)
@click.argument("name")
def command(name: str, **shared_options: Any) -> None:
    """Create the next migration file and put it into the ledger.

    The revision is the time in milliseconds, and always above the newest file's.
    """
    from lockgate.migrations.scaffold import create

    session = Session(**shared_options)
    path = create(session.settings.path(session.settings.migrations.directory), name)
    session.output.json({"command": "new", "file": str(path), "revision": path.name[:13]})
    session.output.say(str(path))
    session.output.note("next: write the SQL, then lockgate check --write-ledger")
