"""The traps of the stores of the first row, each as a test: pgvector, full text, FTS5, index files with FAISS, Qdrant."""

import json
import signal
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

from indexes.conftest import make_records, vector_spec
from indexes.lives import GOLD, Readers, killed_at, records_file
from lockgate.errors import Busy, LockgateError, Refused
from lockgate.indexes.inspect import CAUSES
from lockgate.stores.fts5 import Fts5
from lockgate.stores.manifest import Manifest
from lockgate.stores.open_search import open_search
from lockgate.stores.pgvector import PgVector
from lockgate.stores.pointer import PointerFiles
from lockgate.stores.searching import SearchStore
from support.calls import Project
from support.processes import until

pytestmark = pytest.mark.postgres("18")
FILES = {"fts5": "words.db", "pointer": "files", "qdrant": "q"}


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    return Project(tmp_path, database)


@pytest.fixture
def vectors(link) -> PgVector:
    return PgVector(link)


def filled(store: SearchStore, name: str, spec: Manifest, count: int = 40, mark: str = "") -> None:
    store.create(name, spec)
    store.load(name, [r._replace(id=mark + r.id) for r in make_records(count, spec.dimension or 8)])
    store.finalise(name, spec)


def index_of(link, physical: str) -> str:
    return str(link.value("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = $1::regclass AND NOT indisprimary", f"lockgate_index.{physical}"))  # fmt: skip


# -- pgvector ---------------------------------------------------------------------------------------


def test_an_index_of_another_metric_shows(vectors, link):
    """pgvector answers a query of another metric without its index, slowly and without an error: the operator class tells, and its cause has a name."""
    filled(vectors, "d__1", vector_spec(ann="hnsw"))
    link.run(f"DROP INDEX {index_of(link, 'd__1')}")
    link.run("CREATE INDEX ON lockgate_index.d__1 USING hnsw (embedding vector_l2_ops)")
    assert vectors.describe("d__1").metric == "l2"
    assert CAUSES["metric"] == "wrong-metric"
    plan = link.rows("EXPLAIN SELECT id FROM lockgate_index.d__1 ORDER BY embedding <=> (SELECT embedding FROM lockgate_index.d__1 LIMIT 1) LIMIT 3")  # fmt: skip
    assert not any("Index Scan using" in row[0] for row in plan)


def test_an_invalid_index_is_no_index(vectors, link):
    """What a cancelled CREATE INDEX CONCURRENTLY leaves is invalid: it shows, and finalising builds it again."""
    filled(vectors, "d__1", vector_spec(ann="hnsw"))
    link.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::regclass", index_of(link, "d__1"))
    assert not vectors.describe("d__1").valid
    vectors.finalise("d__1", vector_spec(ann="hnsw"))
    described = vectors.describe("d__1")
    assert (described.valid, described.indexed, described.metric) == (True, True, "cosine")


def test_a_change_of_type_that_wipes_the_vectors(vectors, link, database):
    """ALTER TYPE ... USING NULL would wipe every vector and keep a valid, empty graph: a generated column reads ours, which is NOT NULL besides, so the server refuses it."""
    filled(vectors, "d__1", vector_spec(ann="hnsw"))
    before = vectors.content("d__1")
    with (
        psycopg.connect(database, autocommit=True) as db,
        pytest.raises(psycopg.errors.FeatureNotSupported, match="generated column"),
    ):
        db.execute("ALTER TABLE lockgate_index.d__1 ALTER embedding TYPE vector(4) USING NULL::vector(4)")
    assert vectors.content("d__1") == before


def test_as_many_answers_as_were_asked_for(vectors, link):
    """k beyond ef_search, and rows that are deleted but still in the graph: both make plain pgvector answer with fewer, here all k come."""
    filled(vectors, "d__1", vector_spec(ann="hnsw"), count=400)
    question = make_records(1)[0].vector
    link.run("ALTER TABLE lockgate_index.d__1 SET (autovacuum_enabled = false)")
    vectors.delete("d__1", [r.id for r in make_records(400)][:330])
    # So few rows that the planner would rather sort them; the graph is what is asked here.
    link.run("SET enable_seqscan = off")
    literal = "[" + ",".join(map(repr, question)) + "]"
    with link.transaction():
        link.run("SET LOCAL hnsw.ef_search = 40")
        link.run("SET LOCAL hnsw.iterative_scan = off")
        plain = link.rows(f"SELECT id FROM lockgate_index.d__1 ORDER BY embedding <=> '{literal}' LIMIT 60")
    assert len(plain) < 60, "the trap is there"
    assert len(vectors.query("d__1", question, 60).hits) == 60
    near, exact = (vectors.query("d__1", question, 10, exact=e).hits for e in (False, True))
    assert [h.id for h in near] == [h.id for h in exact]


def test_a_refused_specification_leaves_nothing(project, tmp_path):
    """A build that the store refuses is not "being built" afterwards: no row, no table, and the next build takes its name."""
    path = records_file(tmp_path / "r.jsonl", make_records(5, 2001))
    call = ("index", "build", "d", "--records", path)
    assert project.json(*call, "--ann", "hnsw").code == 2
    assert project.json(*call, "--store", "pointer", "--place", "files", "--ann", "hnsw").code == 0
    listed = project.ok("index", "index", "list", "d")["generations"]
    assert [(g["generation"], g["store"], g["state"]) for g in listed] == [("0001", "pointer", "sealed")]


@pytest.mark.parametrize(("dtype", "dimension", "fits"), [("float32", 2000, True), ("float32", 2001, False), ("float16", 2001, True), ("float16", 4001, False)])  # fmt: skip
def test_a_graph_has_a_greatest_dimension(vectors, dtype, dimension, fits):
    """A graph takes 2,000 components, 4,000 when rounded to sixteen bits: refused before a vector is written, not after the last one."""
    spec = vector_spec(dimension, ann="hnsw", dtype=dtype)
    if fits:
        filled(vectors, "d__1", spec, count=3)
        assert vectors.describe("d__1").dimension == dimension
        return
    with pytest.raises(Refused) as refused:
        vectors.create("d__1", spec)
    assert refused.value.code == "INDEX_SPEC"
    assert vectors.manifest("d__1") is None


def test_halves_keep_the_digest_of_their_source(vectors, link):
    """A rounded copy has the content of its source; a vector that was changed past us shows as one that is not stored as it was written."""
    filled(vectors, "d__1", vector_spec(ann="hnsw"))
    filled(vectors, "d__2", vector_spec(ann="hnsw", dtype="float16"))
    assert vectors.content("d__1") == vectors.content("d__2")
    assert vectors.describe("d__2").wrong_rows == 0
    link.run("UPDATE lockgate_index.d__2 SET embedding = (SELECT embedding FROM lockgate_index.d__2 ORDER BY id DESC LIMIT 1) WHERE id = (SELECT min(id) FROM lockgate_index.d__2)")  # fmt: skip
    assert vectors.describe("d__2").wrong_rows == 1


def test_prepared_statements_of_readers(vectors, database):
    """After a swap to another dimension, prepared columns are planned anew; an old query vector and a prepared SELECT * fail in words."""
    filled(vectors, "d__1", vector_spec(4))
    filled(vectors, "d__2", vector_spec(6))
    vectors.swap("d", None, "d__1")
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("PREPARE names AS SELECT id, generation FROM lockgate_index.d")
        db.execute("PREPARE everything AS SELECT * FROM lockgate_index.d")
        db.execute(
            "PREPARE near(text) AS SELECT id FROM lockgate_index.d ORDER BY embedding <=> $1::vector LIMIT 1"
        )
        db.execute("EXECUTE names")
        db.execute("EXECUTE everything")
        vectors.swap("d", "d__1", "d__2")
        assert db.execute("EXECUTE names").fetchone()[1] == "d__2"
        assert db.execute("EXECUTE near('[1,0,0,0,0,0]')").fetchone()
        with pytest.raises(psycopg.errors.DataException, match="different vector dimensions"):
            db.execute("EXECUTE near('[1,0,0,0]')")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="must not change result type"):
            db.execute("EXECUTE everything")


def test_a_view_on_the_alias(vectors, link):
    """A view of the application reads through the alias after a swap, and is no reason for dropping it: another dimension is refused, with its name."""
    for name, dimension in (("d__1", 4), ("d__2", 4), ("d__3", 6)):
        filled(vectors, name, vector_spec(dimension))
    vectors.swap("d", None, "d__1")
    link.run("CREATE VIEW mine AS SELECT id, generation FROM lockgate_index.d")
    vectors.swap("d", "d__1", "d__2")
    assert link.value("SELECT DISTINCT generation FROM mine") == "d__2"
    with pytest.raises(Refused) as depends:
        vectors.swap("d", "d__2", "d__3")
    assert depends.value.code == "INDEX_ALIAS"
    assert "mine" in depends.value.message
    assert vectors.resolve("d") == "d__2"


# -- FTS5 and full text -----------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", ["unicode61", "porter unicode61", "unicode61 remove_diacritics 0", "trigram", "ascii"])  # fmt: skip
def test_the_tokenizer_is_read_from_the_table(tmp_path, tokenizer):
    """Whatever the manifest says, the table's own definition tells how it analyses, and another tokenizer has another fingerprint."""
    store = Fts5(tmp_path / "w.db")
    filled(store, "d__1", Manifest("text", analyzer=tokenizer))
    described = store.describe("d__1")
    assert described.analyzer == tokenizer
    assert described.analyzer_fingerprint == store.fingerprint(tokenizer)
    others = {"unicode61", "porter unicode61", "unicode61 remove_diacritics 0", "trigram", "ascii"}
    assert len({store.fingerprint(t) for t in others}) == len(others)
    store.close()


def test_fts5_words_that_the_index_lacks(tmp_path):
    """Documents written past the index of words are counted as its unindexed tail, and the index says itself that it does not fit."""
    store = Fts5(tmp_path / "w.db")
    filled(store, "d__1", Manifest("text", analyzer="unicode61"))
    store._db.execute("INSERT INTO d__1 (id, text, payload) VALUES ('late', 'late words', '{}')")
    described = store.describe("d__1")
    assert (described.records, described.unindexed, described.valid) == (41, 1, False)
    store.close()


def test_full_text_that_was_analysed_otherwise(link):
    """A column that was rebuilt with another configuration tells so: the analyzer is read from its definition."""
    store = open_search("fts", "", link)
    spec = Manifest("text", analyzer="english", analyzer_fingerprint=store.fingerprint("english"))  # type: ignore[attr-defined]
    filled(store, "d__1", spec)
    assert store.describe("d__1").analyzer_fingerprint == spec.analyzer_fingerprint
    link.run("ALTER TABLE lockgate_index.d__1 DROP COLUMN words, ADD COLUMN words tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('pg_catalog.simple'::regconfig, text)) STORED")  # fmt: skip
    described = store.describe("d__1")
    assert described.analyzer == "simple"
    assert described.analyzer_fingerprint != spec.analyzer_fingerprint


# -- index files ------------------------------------------------------------------------------------


def test_faiss_appends_what_it_has_already(tmp_path):
    """FAISS adds an id that is there once more: a file that holds more vectors than records is counted as double ids."""
    faiss = pytest.importorskip("faiss")
    import numpy as np

    store = PointerFiles(tmp_path)
    filled(store, "d__1", vector_spec(ann="hnsw"))
    store.upsert("d__1", make_records(40))
    store.finalise("d__1", vector_spec(ann="hnsw"))
    assert store.describe("d__1").duplicates == 0, "ours writes the graph anew"
    graph = faiss.read_index(str(tmp_path / "d__1" / "index.faiss"))
    graph.add(np.array([make_records(1)[0].vector], dtype="float32"))
    faiss.write_index(graph, str(tmp_path / "d__1" / "index.faiss"))
    assert PointerFiles(tmp_path).describe("d__1").duplicates == 1


@pytest.mark.parametrize("step", ["open", "rename", "done"])
def test_the_alias_file_is_the_old_one_or_the_new_one(project, tmp_path, step):
    """kill -9 before, between and after writing the alias file: it names one of the two, whole, and the next command agrees."""
    path = records_file(tmp_path / "r.jsonl", make_records(5))
    for generation in ("a", "b"):
        project.ok("index", "index", "build", "d", "--generation", generation, "--records", path, "--store", "pointer", "--place", "files")  # fmt: skip
    project.ok("index", "index", "swap", "d", "--to", "a")
    assert killed_at(project, f"file:d.alias:{step}", 1, "index", "swap", "d", "--to", "b", "--unvalidated") == -signal.SIGKILL  # fmt: skip
    seen = PointerFiles(tmp_path / "files").resolve("d")
    assert seen == ("d__b" if step == "done" else "d__a")
    assert until(lambda: project.json("index", "gc", "d", "--dry-run")).code == 0
    live = [g["generation"] for g in project.ok("index", "index", "list", "d")["generations"] if g["live"]]
    assert [f"d__{g}" for g in live] == [seen]


def test_the_alias_file_is_on_the_disk_before_it_counts(tmp_path, monkeypatch):
    """The new file is flushed to the disk before it is renamed, and its folder after: a power cut finds one of the two."""
    import os

    store = PointerFiles(tmp_path)
    for name in ("d__1", "d__2"):
        store.create(name, vector_spec())
    store.swap("d", None, "d__1")
    order: list[str] = []
    flush, move = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("folder" if Path(f"/proc/self/fd/{fd}").resolve().is_dir() else "file"), flush(fd))[1])  # fmt: skip
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append("rename"), move(self, to))[1])
    store.swap("d", "d__1", "d__2")
    assert order == ["file", "rename", "folder"]


# -- Qdrant -----------------------------------------------------------------------------------------


@pytest.fixture
def qdrant(tmp_path, link):
    pytest.importorskip("qdrant_client")
    store = open_search("qdrant", str(tmp_path / "q"), link)
    yield store
    store.close()


def test_qdrant_would_drop_what_serves(qdrant):
    """The client drops a live collection by its real name, and its alias with it; the adapter looks first."""
    filled(qdrant, "d__1", vector_spec())
    qdrant.swap("d", None, "d__1")
    with pytest.raises(Refused):
        qdrant.drop("d__1")
    qdrant._client.delete_collection("d__1")
    assert qdrant.resolve("d") is None, "it really would"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the client that was sent away leaves its lock file open
def test_qdrant_a_name_that_is_taken(qdrant, tmp_path):
    """An alias named like a collection is refused in words; a folder that another client holds is busy."""
    filled(qdrant, "d__1", vector_spec())
    filled(qdrant, "d", vector_spec())
    with pytest.raises(Refused) as taken:
        qdrant.swap("d", None, "d__1")
    assert taken.value.code == "INDEX_ALIAS"
    with pytest.raises(Busy):
        open_search("qdrant", str(tmp_path / "q"), None)  # type: ignore[arg-type]


def test_qdrant_keeps_unit_vectors_and_says_so(qdrant):
    """Under cosine it stores unit vectors: the source's digest stands beside them, so raw lengths are no corruption and a foreign vector is one."""
    from qdrant_client import models

    records = [r._replace(vector=tuple(3 * x for x in r.vector)) for r in make_records(10)]
    qdrant.create("d__1", vector_spec())
    qdrant.load("d__1", records)
    described = qdrant.describe("d__1")
    assert (described.wrong_rows, described.norm_high) == (0, pytest.approx(1, abs=1e-6))
    point = qdrant._client.scroll("d__1", limit=1)[0][0].id
    qdrant._client.update_vectors("d__1", [models.PointVectors(id=point, vector=[1.0] + [0.0] * 7)])
    assert qdrant.describe("d__1").wrong_rows == 1


def test_qdrant_by_url_is_the_same_adapter(link):
    """With a URL the same adapter speaks HTTP: the key goes along, and a swap is one request that takes away and gives. The other side only records."""
    pytest.importorskip("qdrant_client")
    asked: list[tuple[str, object, str | None]] = []
    aliases = [{"alias_name": "docs", "collection_name": "docs__1"}]
    config = {"params": {"vectors": {"size": 8, "distance": "Cosine"}}, "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}, "optimizer_config": {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0, "flush_interval_sec": 5}, "metadata": {"lockgate": vector_spec().as_json()}}  # fmt: skip
    answers = {
        "/": {"title": "qdrant", "version": "1.20.0"}, "/aliases": {"aliases": aliases},
        "/collections": {"collections": [{"name": "docs__1"}, {"name": "docs__2"}]},
        "/collections/docs__2": {"status": "green", "optimizer_status": "ok", "segments_count": 1, "config": config, "payload_schema": {}},
    }  # fmt: skip

    class Recorder(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_any(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((f"{self.command} {self.path}", json.loads(sent) if sent else None, self.headers.get("api-key")))  # fmt: skip
            if self.command == "POST":
                aliases[0]["collection_name"] = "docs__2"
            found = answers.get(self.path, True)
            data = json.dumps(found if self.path == "/" else {"result": found, "status": "ok", "time": 0.0}).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_any  # noqa: N815 - the names that the library calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client warns of a key that goes over plain HTTP
            store = open_search("qdrant", f"http://127.0.0.1:{server.server_address[1]}", link, "the-key")
        assert store.capabilities.note == ""
        assert store.resolve("docs") == "docs__1"
        store.swap("docs", "docs__1", "docs__2")
        assert store.resolve("docs") == "docs__2"
        store.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    moves = [body for line, body, _ in asked if line.startswith("POST /collections/aliases")]
    assert moves == [{"actions": [{"delete_alias": {"alias_name": "docs"}}, {"create_alias": {"collection_name": "docs__2", "alias_name": "docs"}}]}]  # fmt: skip
    assert {key for _, _, key in asked} == {"the-key"}


# -- swaps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "swaps"),
    [("fts5", 10), ("pointer", 10), *(pytest.param(k, 40, marks=pytest.mark.soak) for k in ("fts", "fts5", "pointer", "qdrant"))],
)  # fmt: skip
def test_fifty_readers_see_no_mixture(kind, swaps, tmp_path, link, database):
    """So many swaps under fifty readers on every store that claims one step: no error, and every answer is wholly of the generation that it names."""
    from lockgate.postgres.link import Link
    from lockgate.postgres.target import Target

    place = str(tmp_path / FILES[kind]) if kind in FILES else ""
    store = open_search(kind, place, link)
    spec = Manifest("text", analyzer={"fts": "simple", "fts5": "unicode61"}[kind]) if kind in ("fts", "fts5") else vector_spec()  # fmt: skip
    filled(store, "d__1", spec, mark="one-")
    filled(store, "d__2", spec, mark="two-")
    store.swap("d", None, "d__1")
    links = []

    def opened() -> SearchStore:
        if kind == "qdrant":
            return store  # the folder belongs to one client
        if kind == "fts":
            links.append(Link(Target(database, source="test"), "reader"))
            return open_search(kind, "", links[-1])
        return open_search(kind, place, link)

    question = "canal lock gate water barge" if spec.kind == "text" else make_records(3)[2].vector
    readers = Readers(opened, "d", {"d__1": "one-", "d__2": "two-"}, question)

    def change() -> None:
        for n in range(swaps):
            store.swap("d", f"d__{n % 2 + 1}", f"d__{(n + 1) % 2 + 1}")

    readers.during(change)
    assert (readers.wrong, readers.missed) == ([], [])
    for one in links:
        one.close()
    store.close()


@pytest.mark.parametrize("kind", ["fts", "fts5", "qdrant"])
@pytest.mark.parametrize("point", ["index:swap:moved", *(pytest.param(p, marks=pytest.mark.soak) for p in ("index:swap:intended", "index:swap:recorded"))])  # fmt: skip
def test_a_killed_swap_ends_in_one_of_the_two(project, tmp_path, link, kind, point):
    """kill -9 at every step of a swap, on the stores that test_life leaves out: alias and record agree after the next command."""
    if kind == "fts" and point == "index:swap:intended":
        point = "index:swap:committed"  # alias and record change in one transaction there
    place = ("--place", FILES[kind]) if kind in FILES else ()
    source = ("--records", str(GOLD / "corpus.jsonl"), *(() if kind != "qdrant" else ("--embedder", "hashing:16")))  # fmt: skip
    for generation in ("a", "b"):
        project.ok(
            "index", "index", "build", "d", "--generation", generation, "--store", kind, *place, *source
        )
    project.ok("index", "index", "swap", "d", "--to", "a")
    assert killed_at(project, point, 1, "index", "swap", "d", "--to", "b", "--unvalidated") == -signal.SIGKILL
    assert until(lambda: project.json("index", "gc", "d", "--dry-run")).code == 0
    reader = open_search(kind, str(tmp_path / FILES[kind]) if place else "", link)
    seen = reader.resolve("d")
    reader.close()
    live = [g["generation"] for g in project.ok("index", "index", "list", "d")["generations"] if g["live"]]
    assert [f"d__{g}" for g in live] == [seen]
    assert seen in ("d__a", "d__b")


def test_an_index_that_moves_to_another_store(project, tmp_path):
    """The first generation in the database, the next in files: validated against each other, swapped, and rolled back."""
    path = records_file(tmp_path / "r.jsonl", make_records(30))
    project.ok("index", "index", "build", "d", "--records", path)
    project.ok("index", "index", "swap", "d", "--to", "0001")
    project.ok("index", "index", "build", "d", "--records", path, "--store", "pointer", "--place", "files", "--generation", "files")  # fmt: skip
    done = project.ok("index", "index", "swap", "d", "--to", "files", "--unvalidated")
    assert (done["before"], done["after"], done["store"]) == ("0001", "files", "pointer")
    assert PointerFiles(tmp_path / "files").resolve("d") == "d__files"
    assert project.ok("index", "index", "rollback", "d")["after"] == "0001"
    assert project.ok("index", "index", "swap", "d", "--to", "files", "--unvalidated")["changed"]
    assert (
        killed_at(project, "index:swap:intended", 1, "index", "swap", "d", "--to", "files") != -signal.SIGKILL
    )
    project.ok("index", "index", "gc", "d", "--dry-run")


def test_the_names_of_the_stores(project):
    """Help, the table of stores and the list of kinds name the same stores, and a driver that is missing is told with its extra."""
    from lockgate.cli.index_room import STORES
    from lockgate.stores.open_search import KINDS

    assert STORES == KINDS
    for kind in KINDS:
        if kind not in ("pgvector", "fts"):
            assert "--place" in project.json("index", "build", "d", "--records", str(GOLD / "corpus.jsonl"), "--embedder", "hashing:16", "--store", kind).error("USAGE")["message"]  # fmt: skip


def test_a_driver_that_is_missing(monkeypatch):
    """Without the package of a store the refusal names the extra that brings it."""
    import sys

    places = {"qdrant": "q", "lancedb": "l", "chroma": "http://127.0.0.1:1", "milvus": "m.db"}
    modules = {"qdrant": "qdrant_client", "lancedb": "lancedb", "chroma": "chromadb", "milvus": "pymilvus"}
    extras = {"qdrant": "indexes", "lancedb": "lancedb", "chroma": "chroma", "milvus": "milvus"}
    for kind, place in places.items():
        monkeypatch.setitem(sys.modules, modules[kind], None)
        with pytest.raises(LockgateError) as missing:
            open_search(kind, place, None)  # type: ignore[arg-type]
        assert missing.value.next == f"pip install 'lockgate[{extras[kind]}]'"
