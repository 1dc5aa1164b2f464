"""The life of an index through the command: build, resume, validate, swap, roll back, collect; readers and kills in between."""

import json
import os
import signal
import threading
from pathlib import Path

import psycopg
import pytest

from indexes import lab
from indexes.conftest import make_records, vector_spec
from indexes.lives import GOLD, killed_at, records_file
from lockgate.errors import Busy, Held
from lockgate.indexes.build import Wanted, build
from lockgate.indexes.register import find_generation, read_alias, read_generations, writing
from lockgate.indexes.swap import collect, recover, swap
from lockgate.postgres.link import Link
from lockgate.postgres.target import Target
from lockgate.stores.open_search import open_search
from lockgate.stores.pgvector import PgVector
from support.calls import Project
from support.processes import until

pytestmark = pytest.mark.postgres("18")
GRAPH = ("--ann", "hnsw:m=16,ef_construction=64")


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    return Project(tmp_path, database)


def test_a_whole_life(project, database):
    """Build, swap, build a copy, validate, swap, roll back, collect: each tells what it did, and the gate is told what is live."""
    built = project.ok(
        "index",
        "index",
        "build",
        "help",
        "--records",
        str(GOLD / "corpus.jsonl"),
        "--embedder",
        "hashing:384",
        *GRAPH,
    )
    assert (built["generation"], built["records"]) == ("0001", 90)
    first = project.ok("index", "index", "swap", "help", "--to", "0001")
    assert (first["before"], first["after"], first["changed"]) == ("", "0001", True)
    again = project.ok("index", "index", "swap", "help", "--to", "0001")
    assert not again["changed"]
    second = project.ok(
        "index",
        "index",
        "build",
        "help",
        "--records",
        str(GOLD / "corpus.jsonl"),
        "--embedder",
        "hashing:384",
        "--dtype",
        "float16",
        *GRAPH,
    )
    assert second["generation"] == "0002"
    assert second["contentRoot"] == built["contentRoot"], "a rounded copy has the content of its source"
    assert second["indexHash"] != built["indexHash"]
    refused = project.json("index", "swap", "help", "--to", "0002")
    assert refused.code == 4
    assert "was not validated" in refused.error("INDEX_NOT_READY")["message"]
    valid = project.json(
        "index", "validate", "help", "--against", "0001", "--gold", str(GOLD), "--html", "v.html"
    )
    assert valid.code == 0, valid
    document = valid.document("index-validate")
    assert (document["generation"], document["verdict"], document["indexHash"]) == (
        "0002",
        "pass",
        second["indexHash"],
    )
    moved = project.ok("index", "index", "swap", "help", "--to", "0002")
    assert (moved["before"], moved["after"]) == ("0001", "0002")
    with psycopg.connect(database) as db:
        row = db.execute(
            "SELECT generation, spec_hash, index_hash, valid FROM lockgate.live_index WHERE name = 'help'"
        ).fetchone()
        assert row == ("0002", second["specHash"], second["indexHash"], True)
        assert db.execute("SELECT DISTINCT generation FROM lockgate_index.help").fetchall() == [
            ("help__0002",)
        ]
    back = project.ok("index", "index", "rollback", "help")
    assert (back["before"], back["after"]) == ("0002", "0001")
    rows = {g["generation"]: g for g in project.ok("index", "index", "list", "help")["generations"]}
    assert rows["0001"]["live"]
    assert not rows["0002"]["live"]
    kept = project.ok("index", "index", "gc", "help")
    assert kept["dropped"] == []
    assert set(kept["kept"]) == {"0001", "0002"}


def test_validate_names_what_is_wrong_in_the_index_itself(project, tmp_path):
    """Each defect in the store is named surely, where answers alone leave a doubt: missing, shuffled, foreign, zero, raw lengths, another metric, fewer dimensions."""
    import numpy as np

    made = lab.topical(31, 150, 30, dim=48)
    made.write(tmp_path / "gold")
    asked = tmp_path / "asked.jsonl"
    asked.write_text(
        "".join(
            json.dumps({"_id": q, "vector": list(map(float, v))}) + "\n"
            for q, v in zip(made.queries, made.asked, strict=True)
        )
    )

    def write(name: str, vectors, ids=None) -> str:
        rows = zip(ids or made.ids, vectors, strict=True)
        (tmp_path / name).write_text(
            "".join(
                json.dumps({"_id": i, "text": made.docs[i], "vector": list(map(float, v))}) + "\n"
                for i, v in rows
            )
        )
        return str(tmp_path / name)

    zero = made.vectors.copy()
    zero[:5] = 0
    missing, tail = lab.without(made, 0.01, 3), lab.without(made, 0.05, 3, tail=True)
    cases = {
        "gone": (write("gone", *missing), (), "documents-missing"),
        "tail": (write("tail", *tail), (), "stale-tail"),
        "moved": (write("moved", made.vectors, lab.shuffled(made, 0.1, 3)), (), "ids-shuffled"),
        "alien": (write("alien", lab.foreign(made, 0.1, 3)), (), "foreign-vectors"),
        "zero": (write("zero", zero), (), "zero-vectors"),
        "raw": (write("raw", lab.lengths(made, 3)), (), "unnormalised-vectors"),
        "metric": (write("same", made.vectors), ("--metric", "l2"), "specification-changed"),
        "renamed": (write("same2", made.vectors), ("--model", "new-name"), ""),
        "int8": (write("int8", np.asarray(lab.int8(made.vectors))), (), ""),
    }
    project.ok("index", "index", "build", "d", "--records", write("base", made.vectors), *GRAPH)
    seen = {}
    for name, (path, more, cause) in cases.items():
        project.ok("index", "index", "build", "d", "--generation", name, "--records", path, *GRAPH, *more)
        done = project.json(
            "index",
            "validate",
            "d",
            "--against",
            "0001",
            "--generation",
            name,
            "--gold",
            str(tmp_path / "gold"),
            "--query-vectors",
            str(asked),
        )
        document = done.document("index-validate")
        seen[name] = [(c["cause"], c["sure"]) for c in document["causes"]]
        assert done.code == (1 if cause else 0), (name, document)
        if cause:
            assert (cause, True) in seen[name], (name, seen)
    missing_vectors = project.json(
        "index",
        "validate",
        "d",
        "--against",
        "0001",
        "--generation",
        "zero",
        "--gold",
        str(tmp_path / "gold"),
    )
    assert missing_vectors.code == 2
    assert "--query-vectors" in missing_vectors.error("GOLD_SET")["next"]


def test_a_text_index_with_another_analyzer(project):
    """Full text, English and simple: the same documents, another analyzer; it is caught and named. FTS5 lives in a file, and swaps too."""
    for name, kind, other, place in (
        ("w", "fts", "simple", ()),
        ("f", "fts5", "unicode61", ("--place", "words.db")),
    ):
        base = ("index", "build", name, "--store", kind, *place, "--records", str(GOLD / "corpus.jsonl"))
        project.ok("index", *base)
        project.ok("index", "index", "swap", name, "--to", "0001")
        project.ok("index", *base, "--generation", "copy")
        project.ok("index", *base, "--generation", "other", "--analyzer", other)
        done = project.json(
            "index", "validate", name, "--against", "0001", "--generation", "copy", "--gold", str(GOLD)
        )
        assert done.code == 0, done
        done = project.json(
            "index", "validate", name, "--against", "0001", "--generation", "other", "--gold", str(GOLD)
        )
        assert done.code == 1
        assert "analyzer" in json.dumps(done.document("index-validate")["causes"])
        assert project.ok("index", "index", "swap", name, "--to", "copy")["before"] == "0001"


def test_a_build_that_an_image_did_not_ask_for(project, tmp_path):
    """With an image's contract a build of another specification is refused before the first record, and one of that specification is made."""
    contract = tmp_path / "image.json"
    build = (
        "index",
        "build",
        "h",
        "--embedder",
        "hashing:64",
        "--records",
        str(GOLD / "corpus.jsonl"),
        "--contract",
        str(contract),
    )
    contract.write_text(json.dumps({"indexes": {"h": {"spec_hash": "0" * 64}}}))
    refused = project.json(*build).error("INDEX_SPEC")
    assert refused["details"]["asked"] == "0" * 64
    project.json("index", "list", "h").error("INDEX_UNKNOWN")
    contract.write_text(json.dumps({"indexes": {"h": {"spec_hash": refused["details"]["specHash"]}}}))
    assert project.ok("index", *build)["specHash"] == refused["details"]["specHash"]
    contract.write_text('{"indexes": {"h": "no"}}')
    project.json(*build).error("CONFIG")


def test_a_pass_counts_against_what_serves(project, tmp_path):
    """An index that lost documents does not go live over a pass against its own kind: not against itself, not against another such one."""
    lines = (GOLD / "corpus.jsonl").read_text().splitlines(keepends=True)
    part = tmp_path / "part.jsonl"
    part.write_text("".join(lines[:30]))
    build = ("index", "build", "h", "--embedder", "hashing:64", "--records")
    validate = ("index", "validate", "h", "--gold", str(GOLD), "--generation")
    project.ok("index", *build, str(GOLD / "corpus.jsonl"))
    project.ok("index", "index", "swap", "h", "--to", "0001")
    project.ok("index", *build, str(part))
    assert project.json(*validate, "0002", "--against", "0001").code == 1
    itself = project.json(*validate, "0002", "--against", "0002")
    assert itself.code == 2
    assert "--against 0001 --generation 0002 --gold" in itself.error("USAGE")["next"]
    again = project.run(*build, str(part))
    assert "next: lockgate index validate h --against 0001 --generation 0003 --gold DIR" in again.out
    assert project.json(*validate, "0003", "--against", "0002").code == 0
    for generation, told in (
        ("0002", "with fail against 0001"),
        ("0003", "with pass against 0002, and 0001 serves"),
    ):
        refused = project.json("index", "swap", "h", "--to", generation)
        assert refused.code == 4
        error = refused.error("INDEX_NOT_READY")
        assert told in error["message"]
        assert (
            error["next"] == f"lockgate index validate h --against 0001 --generation {generation} --gold DIR"
        )
    rows = project.ok("index", "index", "list", "h")["generations"]
    assert [(g["verdict"], g["verdictAgainst"], g["live"]) for g in rows] == [("", "", True), ("fail", "0001", False), ("pass", "0002", False)]  # fmt: skip


def test_wrong_calls(project, tmp_path):
    """What cannot be done is refused by name, and nothing is made: unknown names, two sources, none, an invalid specification."""
    records = records_file(tmp_path / "r.jsonl", make_records(5))
    project.json("index", "list").error("INDEX_UNKNOWN")
    for arguments, code, exit_code in (
        (["build", "d"], "USAGE", 2),
        (["build", "D!", "--records", records], "USAGE", 2),
        (["build", "d", "--records", "nowhere"], "USAGE", 2),
        (["build", "d", "--records", records, "--ann", "hnsw:m=many"], "USAGE", 2),
        (["build", "d", "--records", records, "--store", "pointer"], "USAGE", 2),
        (["build", "d", "--records", records, "--embedder", "magic"], "USAGE", 2),
        (["build", "d", "--records", records, "--store", "fts", "--analyzer", "klingon"], "INDEX_SPEC", 2),
        (["build", "d", "--table", "nothing"], "USAGE", 2),
        (["swap", "d", "--to", "0009"], "INDEX_UNKNOWN", 2),
        (["rollback", "d"], "INDEX_NOT_READY", 4),
    ):
        done = project.json("index", *arguments)
        assert done.code == exit_code, done
        done.error(code)
    (tmp_path / "bad.jsonl").write_text('{"_id": "a", "vector": [1, "x"]}\n')
    assert (
        "bad.jsonl:1"
        in project.json("index", "build", "d", "--records", str(tmp_path / "bad.jsonl")).error(
            "INDEX_RECORD"
        )["message"]
    )
    project.ok("index", "index", "build", "d", "--records", records)
    done = project.json("index", "build", "d", "--records", records, "--generation", "0001")
    assert done.code == 4
    done.error("INDEX_EXISTS")


def test_a_build_from_a_table(project, database):
    """Rows of a table, ids of another type, an embedder: the same content as from a file; double ids are refused."""
    with psycopg.connect(database, autocommit=True) as db:
        db.execute(
            "CREATE TABLE pages (number int, body text); INSERT INTO pages SELECT g, 'page ' || g FROM generate_series(1, 300) g"
        )
    built = project.ok(
        "index",
        "index",
        "build",
        "p",
        "--table",
        "pages",
        "--id",
        "number",
        "--text",
        "body",
        "--embedder",
        "hashing:64",
        "--batch",
        "70",
    )
    assert built["records"] == 300
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("INSERT INTO pages VALUES (7, 'again')")
    project.json(
        "index",
        "build",
        "p",
        "--table",
        "pages",
        "--id",
        "number",
        "--text",
        "body",
        "--embedder",
        "hashing:64",
    ).error("INDEX_RECORD")


# -- kills and races ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "nth"),
    [
        ("index:build:begin", 1),
        ("index:build:batch", 1),
        ("index:build:batch", 3),
        ("index:build:indexed", 1),
    ],
)
def test_a_killed_build_goes_on(project, tmp_path, point, nth):
    """kill -9 at any step of a build: the next call goes on, and the seal is that of a build that was never killed."""
    records = make_records(200)
    path = records_file(tmp_path / "r.jsonl", records)
    whole = project.ok("index", "index", "build", "other", "--records", path, *GRAPH)
    call = ("index", "build", "d", "--records", path, "--batch", "40", *GRAPH)
    assert killed_at(project, point, nth, *call) == -signal.SIGKILL
    listed = project.ok("index", "index", "list", "d")["generations"]
    assert [g["state"] for g in listed] == ["building"]
    project.json("index", "swap", "d", "--to", "0001").error("INDEX_NOT_READY")
    built = project.ok("index", *call)
    assert built["generation"] == "0001"
    assert built["indexHash"] == whole["indexHash"]
    if point == "index:build:batch":
        assert built["resumed"] == 40 * nth
        assert built["written"] == 200 - 40 * nth


def test_what_changed_while_a_build_was_down_is_mended(project, tmp_path):
    """Between kill and resume a record changes, one goes and one comes in front: the sealed content is that of the source now."""
    records = make_records(100)
    path = records_file(tmp_path / "r.jsonl", records)
    call = ("index", "build", "d", "--records", path, "--batch", "30")
    assert killed_at(project, "index:build:batch", 2, *call) == -signal.SIGKILL
    changed = sorted(records, key=lambda r: r.id)
    now = [changed[0]._replace(text="changed"), *changed[2:], changed[5]._replace(id="a-new-one")]
    records_file(tmp_path / "r.jsonl", now)
    built = project.ok("index", *call)
    assert built["mended"] == 3
    whole = project.ok("index", "index", "build", "other", "--records", path)
    assert built["contentRoot"] == whole["contentRoot"]


@pytest.mark.parametrize("store", ["pgvector", "pointer"])
@pytest.mark.parametrize(
    "point", ["index:swap:intended", "index:swap:moved", "index:swap:recorded", "index:swap:committed"]
)
def test_a_killed_swap_ends_in_one_of_the_two(project, tmp_path, store, point):
    """kill -9 at every step of a swap: readers see the old generation or the new one; the next command finishes it or takes it back, and record and alias agree."""
    if (point == "index:swap:committed") != (store == "pgvector") and point in (
        "index:swap:committed",
        "index:swap:intended",
    ):
        pytest.skip("this store's swap has no such step")
    path = records_file(tmp_path / "r.jsonl", make_records(30))
    place = ("--store", store, *(("--place", "files") if store == "pointer" else ()))
    for generation in ("a", "b"):
        project.ok("index", "index", "build", "d", "--generation", generation, "--records", path, *place)
    project.ok("index", "index", "swap", "d", "--to", "a")
    assert killed_at(project, point, 1, "index", "swap", "d", "--to", "b", "--unvalidated") == -signal.SIGKILL
    seen = alias_of(project, store)
    assert seen in ("d__a", "d__b")
    done = until(lambda: project.json("index", "gc", "d", "--dry-run"))
    assert done.code == 0, done
    live = [g["generation"] for g in project.ok("index", "index", "list", "d")["generations"] if g["live"]]
    assert [f"d__{g}" for g in live] == [alias_of(project, store)] == [seen]
    final = project.ok("index", "index", "swap", "d", "--to", "b", "--unvalidated")
    assert final["after"] == "b"
    assert alias_of(project, store) == "d__b"


def alias_of(project: Project, store: str) -> str | None:
    link = Link(Target(project.environ["DATABASE_URL"], source="test"), "look")
    try:
        return open_search(store, str(project.root / "files") if store == "pointer" else "", link).resolve(
            "d"
        )
    finally:
        link.close()


def two_generations(link: Link, store, count: int = 40, place: str = "", kind: str = "pgvector") -> None:
    for generation, sign in (("a", 1), ("b", -1)):
        records = [r._replace(vector=tuple(sign * x for x in r.vector)) for r in make_records(count)]
        wanted = Wanted("d", generation, kind, place, vector_spec(), "", count)
        build(
            link,
            store,
            wanted,
            lambda after, rs=records: (r for r in sorted(rs) if r.id > after),
            None,
            actor="test",
        )


def test_a_rate_is_kept(project, link, database):
    """At ten records a second 25 records are written in parts of ten, and each waits until its time has come; progress is told after each."""
    project.ok("index", "index", "build", "seed", "--records", records_file(project.root / "r", make_records(3)), "--rate", "1000")  # fmt: skip
    now, waits, shares = [100.0], [], []

    def sleep(seconds: float) -> None:
        waits.append(round(seconds, 6))
        now[0] += seconds

    records = sorted(make_records(25))
    wanted = Wanted("d", "a", "pgvector", "", vector_spec(), "", 25, rate=10.0)
    build(
        link, PgVector(link), wanted, lambda after: (r for r in records if r.id > after), None, actor="test",
        progress=lambda doing, share: shares.append((doing, share)), clock=lambda: now[0], sleep=sleep,
    )  # fmt: skip
    assert waits == [1.0, 1.0, 0.5]
    assert shares[:3] == [("building d a", 0.4), ("building d a", 0.8), ("building d a", 1.0)]


@pytest.mark.parametrize("swaps", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_fifty_readers_see_no_error_and_no_mixture(project, database, link, swaps):
    """So many swaps under fifty readers: no error; every answer is wholly of one generation, and says which."""
    project.ok(
        "index", "index", "build", "seed", "--records", records_file(project.root / "r", make_records(3))
    )
    store = PgVector(link)
    two_generations(link, store)
    question = make_records(40)[7].vector
    answers = {
        physical: tuple(h.id for h in store.query(physical, question, 5, exact=True).hits)
        for physical in ("d__a", "d__b")
    }
    assert answers["d__a"] != answers["d__b"]

    def opened(row):
        return store

    swap(link, store, opened, "d", "a", actor="t", window_seconds=60, unvalidated=True)
    stop, wrong, seen = threading.Event(), [], set()
    literal = "[" + ",".join(map(repr, question)) + "]"

    def read(number: int) -> None:
        try:
            if number < 10:  # through the adapter
                mine = Link(Target(database, source="test"), "reader")
                reader = PgVector(mine)
                while not stop.is_set():
                    answer = reader.query("d", question, 5, exact=True)
                    seen.add(answer.generation)
                    if tuple(h.id for h in answer.hits) != answers[answer.generation]:
                        wrong.append(answer)
                mine.close()
                return
            with psycopg.connect(database, autocommit=True) as db:  # as an application would
                while not stop.is_set():
                    rows = db.execute(
                        "SELECT id, generation FROM lockgate_index.d ORDER BY embedding <=> %s::vector LIMIT 5",
                        (literal,),
                    ).fetchall()
                    generations = {g for _, g in rows}
                    seen.update(generations)
                    if len(generations) != 1 or tuple(i for i, _ in rows) != answers[next(iter(generations))]:
                        wrong.append(rows)
        except Exception as error:
            wrong.append(error)

    readers = [threading.Thread(target=read, args=(n,)) for n in range(50)]
    for reader in readers:
        reader.start()
    until(lambda: seen or wrong)
    for n in range(swaps):
        to = "b" if n % 2 == 0 else "a"
        done = swap(link, store, opened, "d", to, actor="t", window_seconds=60, unvalidated=True)
        assert done.changed
    stop.set()
    for reader in readers:
        reader.join(30)
    assert wrong == []
    assert seen == {"d__a", "d__b"}
    assert read_alias(link, "d").epoch == swaps + 1


def test_an_idle_reader_does_not_hold_the_swap_for_ever(project, database, link):
    """A reader that sits in a transaction makes the swap give up after its lock time-out, with nothing changed; later it goes."""
    project.ok(
        "index", "index", "build", "seed", "--records", records_file(project.root / "r", make_records(3))
    )
    store = PgVector(link)
    two_generations(link, store, 5)
    swap(link, store, lambda row: store, "d", "a", actor="t", window_seconds=60, unvalidated=True)
    with psycopg.connect(database) as idle:
        idle.execute("SELECT count(*) FROM lockgate_index.d")
        with pytest.raises(Busy):
            swap(link, store, lambda row: store, "d", "b", actor="t", window_seconds=60, unvalidated=True)
        assert store.resolve("d") == "d__a"
        assert read_alias(link, "d").generation == "a"
        idle.rollback()
    assert swap(
        link, store, lambda row: store, "d", "b", actor="t", window_seconds=60, unvalidated=True
    ).changed


def test_another_dimension_swaps_and_keeps_its_grants(project, database, link):
    """A generation of another dimension needs another view: it is made anew in the same transaction, with the grants of the old one."""
    project.ok(
        "index",
        "index",
        "build",
        "d",
        "--generation",
        "a",
        "--records",
        str(GOLD / "corpus.jsonl"),
        "--embedder",
        "hashing:64",
    )
    project.ok(
        "index",
        "index",
        "build",
        "d",
        "--generation",
        "b",
        "--records",
        str(GOLD / "corpus.jsonl"),
        "--embedder",
        "hashing:96",
    )
    project.ok("index", "index", "swap", "d", "--to", "a")
    role = f"reader_{os.getpid()}"
    link.run(f"CREATE ROLE {role}")
    try:
        link.run(f"GRANT SELECT ON lockgate_index.d TO {role}")
        project.ok("index", "index", "swap", "d", "--to", "b", "--unvalidated")
        assert link.value("SELECT has_table_privilege($1, 'lockgate_index.d', 'SELECT')", role)
        assert link.value("SELECT vector_dims(embedding) FROM lockgate_index.d LIMIT 1") == 96
    finally:
        link.run(f"DROP OWNED BY {role}")
        link.run(f"DROP ROLE {role}")


def test_an_alias_that_somebody_else_moved(project, link, tmp_path):
    """Pointed elsewhere by hand: a swap that expects otherwise is refused as busy; an interrupted one between both ends in hold."""
    project.ok("index", "index", "build", "seed", "--records", records_file(tmp_path / "r", make_records(3)))
    store = open_search("pointer", str(tmp_path / "files"), link)
    two_generations(link, store, 5, str(tmp_path / "files"), "pointer")
    store.create("d__x", vector_spec())
    swap(link, store, lambda row: store, "d", "a", actor="t", window_seconds=60, unvalidated=True)
    store.swap("d", "d__a", "d__x")
    with pytest.raises(Busy) as moved:
        swap(link, store, lambda row: store, "d", "b", actor="t", window_seconds=60, unvalidated=True)
    assert moved.value.code == "INDEX_MOVED"
    link.run(
        """UPDATE lockgate.index_alias SET pending = '{"from": "a", "to": "b", "window": "60"}' WHERE name = 'd'"""
    )
    with pytest.raises(Held):
        recover(link, lambda row: store, "d", actor="t")
    store.swap("d", "d__x", "d__b")
    assert recover(link, lambda row: store, "d", actor="t") == "finished"
    assert find_generation(link, "d", "b").live


def test_a_store_that_swaps_in_two_steps_holds(project, link, tmp_path):
    """Where a reader could see neither generation the swap holds, until somebody says that this is fine."""
    project.ok("index", "index", "build", "seed", "--records", records_file(tmp_path / "r", make_records(3)))
    store = open_search("pointer", str(tmp_path / "files"), link)
    two_generations(link, store, 5, str(tmp_path / "files"), "pointer")
    store.capabilities = store.capabilities._replace(swap="two_step", note="it renames twice")
    with pytest.raises(Held) as held:
        swap(link, store, lambda row: store, "d", "a", actor="t", window_seconds=60)
    assert held.value.code == "INDEX_SWAP_TWO_STEP"
    assert swap(link, store, lambda row: store, "d", "a", actor="t", window_seconds=60, two_step=True).changed


def test_one_writer_for_each_alias(project, link, database, tmp_path):
    """While one command holds the index, another is busy with exit code 75; it is free when the holder's session ends."""
    path = records_file(tmp_path / "r", make_records(3))
    project.ok("index", "index", "build", "d", "--records", path)
    with writing(link, "d", 0):
        done = project.json("index", "swap", "d", "--to", "0001", "--lock-wait", "0.2")
        assert done.code == 75, done
        assert "the index d" in done.error("LOCK_BUSY")["message"]
        assert project.json("index", "build", "other", "--records", path).code == 0
    assert project.json("index", "swap", "d", "--to", "0001").code == 0


def test_a_number_never_comes_again(project, link, tmp_path):
    """After a generation that was dropped the next build takes the number behind it: its row of the register stays."""
    path = records_file(tmp_path / "r", make_records(6))
    killed_at(project, "index:build:batch", 1, "index", "build", "d", "--records", path)
    assert project.ok("index", "index", "gc", "d", "--abandoned")["dropped"] == ["0001"]
    assert project.ok("index", "index", "build", "d", "--records", path)["generation"] == "0002"
    assert [g.generation for g in read_generations(link, "d")] == ["0002"]


def test_gc_keeps_what_serves_and_the_way_back(project, link, tmp_path):
    """Collected is what failed or was left behind; kept are the one that serves, the one before it in its window, the newest and what is being built."""
    path = records_file(tmp_path / "r", make_records(6))
    for generation in ("a", "b", "c", "e"):
        project.ok("index", "index", "build", "d", "--generation", generation, "--records", path)
    for generation, window in (("a", "0"), ("b", "0"), ("c", "600")):
        project.ok("index", "index", "swap", "d", "--to", generation, "--unvalidated", "--window", window)
    assert (
        killed_at(
            project, "index:build:batch", 1, "index", "build", "d", "--generation", "f", "--records", path
        )
        == -signal.SIGKILL
    )
    told = project.ok("index", "index", "gc", "d", "--dry-run")
    assert told["dropped"] == ["a"]
    assert len(read_generations(link, "d")) == 5
    assert killed_at(project, "index:gc:drop", 1, "index", "gc", "d") == -signal.SIGKILL
    done = project.ok("index", "index", "gc", "d")
    assert done["dropped"] == ["a"]
    assert done["kept"] == {
        "b": "the rollback window is open",
        "c": "it serves",
        "e": "it may be swapped to",
        "f": "it is being built",
    }
    assert project.ok("index", "index", "gc", "d", "--abandoned")["dropped"] == ["f"]
    assert PgVector(link).physical("d") == ["d__b", "d__c", "d__e"]
    project.json("index", "build", "d", "--generation", "f", "--records", path).error("INDEX_EXISTS")
    link.run("UPDATE lockgate.index_alias SET rollback_until = clock_timestamp() WHERE name = 'd'")
    project.json("index", "rollback", "d").error("INDEX_NOT_READY")
    assert collect(link, lambda row: PgVector(link), "d", actor="t").dropped == ("b",)
