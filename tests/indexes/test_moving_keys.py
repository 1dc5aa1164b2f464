"""Moves into an index from tables of SQLite whose keys say nothing of their type: what the proof finds is the row it looks at, and repairs."""

import sqlite3
from pathlib import Path

import pytest

from indexes.test_moving import Hand
from lockgate.errors import LockgateError
from lockgate.indexes.moving import drive
from lockgate.indexes.moving.side import possible_keys
from lockgate.moves.dual import drive as shared
from lockgate.stores.content import Record
from lockgate.stores.making import Field
from lockgate.stores.table import ANY

pytestmark = pytest.mark.postgres("18")
IDS = ("plain", "a:b", "12", "-7", "s:12", "00ff")


def texts_move(tmp_path: Path, database: str) -> Hand:
    """A copied move into FTS5 from a table whose key is text."""
    file = tmp_path / "app.db"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE articles (id TEXT PRIMARY KEY, body TEXT)")
        db.executemany("INSERT INTO articles VALUES (?, ?)", [(i, f"the words of {i}") for i in IDS])
    db.close()
    move = Hand(tmp_path, database, f"sqlite:///{file}", "fts5")
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        move.copy()
    return move


def changed_behind(move: Hand, statement: str) -> None:
    """Change the table without the writer."""
    with sqlite3.connect(move.source.removeprefix("sqlite:///")) as db:
        db.execute(statement)
    db.close()


@pytest.mark.parametrize("id_", IDS)
def test_a_row_that_differs_is_found_by_its_key(tmp_path: Path, database: str, id_: str):
    """A row that was changed behind the writer's back diverges whatever its key looks like; --repair brings its record up to date and takes no other away."""
    move = texts_move(tmp_path, database)
    changed_behind(move, f"UPDATE articles SET body = 'other words' WHERE id = '{id_}'")
    with pytest.raises(LockgateError) as caught:
        move.call(drive.reconcile)
    assert (caught.value.code, caught.value.details["unexplained"]) == ("MOVE_DIVERGED", [id_])
    move.call(shared.resume)
    done = move.call(drive.reconcile, repair=True)
    assert (done.repaired, done.source.root) == (1, done.held.root)
    assert move.held("0001") == move.texts()
    assert move.call(drive.reconcile).differing == 0


def test_records_without_a_row_are_taken_away(tmp_path: Path, database: str):
    """Records of rows that were deleted behind the writer's back, and of strangers, are named and taken away by --repair, under the key that the move knows them by."""
    move = texts_move(tmp_path, database)
    changed_behind(move, "DELETE FROM articles WHERE id IN ('12', 'a:b')")
    with move.open() as opened_:
        fed = opened_.pair.target.fed
        fed.store.upsert(fed.row.physical, [Record("77", "a stranger"), Record("x:y", "another one")])
    with pytest.raises(LockgateError) as caught:
        move.call(drive.reconcile)
    assert sorted(caught.value.details["unexplained"]) == ["12", "77", "a:b", "x:y"]
    move.call(shared.resume)
    assert move.call(drive.reconcile, repair=True).repaired == 4
    assert move.held("0001") == move.texts()
    with move.writer() as writer:
        writer.put({"id": "12", "body": "here again"})
    move.call(shared.relay)
    move.call(drive.reconcile)
    assert move.held("0001") == move.texts()


def test_nothing_on_both_sides_is_no_equality(tmp_path: Path, database: str):
    """A key that neither table nor index has goes on differing, unless the writer deleted its row."""
    move = texts_move(tmp_path, database)
    with move.writer() as writer:
        writer.delete({"id": "12"})
    move.call(shared.relay)
    with move.open() as opened_:
        keys = [("s:12",), ("s:nobody",), ("s:plain",)]
        assert drive.differing_keys(opened_.pair.source, opened_.pair.target, keys) == [("s:nobody",)]


def test_the_keys_of_an_id():
    """An id leads to every key that gives it, first to the one that a column of its type holds. Pure."""

    def keys(id_: str, *types: str) -> list[tuple[str | None, ...]]:
        return possible_keys(id_, [Field("k", ANY, t) for t in types])

    assert keys("12", "TEXT") == [("s:12",), ("i:12",), ("b:12",)]
    assert keys("12", "INTEGER") == [("i:12",), ("s:12",), ("b:12",)]
    assert keys("a:b", "TEXT") == [("s:a:b",)]
    assert keys("007", "INTEGER") == [("s:007",)]
    assert keys("9223372036854775808", "INTEGER") == [("s:9223372036854775808",)]
    assert keys("3ff8000000000000", "REAL")[1:] == [("f:3ff8000000000000",), ("b:3ff8000000000000",)]
    assert keys('["x","1"]', "TEXT", "INT") == [("s:x", "i:1"), ("s:x", "s:1")]
    assert keys("no list", "TEXT", "INT") == [("s:no list", "s:no list")]
    assert possible_keys("12", [Field("k", "integer", "bigint")]) == [("12",)]
