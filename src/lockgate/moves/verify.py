"""Are two tables equal? Both sides digest themselves at once; only leaves that differ are read row by row.

A leaf holds a range of an integer key, which an index reaches again, or else the rows whose key hashes to the same
number. One pass gives every leaf's count and digest. Where leaves are still too large to be listed they are cut finer,
in another pass over their rows alone.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import NamedTuple, TypeVar

from lockgate.errors import ConfigError
from lockgate.moves.cuts import differing_leaves, finer_cut, first_cut, groups, rows_in
from lockgate.stores.store import Cut, Leaf, Part, RowDigest, Store, Within
from lockgate.stores.table import Comparison, Table, compare

T = TypeVar("T")


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
    marked: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Verified:
    """Compare the two described tables and list up to ``limit`` differences.

    ``unique`` says that the key is known to identify rows. ``marked`` tells keys of columns that say nothing of their type with the mark of
    each value's type, as the sides of a move write them; without it they are told as people know them. Both sides are read from one snapshot each, from the same one where both are in one database. Raises ``ConfigError``
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
        cut = first_cut(max(t.rows for t in tables), pair.both(lambda side: side.key_range(comparison)))
        left, right = pair.leaves(comparison, cut, None, "comparing digests", progress)
        counts = sum(leaf.rows for leaf in left.values()), sum(leaf.rows for leaf in right.values())
        bad = differing_leaves(left, right)
        while bad:
            held = [rows_in(leaf, left, right) for leaf in bad]
            finer = finer_cut(cut, len(bad), sum(held), max(held))
            if finer == cut:
                break
            left, right = pair.leaves(comparison, finer, Part(cut, bad), "locating differences", progress)
            cut, bad = finer, differing_leaves(left, right)
        found: list[Difference] = []
        truncated = False
        parts = groups(left, right, bad)
        for number, part in enumerate(parts):
            within = Part(cut, part)
            seen_left, seen_right = pair.both(lambda side, w=within: list(side.row_digests(comparison, w)))  # type: ignore[misc]
            found += differences({row.key: row.digest for row in seen_left}, seen_right)
            progress(Progress("listing differences", (number + 1) / len(parts)))
            if len(found) > limit:
                truncated = True
                break
    numbers = [_is_integer(k.name, tables) for k in comparison.key]
    cuts = [2 if k.rendering == "canonical:any" and not marked else 0 for k in comparison.key]
    found = [
        d._replace(key=tuple(_number(_bare(v, cut)) if n else _bare(v, cut) for v, n, cut in zip(d.key, numbers, cuts, strict=True)))
        for d in found
    ]  # fmt: skip
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


def _bare(value: object, cut: int) -> object:
    """A key's value without ``cut`` letters of its mark."""
    return value[cut:] if isinstance(value, str) else value


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
        cut: Cut,
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

            return store.leaves(comparison, cut, within, hear)

        return self.both(scan)
