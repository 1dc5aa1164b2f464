"""Ways to press a server, and to see what a backfill makes of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg

from faults.cluster import Cluster
from lockgate.record import points
from support.processes import until
from support.tables import run_sql


def jobs(url: str) -> dict[str, object]:
    """What ``backfill_jobs`` of the ledger at ``url`` says of the move."""
    names = ("stage", "reason", "ranges_copied", "all_ranges_known")
    return dict(zip(names, run_sql(url, f"SELECT {', '.join(names)} FROM lockgate.backfill_jobs")[0], strict=True))  # fmt: skip


def reason(url: str) -> str:
    """Why the backfill waits; empty when it does not."""
    return str(jobs(url)["reason"])


def pause(standby: Cluster) -> None:
    """Replay stands still from here on."""
    standby.execute("SELECT pg_wal_replay_pause()")
    until(lambda: standby.execute("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])


def lags(primary: Cluster, seconds: int) -> bool:
    """The primary itself sees the standby more than so far behind."""
    return primary.execute(f"SELECT replay_lag > interval '{seconds} s' FROM pg_stat_replication") == [(True,)]  # fmt: skip


@contextmanager
def lock_waiter(url: str) -> Iterator[None]:
    """One session of the server waits for a lock of another one."""
    with ExitStack() as open_:
        holder, waiter = (open_.enter_context(closing(psycopg.connect(url, autocommit=True))) for _ in "ab")
        holder.execute("SELECT pg_advisory_lock(4711)")
        thread = threading.Thread(target=waiter.execute, args=("SELECT pg_advisory_lock(4711)",))
        thread.start()
        try:
            until(lambda: run_sql(url, "SELECT 1 FROM pg_locks WHERE NOT granted"))
            yield
        finally:
            holder.execute("SELECT pg_advisory_unlock(4711)")
            thread.join()


@contextmanager
def connections(url: str, percent: int) -> Iterator[None]:
    """More than so many percent of the server's connections are taken."""
    most = int(run_sql(url, "SELECT current_setting('max_connections')")[0][0])
    with ExitStack() as open_:
        for _ in range(most * percent // 100 + 1):
            open_.enter_context(closing(psycopg.connect(url)))
        yield


@contextmanager
def after_batches(batches: int, act: Callable[[], object], held: Callable[[], object]) -> Iterator[None]:
    """After so many batches of a dual-written move ``act``; their worker goes on only once ``held`` answers, or all would be copied by then."""
    seen, done = 0, False

    def hook(name: str) -> None:
        nonlocal seen, done
        if done or name != "dual:batch:destination-commit":
            return
        seen += 1
        if seen == batches:
            done = True
            act()
            until(held)

    points.install(hook)
    try:
        yield
    finally:
        points.install(None)
