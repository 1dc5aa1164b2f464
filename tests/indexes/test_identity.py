"""Identity: canonical bytes, digests that do not depend on the order, and what they tell apart."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.stores.canonical import Vector, digest_of, encode, vector_of
from lockgate.stores.content import ContentBuilder, Record, content_of, index_hash, record_digest, vector_hash
from lockgate.stores.manifest import Embedding, Manifest, check, read_manifest

VECTORS = {
    "null": (None, "4e0000000000000000"),
    "true": (True, "540000000000000000"),
    "whole number": (-7, "4900000000000000022d37"),
    "text": ("é", "530000000000000002c3a9"),
    "bytes": (b"\0", "42000000000000000100"),
    "vector": (vector_of([1.0, -2.0]), "5600000000000000083f800000c0000000"),
    "list": (["a", ""], "4c000000000000001353000000000000000161530000000000000000"),
    "map": ({"b": 1, "a": None}, "4d0000000000000027530000000000000001614e0000000000000000530000000000000001624900000000000000013" + "1"),
}  # fmt: skip
"""The test vectors of docs/indexes.md."""


@pytest.mark.parametrize("name", VECTORS)
def test_canonical_bytes_are_those_of_the_documentation(name):
    """The encoding of each kind of value is what docs/indexes.md prints."""
    value, expected = VECTORS[name]
    assert encode(value).hex() == expected


def test_floats_have_no_canonical_form():
    """A float is refused: its text differs between programs."""
    with pytest.raises(TypeError):
        encode([1.5])  # type: ignore[list-item]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.binary(max_size=8).map(Vector),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def shape(value: object) -> object:
    """A value in a form that compares by kind as well: True is not 1, a vector is not bytes."""
    if isinstance(value, Vector):
        return ("V", value.data)
    if isinstance(value, list | tuple):
        return ("L", *map(shape, value))
    if isinstance(value, dict):
        return ("M", *sorted((k, shape(v)) for k, v in value.items()))
    return (type(value).__name__, value)


@given(values, values)
def test_the_encoding_is_injective(one, other):
    """Two values have the same bytes only when they are the same value of the same kind."""
    assert (encode(one) == encode(other)) == (repr(shape(one)) == repr(shape(other)))


records = st.builds(
    Record, st.text(min_size=1, max_size=4), st.text(max_size=6), st.just("{}"), st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2).map(tuple)
)  # fmt: skip


def put(builder: ContentBuilder, r: Record) -> None:
    builder.put(r.id, record_digest(r.id, r.text, r.payload, vector_hash(vector_of(r.vector or ()).data)))


def built(many) -> ContentBuilder:
    builder = ContentBuilder()
    for r in many:
        put(builder, r)
    return builder


@given(st.lists(records, unique_by=lambda r: r.id, max_size=20), st.randoms())
def test_the_root_does_not_depend_on_the_order(many, rng):
    """Any order of the same records gives the same root."""
    again = list(many)
    rng.shuffle(again)
    assert built(many).content() == built(again).content()
    assert built(many).content().root == built(again).content().root


@given(
    st.lists(records, unique_by=lambda r: r.id, max_size=12),
    st.lists(records, unique_by=lambda r: r.id, max_size=12),
)
def test_the_root_is_injective_over_records(one, other):
    """Two sets of records have the same root only when they are the same set: also with pairs that XOR would cancel."""

    def plain(many):
        return {(r.id, r.text, vector_of(r.vector).data) for r in many}

    assert (built(one).content().root == built(other).content().root) == (plain(one) == plain(other))


@given(st.lists(st.tuples(st.booleans(), records), max_size=30))
def test_incremental_is_from_scratch(changes):
    """Writes, overwrites and deletes one by one give what the final records give at once."""
    builder, now = ContentBuilder(), {}
    for delete, r in changes:
        if delete:
            builder.drop(r.id)
            now.pop(r.id, None)
        else:
            put(builder, r)
            now[r.id] = r
    assert builder.content() == built(now.values()).content()
    assert builder.content().records == len(now)


def test_a_difference_is_located():
    """Of a thousand records one is changed: one bucket of 1024 differs, and it is that of its id."""
    many = [Record(f"d{n}", "t", "{}", (float(n), 1.0)) for n in range(1000)]
    other = [*many[:500], many[500]._replace(vector=(0.5, 1.0)), *many[501:]]
    unequal = built(many).content().unequal(built(other).content())
    assert list(unequal) == [int.from_bytes(hashlib.sha256(b"d500").digest()[:2], "big") >> 6]


def test_content_of_scanned_records():
    """Records that come with the hash of their source vector give the same content, whatever the stored vector is."""
    many = [Record(f"d{n}", "t", "{}", (float(n), 1.0)) for n in range(50)]
    rows = [(r._replace(vector=(9.0, 9.0)), vector_hash(vector_of(r.vector or ()).data)) for r in many]
    assert content_of(rows) == built(many).content()


def test_undelimited_fields_do_not_run_together():
    """ab + c and a + bc, and a text that looks like a payload, are different records."""
    assert record_digest("ab", "c", "{}", b"") != record_digest("a", "bc", "{}", b"")
    assert record_digest("a", "{}", "", b"") != record_digest("a", "", "{}", b"")


SPEC = Manifest("vector", Embedding("http", "m", 384), "cosine", ann={"type": "hnsw", "m": "16"})


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(SPEC, metric="ip"),
        msgspec.structs.replace(SPEC, ann={"type": "hnsw", "m": "8"}),
        msgspec.structs.replace(SPEC, chunker="words/1/200"),
        *[
            msgspec.structs.replace(SPEC, embedding=msgspec.structs.replace(SPEC.embedding, **change))
            for change in ({"model": "n"}, {"revision": "2"}, {"dimension": 385}, {"dtype": "float16"}, {"normalised": False}, {"query_prefix": "q: "}, {"truncation": 256})
        ],
    ],
)  # fmt: skip
def test_every_part_of_the_specification_counts(other):
    """Another metric, graph, chunker, model, revision, dimension, rounding, prefix or truncation is another spec_hash."""
    assert other.spec_hash != SPEC.spec_hash
    assert SPEC.differences(other)


def test_the_manifest_survives_its_own_text():
    """A manifest that was written and read back is the same, with the same digest."""
    assert read_manifest(SPEC.as_json()) == SPEC
    assert read_manifest(SPEC.as_json()).spec_hash == SPEC.spec_hash
    assert index_hash(SPEC.spec_hash, "r", 1) != index_hash(SPEC.spec_hash, "r", 2)
    assert digest_of("a", "b") != digest_of("b", "a")


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (Manifest("tree"), "kind"),
        (Manifest("vector", None, "cosine"), "embedding"),
        (msgspec.structs.replace(SPEC, metric="dot"), "metric"),
        (msgspec.structs.replace(SPEC, embedding=Embedding("h", "m", 0)), "dimension"),
        (msgspec.structs.replace(SPEC, embedding=Embedding("h", "m", 3, dtype="int4")), "dtype"),
        (Manifest("text"), "analyzer"),
    ],
)
def test_a_specification_that_contradicts_itself_is_refused(wrong, word):
    """The error names the field."""
    with pytest.raises(ConfigError, match=word) as refused:
        check(wrong)
    assert refused.value.code == "INDEX_SPEC"


def test_a_comment_that_is_no_manifest_is_an_error():
    """A broken manifest in a store is told, and not taken for an empty one."""
    for text in ("{", '{"kind": "vector", "extra": 1}', "[]"):
        with pytest.raises(ConfigError, match="manifest"):
            read_manifest(text)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.none() | st.binary(max_size=40))
def test_the_short_way_to_a_digest_is_the_canonical_one(id, text, payload, vector):
    """Record and vector are framed by hand, because a build does it for every record: the bytes are those of the encoding."""
    hashed = hashlib.sha256(encode(Vector(vector))).digest() if vector is not None else b""
    assert vector_hash(vector) == hashed
    whole = encode(["lockgate:record:1", id, text, payload, hashed])
    assert record_digest(id, text, payload, hashed) == hashlib.sha256(whole).digest()
