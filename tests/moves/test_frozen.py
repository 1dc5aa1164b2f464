"""What `up` asks about running moves."""

import pytest

from lockgate.postgres.moves.frozen import Moving, frozen, read_moving, waits_for
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from moves.hand import Hand, make

MOVING = (
    Moving("one", "backfilling", (("public", "item"), ("shop", "item_new"))),
    Moving("two", "finished", (("public", "old"),)),
)


def test_frozen_tables():
    """Tables of a running move are frozen by the names that `check` gives; those of a finished one are free."""
    assert frozen(MOVING, ["item", "old", "shop.item", "shop.item_new"]) == [
        ("item", "one"),
        ("shop.item_new", "one"),
    ]


def test_files_that_wait():
    """A file waits until its move is reconciled; a move that nobody started holds it too."""
    assert "backfilling" in waits_for(MOVING, ["move:one"])
    assert waits_for(MOVING, ["move:two"]) == ""
    assert "never started" in waits_for(MOVING, ["move:three"])
    assert waits_for(MOVING, []) == ""


@pytest.mark.postgres("18")
def test_read_from_the_database(database):
    """The query names both tables under the names that they have now, before and after the switch, and nothing in a fresh database."""
    wire = Wire(Target(database, source="test"), "test")
    try:
        assert read_moving(wire) == ()
        make(database, 100)
        hand = Hand(database)
        hand.there()
        assert read_moving(wire) == (
            Moving("items", "reconciled", (("public", "item"), ("public", "item_new"))),
        )
        hand.cutover()
        assert frozen(read_moving(wire), ["item", "item__items_old"]) == [
            ("item", "items"),
            ("item__items_old", "items"),
        ]
        hand.finish(now=True)
        assert frozen(read_moving(wire), ["item"]) == []
    finally:
        wire.close()
