"""The lease of an environment: one release at a time, with a fence behind it.

A session lock says who lives: it is free within moments of the death of its holder. The token in the table fences out
whoever only believes to hold it: every write of a release names its token and changes nothing once a newer one is there.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from lockgate.errors import Busy, LockgateError, RunFailed
from lockgate.migrations.limits import Limits
from lockgate.postgres import releases
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.guard import RELEASE_KEY as KEY
from lockgate.postgres.guard import Guard, refuse_read_only
from lockgate.postgres.settings import SessionSettings, prepare_session
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import ConnectionLost, Wire
from lockgate.release.look import patiently

BEAT = 5.0
"""Seconds between two heartbeats."""
TTL = 60.0
"""Seconds after the last heartbeat when the lease's row counts as expired, for those who only look."""
T = TypeVar("T")


class Lease:
    """The lease in hand: its connection, its token, and a thread that renews it. A context manager."""

    def __init__(self, target: Target, release_key: str, holder: str, limits: Limits, alarm: Alarm) -> None:
        self.target = target
        self.release_key = release_key
        self.holder = holder
        self.limits = limits
        self.alarm = alarm
        self.token = 0
        self.lost = ""
        self._wire: Wire | None = None
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, wait: float, on_wait: Callable[[dict[str, str]], None] | None = None) -> None:
        """Take the lease within ``wait`` seconds. Raises ``Busy`` (``RELEASE_BUSY``) that names the holder."""
        clock = self.limits.clock
        deadline, pause, told = clock() + wait, 0.05, False
        wire = self._connect(self.alarm)
        try:
            while wire.value(f"SELECT pg_catalog.pg_try_advisory_lock({KEY})") != "t":
                holder = {**releases.read_holder(wire), **Guard.holder(wire, KEY)}
                if clock() >= deadline:
                    raise Busy(
                        f"another release holds this environment: {_told(holder)}",
                        "RELEASE_BUSY",
                        details={"holder": holder},
                    )
                if not told and on_wait is not None:
                    told = True
                    on_wait(holder)
                self.alarm.sleep(min(pause * (0.5 + random.random()), max(0.0, deadline - clock())))  # noqa: S311 - jitter
                pause = min(pause * 1.5, 1.0)
            self.token = releases.take_lease(wire, self.release_key, self.holder, TTL)
        except BaseException:
            wire.close()
            raise
        wire.deafen()  # from here on it writes what has to be written, also after a signal
        self._wire = wire
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def write(self, act: Callable[[Wire], T]) -> T:
        """Let ``act`` use the lease's connection, alone. A lost connection is replaced once, if the lease is still ours."""
        with self._mutex:
            if self.lost:
                raise RunFailed(self.lost, "FENCED")
            for attempt in (1, 2):
                wire = self._wire if self._wire is not None and self._wire.alive else self._again()
                self._wire = wire
                try:
                    return act(wire)
                except ConnectionLost:
                    if attempt == 2:
                        raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Give the lease back. Never raises: the session's end frees the lock anyway."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
        with self._mutex:
            wire = self._wire
            if wire is not None and wire.alive and self.token:
                with contextlib.suppress(LockgateError, ServerError):
                    releases.end_lease(wire, self.token)
            if wire is not None:
                wire.close()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- parts ----------------------------------------------------------------------------------

    def _connect(self, alarm: Alarm | None) -> Wire:
        wire = patiently(
            lambda: Wire(self.target, "release", alarm=alarm, clock=self.limits.clock), self.limits, alarm
        )
        try:
            session = self.limits.session()
            facts = prepare_session(
                wire,
                SessionSettings(session.lock_timeout, type(session.statement_timeout)(60_000)),
                guard=True,
            )
            refuse_read_only(facts, self.target)
        except BaseException:
            wire.close()
            raise
        return wire

    def _again(self) -> Wire:
        """A new connection with the same lease: the lock must be free to take, and the token still ours."""
        deadline = self.limits.clock() + self.limits.reconnect_seconds
        while True:
            try:
                wire = self._connect(None)
                break
            except LockgateError:
                if self.limits.clock() >= deadline:
                    raise
            time.sleep(0.5)
        while wire.value(f"SELECT pg_catalog.pg_try_advisory_lock({KEY})") != "t":
            if self.limits.clock() >= deadline:
                wire.close()
                raise ConnectionLost("the lease could not be taken back after the connection was lost")
            time.sleep(0.2)
        if not releases.beat_lease(wire, self.token, TTL):
            self.lost = "another release took over while the connection was lost"
            wire.close()
            raise RunFailed(self.lost, "FENCED")
        return wire

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            with self._mutex:
                if self._stop.is_set() or self._wire is None or not self._wire.alive:
                    continue  # the main thread finds out when it writes, and takes a new one
                try:
                    if not releases.beat_lease(self._wire, self.token, TTL):
                        self.lost = "another release took over"
                        return
                except (LockgateError, ServerError):
                    continue


def _told(holder: dict[str, str]) -> str:
    who = holder.get("holder") or "unknown"
    return f"{who} since {holder.get('since', '')}, pid {holder.get('pid', '?')} ({holder.get('application', '')}), release {holder.get('releaseKey', '')}"
