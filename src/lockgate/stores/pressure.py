"""How hard a MariaDB, MySQL or SQLite is pressed now, in the figures of ``lockgate.postgres.moves.pressure``; what cannot be read is None."""

import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lockgate.errors import LockgateError
from lockgate.postgres.moves.pressure import Looking, Pressure
from lockgate.stores.side import Side
from lockgate.stores.speaking import Locked, MysqlSpeaker, SqliteSpeaker

LAG_COLUMNS = ("Seconds_Behind_Master", "Seconds_Behind_Source")
PATIENCE_MS = 5_000
"""A gauge waits so long for a file of SQLite; a commit that had to wait longer took at least as long."""
_NOTHING = Pressure(None, None, None, None, None, None)


def read_lag(speaker: MysqlSpeaker) -> float | None:
    """How many seconds a replica is behind, by its own word; None where it does not say: it is none, is stopped, or hides it from the account."""
    for sql in ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS"):
        try:
            rows = speaker.named(sql)
        except LockgateError:
            if not speaker.alive:
                raise
            continue
        seen = [row.get(c) for row in rows for c in LAG_COLUMNS if c in row]
        if seen and all(s is not None for s in seen):
            return max(float(s) for s in seen)  # type: ignore[arg-type]
    return None


class MysqlGauge(Looking):
    """Reads MariaDB or MySQL: threads, row locks that are waited for, the redo log's rate, a small commit, and the lag of replicas that are declared."""

    def __init__(
        self,
        side: Side,
        replicas: Sequence[MysqlSpeaker] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert isinstance(side.speaker, MysqlSpeaker)
        super().__init__(clock)
        self._side, self._speaker, self._replicas = side, side.speaker, replicas

    @property
    def where(self) -> str:
        """The server that it reads."""
        return self._speaker.where

    @property
    def alive(self) -> bool:
        """False when its session is gone."""
        return self._speaker.alive

    def _look(self) -> Pressure:
        try:
            most, at = self._speaker.ask("SELECT @@max_connections, UTC_TIMESTAMP(6)")[0]
            words = "'Threads_connected', 'Innodb_row_lock_current_waits', 'Innodb_os_log_written'"
            status = {name.lower(): float(value) for name, value in self._speaker.ask(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({words})")}  # fmt: skip
            took = small_commit(self._side, self._clock)
            lags = [read_lag(replica) for replica in self._replicas]
        except LockgateError:
            return _NOTHING
        waits, written = status.get("innodb_row_lock_current_waits"), status.get("innodb_os_log_written")
        return Pressure(
            status["threads_connected"] * 100 / float(most) if "threads_connected" in status else None,
            None if waits is None else int(waits),
            None if any(lag is None for lag in lags) else max((lag for lag in lags if lag is not None), default=0.0),
            None if written is None else self._rate(written), 0, took, at.replace(tzinfo=UTC),
        )  # fmt: skip


class SqliteGauge(Looking):
    """Reads a file of SQLite: a small commit, and how much of the WAL its readers keep from going into the file. Nothing else is there to be read."""

    def __init__(self, side: Side, *, clock: Callable[[], float] = time.monotonic) -> None:
        assert isinstance(side.speaker, SqliteSpeaker)
        super().__init__(clock)
        self._side, self._speaker = side, side.speaker

    @property
    def where(self) -> str:
        """The file that it reads."""
        return self._speaker.where

    @property
    def alive(self) -> bool:
        """False when the file is gone: a file has no session that could be lost."""
        return Path(self._speaker.where).exists()

    def _look(self) -> Pressure:
        try:
            took = small_commit(self._side, self._clock)
            kept = self._kept_back()
        except LockgateError:
            return _NOTHING
        # What of the kind is not there at all presses nobody: sessions, waiters by number, replicas, an archiver.
        return Pressure(0.0, 0, 0.0, 0.0, 0, took, datetime.now(UTC), kept)

    def _kept_back(self) -> float:
        """MB of the WAL that a checkpoint could not bring into the file; 0.0 without a WAL. It is tried as SQLite itself does it."""
        if self._speaker.ask("PRAGMA journal_mode")[0][0] != "wal":
            return 0.0
        _, log, done = self._speaker.ask("PRAGMA wal_checkpoint(PASSIVE)")[0]
        return float(max(0, log - done) * self._speaker.ask("PRAGMA page_size")[0][0]) / (1 << 20)


def small_commit(side: Side, clock: Callable[[], float]) -> float:
    """Milliseconds that a commit takes which writes next to nothing: a row that no other session ever sees. Raises ``LockgateError``.

    Waiting for a file of SQLite that another session writes is no part of it, unless it lasts.
    """
    table = side.speaker.name(f"lockgate_{side.stem}_writer")
    begin = clock()
    sqlite = isinstance(side.speaker, SqliteSpeaker)
    try:
        if sqlite:
            side.speaker.patience(PATIENCE_MS)
        side.speaker.begin()
    except Locked:
        return (clock() - begin) * 1000
    finally:
        if sqlite:
            side.speaker.patience(30_000)
    try:
        name = f"gauge {uuid.uuid4().hex}"
        side.speaker.do(f"INSERT INTO {table} (instance, seen, failed) VALUES ('{name}', 0, 0)")
        side.speaker.do(f"DELETE FROM {table} WHERE instance = '{name}'")
        begin = clock()
        side.speaker.commit()
    except BaseException:
        side.speaker.rollback()
        raise
    return (clock() - begin) * 1000
