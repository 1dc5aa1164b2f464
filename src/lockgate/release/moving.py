"""Running moves and the files of a run: which tables may not be changed now, and which file waits for which move."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lockgate.config import Settings
from lockgate.errors import Refused
from lockgate.migrations.plan import Plan
from lockgate.postgres.moves.empty import Unmoved, surely_waited_for
from lockgate.postgres.moves.frozen import Moving, frozen, read_moving, waits_for
from lockgate.postgres.queries import query
from lockgate.postgres.target import Target
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
    unmoved: Mapping[str, Unmoved] = {}
    """Moves in place that were never started here and whose tables held no rows, or were not there, when the run looked."""

    passed: frozenset[str] = frozenset()
    """Moves that an applied file had waited for."""


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
            away = any(move.name == name and move.elsewhere for move in moves.moving)
            whose = ", whose ledger is in another database," if away else ""
            raise Refused(
                f"{change.file}:{change.line} changes {relation}, which the move {name}{whose} is copying",
                "MOVE_FROZEN",
                details={"file": change.file, "line": change.line, "relation": relation, "move": name},
            )


class Waits(NamedTuple):
    """The first pending file that has to wait for a move, and which files may run if their moves have nothing to move."""

    revision: str = ""
    move: str = ""
    because: str = ""
    provided: Mapping[str, tuple[Unmoved, ...]] = {}


def first_waiting(plan: Plan, prepared: "Mapping[str, Prepared]", moves: Moves) -> Waits:
    """Which pending file has to wait for which move. Pure.

    A move that was never started is not waited for where an applied file had waited for it already: what it would have
    moved was nothing, and everything since was written on both sides.
    """
    known = {move.name for move in moves.moving if not move.elsewhere}
    provided: dict[str, tuple[Unmoved, ...]] = {}
    for revision, _ in plan.pending:
        item = prepared[revision]
        looks = []
        for wanted in item.directives.after:
            name = name_of(wanted)
            if name not in known and name in moves.passed:
                continue
            if name not in known and name in moves.unmoved:
                looks.append(moves.unmoved[name])
                continue
            because = waits_for(moves.moving, (wanted,))
            if because:
                return Waits(revision, name, f"{item.migration.file} waits: {because}", provided)
        if looks:
            provided[revision] = tuple(looks)
    return Waits(provided=provided)


def name_of(after: str) -> str:
    """The move that ``after=`` names."""
    return after.removeprefix("move:")


def next_of(move: str) -> str:
    """The commands after which a file no longer waits for ``move``."""
    return f"lockgate move run {move}; then lockgate up"


def unmoved_of(settings: Settings, names: Iterable[str], fills: Target | None = None) -> dict[str, Unmoved]:
    """What ``moves/<name>.toml`` declares of those ``names`` that are moves in place. One that copies a table also switches, so
    what waits for it needs more than that there are no rows; one that is not declared here tells nothing about its table.

    ``fills`` is the database where few rows of this very run may be filled in within it; None where a move has to be run."""
    from lockgate.moves.again import filling, moves_in_place

    return {
        name: Unmoved(
            name, declared.source.table, declared.target.table, (*declared.sync.triggers, *declared.sync.checks),
            None if fills is None else filling(declared, fills),
        )
        for name, declared in moves_in_place(settings, names).items()
    }  # fmt: skip


def read_waits(
    wire: Wire,
    moving: tuple[Moving, ...],
    pending: Iterable[str],
    done: Iterable[str],
    settings: Settings,
    fills: Target | None = None,
) -> tuple[dict[str, Unmoved], frozenset[str]]:
    """(never started moves in place whose tables hold no rows now, moves that a ``done`` file had waited for); the files as texts.

    ``fills`` as in ``unmoved_of``."""
    known = {move.name for move in moving if not move.elsewhere}
    wanted = _waited_for(pending) - known
    passed = wanted & _waited_for(done) if wanted else frozenset()
    unmoved = unmoved_of(settings, sorted(wanted - passed), fills)
    full = surely_waited_for(wire, unmoved.values())
    return {name: move for name, move in unmoved.items() if name not in full}, passed


def _waited_for(texts: Iterable[str]) -> frozenset[str]:
    from lockgate.migrations.directives import parse

    return frozenset(name_of(after) for text in texts if "after=move:" in text for after in parse(text).after)
