"""When a backfill holds back: it rests between batches as a bound draws near, begins none beyond it, and ends, to be called again, when that lasts."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from lockgate.config.windows import parse_window
from lockgate.errors import LockgateError
from lockgate.moves.declaration import LimitsPart
from lockgate.postgres.link import Link
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.moves.pressure import Bounds, Pressure, strain, verdict
from lockgate.postgres.wire import ConnectionLost

CODE = "MOVE_THROTTLED"
MOST_REST = 5.0
"""Seconds: nobody rests longer between two batches; beyond the bound itself none is begun."""


class _Limited(Protocol):
    @property
    def limits(self) -> LimitsPart: ...


class Gauging(Protocol):
    """Reads the pressure of one server, of whichever engine, at most once every second."""

    @property
    def where(self) -> str:
        """The server that it reads."""
        ...

    @property
    def alive(self) -> bool:
        """False when its session is gone, so that nothing more can be read by it."""
        ...

    def read(self) -> Pressure:
        """What was seen a moment ago, or a new look."""
        ...


class Backfilling(Protocol):
    """A move of whichever kind, open: what is asked of one that may have to wait."""

    home: Link

    @property
    def name(self) -> str:
        """The move's name."""
        ...

    @property
    def declared(self) -> _Limited:
        """What its file says."""
        ...

    def row(self) -> MoveRow:
        """Where it stands now."""
        ...


class Held(NamedTuple):
    """Why no batch may begin now; ``reason`` is empty when one may. ``planned``: it is only not the time, and nobody is pressed."""

    reason: str = ""
    planned: bool = False
    strain: float = 0.0


def held(gauges: Sequence[Gauging], limits: LimitsPart, *, slot: int | None = None) -> Held:
    """Look at the servers: under pressure, outside the declared windows, or free to go on. ``slot`` is how many bytes of the log a slot of the move holds back.

    Raises ``ConnectionLost`` when the session that looked is gone: who cannot reach a server has nothing to wait for.
    """
    if slot is not None and slot > limits.max_slot_mb << 20:
        return Held(f"the slot holds {slot >> 20} MB of the log back, more than {limits.max_slot_mb}")
    bounds = Bounds(
        limits.max_connections_percent, limits.max_lock_waiters, limits.max_replica_lag_seconds,
        limits.max_wal_mb_per_second, limits.max_archive_backlog, limits.max_commit_ms, limits.max_slot_mb,
    )  # fmt: skip
    most = 0.0
    for gauge in gauges:
        seen = gauge.read()
        if not gauge.alive:
            raise ConnectionLost(f"the session that looks at {gauge.where} was lost")
        if reason := verdict(seen, bounds):
            return Held(f"{reason} ({gauge.where})" if len(gauges) > 1 else reason)
        if reason := outside(limits.windows, seen.now):
            return Held(reason, planned=True)
        most = max(most, strain(seen, bounds))
    return Held(strain=most)


def outside(windows: tuple[str, ...], now: datetime | None) -> str:
    """Why ``now`` is not the time; empty inside one of ``windows``, or without any. A clock that cannot be read is not the time."""
    if not windows or (now is not None and any(parse_window(w).holds(now) for w in windows)):
        return ""
    return f"outside its windows ({'; '.join(windows)})"


def rest(strain: float, seconds: float) -> float:
    """How long to rest after a batch that took ``seconds``: not at all up to half of a bound, as long as the batch at three quarters, ever longer behind. Pure."""
    if strain <= 0.5:
        return 0.0
    return MOST_REST if strain >= 1 else min(MOST_REST, seconds * (strain - 0.5) / (1 - strain))


class Watch:
    """Writes into the ledger why a backfill waits, and ends one that has waited for longer than ``limits.max_wait_seconds``.

    The stage stays ``backfilling``: nothing is wrong with the move, and the same command goes on.
    """

    def __init__(self, move: Backfilling, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._move = move
        self._clock = clock
        self._since: float | None = None
        self._told = move.row().reason  # of a command that was killed while it waited

    def see(self, now: Held) -> None:
        """Tell what changed. Raises ``LockgateError`` (``MOVE_THROTTLED``) when the pressure has lasted too long."""
        told = f"{CODE}: {now.reason}" if now.reason else ""
        if told != self._told:
            turned = bool(told) != bool(self._told)  # a figure that grew is no event of its own
            ledger.hold(self._move.home, self._move.name, told, event_too=turned)
            self._told = told
        if not now.reason or now.planned:
            self._since = None
            return
        self._since = self._clock() if self._since is None else self._since
        waited = self._clock() - self._since
        most = self._move.declared.limits.max_wait_seconds
        if waited >= most:
            raise LockgateError(
                f"the backfill of {self._move.name} waited for {waited:.0f} s: {now.reason}", CODE,
                next="Once the pressure is gone call the command again: it goes on where it stopped.",
                details={"reason": now.reason, "waitedSeconds": round(waited)},
            )  # fmt: skip
