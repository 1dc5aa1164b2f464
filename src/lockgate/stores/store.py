"""The face that every store shows to a comparison and to a move."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from lockgate.stores.table import Comparison, Table


class Leaf(NamedTuple):
    """Count and digest (the sum of 64 bits a row) of the rows whose key falls into one leaf: leaves of parts of a table add up."""

    rows: int
    digest: int

    def plus(self, other: "Leaf") -> "Leaf":
        """Both together."""
        return Leaf(self.rows + other.rows, self.digest + other.digest)


class RowDigest(NamedTuple):
    """One row: its key as text (or int), and its digest."""

    key: tuple[object, ...]
    digest: tuple[int, int]


class Cut(NamedTuple):
    """How rows are spread over leaves: by ``hash``, the lowest ``bits`` bits of the hash of the key; by ``range``, an integer key shifted right by ``bits``."""

    by: str
    bits: int


class Part(NamedTuple):
    """Only the rows that fall into these leaves of a cut."""

    cut: Cut
    leaves: tuple[int, ...]


class KeyRange(NamedTuple):
    """The least and the greatest integer key of a table; ``low`` is above ``high`` where it has no rows."""

    low: int
    high: int


Within = Part | None
"""Some of the rows; None means all."""


class Store(Protocol):
    """One open place with rows. ``snapshot`` fixes what all later calls see; ``cancel`` may come from any thread."""

    def describe(self, name: str) -> Table:
        """The table ``name``. Raises ``ConfigError`` (``TABLE_MISSING``)."""
        ...

    def snapshot(self, like: "Store | None" = None) -> None:
        """See one state from now on; the very state that ``like`` sees where both are one database."""
        ...

    def key_range(self, comparison: Comparison) -> KeyRange | None:
        """Where the keys lie, if an index reaches them by ranges of one integer; else None."""
        ...

    def leaves(
        self, comparison: Comparison, cut: Cut, within: Within, progress: Callable[[float], None]
    ) -> dict[int, Leaf]:
        """Digests of the described table by leaves of ``cut``. ``progress`` hears 0.0 to 1.0."""
        ...

    def row_digests(self, comparison: Comparison, within: Within) -> Iterator[RowDigest]:
        """Key and digest of each row in the leaves ``within``. A key column that says nothing of its type has the mark of each value's: 12 and '12' are two keys."""
        ...

    def find_bad_keys(self, comparison: Comparison) -> Sequence[str]:
        """What is wrong with the key: NULLs, or values that occur twice; nothing when it identifies rows."""
        ...

    def cancel(self) -> None:
        """Ask what runs to stop."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
