"""A dual-written move that presses a server of its own: it waits and says why, loses nothing, and goes on."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from lockgate.errors import LockgateError
from lockgate.moves.dual import drive
from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.drive import resume
from lockgate.moves.status import tell_all
from lockgate.postgres.moves import ledger
from lockgate.record.reasons import Exit
from moves.conftest import pair  # noqa: F401 - the fixture
from stores.conftest import TABLES, Place
from stores.hand import LIMITS, Hand, declared, row
from stores.test_conformance import ROWS
from support.pressing import after_batches, connections, jobs, lags, lock_waiter, pause, reason
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def between(primary, places, pressed: str) -> tuple[Place, Place]:
    """(source, target): the side ``pressed`` in the database of ``primary``, the other one a file of SQLite; the source has rows."""
    run_sql(primary.url(), TABLES["postgres"])

    def run(sql: str, *values: object) -> None:
        import psycopg

        with psycopg.connect(primary.url(), autocommit=True) as connection:
            connection.execute(sql, values or None)

    there, file = Place("postgres", primary.url(), run), places("sqlite")
    source, target = (there, file) if pressed == "source" else (file, there)
    source.fill(ROWS)
    return source, target


@pytest.mark.parametrize("pressed", ["source", "target"])
def test_a_lagging_standby_of_a_side_holds_the_copy(pair, places, database: str, pressed: str):  # noqa: F811
    """Replay stands still on a standby of the source, or of the target: no further batch begins, the ledger and status say MOVE_THROTTLED with the figure and the server, writes are carried; once replay goes on the same call goes to the end, and both sides are equal."""
    primary, standby = pair
    move = Hand(*between(primary, places, pressed), database, writers=0)
    limits = msgspec.structs.replace(LIMITS, batch_rows=4, workers=1, max_replica_lag_seconds=1)
    move.declared = msgspec.structs.replace(move.declared, limits=limits)
    move.call(drive.start, operator="t")
    done: list[object] = []
    throttled = lambda: reason(database).startswith("MOVE_THROTTLED: replica lag in seconds: ")  # noqa: E731
    with after_batches(2, lambda: pause(standby), lambda: throttled() and lags(primary, 1)):
        worker = threading.Thread(target=lambda: done.append(move.call(backfill)))
        worker.start()
        try:
            until(throttled)
            told = tell_all(move.home, "things")[0]
            assert (told.stage, told.reason.partition(":")[0]) == ("backfilling", "MOVE_THROTTLED")
            with move.writer() as writer:
                writer.put(row(7, "meanwhile"))
                writer.delete({"id": 8})
            until(lambda: any(k.endswith("7") and v[0] and v[0].endswith("meanwhile") for k, v in move.state("target").items()))  # fmt: skip
            for _ in range(2):
                figure = reason(database)
                until(lambda seen=figure: reason(database) != seen)
            assert jobs(database)["ranges_copied"] == 2
            assert not jobs(database)["all_ranges_known"]
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")
            worker.join()
    assert done, "the same call went to its end"
    assert reason(database) == ""
    assert move.call(drive.reconcile).verified.differing == ()
    events = run_sql(database, "SELECT reason FROM lockgate.move_event WHERE kind = 'throttle' ORDER BY id")
    assert [r.partition(":")[0] for (r,) in events] == ["MOVE_THROTTLED", "the backfill goes on"]


def test_pressure_that_lasts_ends_the_command(pair, places, database: str, tmp_path: Path):  # noqa: F811
    """Beyond ``max_wait_seconds`` `move backfill` and `move run` exit 75 with MOVE_THROTTLED, in threads and in processes; `move status` shows why; once nobody waits for a lock the same command goes on to the end."""
    primary, _ = pair
    source, target = between(primary, places, "target")
    limits = "[limits]\nbatch_rows = 20\nmax_lock_waiters = 0\nmax_wait_seconds = 0\nmax_connections_percent = 100\nmax_commit_ms = 0\n"
    project = declared(tmp_path, database, source, target, more=limits)
    assert project.ok("move", "move", "start", "things")["stage"] == "dual_write"
    with lock_waiter(primary.url()):
        for words in (("backfill",), ("backfill", "--executor", "processes"), ("run",)):
            document = project.json("move", words[0], "things", *words[1:]).error("MOVE_THROTTLED")
            assert document["exitCode"] == Exit.BUSY
            assert "sessions that wait for locks: 1 is above 0" in document["message"]
            told = project.ok("move", "move", "status", "things")["moves"][0]
            assert (told["stage"], told["job"]["migrated_rows"]) == ("backfilling", 0)
            assert told["reason"].startswith("MOVE_THROTTLED: sessions that wait for locks")
    done = project.ok("move", "move", "backfill", "things", "--executor", "processes")
    assert done["result"]["rows"] == len(ROWS)
    assert project.ok("move", "move", "run", "things")["moves"][0]["reason"] == ""


def test_workers_give_their_places_back(pair, places, database: str):  # noqa: F811
    """Connections beyond ``max_connections_percent``: workers of an executor leave it while no batch may begin, and are started again when one may."""
    primary, _ = pair
    move = Hand(*between(primary, places, "source"), database, writers=0)
    limits = msgspec.structs.replace(LIMITS, batch_rows=20, max_connections_percent=50)
    move.declared = msgspec.structs.replace(move.declared, limits=limits)
    move.call(drive.start, operator="t")
    done: list[object] = []
    pool = ThreadPoolExecutor(2)
    worker = threading.Thread(target=lambda: done.append(move.call(backfill, executor=pool)))
    try:
        with connections(primary.url(), 50):
            worker.start()
            until(lambda: "connections in percent" in reason(database))
            assert pool.submit(str).result(60) == "", "a place is free"
            assert jobs(database)["ranges_copied"] == 0
        worker.join()
    finally:
        pool.shutdown()
    assert done[0].rows == len(ROWS)
    assert move.call(drive.reconcile).verified.differing == ()


def test_hours_outside_the_windows(places, database: str):
    """Between two stores without a clock of ours the ledger's server says the time: outside ``limits.windows`` nothing is copied and no command is ended for it, and `move pause` still ends it, with its reason; inside, all is copied."""
    source, target = places("sqlite"), places("sqlite")
    source.fill(ROWS)
    move = Hand(source, target, database, writers=0)
    day = run_sql(database, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '3 days', 'Dy')")[0][0]  # fmt: skip
    good = move.declared
    limits = msgspec.structs.replace(LIMITS, windows=(f"{day} 00:00-23:59 UTC",), max_wait_seconds=0)
    move.declared = msgspec.structs.replace(good, limits=limits)
    move.call(drive.start, operator="t")
    caught: list[LockgateError] = []

    def copy() -> None:
        try:
            move.call(backfill)
        except LockgateError as error:
            caught.append(error)

    worker = threading.Thread(target=copy)
    worker.start()
    try:
        until(lambda: reason(database).startswith("MOVE_THROTTLED: outside its windows"))
        assert worker.is_alive()
    finally:
        move.call(lambda m: ledger.pause(m.home, m.name, "enough for today", {}))
        worker.join()
    ((code, words, way),) = [(e.code, e.message, e.next) for e in caught]
    assert (code, words) == ("MOVE_PAUSED", "the move things is paused: enough for today")
    assert "lockgate move resume things" in way
    assert move.state("target") == {}
    move.declared = good
    move.call(resume)
    assert move.call(backfill).rows == len(ROWS)
    assert reason(database) == ""
