"""What presses a MariaDB, a MySQL or a file of SQLite holds the copy of a dual-written move, with the figure and the place as the reason."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from lockgate.errors import LockgateError
from lockgate.moves.declaration import LimitsPart
from lockgate.moves.dual import drive
from lockgate.moves.dual.copy import backfill
from lockgate.moves.throttle import held
from lockgate.postgres.moves.pressure import EVERY
from lockgate.stores.pressure import MysqlGauge, SqliteGauge, read_lag
from lockgate.stores.speaking import MysqlSpeaker
from stores.conftest import Place, running_mariadb
from stores.hand import LIMITS, Hand, declared
from stores.test_conformance import ROWS
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def tight(**more: object) -> LimitsPart:
    """The limits of these tests, ending a call at the first look that holds it."""
    return msgspec.structs.replace(LIMITS, max_wait_seconds=0, **more)


def refused(move: Hand, **more: object) -> str:
    """The message of a backfill that is ended by the pressure; nothing was copied by it."""
    good, move.declared = move.declared, msgspec.structs.replace(move.declared, limits=tight(**more))
    try:
        with pytest.raises(LockgateError) as caught:
            move.call(backfill)
    finally:
        move.declared = good
    assert caught.value.code == "MOVE_THROTTLED"
    return caught.value.message


@pytest.mark.parametrize("side", ["source", "target"])
def test_mariadb_holds_the_copy(places, mariadb, database: str, side: str):
    """Connections beyond their share and a row lock that is waited for, on the server of either side: the call ends with the figure and the server, `move status` tells it, and without the pressure the same call goes to the end."""
    import pymysql

    one, other = places("mysql"), places("sqlite")
    source, target = (one, other) if side == "source" else (other, one)
    source.fill(ROWS)
    move = Hand(source, target, database, writers=0)
    move.call(drive.start, operator="t")
    assert "connections in percent: " in refused(move, max_connections_percent=0)
    assert "(t" in run_sql(database, "SELECT reason FROM lockgate.move")[0][0]
    name = one.url.rpartition("/")[2]
    one.run("CREATE TABLE held (id int PRIMARY KEY)")
    one.run("INSERT INTO held VALUES (1)")
    with closing(pymysql.connect(**mariadb, database=name)) as holder, closing(pymysql.connect(**mariadb, database=name)) as waiter:  # fmt: skip
        holder.cursor().execute("UPDATE held SET id = 2")

        def wait() -> None:
            waiter.cursor().execute("SET innodb_lock_wait_timeout = 300")
            waiter.cursor().execute("UPDATE held SET id = 3")

        thread = threading.Thread(target=wait)
        thread.start()
        with closing(pymysql.connect(**mariadb)) as eye, eye.cursor() as cursor:

            def waits() -> bool:
                cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
                return int(cursor.fetchone()[1]) > 0

            until(waits)
        try:
            assert "sessions that wait for locks: 1 is above 0" in refused(move, max_lock_waiters=0)
        finally:
            holder.rollback()
            thread.join()
            waiter.rollback()
    assert move.call(backfill).rows == len(ROWS)
    assert move.call(drive.reconcile).verified.differing == ()


def test_mariadb_is_read_in_figures(places, database: str):
    """Threads, row locks, the rate of the redo log between two looks, a small commit that leaves nothing behind, and the server's clock are read; what cannot be read is None and holds the copy."""
    one, other = places("mysql"), places("sqlite")
    move = Hand(one, other, database, writers=0)
    move.call(drive.start, operator="t")
    moments = iter([0.0, 0.0, 0.0, 0.25, 0.0, 2.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0])
    with move.open() as opened_:
        gauge = MysqlGauge(opened_.pair.source, clock=lambda: next(moments))
        first = gauge.read()
        assert 0 < first.connections_percent <= 100
        assert (first.lock_waiters, first.replica_lag, first.archive_backlog) == (0, 0.0, 0)
        assert first.commit_ms is not None
        assert first.now.tzinfo is not None
        for n in range(50):
            one.run("INSERT INTO t (id, s) VALUES (%s, REPEAT('x', 100000))", 1000 + n)
        assert gauge.read().wal_mb > 0.5
        assert opened_.pair.source.writers() == []
        opened_.pair.source.speaker._connection.close()
        gone = MysqlGauge(opened_.pair.source).read()
        assert gone.connections_percent is None
        assert held((_Fixed(gone),), LIMITS).reason == "connections in percent cannot be read"


class _Fixed:
    where, alive = "here", True

    def __init__(self, seen: object) -> None:
        self._seen = seen

    def read(self) -> object:
        return self._seen


def test_a_file_of_sqlite_holds_the_copy(places, database: str):
    """A reader that keeps the WAL from being put away, beyond ``max_slot_mb``, and a file that another session will not let go, hold the copy of a move into it; once they are gone the same call goes to the end."""
    source, target = places("postgres"), places("sqlite")
    source.fill(ROWS)
    path = target.url.removeprefix("sqlite:///")
    target.run("PRAGMA journal_mode = wal")
    move = Hand(source, target, database, writers=0)
    move.call(drive.start, operator="t")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchone()
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("CREATE TABLE filler (x)")
            for _ in range(30):
                writer.execute("INSERT INTO filler VALUES (randomblob(100000))")
        assert "MB of WAL that readers keep back: 3 is above 1" in refused(move, max_slot_mb=1)
        reader.execute("ROLLBACK")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with move.open() as opened_:
            side = opened_.pair.target
            ticks = iter([0.0, 0.0, 6.0])
            seen = SqliteGauge(side, clock=lambda: next(ticks)).read()
            assert seen.commit_ms == 6000.0
            bounds = msgspec.structs.replace(LIMITS, max_commit_ms=1000)
            assert held((_Fixed(seen),), bounds).reason == "commit latency in ms: 6000 is above 1000"
        holder.execute("ROLLBACK")
    assert move.call(backfill).rows == len(ROWS)
    assert move.call(drive.reconcile).verified.differing == ()


@pytest.fixture(scope="module")
def replicated(tmp_path_factory) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    """A MariaDB and a replica of it, both our own."""
    import pymysql

    with running_mariadb("--log-bin=bin", "--server-id=1") as primary, running_mariadb("--server-id=2") as replica:  # fmt: skip
        with closing(pymysql.connect(**replica, autocommit=True)) as connection, connection.cursor() as cursor:  # fmt: skip
            cursor.execute(f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {primary['port']}, MASTER_USER = 'root', MASTER_USE_GTID = slave_pos")  # fmt: skip
            cursor.execute("START SLAVE")
        yield primary, replica


def test_replicas_of_mariadb_that_are_declared(replicated, places, database: str, tmp_path: Path):
    """The lag of a replica that ``lag_env`` names holds the copy: while its replication stands still, when it does not say how far it is behind, and when its server is gone the plan says so; caught up, the same call goes on. One that nobody names is told by the plan."""
    import pymysql

    primary, replica = replicated
    with closing(pymysql.connect(**primary, autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.t (id bigint PRIMARY KEY, s longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)")  # fmt: skip
        cursor.execute("INSERT INTO shop.t VALUES (1, 'one'), (2, 'two')")
    url = f"mysql://root@127.0.0.1:{primary['port']}/shop"
    replica_url = f"mysql://root@127.0.0.1:{replica['port']}/shop"
    with closing(pymysql.connect(**replica, autocommit=True)) as connection, connection.cursor() as cursor:

        def databases() -> list[str]:
            cursor.execute("SHOW DATABASES")
            return [name for (name,) in cursor.fetchall()]

        until(lambda: "shop" in databases())
        target = places("sqlite")
        target.run("DROP TABLE t")
        target.run("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
        project = declared(tmp_path, database, Place("mysql", url, lambda *_: None), target, more="[limits]\nmax_connections_percent = 100\nmax_lock_waiters = 1000\nmax_commit_ms = 0\nmax_wait_seconds = 0\nmax_replica_lag_seconds = 5\n")  # fmt: skip
        notes = project.ok("move", "move", "plan", "things")["result"]["notes"]
        assert any("has 1 replicas or readers of its log, and source.lag_env names 0" in n for n in notes)
        file = tmp_path / "moves" / "things.toml"
        file.write_text(
            file.read_text().replace('url_env = "ONE"\n', 'url_env = "ONE"\nlag_env = ["COPY"]\n')
        )
        project.environ["COPY"] = replica_url
        assert not any("lag_env" in n for n in project.ok("move", "move", "plan", "things")["result"]["notes"])  # fmt: skip
        project.ok("move", "move", "start", "things")
        cursor.execute("STOP SLAVE SQL_THREAD")
        message = project.json("move", "backfill", "things").error("MOVE_THROTTLED")["message"]
        assert "replica lag in seconds cannot be read" in message
        problems = project.json("move", "plan", "things").document("move")["result"]["problems"]
        assert ["does not say how far it is behind" in p["what"] for p in problems] == [True]
        cursor.execute("START SLAVE SQL_THREAD")
        speaker = MysqlSpeaker(replica_url, "COPY")
        try:
            until(lambda: read_lag(speaker) is not None)
        finally:
            speaker.close()
        assert project.ok("move", "move", "backfill", "things")["result"]["rows"] == 2


def test_a_lag_beyond_its_bound(places, database: str, monkeypatch: pytest.MonkeyPatch):
    """A replica that is further behind than ``max_replica_lag_seconds`` holds, whichever replica it is."""
    one = places("mysql")
    move = Hand(one, places("sqlite"), database, writers=0)
    move.call(drive.start, operator="t")
    lags = iter([3.0, 40.0])
    monkeypatch.setattr("lockgate.stores.pressure.read_lag", lambda _: next(lags))
    with move.open() as opened_:
        gauge = MysqlGauge(opened_.pair.source, (opened_.pair.source.speaker,) * 2)
        assert held((gauge,), LIMITS).reason == "replica lag in seconds: 40 is above 30"
        assert EVERY >= 1


def test_lag_env_of_a_store_without_replicas(places, database: str):
    """``lag_env`` beside PostgreSQL or SQLite is a problem of the plan, and a variable that is not set is named."""
    from lockgate.errors import ConfigError
    from lockgate.moves.dual.declaration import Place as Side
    from lockgate.moves.dual.pair import lag_urls

    move = Hand(places("sqlite"), places("postgres"), database, writers=0)
    move.declared = msgspec.structs.replace(move.declared, source=Side("t", "ONE", lag_env=("COPY",)))
    move.places = move.places._replace(lagging=(("mysql://nowhere/x",), ()))
    assert "source.lag_env: standbys of PostgreSQL" in move.call(drive.plan).problems[0]["what"]
    with pytest.raises(ConfigError, match=r"source\.lag_env: the variable COPY is not set"):
        lag_urls(move.declared, {})
