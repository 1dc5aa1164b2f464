"""Are two tables equal? Both sides digest themselves at once; only leaves that differ are read row by row.

A leaf holds the rows whose key hashes to the same number, so leaves are even whatever the keys look like. One pass
gives every leaf's count and digest. Where leaves are still too large to be listed they are cut finer, in another pass
over their rows alone.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import NamedTuple, TypeVar

from lockgate.errors import ConfigError
from lockgate.stores.store import Leaf, RowDigest, Store, Within
from lockgate.stores.table import Comparison, Table, compare

T = TypeVar("T")
ROWS_AT_ONCE = 100_000
"""So many rows of each side are held in memory while differences are listed."""
FIRST_BITS = 12
MOST_LEAVES = 1 << 16


class Difference(NamedTuple):
    """One row that differs. ``kind``: ``missing`` (only in the source), ``extra`` (only in the target), ``changed``."""

    key: tuple[object, ...]
    kind: str


class Verified(NamedTuple):
    """What a comparison found. ``truncated`` says that there are more differences than were listed."""

    equal: bool
    source_rows: int
    target_rows: int
    differing: tuple[Difference, ...]
    truncated: bool
    comparison: Comparison
    seconds: float


def bits_for(rows: int) -> int:
    """So many bits of the key's hash that a leaf of a table with ``rows`` rows has about 250 of them, within bounds."""
    return max(0, min(FIRST_BITS, (max(rows, 1) // 250).bit_length()))


def differing_leaves(source: dict[int, Leaf], target: dict[int, Leaf]) -> tuple[int, ...]:
    """The leaves whose count or digest is not the same on both sides."""
    return tuple(
        sorted(leaf for leaf in source.keys() | target.keys() if source.get(leaf) != target.get(leaf))
    )


def rows_in(leaves: dict[int, Leaf], chosen: tuple[int, ...]) -> int:
    """How many rows the ``chosen`` leaves hold."""
    return sum(leaves[leaf].rows for leaf in chosen if leaf in leaves)


def finer_bits(bits: int, bad: int, rows: int) -> int:
    """The bits for the next pass over ``bad`` leaves with ``rows`` rows; ``bits`` itself when cutting finer is of no use."""
    if rows <= ROWS_AT_ONCE or rows <= bad * 32:
        return bits
    finer = bits
    while finer < 31 and (bad << (finer + 1 - bits)) <= MOST_LEAVES and (rows >> (finer - bits)) > bad * 16:
        finer += 1
    return finer


def groups(leaves: dict[int, Leaf], other: dict[int, Leaf], bad: tuple[int, ...]) -> list[tuple[int, ...]]:
    """``bad`` cut into groups that together hold at most ``ROWS_AT_ONCE`` rows on either side (one leaf at least)."""
    found: list[tuple[int, ...]] = []
    now: list[int] = []
    held = 0
    for leaf in bad:
        rows = max(side[leaf].rows if leaf in side else 0 for side in (leaves, other))
        if now and held + rows > ROWS_AT_ONCE:
            found.append(tuple(now))
            now, held = [], 0
        now.append(leaf)
        held += rows
    return [*found, tuple(now)] if now else found


def differences(
    source: dict[tuple[object, ...], tuple[int, int]], target: "list[RowDigest]"
) -> list[Difference]:
    """What differs between the rows of two sides. ``source`` is used up."""
    found = []
    for row in target:
        seen = source.pop(row.key, None)
        if seen is None:
            found.append(Difference(row.key, "extra"))
        elif seen != row.digest:
            found.append(Difference(row.key, "changed"))
    return found + [Difference(key, "missing") for key in source]


class Progress(NamedTuple):
    """How far a comparison is: what it does, and 0.0 to 1.0 of it."""

    doing: str
    done: float


def verify(
    source: Store,
    target: Store,
    tables: tuple[Table, Table],
    key: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    *,
    limit: int = 100_000,
    unique: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Verified:
    """Compare the two described tables and list up to ``limit`` differences.

    ``unique`` says that the key is known to identify rows. Both sides are read from one snapshot each, from the same one where both are in one database. Raises ``ConfigError``
    for keys that do not identify rows, what ``compare`` raises, and the stores' own errors.
    """
    begin = clock()
    comparison = compare(*tables, key, columns)
    with _Pair(source, target) as pair:
        source.snapshot()
        target.snapshot(like=source)
        bad_keys = ((), ()) if unique else pair.both(lambda side: side.find_bad_keys(comparison))
        for store_name, wrong in zip(("source", "target"), bad_keys, strict=True):
            if wrong:
                raise ConfigError(
                    f"the key {', '.join(k.name for k in comparison.key)} does not identify the rows of the {store_name}: {'; '.join(wrong)}",
                    "KEY_NOT_UNIQUE",
                    details={"side": store_name, "problems": list(wrong)},
                )
        bits = bits_for(max(t.rows for t in tables))
        left, right = pair.leaves(comparison, bits, None, "comparing digests", progress)
        counts = sum(leaf.rows for leaf in left.values()), sum(leaf.rows for leaf in right.values())
        bad = differing_leaves(left, right)
        while bad:
            rows = max(rows_in(left, bad), rows_in(right, bad))
            finer = finer_bits(bits, len(bad), rows)
            if finer == bits:
                break
            left, right = pair.leaves(comparison, finer, (bits, bad), "locating differences", progress)
            bits, bad = finer, differing_leaves(left, right)
        found: list[Difference] = []
        truncated = False
        parts = groups(left, right, bad)
        for number, part in enumerate(parts):
            within: Within = (bits, part) if bits else None
            seen_left, seen_right = pair.both(lambda side, w=within: list(side.row_digests(comparison, w)))  # type: ignore[misc]
            found += differences({row.key: row.digest for row in seen_left}, seen_right)
            progress(Progress("listing differences", (number + 1) / len(parts)))
            if len(found) > limit:
                truncated = True
                break
    numbers = [_is_integer(k.name, tables) for k in comparison.key]
    found = [
        d._replace(key=tuple(_number(v) if n else v for v, n in zip(d.key, numbers, strict=True)))
        for d in found
    ]
    found.sort(key=_order)
    return Verified(
        equal=not bad,
        source_rows=counts[0],
        target_rows=counts[1],
        differing=tuple(found[:limit]),
        truncated=truncated,
        comparison=comparison,
        seconds=clock() - begin,
    )


def _is_integer(name: str, tables: tuple[Table, Table]) -> bool:
    return any(
        column.name == name and "integer" in (column.family, column.base)
        for table in tables
        for column in table.columns
    )


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


def _order(difference: Difference) -> tuple[tuple[int, object], ...]:
    return tuple((0, k) if isinstance(k, int) else (1, str(k)) for k in difference.key)


class _Pair:
    """Both sides at once, each in a thread of its own. When one fails, or the caller is interrupted, both are cancelled."""

    def __init__(self, source: Store, target: Store) -> None:
        self._stores = (source, target)
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="lockgate-verify")

    def __enter__(self) -> "_Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    def both(self, work: Callable[[Store], T]) -> tuple[T, T]:
        futures = [self._pool.submit(work, store) for store in self._stores]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()
            return futures[0].result(), futures[1].result()
        except BaseException:
            for store, future in zip(self._stores, futures, strict=True):
                if not future.done():
                    store.cancel()
            raise

    def leaves(
        self,
        comparison: Comparison,
        bits: int,
        within: Within,
        doing: str,
        progress: Callable[[Progress], None],
    ) -> tuple[dict[int, Leaf], dict[int, Leaf]]:
        done = [0.0, 0.0]

        def scan(store: Store) -> dict[int, Leaf]:
            side = self._stores.index(store)

            def hear(part: float) -> None:
                done[side] = part
                progress(Progress(doing, sum(done) / 2))

            return store.leaves(comparison, bits, within, hear)

        return self.both(scan)
