"""``lockgate rehearse`` and ``lockgate queries`` as a pipeline calls them: words, documents, exit codes, and what they leave alone."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from support import servers
from support.calls import FIRST, Project, validate

BASE = "create table users(id bigint primary key, email text, nick text);\ncreate table orders(id bigint primary key, total numeric(10,2));\n"
OLD = """SELECT id, email FROM users WHERE email = $1;
SELECT * FROM users WHERE id = $1;
INSERT INTO users (id, email) VALUES ($1, $2);
UPDATE orders SET total = $1 WHERE id = $2;
"""


@pytest.fixture(scope="module")
def scratch(session_directory: Path) -> Iterator[Path]:
    """A folder whose scratch server the projects of this module share."""
    folder = session_directory / f"rehearsals-{os.urandom(4).hex()}"
    (folder / ".lockgate").mkdir(parents=True)
    servers.seed(session_directory, folder / ".lockgate" / "rehearsal", "18")
    yield folder
    servers.remove(folder / ".lockgate" / "rehearsal")
    servers.remove(folder)


@pytest.fixture
def project(scratch: Path) -> Iterator[Project]:
    """A project without a URL and without configuration."""
    made = Project(scratch)
    made.write("base", BASE)
    (scratch / "old.sql").write_text(OLD)
    yield made
    for path in made.directory.iterdir():
        path.unlink()
    shutil.rmtree(scratch / ".artifacts", ignore_errors=True)


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    "less",
    [[], ["--queries", "old=old.sql", "--rows", "0"], ["--queries", "old=fewer.sql"]],
    ids=["no queries", "no rows", "fewer queries"],
)
def test_less_proof_does_not_open_what_more_closed(project: Project, less: list[str]) -> None:
    """Behind queries that broke, a rehearsal without them, or without rows, is a hold and the one that failed stays."""
    project.write("change", "alter table users rename column email to mail;\n")
    (project.root / "fewer.sql").write_text("UPDATE orders SET total = $1 WHERE id = $2;\n")
    first = project.json("rehearse", "--queries", "old=old.sql").document("rehearse")
    kept = project.root / ".artifacts" / "rehearsal" / first["planHash"] / "rehearsal.json"
    before = kept.read_bytes()
    again = project.json("rehearse", *less)
    document = again.document("rehearse")
    (told,) = [check for check in document["checks"] if check["id"] == "as-much-as-before"]
    assert (told["answer"], again.code) == ("hold", 1)
    assert "--queries old=FILE" in told["details"]
    assert kept.read_bytes() == before
    assert project.json("rehearse", "--queries", "old=old.sql").code == 1
    assert kept.read_bytes() != before


@pytest.mark.postgres("18")
def test_a_break_as_a_program_reads_it(project: Project) -> None:
    """The document of contracts: verdict, migrations with locks, the answer of each release with what breaks where; exit 1."""
    revision = project.write("change", "alter table users rename column email to mail;\n")
    answer = project.json("rehearse", "--queries", "old=old.sql")
    assert answer.code == 1, answer
    document = answer.document("rehearse")
    assert (document["verdict"], document["reasonCode"]) == ("fail", "QUERIES_BREAK")
    assert document["secondApply"] == "noop"
    assert len(document["schemaDigest"]) == 64
    old = document["compatibility"]["old"]
    assert old["answer"] == "breaks"
    assert {(b["revision"], b["sqlstate"]) for b in old["breaks"]} == {(revision, "42703")}
    assert {b["query"] for b in old["breaks"]} == {OLD.split(";")[0], OLD.split(";")[2].strip()}
    (statement,) = document["migrations"][1]["statements"]
    assert statement["locks"] == {"users": "AccessExclusiveLock"}
    assert (statement["line"], statement["kind"]) == (1, "RENAME")
    assert statement["rewrites"] == statement["scans"] == []
    kept = json.loads(
        (project.root / ".artifacts" / "rehearsal" / document["planHash"] / "rehearsal.json").read_text()
    )
    validate("rehearse", kept)
    assert kept == document


@pytest.mark.postgres("18")
def test_a_pass_as_people_read_it(project: Project) -> None:
    """A harmless file from a base: exit 0, the statement with its lock, the checks, and where the proof lies."""
    project.write(
        "change",
        "alter table users add column n int;\n\n-- lockgate: down\nalter table users drop column n;\n",
    )
    answer = project.text(
        "rehearse", "--from", str(FIRST + 1), "--queries", "old=old.sql", "--sha", "abcdef0"
    )
    assert answer.code == 0, answer
    for words in (
        "users (AccessExclusive)",
        "everybody",
        "release old: reconnect",
        "cached plans of",
        "verdict   pass",
        "schema-digest",
        "down",
    ):
        assert words in answer.out, words
    for name in ("rehearsal.json", "rehearsal.html"):
        assert (project.root / ".artifacts" / "deploy" / "abcdef0" / name).is_file()


@pytest.mark.postgres("18")
def test_a_query_that_never_worked(project: Project) -> None:
    """A query of nothing holds the release, with exit 5 and the server's words."""
    (project.root / "new.sql").write_text("SELECT nothing FROM nowhere WHERE id = $1;\n")
    answer = project.json("rehearse", "--queries", "new=new.sql")
    assert answer.code == 5, answer
    document = answer.document("rehearse")
    assert (document["verdict"], document["reasonCode"]) == ("hold", "REHEARSAL_HELD")
    assert document["compatibility"]["new"]["answer"] == "hold"
    assert "nowhere" in document["reason"]


@pytest.mark.postgres("18")
def test_the_base_of_production(project: Project, database: str) -> None:
    """`status` of production is the base: the plan hash is the one that `plan` shows there, and only what is pending is rehearsed."""
    assert project.run("up", DATABASE_URL=database).code == 0
    revision = project.write("change", "create table more (id int primary key);\n")
    status = project.json("status", DATABASE_URL=database)
    (project.root / "status.json").write_text(status.out)
    plan = project.json("plan", DATABASE_URL=database).document("plan")
    document = project.ok("rehearse", "rehearse", "--from-status", "status.json")
    assert document["planHash"] == plan["planHash"]
    assert [m["revision"] for m in document["migrations"]] == [revision]
    edited = status.out.replace(json.loads(status.out)["applied"][0]["checksum"], "0" * 64)
    (project.root / "status.json").write_text(edited)
    answer = project.json("rehearse", "--from-status", "status.json")
    assert answer.code == 4
    answer.error("CHECKSUM_MISMATCH")


@pytest.mark.postgres("18")
def test_the_target_is_never_touched(project: Project) -> None:
    """With a target in the environment nothing connects to it: its listening socket stays alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/production"
        assert project.run("rehearse", DATABASE_URL=url).code == 0
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.postgres("18")
def test_a_scratch_server_of_ones_own(project: Project, database: str) -> None:
    """An empty database of another server will do; one that is migrated is refused with 4 before anything happens."""
    answer = project.json("rehearse", "--scratch-url", database)
    assert answer.code == 0, answer
    assert answer.document("rehearse")["server"]["where"] == "scratch-url"
    assert project.run("up", DATABASE_URL=database).code == 0
    answer = project.json("rehearse", "--scratch-url", database)
    assert answer.code == 4
    answer.error("SCRATCH_REFUSED")


@pytest.mark.parametrize(
    ("arguments", "files", "word"),
    [
        (["--queries", "old"], {}, "NAME=FILE"),
        (["--queries", "=x.sql"], {}, "NAME=FILE"),
        (["--queries", "old=gone.sql"], {}, "gone.sql"),
        (["--queries", "a=q.sql", "--queries", "a=q.sql"], {"q.sql": b"select 1;"}, "twice"),
        (["--queries", "a=q.sql"], {"q.sql": b"select 1;\nselect from where;"}, "q.sql:2"),
        (["--queries", "a=q.sql"], {"q.sql": b"select 1;\n\nvacuum users;"}, "q.sql:3"),
        (["--queries", "a=q.sql"], {"q.sql": b"-- nothing\n"}, "no query"),
        (["--queries", "a=q.sql"], {"q.sql": b"\xff\xfe"}, "UTF-8"),
        (["--queries", "a=q.csv"], {"q.csv": b"text,calls\nx,1\n"}, "query"),
        (["--queries", "a=q.json"], {"q.json": b"{"}, "JSON"),
        (["--from", "1600000000000"], {}, "1600000000000"),
        (["--from", "1", "--from-status", "s.json"], {}, "two bases"),
        (["--from-status", "s.json"], {}, "s.json"),
        (["--from-status", "s.json"], {"s.json": b'{"command": "plan", "applied": []}'}, "plan"),
        (["--snapshot", "gone.json"], {}, "gone.json"),
        (["--snapshot", "s.json"], {"s.json": b"[]"}, "snapshot"),
        (["--bindir", "/", "--server-version", "16"], {}, "--server-version"),
        (["--scratch-url", "postgresql://x/y", "--bindir", "/"], {}, "--bindir"),
        (["--scratch-url", "nonsense://"], {}, "--scratch-url"),
        (["--sha", "../../etc"], {}, "sha"),
        (["--rows", "-1"], {}, "--rows"),
    ],
)  # fmt: skip
def test_a_wrong_call(tmp_path: Path, arguments: list[str], files: dict[str, bytes], word: str) -> None:
    """What is wrong with a call is named with its option, file and line; exit 2, no server is started and nothing is written."""
    project = Project(tmp_path)
    project.write("base", BASE)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    answer = project.json("rehearse", *arguments)
    assert answer.code == 2, answer
    assert word in answer.document("error")["message"] + answer.err
    assert not (tmp_path / ".lockgate").exists()
    assert not (tmp_path / ".artifacts").exists()


def test_an_export(tmp_path: Path) -> None:
    """Exports of pg_stat_statements are read as CSV and JSON; what is no query is counted, what is no SQL is kept for the server to judge."""
    from lockgate.rehearsal.queries import read_queries

    (tmp_path / "a.csv").write_text(
        'query,calls\n"select * from t where id = $1",5\nBEGIN,9\n"select interval $1",1\n'
    )
    found = read_queries("a", tmp_path / "a.csv")
    assert [q.text for q in found.queries] == ["select * from t where id = $1", "select CAST($1 AS interval)"]
    assert found.skipped == 1
    (tmp_path / "a.json").write_text(
        json.dumps({"queries": [{"query": "delete from t"}, {"query": "delete from t"}]})
    )
    assert [q.kind for q in read_queries("a", tmp_path / "a.json").queries] == ["write"]


@pytest.mark.postgres("machine")
def test_capture(project: Project, own_server: object) -> None:
    """The queries that a server counted become a file that `rehearse --queries` reads."""
    server = own_server("machine", settings={"shared_preload_libraries": "pg_stat_statements"})  # type: ignore[operator]
    with psycopg.connect(server.url(), autocommit=True) as connection:
        if not connection.execute(
            "select 1 from pg_available_extensions where name = 'pg_stat_statements'"
        ).fetchone():
            pytest.skip("this server has no pg_stat_statements")
        connection.execute("create extension pg_stat_statements")
        connection.execute(BASE)  # type: ignore[call-overload]
        connection.execute("select email from users where id = 7")
        connection.execute("insert into orders values (1, 2)")
    document = project.ok(
        "queries", "queries", "capture", "--output", "captured.sql", DATABASE_URL=server.url()
    )
    texts = {q["query"] for q in document["queries"]}
    assert {"select email from users where id = $1", "insert into orders values ($1, $2)"} <= texts
    assert document["skipped"] > 0
    answer = project.json("rehearse", "--queries", "live=captured.sql", "--bindir", str(server_bindir()))
    found = {q["query"]: q["answer"] for q in answer.document("rehearse")["compatibility"]["live"]["queries"]}
    assert found["select email from users where id = $1"] == "compatible"


def server_bindir() -> Path:
    """The programs of the machine's own server."""
    found = servers.binaries("machine")
    assert found is not None
    return found.bindir


@pytest.mark.postgres("18")
def test_capture_without_the_extension(project: Project, database: str) -> None:
    """Without pg_stat_statements it says what to install, with exit 4."""
    answer = project.json("queries", "capture", DATABASE_URL=database)
    assert answer.code == 4
    assert "CREATE EXTENSION" in answer.error("EXTENSION_MISSING")["next"]


@pytest.mark.postgres("18")
def test_the_words_of_load(project: Project, scratch: Path) -> None:
    """--load alone is lockgate's own clients, with pgbench it is pgbench with the queries or with scripts; other words and missing files are exit 2."""
    project.write("more", "create table more (id int primary key);\n")
    (scratch / "mine.sql").write_text("SELECT count(*) FROM users;\n")
    base = ("rehearse", "--from", str(FIRST + 1), "--queries", "old=old.sql", "--clients", "2")
    for words, by in (
        (("--load",), "clients"),
        (("--load", "pgbench"), "pgbench"),
        (("--load", "pgbench:mine.sql"), "pgbench"),
    ):
        answer = project.json(*base, *words)
        assert answer.code == 0, answer
        load = answer.document("rehearse")["load"]
        assert (load["by"], load["clients"], load["failed"]) == (by, 2, 0)
        assert load["transactions"] > 10
    told = project.text(*base, "--load", "pgbench")
    assert "under load of 2 clients of pgbench" in told.out
    for words in ("nonsense", "pgbench:", "pgbench:missing.sql"):
        project.json(*base, "--load", words).error("USAGE")
