"""The face of every store that is searched: tables of vectors, full-text indexes, collections, files.

A *physical* index is one generation under its own name; an *alias* is the name that readers use. Long scans, digests and
backfills take physical names only; destructive calls refuse alias names.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from lockgate.stores.content import Content, Record
from lockgate.stores.manifest import Manifest


class Capabilities(NamedTuple):
    """What a store can do.

    ``swap`` is ``transactional`` (in the transaction of our own record), ``atomic`` (one step of the store's own) or
    ``two_step``, where a reader may see neither; then the gate holds. ``fidelity`` is ``exact``, ``rounded`` or ``unit``.
    """

    swap: str
    fidelity: str
    note: str = ""


class Description(NamedTuple):
    """What a physical index is, as the store itself shows it. None and "" mean that the store does not tell.

    ``wrong_rows`` are records whose stored vector is not the one that was written (rounding aside); ``duplicates``
    counts ids that stand there more than once, ``unindexed`` records that the search structure does not hold.
    """

    records: int
    dimension: int | None = None
    metric: str = ""
    valid: bool = True
    indexed: bool = True
    unindexed: int = 0
    zero: int = 0
    broken: int = 0
    norm_low: float | None = None
    norm_high: float | None = None
    wrong_rows: int = 0
    duplicates: int = 0
    analyzer: str = ""
    analyzer_fingerprint: str = ""
    ann: dict[str, str] = {}
    engine: str = ""


class Found(NamedTuple):
    """One answer: a document and its score, higher is better."""

    id: str
    score: float


class Answered(NamedTuple):
    """The answers to one query, and the physical generation that gave them."""

    generation: str
    hits: tuple[Found, ...]


class SearchStore(Protocol):
    """One store. Physical names are ``name__generation``; ``name`` is the alias."""

    capabilities: Capabilities

    def create(self, physical: str, manifest: Manifest) -> None:
        """Make an empty physical index with its manifest. One that is there with an equal manifest is fine, another raises."""

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """Write records whole; doing it again changes nothing."""

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """Write records that are not there yet, in the quickest way that the store has."""

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """Take records away; ids that are not there are fine."""

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """Build the search structure over what is there, and wait for it."""

    def last_id(self, physical: str) -> str | None:
        """The greatest id, by code point; None in an empty index."""

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """Every record with the hash of its source vector, in any order."""

    def count(self, physical: str) -> int:
        """How many records are there, as cheaply as the store tells it. Raises ``LockgateError`` (``INDEX_UNKNOWN``) where there is no such index."""

    def content(self, physical: str) -> Content:
        """The digests of what is there."""

    def describe(self, physical: str) -> Description:
        """What it is."""

    def manifest(self, physical: str) -> Manifest | None:
        """The manifest in the store's own place; None where there is none."""

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """The best ``k`` of an alias or a physical index. ``search`` is the graph's breadth, never below ``k``."""

    def resolve(self, alias: str) -> str | None:
        """The physical index behind an alias; None where there is none."""

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """Point ``alias`` from ``expect`` to ``to``. Doing it again changes nothing; another target than expected raises ``Busy``."""

    def drop(self, physical: str) -> None:
        """Destroy a physical index; one that is not there is fine. Refuses an alias, and what an alias points to."""

    def physical(self, name: str) -> list[str]:
        """The physical indexes of ``name``."""

    def close(self) -> None:
        """Let go of the store."""


class LiveStore(SearchStore, Protocol):
    """A store whose readers see a write at once, record by record: what a move feeds while it serves."""

    def record_digests(self, physical: str, ids: Sequence[str]) -> dict[str, bytes]:
        """The record digests (``content.record_digest``) of those of ``ids`` that are there."""


def physical_name(name: str, generation: str) -> str:
    """The physical name of a generation."""
    return f"{name}__{generation}"


def generation_of(physical: str) -> str:
    """The generation in a physical name."""
    return physical.rpartition("__")[2]


def alias_of(physical: str) -> str:
    """The alias that a physical name belongs to; "" for what is no physical name."""
    return physical.rpartition("__")[0]
