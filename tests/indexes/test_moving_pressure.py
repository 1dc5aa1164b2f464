"""A move into an index that presses a server: the table's, or the one that holds index and ledger."""

import sqlite3
import threading
from pathlib import Path

import pytest

from indexes.test_moving import Hand
from lockgate.errors import LockgateError
from lockgate.indexes.moving import drive
from lockgate.indexes.moving.opened import Inline
from lockgate.moves.dual.copy import backfill
from moves.conftest import pair  # noqa: F401 - the fixture
from support.pressing import after_batches, jobs, lags, lock_waiter, pause, reason
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
BUSY = ("max_connections_percent = 100", "max_commit_ms = 0")


def test_a_lagging_standby_of_the_table_holds_the_copy(pair, tmp_path: Path, database: str):  # noqa: F811
    """Replay stands still on a standby of the table's server: no further batch begins and the ledger says why; once replay goes on the same call goes to the end, and table and index are equal."""
    primary, standby = pair
    run_sql(
        primary.url(),
        "CREATE TABLE articles (id bigint PRIMARY KEY, body text)",
        "INSERT INTO articles SELECT g, 'words of ' || g FROM generate_series(1, 90) g",
    )
    limits = (*BUSY, "max_lock_waiters = 1000", "max_replica_lag_seconds = 1")
    move = Hand(tmp_path, database, primary.url(), "fts", limits=limits)
    move.file.write_text(move.file.read_text().replace("workers = 2", "workers = 1"))
    move.call(drive.start, operator="t")
    throttled = lambda: reason(database).startswith("MOVE_THROTTLED: replica lag in seconds: ")  # noqa: E731
    with (
        move.writer() as writer,
        after_batches(2, lambda: pause(standby), lambda: throttled() and lags(primary, 1)),
    ):
        writer.beat()
        worker = threading.Thread(target=move.copy)
        worker.start()
        try:
            until(throttled)
            figure = reason(database)
            until(lambda: reason(database) != figure)
            assert (jobs(database)["ranges_copied"], jobs(database)["all_ranges_known"]) == (2, False)
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")
            worker.join()
    move.call(drive.reconcile)
    assert move.held("0001") == move.texts()


def test_pressure_of_the_server_that_holds_the_index(pair, tmp_path: Path):  # noqa: F811
    """Somebody waits for a lock on the server of index and ledger: the copy ends with MOVE_THROTTLED after ``max_wait_seconds``, also where one session does all the work, and the same call goes on when nobody waits."""
    primary, _ = pair
    file = tmp_path / "app.db"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE articles (id INTEGER PRIMARY KEY, body TEXT)")
        db.executemany("INSERT INTO articles VALUES (?, ?)", [(n, f"words of {n}") for n in range(1, 91)])
    db.close()
    limits = (*BUSY, "max_lock_waiters = 0", "max_wait_seconds = 0")
    move = Hand(tmp_path, primary.url(), f"sqlite:///{file}", "fts", limits=limits)
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        with lock_waiter(primary.url()):
            for executor in (None, Inline()):
                with pytest.raises(LockgateError, match="wait for locks") as caught:
                    move.call(backfill, executor=executor)
                assert caught.value.code == "MOVE_THROTTLED"
                assert jobs(primary.url())["ranges_copied"] == 0
        assert move.call(backfill, executor=Inline()).rows == 90
    move.call(drive.reconcile)
    assert move.held("0001") == move.texts()
