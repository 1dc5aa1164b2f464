"""The tables of a move that the application writes keep their shape while it runs: ``up`` refuses to change them, and a change behind its back pauses the move."""

from contextlib import ExitStack, closing

from lockgate.errors import LockgateError
from lockgate.moves.dual.opened import Opened
from lockgate.moves.stages import OVER, Stage
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.stores.speaking import speak

SIDES = ("source", "target")
_PASSED = OVER | {Stage.PLANNED, Stage.PAUSED, Stage.CUT_OVER, Stage.TAIL, Stage.ROLLED_BACK}
"""Stages in which there is nothing to pause."""


def shapes(move: Opened) -> tuple[str, str]:
    """Digests of what the columns of both tables are now; "" of an index. In sessions of their own where the sides are not open, as they cannot be once the tables do not fit."""
    d = move.declared
    found = []
    with ExitStack() as stack:
        for side, url, table in zip(SIDES, move.places.both, (d.source.table, d.target.table), strict=True):
            if not url:
                found.append("")
                continue
            speaker = getattr(move.open_pair, side).speaker if move.open_pair is not None else None
            if speaker is None:
                speaker = stack.enter_context(closing(speak(url, f"move {move.name} {move.purpose}", side)))
            found.append(speaker.shape(table))
    return found[0], found[1]


def keep(move: Opened) -> None:
    """What the tables are now counts as right, and ``up`` finds them by the marks beside them. Raises ``Refused`` (``MOVE_REFUSED``) where they do not fit."""
    for side in (move.pair.source, move.pair.target):
        side.mark()
    source, target = shapes(move)
    move.home.run("UPDATE lockgate.move SET source_shape = $2, target_shape = $3 WHERE name = $1", move.name, source, target)  # fmt: skip


def stop_if_changed(move: Opened, row: MoveRow | None = None) -> None:
    """Pause the move and raise ``MOVE_PAUSED`` when somebody changed one of its tables. One whose tables were never looked at (by an earlier version, or a start that was cut off) has them looked at now."""
    row = move.row() if row is None else row
    if row.stage in _PASSED:
        return
    if not row.source_shape:
        keep(move)
        return
    seen = shapes(move)
    known = (row.source_shape, row.target_shape)
    changed = [side for side, now, before in zip(SIDES, seen, known, strict=True) if now != before]
    if not changed:
        return
    reason = f"the {' and the '.join(changed)} table changed under the move (columns or partitions)"
    ledger.pause(move.home, move.name, reason, dict(zip(SIDES, seen, strict=True)))
    raise LockgateError(
        reason, "MOVE_PAUSED", details={"changed": changed},
        next=f"Undo it, or make both sides fit it; then lockgate move resume {move.name} and lockgate move run {move.name}.",
    )  # fmt: skip
