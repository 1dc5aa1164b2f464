"""What is in an index, as digests: one for each record, sorted into buckets, and a root that does not depend on the order.

A record's digest covers its id, text, payload and the digest of its *source* vector, so a store that rounds vectors has
the root of the one that does not. Two roots that differ are compared bucket by bucket; only records of unequal buckets
need to be looked at. XOR or sums would be quicker and let changes cancel; sorted digests do not.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lockgate.stores.canonical import digest_of, encode
from lockgate.stores.vectors import Packed, packed

BUCKETS = 1024
RECORD = "lockgate:record:1"
_RECORD = encode(RECORD)
_HEAD = struct.Struct(">cQ").pack
"""The head of a value of the canonical encoding: its tag and its length."""
EMPTY = hashlib.sha256(b"").digest()


class Record(NamedTuple):
    """One document of an index. ``payload`` is canonical JSON text; ``vector`` is None in a text index."""

    id: str
    text: str
    payload: str = "{}"
    vector: tuple[float, ...] | Packed | None = None


def vector_hash(vector: bytes | None) -> bytes:
    """SHA-256 of a vector's canonical bytes; empty for none. ``vector`` is big-endian binary32."""
    # The frame of ``canonical.encode(Vector(...))``, without the way there: a build does this for every record.
    return b"" if vector is None else hashlib.sha256(b"V" + len(vector).to_bytes(8, "big") + vector).digest()


def record_digest(id: str, text: str, payload: str, vector: bytes) -> bytes:
    """The digest of one record; ``vector`` is the hash of its source vector."""
    i, t, p = id.encode("utf-8", "surrogatepass"), text.encode("utf-8", "surrogatepass"), payload.encode("utf-8", "surrogatepass")  # fmt: skip
    # The frame of ``canonical.encode([RECORD, id, text, payload, vector])``; a test keeps the two equal.
    size = len(_RECORD) + 36 + len(i) + len(t) + len(p) + len(vector)
    return hashlib.sha256(b"".join((
        _HEAD(b"L", size), _RECORD, _HEAD(b"S", len(i)), i, _HEAD(b"S", len(t)), t, _HEAD(b"S", len(p)), p, _HEAD(b"B", len(vector)), vector,
    ))).digest()  # fmt: skip


def digest_of_record(record: Record) -> bytes:
    """The digest of a record that comes with its source vector."""
    id_, text, payload, given = record
    return record_digest(id_, text, payload, b"" if given is None else vector_hash(packed(given)))


def bucket_of(digest_of_id: bytes) -> int:
    """The bucket of a record: the first ten bits of SHA-256 of its id."""
    return int.from_bytes(digest_of_id[:2], "big") >> 6


class Content(NamedTuple):
    """The digests of all records of an index: how many, a digest for each non-empty bucket, and the root over them."""

    records: int
    buckets: Mapping[int, bytes]

    @property
    def root(self) -> str:
        """The root over all buckets, in hex."""
        groups = [
            hashlib.sha256(b"".join(self.buckets.get(b, EMPTY) for b in range(g, g + 32))).digest()
            for g in range(0, BUCKETS, 32)
        ]
        return digest_of("lockgate:content:1", *groups)

    def unequal(self, other: "Content") -> tuple[int, ...]:
        """The buckets in which the two differ."""
        return tuple(b for b in range(BUCKETS) if self.buckets.get(b) != other.buckets.get(b))


class ContentBuilder:
    """Makes a ``Content`` record by record, in any order; a record that comes again under its id replaces the older one."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[str, bytes]] = {}

    def put(self, id: str, digest: bytes) -> None:
        """Add a record, or replace the one of that id."""
        self._bucket(id)[id] = digest

    def drop(self, id: str) -> None:
        """Take a record away, if it is there."""
        self._bucket(id).pop(id, None)

    def _bucket(self, id: str) -> dict[str, bytes]:
        number = bucket_of(hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest())
        return self._buckets.setdefault(number, {})

    def within(self, number: int) -> Mapping[str, bytes]:
        """The record digests of one bucket, by their ids."""
        return self._buckets.get(number, {})

    def content(self) -> Content:
        """The digests now."""
        made = {b: bucket_digest(many.values()) for b, many in self._buckets.items() if many}
        return Content(sum(map(len, self._buckets.values())), made)


def content_of(rows: "Iterable[tuple[Record, bytes]]") -> Content:
    """The digests of records that come with the hashes of their source vectors."""
    builder = ContentBuilder()
    for record, vector in rows:
        builder.put(record.id, record_digest(record.id, record.text, record.payload, vector))
    return builder.content()


def bucket_digest(digests: Iterable[bytes]) -> bytes:
    """SHA-256 over the sorted record digests of a bucket."""
    return hashlib.sha256(b"".join(sorted(digests))).digest()


def index_hash(spec_hash: str, root: str, count: int) -> str:
    """The identity of a sealed generation."""
    return digest_of("lockgate:index:1", spec_hash, root, count)
