"""``lockgate repair``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage


@click.command("repair")
@shared()
@click.option(
    "--accept-file",
    metavar="REVISION",
    default=None,
    help="Let the edited file stand as what was applied (EOL_ONLY, CHECKSUM_MISMATCH).",
)
@click.option(
    "--forget",
    metavar="REVISION",
    default=None,
    help="Take the newest revision out of the history: its effects are not there.",
)
@click.option(
    "--discard-journal",
    metavar="REVISION",
    default=None,
    help="Drop the journal of a half-done file; it starts at its first statement again.",
)
@click.option(
    "--accept-chain",
    is_flag=True,
    help="Make the hash chain anew over the rows as they stand (HISTORY_TAMPERED).",
)
@click.option(
    "--accept-schema",
    is_flag=True,
    help="Let the live schema stand as what the history left (SCHEMA_DRIFT, a new major version).",
)
@click.option("--reason", required=True, help="Why; recorded.")
@click.option("--actor", required=True, help="Who decided; recorded.")
def command(
    accept_file: str | None,
    forget: str | None,
    discard_journal: str | None,
    accept_chain: bool,
    accept_schema: bool,
    reason: str,
    actor: str,
    **shared_options: Any,
) -> None:
    """Mend the history. Every change is recorded with reason and actor, before and after; no SQL of a migration runs."""
    chosen = [
        name
        for name, value in (
            ("--accept-file", accept_file),
            ("--forget", forget),
            ("--discard-journal", discard_journal),
            ("--accept-chain", accept_chain),
            ("--accept-schema", accept_schema),
        )
        if value
    ]
    if len(chosen) != 1:
        raise usage(
            f"repair does one thing at a time; given: {', '.join(chosen) or 'nothing'}",
            "lockgate repair --help",
        )
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
    if accept_file:
        done = desk.accept_file(accept_file)
    elif forget:
        done = desk.forget(forget)
    elif discard_journal:
        done = desk.discard_journal(discard_journal)
    elif accept_schema:
        done = desk.accept_schema()
    else:
        done = desk.accept_chain()
    for note in desk.notes:
        session.output.note(f"note: {note}")
    session.output.json({"command": "repair", "target": str(target), "repair": chosen[0], "revisions": done})
    session.output.say(f"repaired ({chosen[0]}): {', '.join(done[-5:])}; recorded in lockgate.history_event")
