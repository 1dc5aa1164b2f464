"""How tables are cut into leaves, and when finer. Pure."""

from lockgate.stores.ranges import shift_for
from lockgate.stores.store import Cut, KeyRange, Leaf

ROWS_AT_ONCE = 100_000
"""So many rows of each side are held in memory while differences are listed."""
FIRST_BITS = 12
MOST_LEAVES = 1 << 16
LEAF_ROWS = 500
"""So many rows a leaf of a range has, where keys are dense: few enough to be read again for one difference, and many
enough that leaves cost nothing."""


def first_cut(rows: int, ranges: tuple[KeyRange | None, KeyRange | None]) -> Cut:
    """The cut of the first pass over tables of ``rows`` rows: by ranges where both sides can reach them, else by hash."""
    source, target = ranges
    if source is None or target is None:
        return Cut("hash", bits_for(rows))
    held = [r for r in (source, target) if r.low <= r.high] or [KeyRange(0, 0)]
    leaves = max(1, min(MOST_LEAVES, rows // LEAF_ROWS))
    return Cut("range", shift_for(min(r.low for r in held), max(r.high for r in held), leaves))


def bits_for(rows: int) -> int:
    """So many bits of the key's hash that a leaf of a table with ``rows`` rows has about 250 of them, within bounds."""
    return max(0, min(FIRST_BITS, (max(rows, 1) // 250).bit_length()))


def differing_leaves(source: dict[int, Leaf], target: dict[int, Leaf]) -> tuple[int, ...]:
    """The leaves whose count or digest is not the same on both sides."""
    return tuple(
        sorted(leaf for leaf in source.keys() | target.keys() if source.get(leaf) != target.get(leaf))
    )


def finer_cut(cut: Cut, bad: int, rows: int, largest: int) -> Cut:
    """The cut for the next pass over ``bad`` leaves with ``rows`` rows, the ``largest`` of them in one; ``cut`` itself when cutting finer is of no use."""
    if rows <= ROWS_AT_ONCE or (rows <= bad * 32 and largest <= ROWS_AT_ONCE):
        return cut
    room = 31 - cut.bits if cut.by == "hash" else cut.bits
    step = 0
    while step < room and (bad << (step + 1)) <= MOST_LEAVES and (rows >> step) > bad * 16:
        step += 1
    if (
        cut.by == "range" and largest > ROWS_AT_ONCE
    ):  # keys in heaps: halving ranges by the count of rows would take for ever
        while step < room and (bad << (step + 1)) <= MOST_LEAVES:
            step += 1
    return cut._replace(bits=cut.bits + step if cut.by == "hash" else cut.bits - step)


def groups(leaves: dict[int, Leaf], other: dict[int, Leaf], bad: tuple[int, ...]) -> list[tuple[int, ...]]:
    """``bad`` cut into groups that together hold at most ``ROWS_AT_ONCE`` rows on either side (one leaf at least)."""
    found: list[tuple[int, ...]] = []
    now: list[int] = []
    held = 0
    for leaf in bad:
        rows = rows_in(leaf, leaves, other)
        if now and held + rows > ROWS_AT_ONCE:
            found.append(tuple(now))
            now, held = [], 0
        now.append(leaf)
        held += rows
    return [*found, tuple(now)] if now else found


def rows_in(leaf: int, *sides: dict[int, Leaf]) -> int:
    """How many rows ``leaf`` holds on the side where it holds more."""
    return max(side[leaf].rows if leaf in side else 0 for side in sides)
