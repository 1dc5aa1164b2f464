"""An applied file that differs: told as a line-end difference or shown as a diff against what was applied."""

import difflib

from lockgate.migrations.files import Migration
from lockgate.migrations.history import read_source
from lockgate.migrations.ledger import differs_in_line_ends_only
from lockgate.migrations.plan import Obstacle
from lockgate.postgres.wire import Wire


def explain(wire: Wire, migration: Migration, obstacle: Obstacle) -> tuple[Obstacle, str]:
    """The obstacle by its right name, and the diff ("" for line ends): the history keeps the applied text."""
    applied = read_source(wire, obstacle.revision)
    checksum = (
        wire.value(
            "SELECT checksum FROM lockgate.migration_history WHERE revision_id = $1", obstacle.revision
        )
        or ""
    )
    same = applied.replace("\r\n", "\n") == migration.text.replace("\r\n", "\n")
    if same or differs_in_line_ends_only(migration.text, checksum):
        told = f"{migration.file} differs from what was applied in line ends only"
        return Obstacle("EOL_ONLY", obstacle.revision, told), ""
    before, after = applied.splitlines(), migration.text.splitlines()
    lines = list(difflib.unified_diff(before, after, "applied", migration.file, lineterm="", n=2))
    return obstacle, "\n" + "\n".join(f"    {line}" for line in lines[:60]) if lines else ""
