"""``lockgate queries capture``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, shared, usage
from lockgate.cli.output import Format
from lockgate.record.words import agree, counted

if TYPE_CHECKING:
    from lockgate.postgres.statements import Captured


@click.group("queries")
def command() -> None:
    """The queries that a release runs, for `rehearse --queries`."""


@command.command("capture")
@shared()
@click.option(
    "--output", "file", metavar="FILE", default=None, help="Write the .sql file here instead of stdout."
)
@click.option(
    "--role", metavar="NAME", default="", help="Only what this role asked, for example the application's."
)
@click.option(
    "--min-calls",
    type=click.IntRange(1, 2**62),
    default=1,
    show_default=True,
    help="Only what was asked this often.",
)
def capture(file: str | None, role: str, min_calls: int, **shared_options: Any) -> None:
    """Write the queries of a live database, as pg_stat_statements counted them, as a .sql file with $1 parameters."""
    from lockgate.migrations.limits import Limits
    from lockgate.postgres.statements import read_captured
    from lockgate.record.artifact import write_atomically
    from lockgate.record.redact import redact
    from lockgate.release.look import connect_patiently

    session = Session(**shared_options)
    output = session.output
    target = session.target()
    wire = connect_patiently(target, "capture", Limits.of(session.settings.migrations), None)
    try:
        found = read_captured(wire, role=role, least=min_calls)
    finally:
        wire.close()
    kept, skipped = _prepared(found)
    text = redact("".join(f"-- {c.calls} calls, {c.mean_ms:g} ms\n{c.text};\n\n" for c in kept))
    if file is not None:
        try:
            write_atomically(Path(file), text.encode())
        except OSError as error:
            raise usage(
                f"--output {file}: {error.strerror}", next="lockgate queries capture --help"
            ) from None
    output.json(
        {
            "command": "queries",
            "target": str(target),
            "file": file or "",
            "skipped": skipped,
            "queries": [{"query": c.text, "calls": c.calls, "meanMs": c.mean_ms} for c in kept],
        }
    )
    if output.format is Format.TEXT and file is None:
        output.document(text)
    output.note(
        f"{counted(len(kept), 'query')} of {target}; {counted(skipped, 'statement')} {agree(skipped, 'is no query and was', 'are no queries and were')} left out"
    )
    if file is not None:
        output.say(f"wrote  {file}")
        output.say(f"next   lockgate rehearse --queries NAME={file}")


def _prepared(found: "list[Captured]") -> "tuple[list[Captured], int]":
    """Those that a server can prepare, each without a semicolon of its own, and how many others there were."""
    from lockgate.postgres.placeholders import queries_of
    from lockgate.postgres.script import ScriptError

    kept, skipped = [], 0
    for item in found:
        try:
            queries = queries_of(item.text)
        except ScriptError:
            queries = []
        if len(queries) == 1:
            kept.append(item._replace(text=queries[0].text))
        else:
            skipped += 1
    return kept, skipped
