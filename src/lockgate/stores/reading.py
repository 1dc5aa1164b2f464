"""What stores share that have no digest of their own: rows are streamed, rendered and digested in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lockgate.errors import LockgateError
from lockgate.stores.rendering import digest, render, row_bytes
from lockgate.stores.store import Cut, KeyRange, Leaf, RowDigest, Within
from lockgate.stores.table import Comparison, Item, Table

TELL_EVERY = 20_000


class ReadingStore:
    """Leaves and row digests over ``stream``, which a store gives. Memory for one row at a time, and for the leaves."""

    table: Table | None = None
    cancelled = False

    def stream(self, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """The rows of the described table, these columns only."""
        raise NotImplementedError

    def key_range(self, comparison: Comparison) -> KeyRange | None:
        """See ``Store``. What is read row by row gains nothing from ranges."""
        return None

    def leaves(
        self, comparison: Comparison, cut: Cut, within: Within, progress: Callable[[float], None]
    ) -> dict[int, Leaf]:
        """See ``Store``."""
        sums: dict[int, list[int]] = {}
        mask = (1 << cut.bits) - 1
        expected = max(1, self._described().rows)
        for number, (key, row) in enumerate(self._rendered(comparison, within)):
            leaf = digest(key)[0] & mask
            held = sums.setdefault(leaf, [0, 0])
            held[0] += 1
            held[1] += digest(row)[0]
            if number % TELL_EVERY == 0:
                progress(min(0.99, number / expected))
        progress(1.0)
        return {leaf: Leaf(*held) for leaf, held in sums.items()}

    def row_digests(self, comparison: Comparison, within: Within) -> Iterator[RowDigest]:
        """See ``Store``."""
        width = len(comparison.key)
        for texts, row in self._texts(comparison, within):
            yield RowDigest(tuple(texts[:width]), digest(row))

    def find_bad_keys(self, comparison: Comparison) -> Sequence[str]:
        """See ``Store``. Without an index that guarantees the key, every key is looked at."""
        table = self._described()
        if table.proves_unique(tuple(k.name for k in comparison.key)):
            return ()
        seen: set[bytes] = set()
        wrong: list[str] = []
        nulls = 0
        keys = comparison.key
        for values in self.stream([k.name for k in keys]):
            texts = [self._render(v, k) for v, k in zip(values, keys, strict=True)]
            if None in texts:
                nulls += 1
                continue
            short = row_bytes(texts)
            short = (
                short
                if len(short) < 32
                else b"".join(n.to_bytes(8, "big", signed=True) for n in digest(short))
            )
            if short in seen and len(wrong) < 3:
                wrong.append(f"({', '.join(map(str, texts))}) occurs more than once")
            seen.add(short)
        return ([f"{nulls} rows have a NULL in the key"] if nulls else []) + wrong

    def cancel(self) -> None:
        """See ``Store``."""
        self.cancelled = True

    # -- within -----------------------------------------------------------------------------------

    def _described(self) -> Table:
        if self.table is None:
            raise LockgateError("describe() comes first")
        return self.table

    def _rendered(self, comparison: Comparison, within: Within) -> Iterator[tuple[bytes, bytes]]:
        count = len(comparison.key)
        for texts, row in self._texts(comparison, within):
            yield row_bytes(texts[:count]), row

    def _texts(self, comparison: Comparison, within: Within) -> Iterator[tuple[list[str | None], bytes]]:
        """(texts of all compared columns with the key first, bytes of the row in the order of the comparison)."""
        count = len(comparison.key)
        mask = (1 << within.cut.bits) - 1 if within else 0
        wanted = set(within.leaves) if within else set()
        for values in self.stream([c.name for c in comparison.columns]):
            if self.cancelled:
                raise LockgateError("the comparison was stopped", "CANCELLED")
            texts = [self._render(v, c) for v, c in zip(values, comparison.columns, strict=True)]
            if within and digest(row_bytes(texts[:count]))[0] & mask not in wanted:
                continue
            yield texts, row_bytes(texts)

    def _render(self, value: Any, item: Item) -> str | None:
        family = item.rendering.removeprefix("canonical:")
        if family != "binary":
            try:
                return render(
                    value, self._described().column(item.name).family if item.rendering == "text" else family
                )
            except (ValueError, ArithmeticError, KeyError) as error:
                # Not a value of that kind: it is compared by what it is, and so it differs from every value that is.
                return f"?{type(value).__name__}:{value!r}:{type(error).__name__}"
        raise LockgateError(f"{item.name} cannot be compared in binary here")
