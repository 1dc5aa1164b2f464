"""``lockgate check``."""

from typing import Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit


@click.command("check")
@shared(target=False)
@click.option(
    "--since",
    metavar="REV",
    default=None,
    help="Also refuse edits, deletions and re-locked entries of files that existed at this git revision.",
)
@click.option(
    "--write-ledger",
    is_flag=True,
    help="First write checksums.json anew from the files that are there; --since and the databases still refuse edits of old ones.",
)
def command(since: str | None, write_ledger: bool, **shared_options: Any) -> None:
    """Judge files and ledger without a database. Exits 1 when something is found."""
    import msgspec

    from lockgate.migrations.immutable import compare_with
    from lockgate.migrations.ledger import write_ledger as write
    from lockgate.release.project import prepare_files, read_files

    session = Session(**shared_options)
    output = session.output
    directory = session.settings.path(session.settings.migrations.directory)
    if write_ledger:
        found = read_files(session.settings)
        if found.migrations:
            write(directory, {m.file: m.checksum for m in found.migrations})
    files = read_files(session.settings)
    prepared, problems = prepare_files(files.migrations, session.settings)
    problems = [*files.problems, *problems]
    if since is not None:
        problems += compare_with(directory, since)
    statements = [
        {
            "file": p.migration.file,
            "line": s.line,
            "kind": s.kind,
            "understood": True,
            "opaque": s.opaque,
            "transactional": s.alone is None,
        }
        for p in prepared.values()
        for s in p.statements
    ]
    problems.sort(key=lambda p: (p.file, p.line))
    findings = [{**msgspec.to_builtins(p), "phase": "", "evidence": ""} for p in problems]
    output.json(
        {"command": "check", "files": len(files.migrations), "findings": findings, "statements": statements}
    )
    for p in problems:
        where = f"{p.file}:{p.line}" if p.line else p.file
        output.say(f"{where}: {output.mark(p.id, 'bad')}: {p.message}")
        output.say(f"    fix: {p.fix}")
    if problems:
        output.say(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {len(files.migrations)} files"
        )
    else:
        output.say(
            f"{output.mark('clean', 'good')}: {len(files.migrations)} files, {len(statements)} statements"
        )
    leave(Exit.FOUND if problems else Exit.OK)
