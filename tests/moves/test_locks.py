"""Whom the locks of a move hold up."""

import threading

import psycopg
import pytest

from lockgate.moves.declaration import TargetSide
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
