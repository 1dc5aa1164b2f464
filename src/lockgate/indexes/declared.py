"""From a declaration (``[index.NAME]``, or the options of a build) to what a build takes: the source of records and the manifest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from lockgate.config.index import Index
from lockgate.errors import ConfigError, Refused
from lockgate.indexes.embedders import Cached, Embedder, describe, open_embedder
from lockgate.indexes.records import count_table, from_file, from_table
from lockgate.indexes.register import Generation
from lockgate.postgres.link import Link
from lockgate.stores.content import Record
from lockgate.stores.manifest import Embedding, Manifest, check
from lockgate.stores.searching import SearchStore

TEXT_ONLY = {"fts": "english", "fts5": "porter unicode61"}
"""Stores of texts, with the analyzer that they take where none is named."""
BOTH = ("opensearch", "elasticsearch")
"""Stores of vectors, or of texts where an analyzer is named."""


class Source(NamedTuple):
    """Where records come from: how many there are, the first one, and a function that gives those after an id."""

    total: int
    first: Record | None
    after: Callable[[str], Iterable[Record]]


class _Fingerprints(Protocol):
    def fingerprint(self, analyzer: str) -> str:
        """What an analyzer does, as a digest."""


def source_of(link: Link, root: Path, one: Index) -> Source:
    """The records of a declaration. Raises ``ConfigError`` for a file that is none."""
    if one.records:
        held = from_file(root / one.records)
        return Source(
            len(held),
            next(iter(held.values()), None),
            lambda after: (r for r in held.values() if not after or r.id > after),
        )
    total = count_table(link, one.table, one.id)

    def source(after: str) -> Iterator[Record]:
        # A session of its own: the rows are read in one snapshot while batches are committed beside it.
        reader = Link(link.target, "index source")
        try:
            with reader.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY"):
                yield from from_table(reader, one.table, one.id, one.text, one.vector, after)
        finally:
            reader.close()

    return Source(total, next(iter(islice(source(""), 1)), None), source)


def embedder_of(one: Index, key: str, cache: Path | None) -> Embedder | None:
    """The declaration's embedder, cached in the file ``cache`` unless it is the built-in one; None without one."""
    if not one.embedder or _of_texts(one):
        return None
    found = open_embedder(one.embedder, key)
    if cache is None or one.embedder.startswith("hashing"):
        return found
    cache.parent.mkdir(exist_ok=True)
    return Cached(found, cache)


def manifest_of(store: SearchStore, one: Index, embedder: Embedder | None, first: Record | None) -> Manifest:
    """The specification that a declaration describes. Raises ``ConfigError`` that names what is missing."""
    if _of_texts(one):
        analyzer = one.analyzer or TEXT_ONLY[one.store]
        told: _Fingerprints = store  # type: ignore[assignment]
        return check(Manifest("text", analyzer=analyzer, analyzer_fingerprint=told.fingerprint(analyzer)))
    if embedder is not None:
        embedding = describe(embedder, one.embedder, one.dtype)
    else:
        dimension = len(first.vector) if first is not None and first.vector else 0
        if not dimension:
            raise ConfigError(
                "the records bring no vectors",
                "USAGE",
                next="Name an embedder, or give every record a vector.",
            )
        embedding = Embedding("given", one.model, dimension, dtype=one.dtype)
    embedding = msgspec.structs.replace(embedding, normalised=not one.raw_lengths)
    return check(Manifest("vector", embedding, one.metric, ann=_ann(one.ann)))


def _of_texts(one: Index) -> bool:
    return one.store in TEXT_ONLY or (one.store in BOTH and bool(one.analyzer))


def _ann(text: str) -> dict[str, str]:
    name, _, rest = text.partition(":")
    found = {"type": name}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not value.isdigit():
            raise ConfigError(
                f"ann {text!r}: {pair!r} is not NAME=NUMBER", "USAGE", next="hnsw:m=16,ef_construction=64"
            )
        found[key] = value
    return found


def refuse_unasked(name: str, manifest: Manifest, asked: str, whose: str) -> None:
    """Raise ``Refused`` (``INDEX_SPEC``) where an image asks for another specification than would be built; ``asked`` is "" where it asks for none.

    Before anything is built: after hours of embedding the gate would refuse the image all the same.
    """
    if asked and asked != manifest.spec_hash:
        raise Refused(
            f"{whose} asks for index {name} with the specification {asked[:16]}, and what would be built is {manifest.spec_hash[:16]}", "INDEX_SPEC",
            next="Declare the index as the image has it, or build an image for this one.",
            details={"asked": asked, "specHash": manifest.spec_hash, "manifest": manifest.as_json()},
        )  # fmt: skip


def next_generation(known: Sequence[Generation], names: Sequence[str], spec_hash: str) -> str:
    """The one that is being built to this specification, or the next number. ``names`` are all there ever were: a number never comes again."""
    unfinished = [g.generation for g in known if g.state == "building" and g.spec_hash == spec_hash]
    return unfinished[-1] if unfinished else next_number(names)


def next_number(names: Sequence[str]) -> str:
    """The number behind all that generations of an index ever had as their names."""
    return f"{max((int(name) for name in names if name.isdigit()), default=0) + 1:04d}"
