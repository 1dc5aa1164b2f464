"""What was sealed and what is there now: a loss is told by every command that shows, and no command leads to it without a word."""

import signal

import psycopg
import pytest

from indexes.conftest import make_records
from indexes.lives import GOLD, killed_at, records_file
from lockgate.indexes.watching import judge_changed, judge_looks
from lockgate.record.verdict import Verdict
from lockgate.release.index_seals import judge_seal
from support.calls import Project

pytestmark = pytest.mark.postgres("18")
WATCH = ("index", "watch", "help", "--gold", str(GOLD), "--interval", "0.01", "--window", "3600")
LOSS = "DELETE FROM lockgate_index.help__0001 WHERE length(text) % 3 <> 0"


def changed(database: str, *statements: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for one in statements:
            connection.execute(one)


def serving(database: str) -> str:
    with psycopg.connect(database) as connection:
        (row,) = connection.execute("SELECT DISTINCT generation FROM lockgate_index.help").fetchall()
    return str(row[0])


def test_a_watch_does_not_go_back_to_a_generation_that_lost_documents(swapped: Project, database: str):
    """The generation before loses most of its documents: answers differ, and the alias stays at the healthy one, with the reason and the next command."""
    changed(database, LOSS)
    answer = swapped.json(*WATCH)
    assert answer.code == 5, answer
    done = answer.document("index")
    assert (done["reasonCode"], done["verdict"], done["condition"], done["rolledBack"]) == ("INDEX_WATCH_HELD", "hold", "before-changed", "")  # fmt: skip
    assert "generation 0001 is not what was sealed (it holds" in done["reason"]
    assert "0002, which serves, is what was sealed; so the difference is not its fault" in done["reason"]
    assert "lockgate index rollback help --changed" in done["next"]
    assert serving(database) == "help__0002"


def test_a_watch_holds_where_both_changed(swapped: Project, database: str):
    """Both generations lost documents: nothing is there to go back to, and the one that serves is not called blameless."""
    changed(database, LOSS, "DELETE FROM lockgate_index.help__0002 WHERE length(text) % 3 <> 1")
    done = swapped.json(*WATCH).document("index")
    assert (done["condition"], done["rolledBack"]) == ("before-changed", "")
    assert "0002 differs, too: it holds" in done["reason"]
    assert "not its fault" not in done["reason"]
    assert serving(database) == "help__0002"


def test_a_watch_goes_back_to_a_generation_that_keeps_up(swapped: Project, database: str):
    """Both generations are written to alike, then what serves loses documents: the watch goes back by itself, and the event says that the seal is another."""
    both = "UPDATE lockgate_index.help__{} SET text = text || ' more' WHERE length(text) % 3 = 0"
    changed(database, both.format("0001"), both.format("0002"))
    changed(database, "DELETE FROM lockgate_index.help__0002 WHERE length(text) % 3 <> 0")
    done = swapped.json(*WATCH).document("index")
    assert (done["verdict"], done["rolledBack"]) == ("fail", "0001"), done
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT details ->> 'differs' FROM lockgate.index_event WHERE kind = 'rollback'").fetchone()  # fmt: skip
    assert row is not None
    assert "not the same ones" in row[0]


@pytest.mark.parametrize(
    "change",
    [LOSS, "UPDATE lockgate_index.help__0001 SET text = 'other' WHERE id = (SELECT max(id) FROM lockgate_index.help__0001)", "DROP TABLE lockgate_index.help__0001"],
)  # fmt: skip
def test_a_rollback_leads_to_what_was_sealed(swapped: Project, database: str, change: str):
    """Records that went, one that changed, a table that is gone: the way back is refused by name, and nothing moves."""
    changed(database, change)
    refused = swapped.json("index", "rollback", "help")
    assert refused.code == 4
    error = refused.error("INDEX_CHANGED")
    assert error["next"].startswith("lockgate index rollback help --changed")
    assert error["details"]["differs"] in error["message"]
    assert serving(database) == "help__0002"


def test_an_emergency_rollback_is_recorded(swapped: Project, database: str):
    """With --changed the alias goes back all the same; the answer and the event say how the generation differs from its seal."""
    changed(database, LOSS)
    done = swapped.ok("index", "index", "rollback", "help", "--changed")
    assert (done["after"], done["changed"]) == ("0001", True)
    assert "and was sealed with 90" in done["differs"]
    assert serving(database) == "help__0001"
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT kind, details FROM lockgate.index_event ORDER BY id DESC LIMIT 1").fetchone()  # fmt: skip
    assert row == ("rollback", {"differs": done["differs"]})


def test_a_swap_leads_to_what_was_validated(swapped: Project, database: str):
    """A generation that lost documents after its validation does not begin to serve, not even unvalidated."""
    build = ("index", "build", "help", "--records", str(GOLD / "corpus.jsonl"), "--embedder", "hashing:256")
    swapped.ok("index", *build)
    swapped.ok("index-validate", "index", "validate", "help", "--against", "0002", "--gold", str(GOLD))
    changed(database, LOSS.replace("0001", "0003"))
    for more in ((), ("--unvalidated",)):
        refused = swapped.json("index", "swap", "help", "--to", "0003", *more)
        assert refused.code == 4
        refused.error("INDEX_CHANGED")
    assert serving(database) == "help__0002"


def test_a_store_outside_the_database_is_counted(tmp_path, database: str):
    """In a file of SQLite the count is compared before a swap and before a rollback."""
    import sqlite3

    project = Project(tmp_path, database)
    build = ("index", "build", "w", "--store", "fts5", "--place", "w.db", "--records", records_file(tmp_path / "r", make_records(20)))  # fmt: skip
    for generation in ("0001", "0002"):
        project.ok("index", *build)
        project.ok("index", "index", "swap", "w", "--to", generation, "--unvalidated")
    with sqlite3.connect(tmp_path / "w.db") as db:
        db.execute("DELETE FROM w__0001 WHERE rowid <= 5")
    assert "it holds 15 records, and was sealed with 20" in project.json("index", "rollback", "w").error("INDEX_CHANGED")["message"]  # fmt: skip
    rows = project.ok("index", "index", "list", "w")["generations"]
    assert [(g["records"], g["counted"]) for g in rows] == [(20, 15), (20, 20)]


def test_list_and_doctor_tell_a_loss(swapped: Project, database: str):
    """What is counted stands beside what was sealed; a loss of what serves is an error of doctor, of the way back a warning."""
    assert "index-changed" not in {f["id"] for f in swapped.json("doctor").document("doctor")["findings"]}
    changed(database, LOSS, "DELETE FROM lockgate_index.help__0002 WHERE length(text) % 3 <> 1")
    rows = swapped.ok("index", "index", "list", "help")["generations"]
    assert [g["records"] for g in rows] == [90, 90]
    assert all(0 < g["counted"] < 90 for g in rows)
    assert f"{rows[1]['counted']}, sealed with 90" in swapped.run("index", "list", "help").out
    found = [f for f in swapped.json("doctor").document("doctor")["findings"] if f["id"] == "index-changed"]
    assert [(f["severity"], f["message"].partition(" holds ")[0]) for f in found] == [
        ("error", "generation 0002 of the index help"), ("warning", "generation 0001 of the index help"),
    ]  # fmt: skip


OVERWRITTEN = "UPDATE lockgate_index.help__0002 SET embedding = (SELECT embedding FROM lockgate_index.help__0002 ORDER BY id LIMIT 1)"


def test_rounded_vectors_that_somebody_overwrote(swapped: Project, database: str):
    """All vectors of a float16 generation become the same one behind its validation: neither a swap nor a way back leads there without a word, also where the other generation was written to, and --changed does."""
    swapped.ok("index", "index", "swap", "help", "--to", "0001", "--unvalidated")
    changed(database, OVERWRITTEN)
    refused = swapped.json("index", "swap", "help", "--to", "0002").error("INDEX_CHANGED")
    assert "not the same ones" in refused["message"]
    assert swapped.json("index", "rollback", "help").error("INDEX_CHANGED")
    # What serves lost a document, so the other one has all of it; its vectors are wrong all the same.
    changed(
        database,
        "DELETE FROM lockgate_index.help__0001 WHERE id = (SELECT max(id) FROM lockgate_index.help__0001)",
    )
    assert swapped.json("index", "rollback", "help", "--lose-writes").error("INDEX_CHANGED")
    assert serving(database) == "help__0001"
    assert swapped.ok("index", "index", "rollback", "help", "--lose-writes", "--changed")["after"] == "0002"


def test_additions_to_what_serves_are_no_alarm():
    """More records than were sealed in what serves are told as information: somebody writes to it."""
    assert judge_seal("h", "1", 10, 12, serving=True, way_back=False).severity == "info"
    assert judge_seal("h", "1", 10, 12, serving=False, way_back=True).severity == "warning"


def test_a_condition_of_what_serves_alone_is_its_own():
    """Coverage looks at what serves only: where it is bad, nobody says that the fault is not its own."""
    from indexes.test_watching import look

    bad = judge_looks([look(0, 0.0, coverage=0.1)], over=False, gap=60)
    told = judge_changed(bad, "generation 1 is not what was sealed", blameless=True)
    assert told.answer is Verdict.HOLD
    assert "not its fault" not in told.reason


def test_a_name_that_is_none_is_refused(swapped: Project):
    """A mistyped name is refused with those that there are, by every command that shows or drops."""
    for call in (("list", "helpp"), ("gc", "helpp"), ("swap", "helpp", "--to", "0001")):
        refused = swapped.json("index", *call)
        assert refused.code == 2
        assert "(known: help)" in refused.error("INDEX_UNKNOWN")["message"]


def test_a_list_shows_what_a_killed_build_wrote(tmp_path, database: str):
    """A build that was killed after its second batch is listed with the records that it wrote."""
    project = Project(tmp_path, database)
    path = records_file(tmp_path / "r", make_records(30))
    build = ("index", "build", "d", "--records", path, "--batch", "10")
    assert killed_at(project, "index:build:batch", 2, *build) == -signal.SIGKILL
    (row,) = project.ok("index", "index", "list", "d")["generations"]
    assert (row["state"], row["records"], row["counted"]) == ("building", 0, 20)
    assert "20 written" in project.run("index", "list", "d").out


def test_the_command_for_an_unfinished_build_works_as_printed(tmp_path, database: str):
    """A swap and a validation before the seal name the build with all that it was called with; pasted, it seals the generation."""
    import shlex

    project = Project(tmp_path, database)
    path = records_file(tmp_path / "my records", make_records(30))
    build = ("index", "build", "d", "--records", path, "--ann", "hnsw:m=8,ef_construction=32", "--batch", "10", "--raw-lengths")  # fmt: skip
    project.ok("index", *build)
    assert killed_at(project, "index:build:batch", 2, *build) == -signal.SIGKILL
    told = [
        project.json("index", *call).error("INDEX_NOT_READY")["next"]
        for call in (
            ("swap", "d", "--to", "0002"),
            ("validate", "d", "--against", "0001", "--generation", "0002", "--gold", str(GOLD)),
        )
    ]
    assert told[0] == told[1]
    assert project.ok("index", *shlex.split(told[0])[1:])["generation"] == "0002"
    assert project.ok("index", "index", "list", "d")["generations"][1]["state"] == "sealed"
