"""Capture from the server's log: a logical slot in place of triggers, on servers with wal_level = logical."""

import psycopg
import pytest

from lockgate.errors import LockgateError
from lockgate.postgres.link import Link
from lockgate.postgres.moves import log
from lockgate.postgres.relation import find
from lockgate.postgres.target import Target
from moves.hand import Hand, make
from moves.writers import Load
from support.tables import run_sql

SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
TRIGGERS = "SELECT tgname FROM pg_trigger WHERE tgname LIKE '%lockgate_items_forward%'"


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("across", "pace"),
    [
        pytest.param(False, 0.004, id="one-database"),
        pytest.param(False, 0.0, id="one-database-no-pause", marks=pytest.mark.soak),
        pytest.param(True, 0.0, id="two-databases", marks=pytest.mark.soak),
    ],
)
def test_move_under_load(databases, across, pace):
    """The whole move under inserts, updates, deletes, changed keys and swaps without a trigger on the source: every acknowledged write is on the serving side, and the slot is gone after the switch."""
    source = databases()
    target = databases() if across else None
    make(source, 600)
    hand = Hand(source, target, capture="log")
    hand.start()
    assert [s for (s,) in run_sql(source, SLOTS) if s.startswith("lockgate_items_")]
    assert not run_sql(source, TRIGGERS)
    with Load([source, target] if target else source, 600, pace=pace) as load:
        assert hand.backfill().complete
        load.go_on(30)
        hand.reconcile()
        hand.cutover()
        assert not run_sql(source, SLOTS)
        load.go_on(30)
        hand.rollback()
        assert run_sql(source, TRIGGERS), "the second round captures by triggers, made under the lock"
        load.go_on(30)
        assert hand.start() == "dual_write"
        hand.backfill()
        hand.reconcile()
        hand.cutover()
    load.check(target or source)
    assert not run_sql(source, SLOTS)


@pytest.mark.postgres("18")
def test_truncate_keys_and_toast(database):
    """TRUNCATE, a changed key, a row whose large value did not change and a transaction that is rolled back: the target follows all of them."""
    make(database, 300)
    hand = Hand(database, capture="log")
    hand.there()
    run_sql(
        database,
        "UPDATE item SET b = 'new' WHERE u = 7",
        "UPDATE item SET v = 'x' WHERE u = 50",
        "DELETE FROM item WHERE u = 8",
    )
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM item WHERE u = 9")
        connection.rollback()
    assert hand.relay().entries >= 4
    assert hand.reconcile().equal
    run_sql(database, "TRUNCATE item")
    hand.relay()
    assert run_sql(database, "SELECT count(*) FROM item_new") == [(0,)]
    assert hand.reconcile().equal
    hand.abort()


@pytest.mark.postgres("18")
def test_writes_that_were_not_flushed_are_seen_at_the_switch(database):
    """Commits that did not wait for the disk just before the cutover are drained under its lock."""
    make(database, 300)
    hand = Hand(database, capture="log")
    hand.there()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for number in range(20):
            connection.execute("DELETE FROM item WHERE u = %s", (number + 1,))
        hand.cutover()
    assert run_sql(database, "SELECT count(*) FROM item WHERE u <= 20") == [(0,)]


@pytest.mark.postgres("18")
def test_the_slot_does_not_outlive_the_move(database):
    """abort drops slot and publication; a slot that somebody dropped pauses the move, and resume refuses."""
    make(database, 100)
    hand = Hand(database, capture="log")
    hand.start()
    hand.abort()
    assert not run_sql(database, SLOTS)
    assert not run_sql(database, "SELECT 1 FROM pg_publication")
    run_sql(database, "DROP TABLE item_new")
    hand.start()
    run_sql(
        database,
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()",
    )
    with pytest.raises(LockgateError) as caught:
        hand.backfill()
    assert caught.value.code == "MOVE_PAUSED"
    with pytest.raises(LockgateError, match="capture of the move items is off"):
        hand.resume()


@pytest.mark.postgres("18")
def test_where_the_log_cannot_be_read_triggers_capture(database):
    """A replica identity that is not the key: plan says why, start falls back to triggers and writes the reason down."""
    make(database, 100)
    run_sql(database, "ALTER TABLE item REPLICA IDENTITY NOTHING")
    hand = Hand(database, capture="log")
    assert any("replica identity" in note and "triggers" in note for note in hand.plan().notes)
    hand.there()
    assert not run_sql(database, SLOTS)
    assert len(run_sql(database, TRIGGERS)) == 2
    evidence = run_sql(database, "SELECT evidence ->> 'notTheLog' FROM lockgate.move_event WHERE to_stage = 'dual_write'")  # fmt: skip
    assert "replica identity" in evidence[0][0]
    link = Link(Target(database, source="test"), "test")
    try:
        run_sql(database, "ALTER TABLE item REPLICA IDENTITY DEFAULT")
        assert log.unfit(link, find(link, "item"), ["a", "b"]) == ""
        assert "key" in log.unfit(link, find(link, "item"), ["other"])
    finally:
        link.close()


def test_messages():
    """Key columns by their place, old keys of changed rows, values that are stored apart, and what is not known."""

    def text(value: str) -> bytes:
        return b"t" + len(value.encode()).to_bytes(4, "big") + value.encode()

    def row(*values: bytes) -> bytes:
        return len(values).to_bytes(2, "big") + b"".join(values)

    one = (7).to_bytes(4, "big")
    columns = b"".join(b"\0" + n + b"\0" + bytes(8) for n in (b"v", b"b", b"a"))
    relation = b"R" + one + b"public\0t\0d" + (3).to_bytes(2, "big") + columns
    seen = list(
        log.keys_of(
            [
                b"B" + bytes(20), relation,
                b"I" + one + b"N" + row(b"n", text("2"), text("1")),
                b"U" + one + b"N" + row(b"u", text("2"), text("1")),
                b"U" + one + b"K" + row(b"n", text("2"), text("1")) + b"N" + row(b"n", text("3"), text("1")),
                b"D" + one + b"K" + row(b"n", text("ü"), text("1")),
                b"T" + (1).to_bytes(4, "big") + b"\0" + one, b"C" + bytes(25),
            ],
            ["a", "b"],
        )
    )  # fmt: skip
    assert [(c.op, c.key) for c in seen] == [
        ("I", ("1", "2")), ("U", ("1", "2")), ("U", ("1", "3")), ("D", ("1", "2")), ("D", ("1", "ü")), ("T", ()),
    ]  # fmt: skip
    with pytest.raises(LockgateError):
        list(log.keys_of([b"?"], ["a"]))
    with pytest.raises(LockgateError):
        list(log.keys_of([relation, b"U" + one + b"N" + row(b"n", b"u", text("1"))], ["b"]))
