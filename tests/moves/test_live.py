"""A whole move under load: nothing missing, nothing stale, nothing resurrected, in one database and across two."""

import pytest

from moves.hand import Hand, make
from moves.writers import Load
from support.tables import run_sql

PACES = [0.004, pytest.param(0.0, marks=pytest.mark.soak)]
"""Pauses of a writer; without any the relay gets what the writers leave of the cores, and takes long to catch up."""
ROWS = 3000


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_move_under_load(databases, across, pace):
    """start, backfill, verify, cutover, rollback and cutover again while writers insert, update, delete, rekey and swap: every acknowledged write is on the serving side."""
    source = databases()
    target = databases() if across else None
    make(source, ROWS)
    hand = Hand(source, target)
    hand.start()
    with Load([source, target] if target else source, ROWS, pace=pace) as load:
        done = hand.backfill()
        assert done.complete
        load.go_on(50)
        hand.reconcile()
        hand.cutover()
        load.go_on(50)
        hand.relay()
        hand.rollback()
        load.go_on(50)
        assert hand.start() == "dual_write"
        hand.backfill()
        hand.reconcile()
        hand.cutover()
        load.go_on(50)
    load.check(target or source)
    hand.relay()
    load.check(source, "item" if across else "item__items_old")
    assert hand.finish(now=True) == "finished"
    load.check(target or source)
    assert not run_sql(
        source, "SELECT tgname FROM pg_trigger WHERE tgname LIKE '%lockgate%' AND tgname NOT LIKE '%barrier%'"
    )
    assert not run_sql(target or source, "SELECT relname FROM pg_class WHERE relname LIKE 'outbox%'")
