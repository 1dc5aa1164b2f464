"""Columns of SQLite that an expression of another engine fills: the engine's values carry no mark of their type, and none is guessed."""

import sqlite3
from decimal import Decimal

import pytest

from lockgate.moves.dual import drive, turning
from lockgate.moves.dual.copy import backfill
from stores.conftest import Place
from stores.hand import Hand
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def _amounts(place: Place, column: str) -> list[tuple[int, float | None]]:
    """(id, amount) of the rows from 900 on, read by the store's own driver."""
    sql = f"SELECT id, {column} FROM t WHERE id >= 900 ORDER BY id"
    if place.url.startswith("sqlite"):
        with sqlite3.connect(place.url.removeprefix("sqlite:///")) as db:
            rows = db.execute(sql).fetchall()
        db.close()
    elif place.url.startswith("postgres"):
        rows = run_sql(place.url, sql)
    else:
        rows = place.run(sql)
    return [(int(k), None if v is None else float(v)) for k, v in rows]


@pytest.mark.parametrize("declared", ["REAL", "NUMERIC", "TEXT", ""])
@pytest.mark.parametrize("other", ["postgres", "mysql"])
def test_an_expression_fills_a_column_of_sqlite_after_the_cutover(places, database, other, declared):
    """SQLite → another engine with `[reverse]`: what is written after the cutover is in SQLite with its value, and the way back keeps it."""
    source, target = places("sqlite"), places(other)
    with sqlite3.connect(source.url.removeprefix("sqlite:///")) as db:
        db.execute("ALTER TABLE t DROP COLUMN n")
        db.execute(f"ALTER TABLE t ADD COLUMN price {declared}")
        db.execute("INSERT INTO t (id, u, price) VALUES (900, 'old', 1.5)")
    db.close()
    add = ("ALTER TABLE t DROP COLUMN n", "ALTER TABLE t ADD COLUMN cents numeric(20, 2)")
    for sql in add:
        run_sql(target.url, sql) if other == "postgres" else target.run(sql)
    move = Hand(source, target, database, columns={"cents": "price * 100"}, reverse={"price": "cents / 100"}, writers=0)  # fmt: skip
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.put({"id": 901, "u": "new", "price": "2.5" if declared == "TEXT" else 2.5})
        move.call(backfill)
        move.call(drive.reconcile)
        move.call(turning.turn, forward=True)
        writer.put({"id": 902, "u": "after", "cents": Decimal(350)})
        writer.put({"id": 903, "u": "none", "cents": None})
        move.call(drive.relay)
        expected = [(900, 1.5), (901, 2.5), (902, 3.5), (903, None)]
        assert _amounts(source, "price") == expected
        assert move.call(turning.turn, forward=False).serves == "source"
    assert _amounts(source, "price") == expected
