"""The second leg of operations: from the outbox of the side that serves to the other side."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lockgate.errors import LockgateError, Unreachable
from lockgate.postgres.wire import ConnectionLost
from lockgate.record.points import point
from lockgate.stores.making import Unmade
from lockgate.stores.side import Op, Side
from lockgate.stores.speaking import Locked, Rejected

ATTEMPTS = 5
"""A lock of another process is waited for so often, each time as long as the session's patience."""


class Carried(NamedTuple):
    """Operations whose second leg was done, and those that failed and wait. ``away``: the other store did not take part, so that no operation is to blame. ``lost``: its session is gone."""

    done: int
    failed: int
    error: str = ""
    away: bool = False
    failing: frozenset[str] = frozenset()
    lost: bool = False

    def plus(self, other: "Carried") -> "Carried":
        """Both together."""
        return Carried(
            self.done + other.done, self.failed + other.failed, other.error or self.error, self.away or other.away, self.failing | other.failing,
            self.lost or other.lost,
        )  # fmt: skip


def write_images(destination: Side, ops: Sequence[Op], names: Sequence[str], ready: Any = None) -> dict[str, int]:  # fmt: skip
    """Apply ``ops`` in one transaction of the destination, again when a lock stood in the way. Gives ``Side.apply``'s counts.

    With what ``Side.make_ready`` gave for them the transaction does not wait for the disk: the caller does (``Side.transaction``).
    """
    if ready is None:
        destination.prepare(ops, names)
    else:
        destination.take(ready)
    for attempt in range(ATTEMPTS):
        try:
            with destination.transaction(soon=ready is not None):
                counts = destination.apply(ops, names)
                point("dual:apply:commit")
            return counts
        except Locked:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def carry(origin: Side, destination: Side, ops: Sequence[Op]) -> Carried:
    """Bring ``ops`` to the destination and mark them done; those that fail are counted and wait, and all others are carried.

    Killed between both, they are brought once more, which changes nothing.
    """
    if not ops:
        return Carried(0, 0)
    names = [g.name for g in origin.given]
    ops, unmade = _made_anew(origin, ops)
    if unmade:
        total = Carried(0, 0)
        for op in unmade:
            assert isinstance(op.image, Unmade)
            total = total.plus(_failed(origin, [op], op.image.reason, refused=True))
        return total.plus(carry(origin, destination, ops))
    try:
        counts = write_images(destination, ops, names)
    except (Locked, Unreachable, ConnectionLost) as error:
        return _failed(origin, ops, error.message, away=True)._replace(lost=not isinstance(error, Locked))
    except LockgateError as error:
        # Data that is refused is the row's fault. Anything else may be, so that one bad row keeps nobody back, but it is not held against the row.
        if len(ops) == 1:
            return _failed(origin, ops, error.message, refused=isinstance(error, Rejected))
        total = Carried(0, 0)
        for op in ops:
            if not total.away:
                total = total.plus(carry(origin, destination, [op]))
        return total
    point("dual:done")
    origin.done(ops, counts, destination.index_hash)
    return Carried(len(ops), 0)


def _failed(origin: Side, ops: Sequence[Op], error: str, *, refused: bool = False, away: bool = False) -> Carried:  # fmt: skip
    origin.failed(ops, error, refused=refused, away=away)
    return Carried(0, len(ops), error, away, frozenset(op.id for op in ops))


def _made_anew(origin: Side, ops: Sequence[Op]) -> tuple[Sequence[Op], list[Op]]:
    """(operations with an image, those that a function still makes nothing of). What waits for its image gets the one of the
    row as it is now: a later operation of the key brings the same or a newer one, with a higher revision."""
    waits = {op.key for op in ops if isinstance(op.image, Unmade)}
    if not waits:
        return ops, []
    now = origin.images(sorted(waits, key=str))
    anew = [op._replace(image=now.get(op.key)) if op.key in waits and isinstance(op.image, Unmade) else op for op in ops]  # fmt: skip
    return [o for o in anew if not isinstance(o.image, Unmade)], [o for o in anew if isinstance(o.image, Unmade)]  # fmt: skip


def drain(
    origin: Side, destination: Side, rows: int, *, most: int = 1_000_000, deadline: float | None = None, clock: Callable[[], float] = time.monotonic,
) -> Carried:  # fmt: skip
    """Carry what waits until nothing does that did not fail within this call, the other store is away, ``most`` batches are done or the ``deadline`` has passed."""
    total = Carried(0, 0)
    for _ in range(most):
        ops = [op for op in origin.waiting(rows) if op.id not in total.failing]
        total = total.plus(carry(origin, destination, ops))
        if not ops or total.away or (deadline is not None and clock() > deadline):
            break
    return total
