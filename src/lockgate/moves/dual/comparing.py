"""The proof of a dual-written move: what one side gives for every row against what the other holds, and again for rows that differ."""

import time
from collections.abc import Callable, Sequence

from lockgate.moves.dual.opened import Opened
from lockgate.moves.verify import Difference, Verified, verify
from lockgate.stores.making import Image, Texts, Unmade, plain
from lockgate.stores.neutral import canonical
from lockgate.stores.open import open_pair as open_stores
from lockgate.stores.side import Side
from lockgate.stores.table import ANY, Comparison, Item

LOOKS = 5
"""A row that differs is looked at so often before it counts as diverged: a write may have been in flight."""
SAME_KEYS = frozenset({"integer", "text", "uuid", ANY})
"""Families of which the comparison by digests tells a key's value letter for letter as the sides of a move write it."""


def compare(move: Opened, report: Callable[[str, float], None], *, turned: bool = False) -> Verified:
    """Compare every row in both directions: by digests where columns are taken as they are, else value by value.

    ``turned``: the target serves, and the source has to hold what it gives.
    """
    d = move.declared
    origin, destination = move.pair.of("target" if turned else "source")
    places = move.places.both
    if not turned and move.places.replica:
        # A standby may be a moment late by the time of a second look, which goes to the primary.
        origin, places = move.reading(), (move.places.replica, move.places.target)
    if d.reverse if turned else d.columns:
        return _compare_values(origin, destination, turned)
    with open_stores(*places) as (left, right):
        tables = left.describe(d.source.table), right.describe(d.target.table)
        names = tuple(g.name for g in origin.given)
        found = verify(left, right, tables, tuple(k.name for k in move.pair.source.key), names, marked=True, progress=lambda p: report(p.doing, p.done))  # fmt: skip
    if not found.equal and not {k.family for k in move.pair.source.key} <= SAME_KEYS:
        # The rows that differ are looked at again by their keys, so these have to be the sides' own.
        return _compare_values(origin, destination, turned)
    return found


def _compare_values(origin: Side, destination: Side, turned: bool) -> Verified:
    """Value by value: what the origin gives for every row against what the destination holds, page by page in the origin's order, then keys that only the destination has."""
    begin = time.monotonic()
    names = [g.name for g in origin.given]
    found: list[Difference] = []
    counts = [0, 0]
    for near, far, kind in ((origin, destination, "missing"), (destination, origin, "extra")):
        low: Texts | None = None
        while (high := near.boundary(low, 5000)) is not None:
            images = dict(near.between(low, high))
            keys = list(images)
            counts[near is destination] += len(keys)
            if kind == "missing":
                there = dict(far.rows(keys, names))
                found += [Difference(k, "missing" if k not in there else "changed") for k in keys if not same(origin, images.get(k), there.get(k))]  # fmt: skip
            else:
                there = dict(far.rows(keys, [k.name for k in far.key]))
                found += [Difference(k, "extra") for k in keys if k not in there]
            low = high
    if turned:
        counts.reverse()  # they are told as those of the source and of the target
    key = tuple(Item(k.name, f"canonical:{k.family}") for k in origin.key)
    comparison = Comparison(key, tuple(Item(g.name, f"canonical:{g.family}") for g in origin.given), "canonical", "sha256")  # fmt: skip
    return Verified(not found, counts[0], counts[1], tuple(found), False, comparison, time.monotonic() - begin)  # fmt: skip


def same(origin: Side, image: Image | None, there: Texts | None) -> bool:
    """True when ``there`` is what ``origin`` gives; a row of which nothing could be made is not."""
    if isinstance(image, Unmade):
        return False
    if image is None or there is None:
        return image is there
    families = [g.family for g in origin.given]
    return [canonical(t, f) for t, f in zip(plain(image), families, strict=True)] == [canonical(t, f) for t, f in zip(there, families, strict=True)]  # fmt: skip


def unlike(origin: Side, destination: Side, keys: Sequence[Texts]) -> list[Texts]:
    """Those of ``keys`` of which the destination does not hold, at this moment, what the origin gives.

    A key that neither side has is explained by a delete that the origin knows of. Else nobody knows what was compared, and that is no equality.
    """
    images, there = origin.images(keys), dict(destination.rows(keys, [g.name for g in origin.given]))
    gone = origin.gone([k for k in keys if k not in images and k not in there])
    return [
        k for k in keys
        if not (k in gone if k not in images and k not in there else same(origin, images.get(k), there.get(k)))
    ]  # fmt: skip


def look_again(origin: Side, destination: Side, differing: tuple[Difference, ...], drained: Callable[[], object]) -> tuple[Difference, ...]:  # fmt: skip
    """The rows of ``differing`` that go on differing while what waits is carried by ``drained``."""
    left = list(differing)
    for look in range(LOOKS):
        if not left:
            return ()
        if look:
            drained()
            time.sleep(0.05 * look)
        still = set(unlike(origin, destination, [texts_of(d.key) for d in left]))
        left = [d for d in left if texts_of(d.key) in still]
    return tuple(left)


def texts_of(key: tuple[object, ...]) -> Texts:
    """A key as a comparison tells it → as the sides write it."""
    return tuple(str(k) if k is not None else None for k in key)
