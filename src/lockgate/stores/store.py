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


Within = tuple[int, tuple[int, ...]] | None
"""Only the rows that fall into these leaves of so many bits; None means all."""


class Store(Protocol):
    """One open place with rows. ``snapshot`` fixes what all later calls see; ``cancel`` may come from any thread."""

    def describe(self, name: str) -> Table:
        """The table ``name``. Raises ``ConfigError`` (``TABLE_MISSING``)."""
        ...

    def snapshot(self, like: "Store | None" = None) -> None:
        """See one state from now on; the very state that ``like`` sees where both are one database."""
        ...

    def leaves(
        self, comparison: Comparison, bits: int, within: Within, progress: Callable[[float], None]
    ) -> dict[int, Leaf]:
        """Digests of the described table by the lowest ``bits`` bits of each key's hash. ``progress`` hears 0.0 to 1.0."""
        ...

    def row_digests(self, comparison: Comparison, within: Within) -> Iterator[RowDigest]:
        """Key and digest of each row in the leaves ``within``."""
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
