"""Running moves and the files of a run: which tables may not be changed now, and which file waits for which move."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lockgate.errors import Refused
from lockgate.migrations.plan import Plan
from lockgate.postgres.moves.frozen import Moving, frozen, read_moving, waits_for
from lockgate.postgres.queries import query
from lockgate.postgres.wire import Wire

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared

_OF_ROWS = frozenset({"AccessShareLock", "RowShareLock", "RowExclusiveLock"})
"""Lock modes of statements that read and write rows; every stronger one changes what the table is."""


class Change(NamedTuple):
    """One statement of a pending file that changes a relation, named as ``check`` names it."""

    file: str
    line: int
    relation: str


class Moves(NamedTuple):
    """What ``authorise`` has to know: the moves of the target, and what the pending files change while any is under way."""

    moving: tuple[Moving, ...] = ()
    changes: Sequence[Change] = ()


def changes_of(file: str, line: int, locks: Mapping[str, str]) -> list[Change]:
    """The relations that a statement with these ``locks`` changes."""
    return [Change(file, line, relation) for relation, mode in locks.items() if mode not in _OF_ROWS]


def under_way(wire: Wire) -> tuple[Moving, ...]:
    """Every move that the database of ``wire`` knows."""
    return read_moving(wire)


def end_in_place(wire: Wire, moves: Moves) -> list[str]:
    """Write down that moves in place are finished whose contract file has just taken the old side away; gives their names."""
    if not any(move.in_place for move in moves.moving):
        return []
    return [row[0] or "" for row in wire.one(query("moves/end_in_place")).rows]


def refuse_frozen(moves: Moves, waiting: str = "") -> None:
    """Raise ``MOVE_FROZEN`` when a pending file changes a table that is being moved. From the file ``waiting`` on all are held anyway."""
    for move in moves.moving:
        if move.holds_releases:
            raise Refused(
                f"the move {move.name} is {move.stage} and was declared blocking: no migration runs beside it",
                "MOVE_FROZEN",
                details={"move": move.name, "stage": move.stage},
            )
    for change in moves.changes:
        if waiting and change.file[:13] >= waiting:
            continue
        for relation, name in frozen(moves.moving, [change.relation]):
            raise Refused(
                f"{change.file}:{change.line} changes {relation}, which the move {name} is copying",
                "MOVE_FROZEN",
                details={"file": change.file, "line": change.line, "relation": relation, "move": name},
            )


def first_waiting(plan: Plan, prepared: "Mapping[str, Prepared]", moves: Moves) -> tuple[str, str]:
    """(revision, why) of the first pending file that has to wait for a move; two empty texts when none has to."""
    for revision, _ in plan.pending:
        item = prepared[revision]
        because = waits_for(moves.moving, item.directives.after)
        if because:
            return revision, f"{item.migration.file} waits: {because}"
    return "", ""
