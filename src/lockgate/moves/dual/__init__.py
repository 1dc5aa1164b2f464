"""Moves between stores that have no triggers of ours: the application writes both sides by way of ``DualWriter``.

Why nothing is lost, in short (docs/moves.md tells it in full):

* Every write takes the next revision of its key and leaves an operation in the outbox, in the transaction that changes the row.
* The other side takes an image only when it is newer than the revision it has; deletes leave a tombstone. So the order
  of arrival does not matter, nor does repetition, and the backfill is one more source of images.
* Writers hold the switch row of the side that serves while they write: who changes it has waited for all of them.
"""

from lockgate.moves.dual.writer import DualWriter

__all__ = ["DualWriter"]
