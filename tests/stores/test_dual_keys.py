"""The proof of dual-written moves whose keys say nothing of their type, or are told by the digests otherwise than by the sides: a row that differs is found."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from lockgate.errors import LockgateError
from lockgate.moves.dual import drive
from lockgate.moves.dual.comparing import look_again
from lockgate.moves.dual.copy import backfill
from lockgate.moves.verify import Difference
from stores.hand import Hand
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
IDS = ("plain", "a:b", "12", "-7", "i:12")


def sqlite_table(file: Path, type_: str, keys: tuple[object, ...] = ()) -> SimpleNamespace:
    """A file with the table ``t``, whose key is of ``type_``."""
    with sqlite3.connect(file) as db:
        db.execute(f"CREATE TABLE t (id {type_} PRIMARY KEY NOT NULL, u TEXT)")
        db.executemany("INSERT INTO t VALUES (?, 'same')", [(k,) for k in keys])
    db.close()
    return SimpleNamespace(url=f"sqlite:///{file}", table="t")


def broken(place: SimpleNamespace, key: object) -> None:
    """Change a row behind the writer's back."""
    with sqlite3.connect(place.url.removeprefix("sqlite:///")) as db:
        assert db.execute("UPDATE t SET u = 'broken' WHERE id = ?", (key,)).rowcount == 1
    db.close()


def copied(move: Hand) -> Hand:
    move.call(drive.start, operator="t")
    move.call(backfill)
    return move


def diverged(move: Hand) -> list[dict[str, object]]:
    with pytest.raises(LockgateError) as caught:
        move.call(drive.reconcile)
    assert caught.value.code == "MOVE_DIVERGED"
    return caught.value.details["unexplained"]


@pytest.mark.parametrize("key", IDS)
def test_a_broken_row_between_files(tmp_path: Path, database: str, key: str):
    """From SQLite to SQLite with keys of text a changed row of the target diverges and is repaired, whatever its key looks like."""
    target = sqlite_table(tmp_path / "b.db", "TEXT")
    move = copied(Hand(sqlite_table(tmp_path / "a.db", "TEXT", IDS), target, database, writers=0))  # type: ignore[arg-type]
    broken(target, key)
    assert diverged(move) == [{"key": [f"s:{key}"], "kind": "changed"}]
    move.call(drive.resume)
    assert move.call(drive.reconcile, repair=True).repaired == 1  # type: ignore[attr-defined]
    with sqlite3.connect(target.url.removeprefix("sqlite:///")) as db:
        assert sorted(db.execute("SELECT id, u FROM t")) == sorted((k, "same") for k in IDS)
    db.close()


def test_the_number_and_its_digits_are_two_keys(tmp_path: Path, database: str):
    """In a column without a type 12 and '12' are two rows, of which the one that differs is told."""
    target = sqlite_table(tmp_path / "b.db", "")
    move = copied(Hand(sqlite_table(tmp_path / "a.db", "", (12, "12")), target, database, writers=0))  # type: ignore[arg-type]
    broken(target, 12)
    assert [d["key"] for d in diverged(move)] == [["i:12"]]


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("double precision", "(1.5), (2.25)"),
        ("timestamp", "('2024-01-02 03:04:05'), ('2024-01-02')"),
        ("boolean", "(true), (false)"),
        ("numeric", "(1.50), (2.0)"),
        ("bytea", "('\\x00ff'), ('\\x61')"),
    ],
)
def test_keys_that_the_digests_tell_otherwise(databases: Callable[[], str], database: str, type_: str, values: str):  # fmt: skip
    """Between two databases of PostgreSQL a changed row is found by keys of every family, not only where the digests write them as the sides do."""
    urls = databases(), databases()
    for url in urls:
        run_sql(url, f"CREATE TABLE t (id {type_} PRIMARY KEY, u text)")
    run_sql(urls[0], f"INSERT INTO t SELECT v, 'same' FROM (VALUES {values}) a (v0), LATERAL (SELECT v0::{type_}) b (v)")  # fmt: skip
    move = copied(
        Hand(
            SimpleNamespace(url=urls[0], table="t"),
            SimpleNamespace(url=urls[1], table="t"),
            database,
            writers=0,
        )
    )  # type: ignore[arg-type]
    run_sql(urls[1], "UPDATE t SET u = 'broken' WHERE id = (SELECT id FROM t ORDER BY id LIMIT 1)")
    assert len(diverged(move)) == 1
    move.call(drive.resume)
    assert move.call(drive.reconcile, repair=True).repaired == 1  # type: ignore[attr-defined]
    assert run_sql(urls[1], "SELECT DISTINCT u FROM t") == [("same",)]


def test_nothing_on_both_sides_is_no_equality(tmp_path: Path, database: str):
    """A key that neither side has goes on differing, unless the writer deleted its row meanwhile."""
    source, target = (
        sqlite_table(tmp_path / "a.db", "TEXT", ("12", "plain")),
        sqlite_table(tmp_path / "b.db", "TEXT"),
    )
    move = copied(Hand(source, target, database, writers=0))  # type: ignore[arg-type]
    with move.writer() as writer:
        writer.delete({"id": "12"})
    found = tuple(Difference((k,), "changed") for k in ("s:12", "s:nobody", "s:plain"))
    with move.open() as opened_:
        left = look_again(opened_.pair.source, opened_.pair.target, found, lambda: None)
    assert left == (found[1],)


def test_a_row_that_is_not_found_again_is_no_delete(tmp_path: Path, database: str):
    """An INTEGER key of SQLite given as text: the store takes it as a number, so the row is not found by it; the write is refused and rolled back, not carried as a delete."""
    source, target = (sqlite_table(tmp_path / name, "INTEGER", keys) for name, keys in (("one.db", (12,)), ("two.db", ())))  # fmt: skip
    move = copied(Hand(source, target, database, writers=0))  # type: ignore[arg-type]
    with move.writer() as writer:
        with pytest.raises(ValueError, match="give the key in the type that the store holds"):
            writer.put({"id": "12", "u": "changed"})
        move.call(drive.relay)
        assert held(source) == held(target) == [(12, "same")]
        writer.put({"id": 12, "u": "kept"})
    move.call(drive.relay)
    assert held(source) == held(target) == [(12, "kept")]


def held(place: SimpleNamespace) -> list[tuple[object, str]]:
    """All rows of ``t``, by the store's own driver."""
    with sqlite3.connect(place.url.removeprefix("sqlite:///")) as db:
        rows = db.execute("SELECT id, u FROM t ORDER BY id").fetchall()
    db.close()
    return rows
