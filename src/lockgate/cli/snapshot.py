"""``lockgate snapshot``."""

from pathlib import Path
from typing import Any

import click

from lockgate.cli.options import Session, shared, usage
from lockgate.cli.output import Format

DEFAULT = "lockgate.snapshot.json"


@click.command("snapshot")
@shared()
@click.option(
    "--output",
    "file",
    metavar="FILE",
    is_flag=False,
    flag_value=DEFAULT,
    default=None,
    help=f"Write it to this file ({DEFAULT} when no name follows); - and the default are stdout. JSON goes to stdout too.",
)
def command(file: str | None, **shared_options: Any) -> None:
    """Write the schema of a live database, with row estimates and sizes and no data, for `check --snapshot`.

    CI then judges files against what is really there and needs no credentials. A role that may only read is enough.
    """
    from datetime import UTC, datetime

    from lockgate.migrations.limits import Limits
    from lockgate.policy.model.snapshot import write
    from lockgate.record.artifact import write_atomically
    from lockgate.release.snapshot import take

    session = Session(**shared_options)
    output = session.output
    target = session.target()
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    limits = Limits.of(session.settings.migrations)
    taken = take(target, session.settings.roles.migrator, limits, at=at)
    text = write(taken)
    if file is not None and file != "-":
        try:
            write_atomically(Path(file), text)
        except OSError as error:
            raise usage(f"--output {file}: {error.strerror}", next="lockgate snapshot --help") from None
        output.say(f"wrote  {file}: {len(taken.schema.relations)} relations of {target}")
        output.say(f"next   lockgate check --snapshot {file}")
        if output.format is Format.TEXT:
            return
    output.document(text.decode())
