"""Build a generation offline, beside the one that serves: records → vectors → store → search structure → seal.

A build can be killed at any place and called again: records are written in the order of their ids, so the greatest id in
the store tells where to go on. Before the seal, what is in the store is compared with the source, so a short build never
looks finished.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

import msgspec

from lockgate.errors import Refused, RunFailed
from lockgate.indexes.embedders import CANARIES, Embedder, embed_all
from lockgate.indexes.inspect import UNIT, UNIT_UNDER_COSINE
from lockgate.indexes.register import (
    BEGUN,
    Generation,
    add_generation,
    fed_by,
    find_generation,
    forget_generation,
    record_event,
)
from lockgate.postgres.link import Link
from lockgate.record.points import point
from lockgate.stores.ahead import ahead
from lockgate.stores.content import (
    Content,
    ContentBuilder,
    Record,
    digest_of_record,
    index_hash,
    record_digest,
    vector_hash,
)
from lockgate.stores.manifest import Manifest
from lockgate.stores.searching import SearchStore
from lockgate.stores.vectors import Packed, is_zero, packed

BATCH = 2_000


class Wanted(msgspec.Struct, frozen=True):
    """What to build. ``total`` is the number of source records; ``rate`` limits records a second (0: no limit).

    ``call`` is the command that goes on with it after a kill; kept, because nothing else knows where the records come from.
    """

    name: str
    generation: str
    store: str
    place: str
    manifest: Manifest
    embedder: str
    total: int
    rate: float = 0.0
    batch: int = BATCH
    call: str = ""


class Built(msgspec.Struct, frozen=True, rename="camel"):
    """What a build did. ``resumed`` counts the records that were there already."""

    name: str
    generation: str
    records: int
    written: int
    resumed: int
    mended: int
    spec_hash: str
    content_root: str
    index_hash: str
    seconds: float


def build(
    link: Link,
    store: SearchStore,
    wanted: Wanted,
    source: Callable[[str], Iterable[Record]],
    embedder: Embedder | None,
    *,
    actor: str,
    progress: Callable[[str, float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Built:
    """Build or go on building; the caller holds the index's lock. ``source(after)`` gives records sorted by id.

    Raises ``Refused`` where the generation is sealed or of another specification, ``RunFailed`` where the store does not
    hold what the source has.
    """
    begin = clock()
    told = progress or _untold
    if move := fed_by(link, wanted.name).get(wanted.generation):
        raise Refused(
            f"the move {move} fills generation {wanted.generation} of {wanted.name}", "INDEX_EXISTS", next="Give the new one another name: --generation"
        )  # fmt: skip
    add_generation(
        link, wanted.name, wanted.generation, wanted.store, wanted.place, wanted.manifest, wanted.embedder
    )
    row = find_generation(link, wanted.name, wanted.generation)
    _refuse_other(row, wanted)
    try:
        store.create(row.physical, wanted.manifest)
    except Refused:
        if store.manifest(row.physical) is None:
            # Nothing was made, so nothing is being built.
            forget_generation(link, wanted.name, wanted.generation)
        raise
    if wanted.call:
        record_event(link, wanted.name, BEGUN, actor, after=wanted.generation, details={"call": wanted.call})
    last = store.last_id(row.physical)
    fresh = last is None
    builder = ContentBuilder()
    written = 0
    already = 0
    if not fresh:
        already = store.describe(row.physical).records
    point("index:build:begin")
    size = min(wanted.batch, max(1, int(wanted.rate))) if wanted.rate else wanted.batch
    pieces = _ready(source(last or ""), size, embedder, wanted.manifest, builder if fresh else None)
    try:
        with ahead(pieces) if embedder is None else nullcontext(pieces) as coming:
            for ready in coming:
                store.load(row.physical, ready)
                point("index:build:batch")
                written += len(ready)
                told(
                    f"building {wanted.name} {wanted.generation}",
                    min(1.0, (already + written) / max(1, wanted.total)),
                )
                if wanted.rate:
                    behind = begin + written / wanted.rate - clock()
                    if behind > 0:
                        sleep(behind)
    except Refused as refused:
        if fresh and not written:
            # Nothing was written, so nothing is being built.
            refused.state = "Nothing was built."
            store.drop(row.physical)
            forget_generation(link, wanted.name, wanted.generation)
        raise
    mended = 0 if fresh else _mend(store, row, source, embedder, wanted)
    told("indexing", 1.0)
    store.finalise(row.physical, wanted.manifest)
    point("index:build:indexed")
    content = store.content(row.physical)
    if fresh and content != builder.content():
        raise RunFailed(
            f"{row.physical} holds {content.records} records, the source {builder.content().records}; "
            f"{len(content.unequal(builder.content()))} of 1024 buckets differ", "INDEX_STORE",
        )  # fmt: skip
    sealed = seal(link, row, content, embedder, actor)
    return Built(
        wanted.name, wanted.generation, content.records, written, already, mended, wanted.manifest.spec_hash,
        content.root, sealed, round(clock() - begin, 3),
    )  # fmt: skip


def _untold(doing: str, share: float) -> None:
    """Nobody watches."""


def _refuse_other(row: Generation, wanted: Wanted) -> None:
    if row.state != "building":
        raise Refused(
            f"generation {row.generation} of {row.name} is sealed", "INDEX_EXISTS",
            next="Give the new one another name: --generation",
        )  # fmt: skip
    if row.spec_hash != wanted.manifest.spec_hash or (row.store, row.place) != (wanted.store, wanted.place):
        raise Refused(
            f"generation {row.generation} of {row.name} is being built to another specification", "INDEX_EXISTS",
            details={"differences": row.manifest.differences(wanted.manifest)},
        )  # fmt: skip


def _pieces(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    piece: list[Record] = []
    for record in records:
        piece.append(record)
        if len(piece) >= size:
            yield piece
            piece = []
    if piece:
        yield piece


def _ready(
    records: Iterable[Record], size: int, embedder: Embedder | None, manifest: Manifest, builder: ContentBuilder | None
) -> Iterator[list[Record]]:  # fmt: skip
    """Batches with their vectors. What they are goes into ``builder``, so that the store can be compared with it."""
    for piece in _pieces(records, size):
        ready = _embedded(piece, embedder, manifest)
        if builder is not None:
            _remember(builder, ready)
        yield ready


def _embedded(piece: list[Record], embedder: Embedder | None, manifest: Manifest) -> list[Record]:
    """The records with their vectors. Raises ``Refused`` for one without."""
    if manifest.kind == "text":
        return [r._replace(vector=None) for r in piece]
    if embedder is not None:
        prefix = manifest.embedding.document_prefix if manifest.embedding else ""
        vectors = embed_all(embedder, [prefix + r.text for r in piece])
        made = [r._replace(vector=Packed(packed(v))) for r, v in zip(piece, vectors, strict=True)]
        for r in made:
            if isinstance(r.vector, Packed) and is_zero(r.vector.data) and not manifest.takes_zero:
                raise Refused(
                    f"record {r.id!r} has a vector of length 0", "INDEX_RECORD",
                    next="Give it a text, or leave the record out: nobody could find it.",
                )  # fmt: skip
        return made
    for r in piece:
        if r.vector is None or len(r.vector) != manifest.dimension:
            raise Refused(
                f"record {r.id!r} has {len(r.vector or ())} components, not {manifest.dimension}", "INDEX_RECORD",
                next="Give every record a `vector`, or name an --embedder.",
            )  # fmt: skip
    # Vectors that are given are kept as they are: `validate` names what is wrong with them, and `swap` asks.
    return [r._replace(vector=Packed(packed(r.vector or ()))) for r in piece]


def refuse_length(record: Record, manifest: Manifest) -> None:
    """Raise ``Refused`` (``INDEX_RECORD``) for a vector whose length is not the 1 that the specification says."""
    length = math.hypot(*(record.vector or ()))
    if abs(length - 1) > (UNIT_UNDER_COSINE if manifest.metric == "cosine" else UNIT):
        raise Refused(
            f"the vector of record {record.id!r} has the length {length:.4g}, and the specification says 1", "INDEX_RECORD",
            next="Bring the vectors to length 1; or, where their lengths are meant, --raw-lengths (raw_lengths = true).",
        )  # fmt: skip


def _remember(builder: ContentBuilder, records: Sequence[Record]) -> None:
    for r in records:
        builder.put(r.id, digest_of_record(r))


def _mend(
    store: SearchStore, row: Generation, source: Callable[[str], Iterable[Record]], embedder: Embedder | None, wanted: Wanted
) -> int:  # fmt: skip
    """After a resumed build: what changed or went away in the source meanwhile is written or deleted; the number of records."""
    there = {r.id: _plain(r, given=embedder is None, vector=digest) for r, digest in store.scan(row.physical)}
    stale: list[Record] = []
    count = 0
    for record in source(""):
        vector = vector_hash(packed(record.vector)) if record.vector is not None else b""
        if there.pop(record.id, None) != _plain(record, given=embedder is None, vector=vector):
            stale.append(record)
        if len(stale) >= wanted.batch:
            store.upsert(row.physical, _embedded(stale, embedder, wanted.manifest))
            count += len(stale)
            stale = []
    if stale:
        store.upsert(row.physical, _embedded(stale, embedder, wanted.manifest))
    if there:
        store.delete(row.physical, list(there))
    return count + len(stale) + len(there)


def _plain(record: Record, *, given: bool, vector: bytes) -> bytes:
    return hashlib.sha256(
        record_digest(
            record.id, record.text, record.payload, vector if given and record.vector is not None else b""
        )
    ).digest()


def seal(link: Link, row: Generation, content: Content, embedder: Embedder | None, actor: str, *, anew: bool = False) -> str:  # fmt: skip
    """Write the hashes; from here on the generation is what it is. Returns its ``index_hash``.

    ``anew`` seals one again that never served: a move goes on writing to it until the moment of its swap.
    """
    identity = index_hash(row.spec_hash, content.root, content.records)
    canary = embed_all(embedder, CANARIES) if embedder is not None else []
    with link.transaction():
        link.run(
            "UPDATE lockgate.index_generation SET state = 'sealed', sealed_at = clock_timestamp(), records = $3, content_root = $4, index_hash = $5, "
            "canary = $6::text::jsonb WHERE name = $1 AND generation = $2 AND (state = 'building' OR $7::boolean AND state = 'sealed' AND NOT live)",
            row.name, row.generation, content.records, content.root, identity,
            msgspec.json.encode(canary).decode(), anew,
        )  # fmt: skip
        record_event(
            link,
            row.name,
            "seal",
            actor,
            after=row.generation,
            details={"index_hash": identity, "records": content.records},
        )
    return identity
