"""The second leg of operations: from the outbox of the side that serves to the other side."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.record.points import point
from lockgate.stores.making import Unmade
from lockgate.stores.side import Op, Side
from lockgate.stores.speaking import Locked, Rejected

ATTEMPTS = 5
"""A lock of another process is waited for so often, each time as long as the session's patience."""


class Carried(NamedTuple):
    """Operations whose second leg was done, and those that failed and wait."""

    done: int
    failed: int
    error: str = ""

    def plus(self, other: "Carried") -> "Carried":
        """Both together."""
        return Carried(self.done + other.done, self.failed + other.failed, other.error or self.error)


def write_images(destination: Side, ops: Sequence[Op], names: Sequence[str]) -> dict[str, int]:
    """Apply ``ops`` in one transaction of the destination, again when a lock stood in the way. Gives ``Side.apply``'s counts."""
    destination.prepare(ops, names)
    for attempt in range(ATTEMPTS):
        try:
            with destination.transaction():
                counts = destination.apply(ops, names)
                point("dual:apply:commit")
            return counts
        except Locked:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def carry(origin: Side, destination: Side, ops: Sequence[Op]) -> Carried:
    """Bring ``ops`` to the destination and mark them done; those that it refuses are counted and wait.

    Killed between both, they are brought once more, which changes nothing.
    """
    if not ops:
        return Carried(0, 0)
    names = [g.name for g in origin.given]
    ops, unmade = _made_anew(origin, ops)
    if unmade:
        for op in unmade:
            assert isinstance(op.image, Unmade)
            origin.failed([op], op.image.reason)
        assert isinstance(unmade[0].image, Unmade)
        return Carried(0, len(unmade), unmade[0].image.reason).plus(carry(origin, destination, ops))  # fmt: skip
    try:
        counts = write_images(destination, ops, names)
    except Rejected as error:
        if len(ops) == 1:
            origin.failed(ops, error.message)
            return Carried(0, 1, error.message)
        total = Carried(0, 0)
        for op in ops:
            total = total.plus(carry(origin, destination, [op]))
        return total
    except LockgateError as error:
        origin.failed(ops, error.message)
        return Carried(0, len(ops), error.message)
    point("dual:done")
    origin.done(ops, counts, destination.index_hash)
    return Carried(len(ops), 0)


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
    """Carry what waits until nothing does, something fails, ``most`` batches are done or the ``deadline`` has passed."""
    total = Carried(0, 0)
    for _ in range(most):
        ops = origin.waiting(rows)
        done = carry(origin, destination, ops)
        total = total.plus(done)
        if not ops or done.failed or (deadline is not None and clock() > deadline):
            break
    return total
