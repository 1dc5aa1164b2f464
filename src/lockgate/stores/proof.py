"""What a range of the backfill came to: the images that were written against what the other side holds of their keys."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from lockgate.stores.making import Given, Unmade, Values, plain
from lockgate.stores.neutral import canonical
from lockgate.stores.rendering import digest, row_bytes

if TYPE_CHECKING:
    from lockgate.stores.side import Op, Side


class Proof(Protocol):
    """Operations are looked at part by part, each once it is written; the digests do not depend on how they were parted."""

    def add(self, ops: "Sequence[Op]") -> None:
        """Read back what the side holds of the keys of ``ops``."""
        ...

    def told(self) -> tuple[int, str, str]:
        """(rows that are there, digest of the images, digest of what is there)."""
        ...


class TableProof:
    """Rows of a table, by sums of their digests: canonical values, in any order."""

    def __init__(self, side: "Side", given: Sequence[Given]) -> None:
        self._side, self._given = side, given
        self._rows = 0
        self._mine, self._there = [0, 0], [0, 0]

    def add(self, ops: "Sequence[Op]") -> None:
        """See ``Proof``."""
        there = self._side.rows([op.key for op in ops], [g.name for g in self._given])
        self._rows += len(there)
        images = (op.image for op in ops if op.image is not None and not isinstance(op.image, Unmade))
        self._sum(self._mine, images)
        self._sum(self._there, (image for _, image in there))

    def _sum(self, sums: list[int], images: Iterable[Values]) -> None:
        for image in images:
            texts = [canonical(t, g.family) for t, g in zip(plain(image), self._given, strict=True)]
            for half, value in enumerate(digest(row_bytes(texts))):
                sums[half] += value

    def told(self) -> tuple[int, str, str]:
        """See ``Proof``."""
        return self._rows, ":".join(map(str, self._mine)), ":".join(map(str, self._there))
