"""The proof of a dual-written move: what one side gives for every row against what the other holds, and again for rows that differ."""

import time
from collections.abc import Callable

from lockgate.moves.dual.opened import Opened
from lockgate.moves.verify import Difference, Verified, verify
from lockgate.stores.making import Image, Texts, Unmade
from lockgate.stores.neutral import canonical
from lockgate.stores.open import open_pair as open_stores
from lockgate.stores.side import Side

LOOKS = 5
"""A row that differs is looked at so often before it counts as diverged: a write may have been in flight."""


def compare(move: Opened, report: Callable[[str, float], None]) -> Verified:
    """Compare every row in both directions: by digests where columns are taken as they are, else value by value."""
    d = move.declared
    if d.columns:
        return _compare_mapped(move)
    with open_stores(*move.places) as (left, right):
        tables = left.describe(d.source.table), right.describe(d.target.table)
        names = tuple(g.name for g in move.pair.source.given)
        return verify(left, right, tables, tuple(k.name for k in move.pair.source.key), names, progress=lambda p: report(p.doing, p.done))  # fmt: skip


def _compare_mapped(move: Opened) -> Verified:
    """Where columns are mapped: what the source gives for every row against what the target holds, page by page in the source's order, then keys that only the target has."""
    from lockgate.stores.table import Comparison, Item

    begin = time.monotonic()
    source, target = move.pair.source, move.pair.target
    names = [g.name for g in source.given]
    found: list[Difference] = []
    counts = [0, 0]
    for near, far, kind in ((source, target, "missing"), (target, source, "extra")):
        low: Texts | None = None
        while (high := near.boundary(low, 5000)) is not None:
            images = dict(near.between(low, high))
            keys = list(images)
            counts[near is target] += len(keys)
            if kind == "missing":
                there = dict(far.rows(keys, names))
                found += [Difference(k, "missing" if k not in there else "changed") for k in keys if not same(source, images.get(k), there.get(k))]  # fmt: skip
            else:
                there = dict(far.rows(keys, [k.name for k in far.key]))
                found += [Difference(k, "extra") for k in keys if k not in there]
            low = high
    key = tuple(Item(k.name, f"canonical:{k.family}") for k in source.key)
    comparison = Comparison(key, tuple(Item(g.name, f"canonical:{g.family}") for g in source.given), "canonical", "sha256")  # fmt: skip
    return Verified(not found, counts[0], counts[1], tuple(found), False, comparison, time.monotonic() - begin)  # fmt: skip


def same(origin: Side, image: Image | None, there: Texts | None) -> bool:
    """True when ``there`` is what ``origin`` gives; a row of which nothing could be made is not."""
    if isinstance(image, Unmade):
        return False
    if image is None or there is None:
        return image is there
    families = [g.family for g in origin.given]
    return [canonical(t, f) for t, f in zip(image, families, strict=True)] == [canonical(t, f) for t, f in zip(there, families, strict=True)]  # fmt: skip


def look_again(origin: Side, destination: Side, differing: tuple[Difference, ...], drained: Callable[[], object]) -> tuple[Difference, ...]:  # fmt: skip
    """The rows of ``differing`` that go on differing while what waits is carried by ``drained``."""
    left = list(differing)
    for look in range(LOOKS):
        if not left:
            return ()
        if look:
            drained()
            time.sleep(0.05 * look)
        keys = [tuple(str(k) if k is not None else None for k in d.key) for d in left]
        keys = [typed(origin, k) for k in keys]
        images = origin.images(keys)
        there = dict(destination.rows(keys, [g.name for g in origin.given]))
        left = [d for d, k in zip(left, keys, strict=True) if not same(origin, images.get(k), there.get(k))]
    return tuple(left)


def typed(side: Side, key: Texts) -> Texts:
    """A key as the comparison tells it → as the sides write it: where a column says nothing of its type, with its mark."""
    marked = []
    for text, field in zip(key, side.key, strict=True):
        if field.family == "any" and text is not None and text[1:2] != ":":
            text = f"i:{text}" if text.lstrip("-").isdigit() else f"s:{text}"
        marked.append(text)
    return tuple(marked)
