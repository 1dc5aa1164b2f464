"""The adapter of OpenSearch and Elasticsearch against a double that keeps the documented rules. No server was ever asked."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from indexes.conftest import DOUBLES, make_records, vector_spec
from indexes.lives import GOLD
from lockgate.errors import Busy, ConfigError, LockgateError, Refused, Unreachable
from lockgate.stores.manifest import Manifest
from lockgate.stores.open_search import NOT_A_SERVER, open_search, unproven
from lockgate.stores.opensearch import OpenSearch
from lockgate.stores.rest import Rest
from support.calls import Project
from support.search_double import RULES, Double, search_double
from support.search_double import __file__ as double_source


class Served(NamedTuple):
    """A double, its URL, an adapter that does not really sleep, and how long it would have slept."""

    url: str
    double: Double
    store: OpenSearch
    slept: list[float]


@pytest.fixture(params=sorted(DOUBLES))
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A double of each kind."""
    with search_double(request.param, DOUBLES[request.param]) as (url, double):
        slept: list[float] = []

        def rest(address: str, key: str) -> Rest:
            return Rest(address, key, timeout=5, sleep=slept.append, clock=lambda: sum(slept))

        yield Served(url, double, OpenSearch(url, request.param, rest=rest), slept)


def filled(store: OpenSearch, *names: str, count: int = 20, spec: Manifest | None = None) -> Manifest:
    wanted = spec or vector_spec(ann="hnsw")
    for name in names:
        store.create(name, wanted)
        store.load(name, make_records(count))
        store.finalise(name, wanted)
    return wanted


def test_it_says_that_no_server_was_asked(served: Served):
    """Kind, capabilities and description all say that this was not run against a server; stores that were run do not."""
    filled(served.store, "doc__1")
    assert NOT_A_SERVER in served.store.capabilities.note
    assert NOT_A_SERVER in served.store.describe("doc__1").engine
    assert {k: unproven(k, "") for k in DOUBLES} == dict.fromkeys(DOUBLES, NOT_A_SERVER)
    assert unproven("qdrant", "folder") == unproven("milvus", "m.db") == unproven("pgvector", "") == ""
    assert unproven("qdrant", "http://q:6333") == unproven("milvus", "http://m:19530") == NOT_A_SERVER
    assert unproven("chroma", "http://c:8000") == ""


def test_the_mapping_is_strict_and_keeps_the_source(served: Served):
    """Nothing is guessed from a document, the manifest stands in _meta, and the source keeps its vectors as they were written."""
    filled(served.store, "doc__1")
    index = served.double.indices["doc__1"]
    assert index.mappings["dynamic"] == "strict"
    assert "lockgate" in index.mappings["_meta"]
    whole = {"opensearch": "knn.derived_source.enabled", "elasticsearch": "mapping.exclude_source_vectors"}
    assert index.settings["index"][whole[served.double.kind]] is False
    reply = served.store._rest.call(
        "POST",
        "/doc__1/_bulk",
        raw=b'{"index": {"_id": "x"}}\n{"id": "x", "text": "", "payload": "{}", "other": 1}\n',
    )
    assert reply.status == 200
    assert reply.body["items"][0]["index"]["error"]["type"] == "strict_dynamic_mapping_exception"


def test_a_swap_is_one_request(served: Served):
    """The alias moves in one request of two actions; at no time do two indices or none have it."""
    filled(served.store, "doc__1", "doc__2")
    served.store.swap("doc", None, "doc__1")
    served.double.asked.clear()
    served.store.swap("doc", "doc__1", "doc__2")
    assert [a for a in served.double.asked if not a.startswith("GET")] == ["POST /_aliases"]
    assert served.double.aliases == {"doc": {"doc__2"}}


def test_an_alias_that_moved_meanwhile(served: Served):
    """Somebody moves the alias between our look and our request: the remove finds nothing, nothing is applied, and it is told as busy."""
    filled(served.store, "doc__1", "doc__2", "doc__3")
    served.store.swap("doc", None, "doc__1")
    seen = served.store.resolve

    def first_look(alias: str) -> str | None:
        found = seen(alias)
        served.double.aliases = {"doc": {"doc__3"}}
        return found

    served.store.resolve = first_look  # type: ignore[method-assign]
    with pytest.raises(Busy) as moved:
        served.store.swap("doc", "doc__1", "doc__2")
    assert moved.value.code == "INDEX_MOVED"
    assert served.double.aliases == {"doc": {"doc__3"}}


@pytest.mark.parametrize("what", ["lost", "unacknowledged"])
def test_a_swap_whose_answer_is_lost_was_carried_out(served: Served, what: str):
    """No answer, or one that not every node acknowledged: the alias is read again, the swap counts, and it was sent once."""
    filled(served.store, "doc__1", "doc__2")
    served.store.swap("doc", None, "doc__1")
    served.double.faults.append(("POST", "_aliases", what))
    served.double.asked.clear()
    served.store.swap("doc", "doc__1", "doc__2")
    assert served.store.resolve("doc") == "doc__2"
    assert served.double.asked.count("POST /_aliases") == 1


def test_an_alias_of_two_indices_is_no_answer(served: Served):
    """Added first and removed later by somebody else: nobody knows which of the two answers, so nothing is said."""
    filled(served.store, "doc__1", "doc__2")
    served.double.aliases = {"doc": {"doc__1", "doc__2"}}
    with pytest.raises(LockgateError) as unclear:
        served.store.resolve("doc")
    assert unclear.value.code == "INDEX_STORE"
    assert "doc__1 and doc__2" in unclear.value.message


def test_names_that_cannot_be_an_alias(served: Served):
    """An index of the alias' name is never deleted to make room; a missing target is told before anything moves."""
    filled(served.store, "doc__1", "doc")
    with pytest.raises(Refused) as taken:
        served.store.swap("doc", None, "doc__1")
    assert taken.value.code == "INDEX_ALIAS"
    assert "doc" in served.double.indices
    with pytest.raises(LockgateError) as missing:
        served.store.swap("other", None, "doc__9")
    assert missing.value.code == "INDEX_UNKNOWN"
    reply = served.store._rest.call("POST", "/_aliases", {"actions": [{"add": {"index": "no", "alias": "a"}}]})  # fmt: skip
    assert reply.kind == "index_not_found_exception"


def test_the_server_would_drop_what_serves(served: Served):
    """The documented rule drops a live index with its alias, so the adapter looks first and refuses."""
    filled(served.store, "doc__1", "doc__2")
    served.store.swap("doc", None, "doc__1")
    for name in ("doc", "doc__1"):
        with pytest.raises(Refused) as refused:
            served.store.drop(name)
        assert refused.value.code == "INDEX_ALIAS"
    assert served.store._rest.call("DELETE", "/doc").status == 400
    assert served.store._rest.call("DELETE", "/doc__1").status == 200
    assert served.double.aliases == {}


def test_a_bulk_request_that_half_failed(served: Served):
    """200 is no success: items that the queue rejected are sent again, alone and after a pause; a wrong one is told by its id."""
    spec = vector_spec(ann="hnsw")
    served.store.create("doc__1", spec)
    served.double.faults += [("POST", "_bulk", "item-busy")] * 3
    records = make_records(20)
    served.store.load("doc__1", records)
    assert len(served.double.indices["doc__1"].written) == 20
    assert served.slept == [0.5]
    served.double.faults += [("POST", "_bulk", "item-busy")] * 50
    with pytest.raises(LockgateError) as busy:
        served.store.upsert("doc__1", records[:2])
    assert busy.value.code == "INDEX_STORE"
    served.double.faults.clear()
    with pytest.raises(Refused) as wrong:
        served.store.upsert("doc__1", [records[0], records[1]._replace(vector=(0.0,) * 8)])
    assert wrong.value.code == "INDEX_RECORD"
    assert repr(records[1].id) in wrong.value.message


def test_a_batch_that_was_written_before(served: Served):
    """A load that is tried again answers 409 for what is there, which is then written over; the content is that of the source."""
    served.store.create("doc__1", vector_spec(ann="hnsw"))
    records = make_records(10)
    served.store.load("doc__1", records[:6])
    served.store.load("doc__1", [records[5]._replace(text="newer"), *records[6:]])
    there = {r.id: r.text for r, _ in served.store.scan("doc__1")}
    assert len(there) == 10
    assert there[records[5].id] == "newer"
    served.store.delete("doc__1", [records[0].id, "never there"])
    assert served.store.content("doc__1").records == 9


def test_busy_servers_are_waited_for_and_not_for_ever(served: Served):
    """429 waits as Retry-After says and goes on; a server that stays busy is unreachable, with nothing claimed."""
    filled(served.store, "doc__1")
    served.slept.clear()
    served.double.faults += [("GET", "_mapping", "busy")] * 3
    assert served.store.manifest("doc__1") is not None
    assert served.slept == [1.0, 1.0, 1.0]
    served.double.faults += [("GET", "_mapping", "busy")] * 100
    with pytest.raises(Unreachable):
        served.store.manifest("doc__1")
    served.double.faults.clear()
    served.double.faults.append(("GET", "_mapping", "lost"))
    assert served.store.manifest("doc__1") is not None, "reading may be repeated"


def test_a_creation_whose_answer_is_lost(served: Served):
    """The index is there with our manifest, so it counts; one that somebody else made under that name does not."""
    served.double.faults.append(("PUT", "doc__1", "lost"))
    served.store.create("doc__1", vector_spec(ann="hnsw"))
    assert served.store.manifest("doc__1") == vector_spec(ann="hnsw")
    served.store._rest.call("PUT", "/doc__2", {"mappings": {"properties": {"text": {}}}})
    with pytest.raises(Refused) as stranger:
        served.store.create("doc__2", vector_spec(ann="hnsw"))
    assert stranger.value.code == "INDEX_EXISTS"


def test_what_is_written_is_counted_only_after_a_refresh(served: Served):
    """Reading refreshes first, so that no record which was acknowledged counts as missing."""
    spec = vector_spec(ann="hnsw")
    served.store.create("doc__1", spec)
    served.store.load("doc__1", make_records(7))
    question = make_records(1)[0].vector
    assert served.store.query("doc__1", question, 3).hits == ()
    assert served.store.content("doc__1").records == 7
    assert served.store.last_id("doc__1") == max(r.id for r in make_records(7))


def test_a_long_reading_is_of_one_moment(served: Served):
    """1,203 records over three pages while others are deleted and added: the pages are those of the point in time, which is closed."""
    filled(served.store, "doc__1", count=1203)
    reading = served.store.scan("doc__1")
    got = [next(reading)[0].id]
    index = served.double.indices["doc__1"]
    with served.double.lock:
        index.written = dict(list(index.written.items())[600:])
        index.visible = dict(index.written)
    got += [r.id for r, _ in reading]
    assert sorted(got) == sorted(r.id for r in make_records(1203))
    assert served.double.points == {}
    reply = served.store._rest.call("POST", "/_search", {"pit": {"id": "pit-1"}, "size": 1})
    assert reply.kind == "search_context_missing_exception"


def test_half_an_answer_is_none(served: Served):
    """A shard that failed makes counts and digests too small without an error; here it is one."""
    filled(served.store, "doc__1")
    served.double.faults.append(("POST", "_search", "shard"))
    with pytest.raises(LockgateError) as half:
        served.store.content("doc__1")
    assert half.value.code == "INDEX_STORE"
    assert served.store.content("doc__1").records == 20


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
@pytest.mark.parametrize("ann", ["hnsw", "flat"])
def test_scores_come_back_in_our_measure(served: Served, metric: str, ann: str):
    """Their scores are shifted and bent; turned back, graph and script agree with the measure itself."""
    spec = vector_spec(ann=ann, metric=metric)
    filled(served.store, "doc__1", spec=spec)
    question = make_records(3)[2].vector or ()
    plain = {
        r.id: -(sum((a - b) ** 2 for a, b in zip(question, r.vector or (), strict=True)) ** 0.5)
        if metric == "l2"
        else sum(a * b for a, b in zip(question, r.vector or (), strict=True))
        for r in make_records(20)
    }
    for exact in (False, True):
        for hit in served.store.query("doc__1", question, 20, exact=exact).hits:
            assert hit.score == pytest.approx(plain[hit.id], abs=1e-5)
    described = served.store.describe("doc__1")
    assert described.metric in ("", metric)
    assert described.ann["type"] == ann


def test_specifications_that_the_server_refuses(served: Served):
    """Too many dimensions, a graph that it does not have, an unknown analyzer: refused as a matter of the specification."""
    for spec in (vector_spec(16_000 if served.double.kind == "elasticsearch" else 16_001), vector_spec(ann="ivfflat")):  # fmt: skip
        with pytest.raises(Refused) as refused:
            served.store.create("doc__1", spec)
        assert refused.value.code == "INDEX_SPEC"
    with pytest.raises(Refused) as unknown:
        served.store.fingerprint("klingon")
    assert unknown.value.code == "INDEX_SPEC"
    assert served.double.indices == {}


def test_a_wrong_question_and_a_wrong_id(served: Served):
    """A query of another dimension and an id that is too long are refused by us, before the server bends or cuts them."""
    filled(served.store, "doc__1")
    with pytest.raises(Refused):
        served.store.query("doc__1", (1.0, 2.0), 3)
    with pytest.raises(Refused) as long:
        served.store.upsert("doc__1", [make_records(1)[0]._replace(id="x" * 513)])
    assert long.value.code == "INDEX_RECORD"
    reply = served.store._rest.call(
        "POST", "/doc__1/_bulk", raw=b'{"index": {"_id": "x"}}\n{"id": "x", "embedding": [1]}\n'
    )
    assert reply.body["items"][0]["index"]["status"] == 400


def test_another_analyzer_shows(served: Served):
    """What the analyzer makes of a probe is its fingerprint: two analyzers differ, and the mapping tells which one it is."""
    spec = Manifest("text", analyzer="english", analyzer_fingerprint=served.store.fingerprint("english"))
    filled(served.store, "doc__1", spec=spec)
    assert served.store.describe("doc__1").analyzer == "english"
    assert served.store.describe("doc__1").analyzer_fingerprint == spec.analyzer_fingerprint
    assert served.store.fingerprint("standard") != spec.analyzer_fingerprint


@pytest.mark.parametrize("key", ["user:pass word", "ApiKey abc"])
def test_the_key_goes_with_every_request_and_nowhere_else(key: str):
    """``user:password`` or the whole header; a wrong one is refused, and no error shows either. A place with a password is refused."""
    with search_double("opensearch", "3.2.0", key) as (url, _):
        filled(OpenSearch(url, "opensearch", key), "doc__1")
        with pytest.raises(LockgateError) as refused:
            OpenSearch(url, "opensearch", "wrong:secret-word").create("doc__2", vector_spec())
        assert "secret-word" not in str(vars(refused.value))
    with pytest.raises(ConfigError) as shown:
        open_search("opensearch", "http://me:hidden@127.0.0.1:9200", None)  # type: ignore[arg-type]
    assert "hidden" not in str(vars(shown.value))
    with pytest.raises(ConfigError):
        OpenSearch("file:///etc/passwd", "opensearch")


def test_a_server_that_is_not_there():
    """Nobody listens: unreachable, after the patience that was given."""
    slept: list[float] = []

    def rest(address: str, key: str) -> Rest:
        return Rest(address, key, sleep=slept.append, clock=lambda: sum(slept))

    with pytest.raises(Unreachable):
        OpenSearch("http://127.0.0.1:9", "opensearch", rest=rest).version()
    assert sum(slept) <= 60


def test_readers_during_swaps_see_whole_answers(served: Served):
    """Sixty swaps under eight readers: no error, and every answer is wholly of the generation that it names."""
    spec = vector_spec(ann="hnsw")
    served.store.create("doc__1", spec)
    served.store.create("doc__2", spec)
    records = make_records(12)
    served.store.load("doc__1", [r._replace(id=f"one-{r.id}") for r in records])
    served.store.load("doc__2", [r._replace(id=f"two-{r.id}") for r in records])
    for name in ("doc__1", "doc__2"):
        served.store.finalise(name, spec)
    served.store.swap("doc", None, "doc__1")
    stop, wrong, seen = threading.Event(), [], set()

    def read() -> None:
        mine = OpenSearch(served.url, served.double.kind)
        while not stop.is_set():
            try:
                answer = mine.query("doc", records[0].vector or (), 5)
            except Exception as error:
                wrong.append(error)
                return
            seen.add(answer.generation)
            start = {"doc__1": "one-", "doc__2": "two-"}[answer.generation]
            if not all(h.id.startswith(start) for h in answer.hits):
                wrong.append(answer)

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for n in range(60):
        served.store.swap("doc", f"doc__{n % 2 + 1}", f"doc__{(n + 1) % 2 + 1}")
    stop.set()
    for reader in readers:
        reader.join(20)
    assert wrong == []
    assert seen == {"doc__1", "doc__2"}


@pytest.mark.postgres("18")
@pytest.mark.parametrize("more", [("--embedder", "hashing:64", "--ann", "hnsw"), ("--analyzer", "english")])
def test_every_command_says_that_no_server_was_asked(tmp_path, database, more):
    """A whole life through the command, vectors and texts: text and JSON of each step say that it was not run against a server."""
    project = Project(tmp_path, database)
    with search_double("opensearch", DOUBLES["opensearch"], "me:secret-word") as (url, _):
        project.environ["LOCKGATE_STORE_KEY"] = "me:secret-word"
        build = ("index", "build", "docs", "--records", str(GOLD / "corpus.jsonl"), "--store", "opensearch", "--place", url, *more)  # fmt: skip
        assert project.ok("index", *build)["unproven"] == NOT_A_SERVER
        assert project.ok("index", "index", "swap", "docs", "--to", "0001")["unproven"] == NOT_A_SERVER
        project.ok("index", *build)
        check = ("index", "validate", "docs", "--against", "0001", "--gold", str(GOLD), "--html", "v.html")
        document = project.json(*check).document("index-validate")
        assert (document["verdict"], document["unproven"]) == ("pass", NOT_A_SERVER)
        assert NOT_A_SERVER in (tmp_path / "v.html").read_text("utf-8")
        project.ok("index", "index", "swap", "docs", "--to", "0002")
        assert project.ok("index", "index", "rollback", "docs")["unproven"] == NOT_A_SERVER
        assert project.ok("index", "index", "gc", "docs")["stores"] == [{"store": "opensearch", "unproven": NOT_A_SERVER}]  # fmt: skip
        listed = project.ok("index", "index", "list", "docs")["generations"]
        assert {g["unproven"] for g in listed} == {NOT_A_SERVER}
        for call in (("index", "list", "docs"), ("index", "gc", "docs"), ("index", "swap", "docs", "--to", "0002"), check):  # fmt: skip
            done = project.run(*call)
            assert NOT_A_SERVER in done.out + done.err, call
            assert "secret-word" not in done.out + done.err


def test_no_rule_of_the_double_is_idle():
    """Every documented rule stands at the place of the double that keeps it, and the double keeps no other."""
    kept = re.findall(r"\.rule\(\s*\"([a-z0-9-]+)\"", Path(double_source).read_text("utf-8"))
    assert set(kept) == set(RULES)
