"""A backfill that presses a server: it waits and says why, loses nothing, and goes on (row 30 of the failure matrix)."""

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from faults.cluster import Cluster
from lockgate.errors import LockgateError
from lockgate.moves.status import tell_all
from lockgate.postgres.link import Link
from lockgate.postgres.moves.pressure import Gauge
from lockgate.postgres.target import Target
from lockgate.record import points
from lockgate.record.reasons import Exit
from moves.hand import Hand, make
from support.calls import Project
from support.pressing import jobs, lags, pause
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


@contextmanager
def between(batches: int, act: Callable[[], object], held: Callable[[], object]) -> Iterator[None]:
    """After so many batches ``act``; the worker begins no other one before ``held`` answers, or the whole table would be copied by then."""
    seen, committed, done = 0, False, False

    def hook(name: str) -> None:
        nonlocal seen, committed, done
        if done or not threading.current_thread().name.startswith("lockgate-move"):
            return
        if name == "move:batch:commit":
            seen += 1
        elif seen >= batches and name.endswith(":run:received"):
            committed = True
        elif committed and name.endswith(":rows:send"):
            done = True
            act()
            until(held)

    points.install(hook)
    try:
        yield
    finally:
        points.install(None)


def small(url: str, **more: int) -> Hand:
    """A move of many batches that bears a second of lag."""
    return Hand(url).with_limits(batch_rows=20, workers=1, max_replica_lag_seconds=1, **more)


def test_a_lagging_standby_holds_the_backfill(pair):
    """Replay stands still while rows are copied: no further batch begins, ``backfill_jobs`` and status say MOVE_THROTTLED with a figure that grows, writes stay captured; once replay goes on the same call goes to the end, and both sides are equal."""
    primary, standby = pair
    url = primary.url()
    hand = small(url)
    hand.start()
    done: list[object] = []
    throttled = lambda: str(jobs(url)["reason"]).startswith("MOVE_THROTTLED: replica lag in seconds: ")  # noqa: E731
    with between(3, lambda: pause(standby), lambda: throttled() and lags(primary, 1)):
        worker = threading.Thread(target=lambda: done.append(hand.backfill()))
        worker.start()
        try:
            until(throttled)
            before = jobs(url)
            told = tell_all(Target(url, source="test"), "items")[0]
            assert (told.stage, told.reason.partition(":")[0]) == ("backfilling", "MOVE_THROTTLED")
            run_sql(
                url, "DELETE FROM item WHERE u % 10 = 0", "UPDATE item SET v = 'meanwhile' WHERE u % 10 = 1"
            )
            for _ in range(2):
                figure = jobs(url)["reason"]
                until(lambda seen=figure: jobs(url)["reason"] != seen)
            assert jobs(url)["ranges_copied"] == before["ranges_copied"] == 3
            assert not jobs(url)["all_ranges_known"]
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")
            worker.join()
    assert done[0].complete
    assert jobs(url)["reason"] == ""
    assert hand.reconcile().equal
    assert run_sql(url, "SELECT count(*), count(*) FILTER (WHERE v = 'meanwhile') FROM item_new") == [(900, 100)]  # fmt: skip
    told = run_sql(url, "SELECT reason FROM lockgate.move_event WHERE kind = 'throttle' ORDER BY id")
    assert [r.partition(":")[0] for (r,) in told] == ["MOVE_THROTTLED", "the backfill goes on"]


def test_pressure_that_lasts_ends_the_command(pair, tmp_path):
    """Beyond ``max_wait_seconds`` `move run` exits 75 with MOVE_THROTTLED, and so it does again; the same command later goes on to the end. `move abort` out of it lets the move be started again."""
    primary, standby = pair
    url = primary.url()
    project = Project(tmp_path, url)
    (tmp_path / "moves").mkdir()
    limits = (
        "batch_rows = 20\nmax_replica_lag_seconds = 0\nmax_wait_seconds = 0\nmax_connections_percent = 100"
    )
    file = tmp_path / "moves" / "items.toml"
    file.write_text(f'[source]\ntable = "item"\n[target]\ntable = "item_new"\ncreate = true\n[limits]\n{limits}\n')  # fmt: skip
    assert project.json("move", "start", "items").code == 0
    for after in ("abort", "run"):
        pause(standby)
        make_log(url, 1)
        until(lambda: lags(primary, 0))
        for _ in range(2):
            document = project.json("move", "run", "items").error("MOVE_THROTTLED")
            assert document["exitCode"] == Exit.BUSY
            told = project.ok("move", "move", "status", "items")["moves"][0]
            assert told["stage"] == "backfilling"
            assert told["reason"].startswith("MOVE_THROTTLED: replica lag in seconds")
        run_sql(url, "UPDATE item SET v = 'captured' WHERE u = 7")
        standby.execute("SELECT pg_wal_replay_resume()")
        if after == "abort":
            assert project.ok("move", "move", "abort", "items")["stage"] == "aborted"
            run_sql(url, "DROP TABLE item_new")
            assert project.ok("move", "move", "start", "items")["stage"] == "dual_write"
    file.write_text(file.read_text().replace("lag_seconds = 0", "lag_seconds = 30"))
    assert project.ok("move", "move", "run", "items")["stage"] == "reconciled"
    assert run_sql(url, "SELECT v FROM item_new WHERE u = 7") == [("captured",)]


def test_a_standby_that_is_gone_cannot_be_read(pair):
    """A standby that dies while rows are copied counts as unreadable, not as none: no further batch begins, and the call ends with MOVE_THROTTLED. Called again, the server is taken as it is now, and the move goes to its end."""
    primary, standby = pair
    url = primary.url()
    hand = small(url, max_wait_seconds=0)
    hand.start()

    def die() -> None:
        standby.crash()
        until(lambda: not primary.execute("SELECT 1 FROM pg_stat_replication"))

    with between(3, die, lambda: jobs(url)["reason"]), pytest.raises(LockgateError) as caught:
        hand.backfill()
    assert caught.value.code == "MOVE_THROTTLED"
    assert caught.value.details["reason"] == "replica lag in seconds cannot be read"
    assert jobs(url)["reason"] == "MOVE_THROTTLED: replica lag in seconds cannot be read"
    assert not jobs(url)["all_ranges_known"]
    assert hand.backfill().complete
    assert hand.reconcile().equal


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_log(url: str, megabytes: int) -> None:
    """So much more in the write-ahead log, on disk."""
    run_sql(
        url,
        "SET synchronous_commit = on",
        f"SELECT pg_logical_emit_message(true, 'x', repeat('x', {megabytes << 20}))",
    )


def test_what_a_gauge_reads(pair):
    """Lag of a standby whose receiver is frozen, by the clock of the reader; WAL a second; and None for a role that may not see the standby, which waits."""
    primary, standby = pair
    clock = Clock()
    run_sql(primary.url(), "CREATE ROLE nobody LOGIN")
    with closing(Link(Target(primary.url(), source="t"), "t")) as link:
        gauge = Gauge(link, clock=clock)

        def read(after: float) -> object:
            clock.now += after
            return gauge.read()

        until(lambda: read(1.0).replica_lag < 2)
        receiver = standby.execute("SELECT pid FROM pg_stat_wal_receiver")[0][0]
        os.kill(int(str(receiver)), signal.SIGSTOP)
        try:
            make_log(primary.url(), 10)
            seen = read(1.0)
            assert seen.wal_mb >= 10
            assert read(40.0).replica_lag >= 40
            assert read(2.0).replica_lag >= 42
        finally:
            os.kill(int(str(receiver)), signal.SIGCONT)
        until(lambda: read(1.0).replica_lag < 2)
    hidden = primary.url().replace("postgres@", "nobody@")
    with closing(Link(Target(hidden, source="t"), "t")) as link:
        assert Gauge(link).read().replica_lag is None


def test_a_backlog_of_the_archiver_holds_the_backfill(server, session_directory, postgres_label):
    """Segments pile up because archiving fails: no batch begins beyond ``max_archive_backlog``, and workers give the places of their executor back; once all are archived the same call starts them again and goes on to the end."""
    folder = session_directory / f"archive-{uuid.uuid4().hex[:8]}"
    cluster = Cluster.like(server, folder, session_directory, postgres_label)
    try:
        cluster.start(wal_level="replica", archive_mode="on")
        cluster.execute("ALTER SYSTEM SET archive_command = 'false'")
        cluster.execute("SELECT pg_reload_conf()")
        url = cluster.url()
        make(url, 1000)
        for _ in range(4):
            make_log(url, 1)
            cluster.execute("SELECT pg_switch_wal()")
        hand = Hand(url).with_limits(batch_rows=20, max_archive_backlog=1)
        hand.start()
        done: list[object] = []
        pool = ThreadPoolExecutor(2)
        worker = threading.Thread(target=lambda: done.append(hand.backfill(executor=pool)))
        worker.start()
        try:
            until(lambda: "wait for the archiver" in str(jobs(url)["reason"]))
            assert pool.submit(str).result(60) == "", "a place is free"
            assert jobs(url)["ranges_copied"] == 0
        finally:
            cluster.execute("ALTER SYSTEM SET archive_command = 'true'")
            cluster.execute("SELECT pg_reload_conf()")
            worker.join()
            pool.shutdown()
        assert done[0].complete
        assert done[0].waited == ""
        assert hand.reconcile().equal
    finally:
        cluster.remove()
