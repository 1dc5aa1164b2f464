"""How hard the server is pressed now, in numbers; what cannot be read is None, and None pauses the backfill."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.postgres.link import Link
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError

EVERY = 1.0
"""Seconds between two looks: batches are about half as long, and a look costs a commit."""
REMEMBERED = 4096
"""So many places in the log are remembered with their time, to tell how old the one is that a standby stands at."""


class Pressure(NamedTuple):
    """``replica_lag`` in seconds: 0.0 when there are no replicas, None when the lag of one cannot be read: it is hidden from the role, still
    catches up, or was there a while ago and is gone.

    ``wal_mb`` is MB of WAL in a second since the look before, ``archive_backlog`` segments that wait for the archiver (0
    without one), ``commit_ms`` what a small commit takes. ``now`` is the server's clock.
    """

    connections_percent: float | None
    lock_waiters: int | None
    replica_lag: float | None
    wal_mb: float | None = 0.0
    archive_backlog: int | None = 0
    commit_ms: float | None = 0.0
    now: datetime | None = None
    kept_back_mb: float | None = 0.0
    """MB of a log that readers keep from being put away: of a WAL of SQLite."""


class Bounds(NamedTuple):
    """Above these the backfill waits; 0 switches ``wal_mb``, ``archive_backlog`` and ``commit_ms`` off."""

    connections_percent: float
    lock_waiters: int
    replica_lag: float
    wal_mb: float = 0
    archive_backlog: int = 0
    commit_ms: float = 0
    kept_back_mb: float = 0


class Looking(ABC):
    """A gauge looks at most once every ``EVERY`` seconds, and remembers how far a log was."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: tuple[float, Pressure] | None = None
        self._log: tuple[float, float] | None = None

    @property
    @abstractmethod
    def where(self) -> str:
        """The server or the file that it reads."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """False when nothing more can be read by it."""

    @abstractmethod
    def _look(self) -> Pressure:
        """What is to be seen now."""

    def read(self) -> Pressure:
        """What was seen a moment ago, or a new look."""
        now = self._clock()
        if self._seen is None or now - self._seen[0] >= EVERY:
            self._seen = (now, self._look())
        return self._seen[1]

    def _rate(self, position: float) -> float:
        """MB a second that a log of ``position`` bytes grew by since the look before; 0.0 at the first one, and where it began anew."""
        before, self._log = self._log, (self._clock(), position)
        if before is None or self._log[0] <= before[0]:
            return 0.0
        return max(0.0, position - before[1]) / (1 << 20) / (self._log[0] - before[0])


class Gauge(Looking):
    """Reads the pressure of one server of PostgreSQL.

    The server knows the lag of a standby by its answers only, so that of one that hangs would stay as small as it was. Beside it stands
    how long ago, as seen from here, the log was where the standby says it is.
    """

    def __init__(self, link: Link, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._link = link
        self._places: deque[tuple[float, float]] = deque()
        self._standbys = 0

    @property
    def where(self) -> str:
        """The server that it reads."""
        return str(self._link.target)

    @property
    def alive(self) -> bool:
        """False when its session is gone, so that nothing more can be read by it."""
        return self._link.alive

    def _look(self) -> Pressure:
        try:
            connections, waiters, lag, unread, standbys, replayed, wal, waiting, at = self._link.rows(
                query("moves/pressure")
            )[0]
            begin = self._clock()
            self._link.value("SELECT pg_catalog.pg_logical_emit_message(true, 'lockgate', '')")
            took = (self._clock() - begin) * 1000
        except ServerError:
            return Pressure(None, None, None, None, None, None)
        except LockgateError:
            if self._link.alive:
                raise
            return Pressure(None, None, None, None, None, None)
        behind = max(float(lag or 0), self._behind(float(wal), None if replayed is None else float(replayed)))
        gone, self._standbys = standbys < self._standbys, max(standbys, self._standbys)
        return Pressure(
            float(connections), int(waiters), None if unread or gone else behind, self._rate(float(wal)), int(waiting), took, at
        )  # fmt: skip

    def _behind(self, position: float, replayed: float | None) -> float:
        """How long ago, at least, the log was where the standby that is furthest behind stands."""
        now = self._clock()
        if len(self._places) < REMEMBERED:
            self._places.append((now, position))
        while self._places and (replayed is None or self._places[0][1] <= replayed):
            self._places.popleft()
        return now - self._places[0][0] if self._places else 0.0


def verdict(pressure: Pressure, bounds: Bounds) -> str:
    """Why the backfill has to wait; empty when it may go on. Pure. What cannot be read makes it wait."""
    for name, value, limit, optional in (
        ("connections in percent", pressure.connections_percent, bounds.connections_percent, False),
        ("sessions that wait for locks", pressure.lock_waiters, bounds.lock_waiters, False),
        ("replica lag in seconds", pressure.replica_lag, bounds.replica_lag, False),
        ("WAL in MB a second", pressure.wal_mb, bounds.wal_mb, True),
        ("WAL segments that wait for the archiver", pressure.archive_backlog, bounds.archive_backlog, True),
        ("commit latency in ms", pressure.commit_ms, bounds.commit_ms, True),
        ("MB of WAL that readers keep back", pressure.kept_back_mb, bounds.kept_back_mb, True),
    ):
        if optional and not limit:
            continue
        if value is None:
            return f"{name} cannot be read"
        if value > limit:
            return f"{name}: {value:.0f} is above {limit:.0f}"
    return ""


def strain(pressure: Pressure, bounds: Bounds) -> float:
    """How near the figures that a slower backfill would lower are to their bounds: 0.0 to 1.0. Pure."""
    figures = (
        (pressure.replica_lag, bounds.replica_lag),
        (pressure.wal_mb, bounds.wal_mb),
        (pressure.archive_backlog, bounds.archive_backlog),
        (pressure.commit_ms, bounds.commit_ms),
    )
    return max(
        (min(1.0, value / limit) for value, limit in figures if limit and value is not None), default=0.0
    )


def gauges(links: Iterable[Link]) -> tuple[Gauge, ...]:
    """A gauge for each server that ``links`` lead to: of several databases of one, the first is asked."""
    found: dict[str, Gauge] = {}
    for link in links:
        server = link.value("SELECT s.system_identifier::text || ' ' || pg_catalog.pg_postmaster_start_time()::text FROM pg_catalog.pg_control_system() s")  # fmt: skip
        if server not in found:
            found[server] = Gauge(link)
    return tuple(found.values())
