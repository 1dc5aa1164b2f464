"""LanceDB, a Chroma server and Milvus Lite, each the real thing: a life through the command, kills, readers, and each store's traps."""

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from indexes.conftest import make_records, vector_spec
from indexes.lives import GOLD, Readers, killed_at, records_file
from lockgate.errors import LockgateError, Refused
from lockgate.record import points
from lockgate.stores.content import content_of, vector_hash
from lockgate.stores.open_search import open_search
from lockgate.stores.searching import SearchStore
from lockgate.stores.vectors import packed, single
from support.calls import Project
from support.processes import until

pytestmark = [pytest.mark.heavy, pytest.mark.postgres("18")]
KINDS = ["lancedb", "chroma", "milvus"]


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    return Project(tmp_path, database)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store lives; a real server is started for Chroma."""
    if kind == "chroma":
        return str(request.getfixturevalue("chroma_url"))
    return str(tmp_path / {"lancedb": "lance", "milvus": "index.db"}[kind])


@pytest.fixture
def store(kind: str, place: str, link):
    """The store, opened in this process."""
    found = open_search(kind, place, link)
    yield found
    found.close()


def opened(kind: str, place: str) -> SearchStore:
    return open_search(kind, place, None)  # type: ignore[arg-type]


def filled(store: SearchStore, *names: str, count: int = 40, mark: str = "") -> None:
    for name in names:
        store.create(name, vector_spec(ann="hnsw"))
        store.load(name, [r._replace(id=mark + r.id) for r in make_records(count)])
        store.finalise(name, vector_spec(ann="hnsw"))


def accepted(kind: str) -> tuple[str, ...]:
    return ("--two-step",) if kind == "chroma" else ()


# -- the life of an index ---------------------------------------------------------------------------


def test_a_whole_life(project, kind, place, database):
    """Build, swap, build a copy, validate, swap, roll back, collect; a swap in two steps holds until somebody accepts it."""
    where = ("--store", kind, "--place", place, "--ann", "hnsw:m=16,ef_construction=64")
    build = ("index", "build", "help", "--records", str(GOLD / "corpus.jsonl"), "--embedder", "hashing:64", *where)  # fmt: skip
    first = project.ok("index", *build)
    assert (first["records"], first["store"], first["unproven"]) == (90, kind, "")
    if kind == "chroma":
        held = project.json("index", "swap", "help", "--to", "0001")
        assert held.code == 5
        assert "--two-step" in held.error("INDEX_SWAP_TWO_STEP")["next"]
    moved = project.ok("index", "index", "swap", "help", "--to", "0001", *accepted(kind))
    assert (moved["after"], moved["swapKind"]) == ("0001", "two_step" if kind == "chroma" else "atomic")
    second = project.ok("index", *build)
    assert second["indexHash"] == first["indexHash"], (
        "the same source, the same specification: the same index"
    )
    done = project.json("index", "validate", "help", "--against", "0001", "--gold", str(GOLD))
    assert done.code == 0, done
    assert project.ok("index", "index", "swap", "help", "--to", "0002", *accepted(kind))["before"] == "0001"
    with psycopg.connect(database) as db:
        live = db.execute("SELECT generation, valid FROM lockgate.live_index").fetchall()
    assert live == [("0002", True)]
    assert project.ok("index", "index", "rollback", "help")["after"] == "0001"
    assert set(project.ok("index", "index", "gc", "help")["kept"]) == {"0001", "0002"}
    project.ok("index", "index", "swap", "help", "--to", "0002", "--window", "0", *accepted(kind))
    assert project.ok("index", "index", "gc", "help")["dropped"] == ["0001"]
    reader = opened(kind, place)
    assert reader.physical("help") == ["help__0002"]
    assert reader.resolve("help") == "help__0002"
    reader.close()


@pytest.mark.parametrize("nth", [1, 3])
def test_a_killed_build_goes_on(project, tmp_path, kind, place, nth):
    """kill -9 in the middle of a build: the next call goes on behind what is there, and the seal is that of the whole source."""
    path = records_file(tmp_path / "r.jsonl", make_records(200))
    whole = project.ok("index", "index", "build", "other", "--records", path, "--ann", "hnsw")
    call = ("index", "build", "docs", "--records", path, "--batch", "40", "--ann", "hnsw", "--store", kind, "--place", place)  # fmt: skip
    assert killed_at(project, "index:build:batch", nth, *call) == -signal.SIGKILL
    built = project.ok("index", *call)
    assert (built["resumed"], built["written"]) == (40 * nth, 200 - 40 * nth)
    assert built["contentRoot"] == whole["contentRoot"]


@pytest.mark.parametrize(
    "point", ["index:swap:intended", "index:swap:between", "index:swap:moved", "index:swap:recorded"]
)
def test_a_killed_swap_ends_in_one_of_the_two(project, tmp_path, kind, place, point, database):
    """kill -9 at every step of a swap: the next command ends it in one of the two generations, alias, record and gate agreeing."""
    if point == "index:swap:between" and kind != "chroma":
        point = "index:swap:moved"  # only Chroma has a second step
    path = records_file(tmp_path / "r.jsonl", make_records(30))
    for generation in ("a", "b"):
        project.ok("index", "index", "build", "docs", "--generation", generation, "--records", path, "--ann", "hnsw", "--store", kind, "--place", place)  # fmt: skip
    project.ok("index", "index", "swap", "docs", "--to", "a", *accepted(kind))
    call = ("index", "swap", "docs", "--to", "b", "--unvalidated", *accepted(kind))
    assert killed_at(project, point, 1, *call) == -signal.SIGKILL

    def seen() -> str | None:
        reader = opened(kind, place)
        found = reader.resolve("docs")
        reader.close()
        return found

    between = seen()
    assert between in ("docs__a", "docs__b") or (point == "index:swap:between" and between is None)
    with psycopg.connect(database) as db:
        valid = db.execute("SELECT valid FROM lockgate.live_index WHERE name = 'docs'").fetchone()
    assert valid == (kind != "chroma",), "while a swap of two steps is open, the gate holds"
    assert until(lambda: project.json("index", "gc", "docs", "--dry-run")).code == 0
    after = seen()
    assert after == (between or "docs__b")
    with psycopg.connect(database) as db:
        live = db.execute("SELECT generation, valid FROM lockgate.live_index").fetchall()
    assert [f"docs__{g}" for g, ok in live if ok] == [after]


def test_readers_during_swaps(kind, place, store):
    """Forty swaps under fifty readers: every answer is wholly of the generation that it names; an atomic store gives no error either."""
    for name, mark in (("docs__1", "one-"), ("docs__2", "two-")):
        filled(store, name, mark=mark)
    store.swap("docs", None, "docs__1")
    readers = Readers(
        lambda: store if kind == "milvus" else opened(kind, place), "docs", {"docs__1": "one-", "docs__2": "two-"}, make_records(40)[7].vector
    )  # fmt: skip

    def swaps() -> None:
        for n in range(40):
            store.swap("docs", f"docs__{n % 2 + 1}", f"docs__{(n + 1) % 2 + 1}")

    readers.during(swaps)
    assert readers.wrong == []
    assert {e.code for e in readers.missed} <= {"INDEX_UNKNOWN"}
    if store.capabilities.swap == "atomic":
        assert readers.missed == []


def test_another_dimension(store):
    """A generation of another dimension takes the alias and gives it back; the old query vectors are refused in words."""
    filled(store, "docs__1")
    wide = vector_spec(16, ann="hnsw")
    store.create("docs__2", wide)
    store.load("docs__2", make_records(40, 16))
    store.finalise("docs__2", wide)
    store.swap("docs", None, "docs__1")
    store.swap("docs", "docs__1", "docs__2")
    assert store.query("docs", make_records(1, 16)[0].vector, 3).generation == "docs__2"
    with pytest.raises(Refused) as narrow:
        store.query("docs", make_records(1)[0].vector, 3)
    assert "16" in narrow.value.message
    store.swap("docs", "docs__2", "docs__1")
    assert len(store.query("docs", make_records(1)[0].vector, 3).hits) == 3


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
def test_lengths_that_are_not_one(store, metric):
    """Raw vectors under every metric: what the store does to them is no corruption, and scores come back in our measure."""
    spec = vector_spec(ann="hnsw", metric=metric)
    records = [r._replace(vector=single([x * (1 + n) for x in r.vector])) for n, r in enumerate(make_records(40))]  # fmt: skip
    store.create("docs__1", spec)
    store.load("docs__1", records)
    store.finalise("docs__1", spec)
    described = store.describe("docs__1")
    assert (described.wrong_rows, described.zero, described.broken, described.metric) == (0, 0, 0, metric)
    assert described.norm_high == pytest.approx(40, rel=1e-4)
    assert store.content("docs__1") == content_of((r, vector_hash(packed(r.vector))) for r in records)
    near, exact = (store.query("docs__1", records[3].vector, 5, exact=e).hits for e in (False, True))
    assert [h.id for h in near] == [h.id for h in exact]
    assert [h.score for h in near] == pytest.approx([h.score for h in exact], rel=1e-3, abs=1e-3)


# -- LanceDB ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lancedb"], indirect=True)
def test_lance_a_reader_stays_with_what_it_checked_out(store, place):
    """A tag moves in one step, but who checked it out before stays with the old version, and cannot write to it; so every request checks out anew."""
    import lancedb

    filled(store, "docs__1", "docs__2")
    store.swap("docs", None, "docs__1")
    kept = lancedb.connect(place).open_table("docs")
    kept.checkout("live")
    store.swap("docs", "docs__1", "docs__2")
    assert kept.to_arrow()["physical"][0].as_py() == "docs__1"
    with pytest.raises(ValueError, match="cannot be modified"):
        kept.add([{"physical": "docs__1"}])
    kept.checkout("live")
    assert kept.to_arrow()["physical"][0].as_py() == "docs__2"
    assert store.query("docs", make_records(1)[0].vector, 1).generation == "docs__2"


@pytest.mark.parametrize("kind", ["lancedb"], indirect=True)
def test_lance_a_row_that_nobody_tagged_does_not_count(store, place):
    """A swap that was killed between the row and the tag: the newest version of the alias names the new one, readers see the old one."""
    import lancedb

    filled(store, "docs__1", "docs__2")
    store.swap("docs", None, "docs__1")
    alias = lancedb.connect(place).open_table("docs")
    alias.add([{"physical": "docs__2"}], mode="append")
    assert store.resolve("docs") == "docs__1"


@pytest.mark.parametrize("kind", ["lancedb"], indirect=True)
def test_lance_the_tail_behind_the_graph_shows(store):
    """Rows that were written after the graph was built are not in it: the description counts them, and finalising puts them in."""
    filled(store, "docs__1")
    store.upsert("docs__1", make_records(45)[40:])
    assert store.describe("docs__1").unindexed == 5
    store.finalise("docs__1", vector_spec(ann="hnsw"))
    assert store.describe("docs__1").unindexed == 0


@pytest.mark.parametrize("kind", ["lancedb"], indirect=True)
def test_lance_double_rows_and_broken_vectors(store):
    """A merge twice changes nothing, an append twice keeps both and is counted; a NaN is refused, a zero vector is counted."""
    filled(store, "docs__1")
    store.upsert("docs__1", make_records(40)[:7])
    assert store.describe("docs__1").duplicates == 0
    store.load("docs__1", make_records(40)[:7])
    assert store.describe("docs__1").duplicates == 7
    with pytest.raises(Refused) as broken:
        store.upsert("docs__1", [make_records(1)[0]._replace(vector=(float("nan"),) * 8)])
    assert broken.value.code == "INDEX_RECORD"
    store.upsert("docs__1", [make_records(1)[0]._replace(vector=(0.0,) * 8)])
    assert store.describe("docs__1").zero >= 1


# -- Chroma -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["chroma"], indirect=True)
def test_chroma_between_the_two_renames_nobody_has_the_name(store):
    """In the gap a query by the alias finds nothing; that is why the store says two_step. After it, the new generation answers."""
    filled(store, "docs__1", "docs__2")
    store.swap("docs", None, "docs__1")
    looked = []

    def gap(name: str) -> None:
        if name == "index:swap:between":
            with pytest.raises(LockgateError) as nobody:
                store.query("docs", make_records(1)[0].vector, 1)
            looked.append((nobody.value.code, store.resolve("docs"), store.physical("docs")))

    points.install(gap)
    try:
        store.swap("docs", "docs__1", "docs__2")
    finally:
        points.install(None)
    assert looked == [("INDEX_UNKNOWN", None, ["docs__1", "docs__2"])]
    assert store.capabilities.swap == "two_step"
    assert store.query("docs", make_records(1)[0].vector, 1).generation == "docs__2"


@pytest.mark.parametrize("kind", ["chroma"], indirect=True)
def test_chroma_an_old_handle_reads_the_old_generation(store):
    """A handle is bound to the collection and not to its name: opened before the swap, it goes on answering from the old one."""
    filled(store, "docs__1", mark="one-")
    filled(store, "docs__2", mark="two-")
    store.swap("docs", None, "docs__1")
    handle = store._client.get_collection("docs", embedding_function=None)
    store.swap("docs", "docs__1", "docs__2")
    assert handle.get(limit=1)["ids"][0].startswith("one-")
    assert store.query("docs", make_records(1)[0].vector, 1).hits[0].id.startswith("two-")


@pytest.mark.parametrize("kind", ["chroma"], indirect=True)
def test_chroma_the_metric_is_what_was_asked_for(store):
    """get_or_create hands out a collection of another metric without a word; create refuses it and looks at what it made."""
    store.create("docs__1", vector_spec(ann="hnsw"))
    silent = store._client.get_or_create_collection("docs__1", embedding_function=None, configuration={"hnsw": {"space": "l2"}})  # fmt: skip
    assert silent.configuration_json["hnsw"]["space"] == "cosine"
    with pytest.raises(Refused) as other:
        store.create("docs__1", vector_spec(ann="hnsw", metric="l2"))
    assert other.value.code == "INDEX_EXISTS"
    assert store.describe("docs__1").metric == "cosine"


@pytest.mark.parametrize("kind", ["chroma"], indirect=True)
def test_chroma_an_id_that_is_there_is_written_over(store):
    """Its add keeps the older record of an id without a word; ours writes the newer one."""
    filled(store, "docs__1", count=5)
    first = make_records(1)[0]
    handle = store._client.get_collection("docs__1", embedding_function=None)
    handle.add(ids=[first.id], embeddings=[list(first.vector)], documents=["newer"])
    assert {r.id: r.text for r, _ in store.scan("docs__1")}[first.id] == first.text
    store.upsert("docs__1", [first._replace(text="newer")])
    assert {r.id: r.text for r, _ in store.scan("docs__1")}[first.id] == "newer"


@pytest.mark.parametrize("kind", ["chroma"], indirect=True)
def test_chroma_a_vector_that_somebody_else_wrote_shows(store):
    """Rounding under cosine is no corruption, another vector is: one that was written past us is counted."""
    filled(store, "docs__1")
    assert store.describe("docs__1").wrong_rows == 0
    handle = store._client.get_collection("docs__1", embedding_function=None)
    handle.update(ids=[make_records(1)[0].id], embeddings=[[1.0] + [0.0] * 7])
    assert store.describe("docs__1").wrong_rows == 1


@pytest.mark.parametrize("kind", ["chroma"], indirect=True)
def test_chroma_names_and_sizes(store):
    """Two characters are too few for a name, a stranger's collection is never renamed, and 6,000 records are more than one batch."""
    with pytest.raises(Refused) as short:
        store.create("a", vector_spec(ann="hnsw"))
    assert short.value.code == "INDEX_SPEC"
    filled(store, "docs__1", count=5)
    store._client.create_collection("docs", embedding_function=None)
    with pytest.raises(Refused) as stranger:
        store.swap("docs", None, "docs__1")
    assert stranger.value.code == "INDEX_ALIAS"
    store.load("docs__1", make_records(6000))
    assert store.content("docs__1").records == 6000


# -- Milvus -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["milvus"], indirect=True)
def test_milvus_would_drop_what_serves(store):
    """Milvus Lite drops a collection that an alias points to without complaint; the adapter looks first."""
    filled(store, "docs__1", "docs__2")
    store.swap("docs", None, "docs__1")
    for name in ("docs", "docs__1"):
        with pytest.raises(Refused) as refused:
            store.drop(name)
        assert refused.value.code == "INDEX_ALIAS"
    store._client.drop_collection("docs__1")
    assert store.physical("docs") == ["docs__2"], "it really would"


@pytest.mark.parametrize("kind", ["milvus"], indirect=True)
def test_milvus_ids_are_no_part_of_a_filter(store):
    """Ids with quotes, backslashes and expressions are found, changed and deleted one by one; in a filter they would break out of it."""
    odd = ["a'b", 'c"d', "e\\f", '" or "" == "', "g\nh", "ö" * 200]
    store.create("docs__1", vector_spec(ann="hnsw"))
    store.load("docs__1", [r._replace(id=i) for i, r in zip(odd, make_records(6), strict=True)])
    store.delete("docs__1", [odd[3]])
    assert sorted(r.id for r, _ in store.scan("docs__1")) == sorted(set(odd) - {odd[3]})
    assert store.last_id("docs__1") == max(set(odd) - {odd[3]})


@pytest.mark.parametrize("kind", ["milvus"], indirect=True)
def test_milvus_limits_are_told(store):
    """A text beyond its longest field, a name that it does not take, a file that is none of its own: refused in words, with nothing cut."""
    store.create("docs__1", vector_spec(ann="hnsw"))
    with pytest.raises(Refused) as long:
        store.upsert("docs__1", [make_records(1)[0]._replace(text="x" * 70_000)])
    assert long.value.code == "INDEX_RECORD"
    with pytest.raises(Refused) as named:
        store.create("docs__a-b", vector_spec(ann="hnsw"))
    assert named.value.code == "INDEX_SPEC"
    with pytest.raises(LockgateError) as ending:
        opened("milvus", "/tmp/no-ending")
    assert ending.value.code == "USAGE"


@pytest.mark.parametrize("kind", ["milvus"], indirect=True)
def test_milvus_a_second_process_is_told(store, place):
    """The file belongs to one process at a time: a second one is busy, and breaks nothing."""
    filled(store, "docs__1")
    words = "import sys\nfrom lockgate.errors import Busy\nfrom lockgate.stores.milvus import Milvus\ntry:\n    Milvus(sys.argv[1])\nexcept Busy:\n    sys.exit(75)\n"
    done = subprocess.run([sys.executable, "-c", words, place], capture_output=True, timeout=120, check=False)
    assert done.returncode == 75, done.stderr.decode()[-800:]
    assert store.content("docs__1").records == 40


@pytest.mark.parametrize("kind", ["milvus"], indirect=True)
def test_milvus_the_graph_is_waited_for(store):
    """Finalising waits until no row is outside of the graph, for a bounded time; a graph that never ends is an error."""
    filled(store, "docs__1")
    assert store.describe("docs__1").unindexed == 0
    answers = [3, 2, 0]
    store._pending = lambda physical: answers.pop(0)
    slept: list[float] = []
    store._sleep = slept.append
    store.finalise("docs__1", vector_spec(ann="hnsw"))
    assert len(slept) == 2
    store._pending = lambda physical: 1
    times = iter(range(0, 10_000, 400))
    store._clock = lambda: float(next(times))
    with pytest.raises(LockgateError) as endless:
        store.finalise("docs__1", vector_spec(ann="hnsw"))
    assert endless.value.code == "INDEX_STORE"
