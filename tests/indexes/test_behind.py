"""The way back of an index that no move feeds: open only while it loses nothing that was written since the seal."""

from pathlib import Path

import psycopg
import pytest

from indexes.lives import GOLD
from indexes.test_watching import WATCH
from lockgate.postgres.link import Link
from lockgate.stores.content import Record
from lockgate.stores.open_search import open_search
from support.calls import Project

pytestmark = pytest.mark.postgres("18")
BACK = ("index", "rollback", "help")


def serving(database: str) -> str:
    """The generation that the gate is told of."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT generation FROM lockgate.live_index WHERE name = 'help'").fetchone()
        assert row is not None
        return str(row[0])


def write(database: str, sql: str) -> None:
    """What an application does to a generation, past everything of ours."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql)


NEW = "INSERT INTO lockgate_index.help__{} (id, text, embedding{}) SELECT 'new-1', 'a new text', embedding{} FROM lockgate_index.help__{} LIMIT 1"
HALF = NEW.format("0002", ", source_hash, stored_hash", ", source_hash, stored_hash", "0002")


def test_a_write_that_only_the_new_generation_has_keeps_the_way_back_shut(swapped: Project, database: str):
    """A document that was written after the swap into what serves only refuses the rollback by its id; once the old generation has it too, the way back is open."""
    write(database, HALF)
    error = swapped.json(*BACK).error("INDEX_NOT_READY")
    assert error["exitCode"] == 4
    assert "1 document of it is not the same in 0001 (new-1)" in error["message"]
    assert error["details"] == {"written": 1, "deleted": 0, "ids": ["new-1"]}
    assert serving(database) == "0002"
    write(database, NEW.format("0001", "", "", "0001"))
    assert swapped.ok("index", *BACK)["after"] == "0001"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE lockgate_index.help__0002 SET text = 'changed' WHERE id = (SELECT min(id) FROM lockgate_index.help__0002)",
        """UPDATE lockgate_index.help__0002 SET payload = '{"a":1}' WHERE id = (SELECT min(id) FROM lockgate_index.help__0002)""",
        "DELETE FROM lockgate_index.help__0002 WHERE id = (SELECT min(id) FROM lockgate_index.help__0002)",
    ],
)
def test_changes_and_deletes_count_and_a_person_may_give_them_up(swapped: Project, database: str, sql: str):
    """A changed text, a changed payload and a delete since the seal refuse the rollback; --lose-writes goes back all the same."""
    write(database, sql)
    assert swapped.json(*BACK).error("INDEX_NOT_READY")["next"].endswith("--lose-writes")
    assert serving(database) == "0002"
    assert swapped.ok("index", *BACK, "--lose-writes")["after"] == "0001"


def test_writes_to_both_generations_leave_the_way_back_open(swapped: Project, database: str):
    """Who writes every document into both generations finds the way back open though neither is what it was sealed as."""
    for generation in ("0001", "0002"):
        write(database, f"UPDATE lockgate_index.help__{generation} SET text = text || ' more' WHERE length(text) % 3 = 0")  # fmt: skip
    assert swapped.ok("index", *BACK)["after"] == "0001"


def test_what_cannot_be_read_says_how_to_go_back(swapped: Project, database: str):
    """Where what serves is gone nobody can tell what was written: the rollback says so and names the word that goes back all the same."""
    write(database, "DROP TABLE lockgate_index.help__0002 CASCADE")
    error = swapped.json(*BACK).error("INDEX_NOT_READY")
    assert "cannot be told" in error["message"]
    assert error["next"].endswith("--lose-writes")


def test_a_watch_does_not_lose_writes_by_itself(swapped: Project, database: str):
    """What serves got worse and was written to since its seal: the watch holds with both reasons, and the alias stays for a person to decide."""
    write(database, HALF)
    write(database, "DELETE FROM lockgate_index.help__0002 WHERE length(text) % 3 <> 0 AND id <> 'new-1'")
    answer = swapped.json(*WATCH, "--window", "3600")
    done = answer.document("index")
    assert (answer.code, done["reasonCode"], done["rolledBack"]) == (5, "INDEX_WATCH_HELD", ""), done
    assert "not taken back by itself" in done["reason"]
    assert "new-1" in done["reason"]
    assert serving(database) == "0002"


def test_a_store_of_its_own(tmp_path: Path, database: str, link: Link):
    """The same of a file of SQLite: a record that was written into the generation that serves refuses, and in both it passes."""
    project = Project(tmp_path, database)
    build = ("index", "build", "help", "--records", str(GOLD / "corpus.jsonl"), "--store", "fts5", "--place", "words.db")  # fmt: skip
    for generation in ("0001", "0002"):
        project.ok("index", *build)
        if generation == "0002":
            project.ok(
                "index-validate", "index", "validate", "help", "--against", "0001", "--gold", str(GOLD)
            )
        project.ok("index", "index", "swap", "help", "--to", generation)

    def put(generation: str) -> None:
        store = open_search("fts5", str(tmp_path / "words.db"), link)
        store.upsert(f"help__{generation}", [Record("late", "a text that came late")])
        store.close()

    put("0002")
    assert "late" in project.json(*BACK).error("INDEX_NOT_READY")["message"]
    put("0001")
    assert project.ok("index", *BACK)["after"] == "0001"
