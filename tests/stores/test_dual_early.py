"""Writers that are deployed before the move starts, or stay after it has ended: there may be no target yet, or no more."""

import msgspec
import pytest

from lockgate.errors import Refused
from lockgate.moves.dual import drive
from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.declaration import Place
from stores.hand import Hand, row

pytestmark = pytest.mark.postgres("18")


def created(move: Hand) -> Hand:
    """``move`` into a table that it makes."""
    move.declared = msgspec.structs.replace(move.declared, target=Place("fresh", "OTHER", create=True))
    return move


@pytest.mark.parametrize(("one", "other"), [("postgres", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgres")])  # fmt: skip
def test_writers_before_the_target_is_made(hand, one: str, other: str):
    """Before the start the writer writes the source, also where create = true has made no table; the same writer captures from the start on, and after abort writes the source though the table is dropped."""
    move = created(hand(one, other, writers=1))
    with move.writer(instance="early") as writer:
        writer.beat()
        assert writer.put(row(1001, "before"))
        with writer.transaction() as tx:
            assert tx.serves == "source"
            assert tx.delete({"id": 3})
        move.call(drive.start, operator="t")
        writer.beat()
        assert writer.put(row(1002, "captured"))
        move.call(backfill)
        move.call(drive.reconcile)
        words = {values[0] for values in move.state("target").values()}
        assert words == {values[0] for values in move.state("source").values()}
        assert {"before", "captured"} <= words
        assert "u3" not in words
        assert writer.failed == 0
        move.call(drive.abort, reason="test")
    with move.open() as opened:
        opened.pair.target.speaker.do("DROP TABLE fresh")
    with move.writer() as writer:
        assert writer.put(row(1003, "after"))


def test_a_target_that_is_away_before_the_start(hand, tmp_path):
    """Before the start a target that cannot be reached, such as a file that is yet to be made, keeps no write back."""
    move = created(hand("postgres", "sqlite"))
    move.places = move.places._replace(target=f"sqlite:///{tmp_path}/yet to be.db")
    with move.writer() as writer:
        assert writer.put(row(1001, "before"))


def test_a_target_that_is_gone_while_the_move_runs(hand):
    """A target whose table is gone while writes are captured is refused: a write that nobody carries would be none."""
    move = created(hand("postgres", "sqlite"))
    move.call(drive.start, operator="t")
    with move.open() as opened:
        opened.pair.target.speaker.do("DROP TABLE fresh")
    with move.writer() as writer, pytest.raises(Refused, match="no table fresh"):
        writer.put(row(1001, "lost"))
