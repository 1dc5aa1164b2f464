"""Whom the locks of a move hold up."""

import threading
import time

import psycopg
import pytest

from lockgate.errors import Busy
from lockgate.moves import cutover
from lockgate.moves.declaration import TargetSide
from lockgate.moves.shrinking import keep_small
from moves.hand import Hand, make
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def test_who_holds_the_target_holds_no_writer(database):
    """While a session holds the table that does not serve, the switch waits for it alone: it has not locked the serving one, on the way there and back, and neither has the beginning of a move."""
    make(database, 300)
    run_sql(database, "CREATE TABLE item_new (LIKE item INCLUDING ALL)")
    hand = Hand(database, to=TargetSide("item_new", "", False)).with_limits(lock_attempt_ms=9000)
    waits = "SELECT relation::regclass::text, granted FROM pg_locks WHERE pid IN (SELECT pid FROM pg_locks WHERE NOT granted AND relation = {0}) AND relation IN ({0}, {1}) AND mode IN ('AccessExclusiveLock', 'ShareRowExclusiveLock')"
    oids = [row[0] for row in run_sql(database, "SELECT oid FROM pg_class WHERE relname IN ('item', 'item_new') ORDER BY relname")]  # fmt: skip
    for call, (serving, other) in ((hand.start, oids), (hand.cutover, oids), (hand.rollback, oids[::-1])):
        if call == hand.cutover:
            assert hand.backfill().complete
            hand.reconcile()
        with psycopg.connect(database) as holder:
            (name,) = holder.execute(f"SELECT {other}::regclass::text").fetchone() or ()
            holder.execute(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE")
            thread = threading.Thread(target=call)
            thread.start()
            try:
                until(lambda other=other, serving=serving: run_sql(database, waits.format(other, serving)))
                assert run_sql(database, waits.format(other, serving)) == [(name, False)]
            finally:
                holder.rollback()
                thread.join()
    assert hand.stage == "rolled_back"


@pytest.mark.parametrize("across", [False, True])
def test_what_is_written_while_the_lock_is_not_had_is_drained_before_it(two, across):
    """While a session holds the serving table, what writers leave in the outbox is applied between the attempts for the lock, and nothing of it is left to do while writers wait."""
    make(two.source, 300)
    hand = Hand(two.source, two.target if across else None).with_limits(lock_attempt_ms=100)
    hand.there()
    turned: list = []
    thread = threading.Thread(target=lambda: turned.append(hand.cutover()))
    with psycopg.connect(two.source) as holder:
        holder.execute("UPDATE item SET v = 'held' WHERE u = 1")
        thread.start()
        try:
            tried = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'item'::regclass"
            until(lambda: run_sql(two.source, tried))
            run_sql(two.source, "UPDATE item SET v = 'late' WHERE u > 200")
            until(lambda: run_sql(two.source, "SELECT count(*) FROM lockgate.outbox_items_forward") == [(0,)])
        finally:
            holder.rollback()
            thread.join()
    assert (turned[0].attempts > 1, turned[0].drained) == (True, 0)
    serving = two.target if across else two.source
    assert run_sql(serving, "SELECT count(*) FROM item WHERE v = 'late'") == [(100,)]


def test_who_holds_the_table_against_readers_is_not_waited_for(database):
    """A session that lets nobody even read the serving table holds up an attempt to drain for the time of one for the lock; the settings of the session stay, and nothing is lost."""
    make(database, 300)
    hand = Hand(database)
    hand.there()
    with hand.open() as move, psycopg.connect(database) as holder:
        run_sql(database, "UPDATE item SET v = 'late' WHERE u = 7")
        relay = move.relay(move.layout(move.row()).forward)
        holder.execute("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
        with relay.exclusive():
            begin = time.monotonic()
            keep_small(move, relay)
            assert time.monotonic() - begin < 20  # PostgreSQL's own limit here is 30 s
        assert (relay.backlog(), move.home.in_transaction) == (1, False)
        assert move.home.value("SELECT current_setting('lock_timeout')") == "30s"
    assert hand.cutover().serves == "target"
    assert run_sql(database, "SELECT v FROM item WHERE u = 7") == [("late",)]


@pytest.mark.parametrize("across", [False, True])
def test_who_lets_nobody_read_is_told_at_once(two, across):
    """A turn that begins while a session lets nobody even read a table says at once who that is and goes on trying in short attempts: it goes through as soon as the table is free, and ends with his name when it never is."""
    make(two.source, 300)
    hand = Hand(two.source, two.target if across else None).with_limits(lock_patience_seconds=600)
    hand.there()
    for turn, held in (
        (cutover.cutover, two.source),
        (cutover.rollback, two.target if across else two.source),
    ):
        run_sql(held, "UPDATE item SET v = 'late' WHERE u = 7")
        with psycopg.connect(held, application_name="repairs") as holder, hand.open() as move:
            holder.execute("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
            told: list[str] = []

            def tell(words: str, holder=holder, told=told) -> None:
                told.append(words)
                holder.rollback()

            begin = time.monotonic()
            turn(move, tell=tell)
            assert time.monotonic() - begin < 25  # PostgreSQL's own limit here is 30 s
            assert [f"pid {holder.info.backend_pid} (repairs, " in words for words in told] == [True]
    hand.with_limits(lock_patience_seconds=1)
    hand.start()
    assert hand.backfill().complete
    hand.reconcile()
    with psycopg.connect(two.source, application_name="repairs") as holder, hand.open() as move:
        holder.execute("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Busy, match=r"within 1 s: pid \d+ \(repairs, "):
            cutover.cutover(move)
    assert hand.stage == "reconciled"
