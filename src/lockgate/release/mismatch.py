"""An applied file that differs: told as a line-end difference or shown as a diff against what was applied."""

import difflib
from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec

from lockgate.errors import Refused
from lockgate.migrations.files import Migration
from lockgate.migrations.history import read_source
from lockgate.migrations.ledger import differs_in_line_ends_only
from lockgate.migrations.plan import Obstacle, Plan
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import Exit


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


def refuse_obstacles(
    plan: Plan, migrations: tuple[Migration, ...], connect: Callable[[], AbstractContextManager[Wire]]
) -> None:
    """Raise ``Refused`` for what keeps ``plan`` from running, if anything does; ``connect`` lets the history tell the difference."""
    if not plan.obstacles:
        return
    first, diff = plan.obstacles[0], ""
    if first.code == "CHECKSUM_MISMATCH":
        migration = next(m for m in migrations if m.revision == first.revision)
        with connect() as wire:
            first, diff = explain(wire, migration, first)
    more = "".join(f"\n  {o.code}: {o.message}" for o in plan.obstacles[1:20])
    raise Refused(
        first.message + diff + more,
        first.code,
        exit=Exit.REFUSED,
        details={"obstacles": [msgspec.to_builtins(o) for o in plan.obstacles], "diff": diff},
    )
