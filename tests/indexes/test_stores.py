"""One conformance suite on every store that is searched. Each of them is the real thing."""

import msgspec
import pytest

from indexes.conftest import Bench
from lockgate.errors import Busy, LockgateError, Refused
from lockgate.stores.content import ContentBuilder, record_digest, vector_hash
from lockgate.stores.vectors import packed

pytestmark = pytest.mark.postgres("18")


def filled(b: Bench, physical: str) -> None:
    b.store.create(physical, b.spec)
    b.store.upsert(physical, b.records)
    b.store.finalise(physical, b.spec)


def expected(b: Bench, records=None):
    builder = ContentBuilder()
    for r in b.records if records is None else records:
        vector = vector_hash(packed(r.vector)) if b.spec.kind == "vector" else b""
        builder.put(r.id, record_digest(r.id, r.text, r.payload, vector))
    return builder.content()


def test_content_is_what_was_written_in_any_order(bench: Bench):
    """The digests of a store are those of the source records, whatever the order, the batches and the rounding; writing twice changes nothing."""
    bench.store.create("doc__1", bench.spec)
    for start in range(0, 60, 7):
        bench.store.upsert("doc__1", bench.records[::-1][start : start + 7])
    bench.store.upsert("doc__1", bench.records[:5])
    bench.store.finalise("doc__1", bench.spec)
    assert bench.store.content("doc__1") == expected(bench)
    assert bench.store.content("doc__1").root == expected(bench).root
    assert bench.store.last_id("doc__1") == max(r.id for r in bench.records)
    assert bench.store.count("doc__1") == 60
    with pytest.raises(LockgateError) as nothing:
        bench.store.count("nothing__1")
    assert nothing.value.code == "INDEX_UNKNOWN"


def test_a_changed_and_a_deleted_record_show(bench: Bench):
    """One other text, one record gone: the root differs, and only in the buckets of those two."""
    filled(bench, "doc__1")
    changed = bench.records[3]._replace(text="another text")
    bench.store.upsert("doc__1", [changed])
    bench.store.delete("doc__1", [bench.records[9].id, "never there"])
    rest = [changed if r.id == changed.id else r for r in bench.records if r.id != bench.records[9].id]
    now = bench.store.content("doc__1")
    assert now == expected(bench, rest)
    assert bench.store.count("doc__1") == 59
    assert 1 <= len(now.unequal(expected(bench))) <= 2


def test_the_best_answer_and_who_gave_it(bench: Bench):
    """A question made from a record finds that record first, exactly and through the graph, and the answer names its generation."""
    filled(bench, "doc__1")
    for record in bench.records[:20]:
        for exact in (False, True):
            answer = bench.store.query("doc__1", bench.question(record), 3, exact=exact)
            assert answer.hits[0].id == record.id
            assert answer.generation == "doc__1"
            scores = [h.score for h in answer.hits]
            assert scores == sorted(scores, reverse=True)


def test_create_is_repeatable_and_never_another_thing(bench: Bench):
    """The same specification again is fine; another one under that name is refused and changes nothing."""
    filled(bench, "doc__1")
    bench.store.create("doc__1", bench.spec)
    with pytest.raises(Refused) as refused:
        bench.store.create("doc__1", bench.other)
    assert refused.value.code == "INDEX_EXISTS"
    assert bench.store.manifest("doc__1") == bench.spec
    assert bench.store.content("doc__1") == expected(bench)
    assert bench.store.manifest("nothing__1") is None


def test_swap_expects_and_can_be_repeated(bench: Bench):
    """A swap moves the alias only from what was expected, repeating it changes nothing, and back is a swap too."""
    filled(bench, "doc__1")
    filled(bench, "doc__2")
    assert bench.store.resolve("doc") is None
    bench.store.swap("doc", None, "doc__1")
    bench.store.swap("doc", None, "doc__1")
    with pytest.raises(Busy) as moved:
        bench.store.swap("doc", None, "doc__2")
    assert moved.value.code == "INDEX_MOVED"
    assert bench.store.resolve("doc") == "doc__1"
    bench.store.swap("doc", "doc__1", "doc__2")
    assert bench.store.query("doc", bench.question(bench.records[0]), 1).generation == "doc__2"
    bench.store.swap("doc", "doc__2", "doc__1")
    assert bench.store.query("doc", bench.question(bench.records[0]), 1).generation == "doc__1"
    assert bench.store.physical("doc") == ["doc__1", "doc__2"]


def test_what_serves_cannot_be_dropped(bench: Bench):
    """Dropping an alias, or what an alias points to, is refused; another generation goes, and going twice is fine."""
    filled(bench, "doc__1")
    filled(bench, "doc__2")
    bench.store.swap("doc", None, "doc__1")
    for name in ("doc", "doc__1"):
        with pytest.raises(Refused) as refused:
            bench.store.drop(name)
        assert refused.value.code == "INDEX_ALIAS"
    bench.store.drop("doc__2")
    bench.store.drop("doc__2")
    assert bench.store.physical("doc") == ["doc__1"]
    assert bench.store.query("doc", bench.question(bench.records[0]), 1).hits


def test_description_shows_the_thing_itself(bench: Bench):
    """Count, dimension, metric, norms and analyzer come from the store, not from the manifest."""
    filled(bench, "doc__1")
    d = bench.store.describe("doc__1")
    assert (d.records, d.valid, d.unindexed, d.zero, d.broken, d.wrong_rows, d.duplicates) == (
        60,
        True,
        0,
        0,
        0,
        0,
        0,
    )
    if bench.spec.kind == "vector":
        assert d.dimension == 8
        assert d.metric in ("", "cosine")
        assert abs((d.norm_low or 0) - 1) < 1e-3
        assert abs((d.norm_high or 0) - 1) < 1e-3
    else:
        assert d.analyzer == bench.spec.analyzer
        assert d.analyzer_fingerprint == bench.store.fingerprint(bench.spec.analyzer)  # type: ignore[attr-defined]
        assert d.analyzer_fingerprint != bench.store.fingerprint(bench.other.analyzer)  # type: ignore[attr-defined]


def test_a_record_that_does_not_fit_is_refused(bench: Bench):
    """Another dimension, or no vector at all, is refused by name."""
    if bench.spec.kind == "text":
        pytest.skip("a text index takes any text")
    bench.store.create("doc__1", bench.spec)
    for vector in (None, (1.0, 0.0)):
        with pytest.raises(LockgateError) as refused:
            bench.store.upsert("doc__1", [bench.records[0]._replace(vector=vector)])
        assert refused.value.code in ("INDEX_RECORD", "INDEX_STORE")
        bench.store.delete("doc__1", [bench.records[0].id])


def test_an_unknown_index_is_an_error(bench: Bench):
    """A query to a name that nobody knows raises, and does not answer with nothing."""
    with pytest.raises(LockgateError) as unknown:
        bench.store.query("nobody", bench.question(bench.records[0]), 1)
    assert unknown.value.code == "INDEX_UNKNOWN"


def test_writes_go_to_physical_names_only(bench: Bench):
    """A writer that names the alias would hit another generation after the next swap: it is refused, and nothing changes."""
    filled(bench, "doc__1")
    bench.store.swap("doc", None, "doc__1")
    before = bench.store.content("doc__1")
    changed = [bench.records[0]._replace(text="another text")]
    for write in (bench.store.upsert, bench.store.load):
        with pytest.raises(LockgateError) as refused:
            write("doc", changed)
        assert refused.value.code == "INDEX_UNKNOWN"
    with pytest.raises(LockgateError) as kept:
        bench.store.delete("doc", [bench.records[0].id])
    assert kept.value.code == "INDEX_UNKNOWN"
    assert bench.store.content("doc__1") == before


def test_an_alias_never_leads_to_nothing(bench: Bench):
    """A swap to a generation that is not there is refused, and the alias stays where it was."""
    filled(bench, "doc__1")
    for expect in (None, "doc__1"):
        with pytest.raises(LockgateError) as missing:
            bench.store.swap("doc", expect, "doc__9")
        assert missing.value.code == "INDEX_UNKNOWN"
        assert bench.store.resolve("doc") == expect
        if expect is None:
            bench.store.swap("doc", None, "doc__1")


def test_a_zero_vector_is_counted_or_refused(bench: Bench):
    """A vector of length 0 has no direction: the description counts it, or the store refuses it by name."""
    if bench.spec.kind == "text":
        pytest.skip("a text index has no vectors")
    bench.store.create("doc__1", bench.spec)
    zero = bench.records[0]._replace(vector=(0.0,) * 8)
    if bench.kind in ("opensearch", "opensearch-flat", "elasticsearch"):
        with pytest.raises(Refused) as refused:
            bench.store.upsert("doc__1", [zero])
        assert refused.value.code == "INDEX_RECORD"
        assert repr(zero.id) in refused.value.message
        return
    bench.store.upsert("doc__1", [zero])
    assert bench.store.describe("doc__1").zero == 1


def test_a_form_that_the_store_does_not_have(bench: Bench):
    """A graph that it does not know, and a rounding that it would leave out: refused before anything is made, never taken without a word."""
    if bench.spec.kind == "text":
        pytest.skip("a text index has no vectors")
    odd = msgspec.structs.replace(bench.spec, ann={"type": "magic"})
    with pytest.raises(Refused) as graph:
        bench.store.create("doc__1", odd)
    assert graph.value.code == "INDEX_SPEC"
    if bench.kind.partition("-")[0] not in ("pgvector", "lancedb"):
        half = msgspec.structs.replace(bench.spec.embedding, dtype="float16")
        with pytest.raises(Refused) as rounded:
            bench.store.create("doc__1", msgspec.structs.replace(bench.spec, embedding=half))
        assert rounded.value.code == "INDEX_SPEC"
    assert bench.store.physical("doc") == []
