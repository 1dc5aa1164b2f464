"""Declared references of a dual-written table: rows of the target that point at nothing are told after each batch and stand in the way of proof, switch and end."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.moves.declaration import Reference
from lockgate.moves.dual.opened import Opened
from lockgate.postgres.moves import ledger
from lockgate.stores.making import Texts
from lockgate.stores.side import Side

LOOKS = 5
SHOWN = 20


class Dangling(NamedTuple):
    """Rows for which a reference leads nowhere: how many, and the first keys."""

    reference: str
    rows: int
    keys: tuple[tuple[str, ...], ...]


def look(side: Side, references: Sequence[Reference], keys: Sequence[Texts] | None = None) -> list[Dangling]:
    """What dangles among the rows with these ``keys``, or in the whole table of ``side``. A table that points at itself is looked at as a whole only."""
    found = []
    for r in references:
        if keys is not None and r.table == side.table.name:
            continue
        lost = side.dangling(r.columns, r.table, r.key, keys)
        if lost:
            shown = tuple(tuple(str(k) for k in key) for key in lost[:SHOWN])
            found.append(Dangling(f"({', '.join(r.columns)}) -> {r.table} ({', '.join(r.key)})", len(lost), shown))  # fmt: skip
    return found


def words(found: Sequence[Dangling]) -> str:
    """What dangles, for people."""
    return "; ".join(f"{d.rows} rows dangle by {d.reference}, the first ({', '.join(d.keys[0])})" for d in found)  # fmt: skip


def tell(move: Opened, number: int, keys: Sequence[Texts]) -> None:
    """After a batch: write down what dangles in it, among the events and as the error that ``backfill_jobs`` shows."""
    found = look(move.pair.target, move.declared.references, keys)
    if found:
        ledger.event(move.home, move.name, "dangling", words(found), {"range": number, "dangling": [d._asdict() for d in found]})  # fmt: skip
        move.home.run("UPDATE lockgate.move_range SET message = $3 WHERE move = $1 AND number = $2", move.name, number, words(found))  # fmt: skip


def refuse_dangling(move: Opened, drain: Callable[[], object], sleep: Callable[[float], None] = time.sleep) -> None:  # fmt: skip
    """Raise ``MOVE_DANGLING`` while rows of the target point at nothing, also once what waits was carried."""
    found: list[Dangling] = []
    for attempt in range(LOOKS if move.declared.references else 0):
        if attempt:
            drain()
            sleep(0.05 * attempt)
        found = look(move.pair.target, move.declared.references)
        if not found:
            return
    if found:
        details = [d._asdict() for d in found]
        ledger.event(move.home, move.name, "dangling", words(found), {"dangling": details})
        raise LockgateError(f"rows of the target of the move {move.name} point at nothing: {words(found)}", "MOVE_DANGLING", details={"dangling": details})  # fmt: skip
