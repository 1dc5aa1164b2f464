"""Text of SQLite that is not UTF-8: one such row stops neither a move nor a comparison."""

import pytest

from lockgate.errors import LockgateError
from lockgate.moves.dual import drive
from lockgate.moves.dual.copy import backfill, retry
from lockgate.postgres.moves import ledger
from stores.hand import Hand
from stores.test_conformance import ROWS, compare

pytestmark = pytest.mark.postgres("18")


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_a_row_in_quarantine(places, database: str, kind: str):
    """The row stands in quarantine with its key and column, all others are copied; once it is mended the move is proven."""
    source, target = places("sqlite"), places(kind)
    source.fill(ROWS)
    source.run("UPDATE t SET s = CAST(x'ff41' AS TEXT) WHERE id = 7")
    move = Hand(source, target, database, writers=0, columns={"u": "u || ''"}, reverse={"u": "u"})
    assert move.call(drive.plan).problems == []
    move.call(drive.start, operator="t")
    move.call(backfill)
    with move.open() as opened:
        (held,) = ledger.quarantined(opened.home, "things")
        assert len(opened.pair.target.between(None, None)) == len(ROWS) - 1
    assert held["key"] == (["7"] if kind == "postgres" else ["i:7"])
    assert "ff41" in str(held["message"])
    assert "s" in str(held["message"]).split(": ")[1].split()[0]
    with pytest.raises(LockgateError, match="1 row stands in quarantine"):
        move.call(drive.reconcile)
    source.run("UPDATE t SET s = 'mended' WHERE id = 7")
    move.call(retry)
    move.call(drive.reconcile)


def test_a_comparison(places):
    """A comparison tells the row by its key; equal bytes on both sides are equal, and text is not the same as a blob of its bytes."""
    source, target, other = places("sqlite"), places("postgres"), places("sqlite")
    for place in (source, target, other):
        place.fill(ROWS)
    source.run("UPDATE t SET s = CAST(x'ff41' AS TEXT) WHERE id = 7")
    other.run("UPDATE t SET s = CAST(x'ff41' AS TEXT) WHERE id = 7")
    assert [(d.key, d.kind) for d in compare(source, target).differing] == [((7,), "changed")]
    assert compare(source, other).equal
    other.run("UPDATE t SET s = x'ff41' WHERE id = 7")
    assert not compare(source, other).equal
