"""The limits of a run as values, read once from the settings."""

import random
import time
from collections.abc import Callable

import msgspec

from lockgate.config import Migrations
from lockgate.migrations.directives import Directives
from lockgate.postgres.alarm import Cause
from lockgate.postgres.durations import FileTimeout, LockTimeout, RunTimeout, StatementTimeout
from lockgate.postgres.settings import SessionSettings


class Limits(msgspec.Struct, frozen=True):
    """Time-outs, retries and the clocks that measure them."""

    lock_timeout: LockTimeout
    statement_timeout: StatementTimeout
    concurrent_timeout: StatementTimeout
    file_timeout: FileTimeout
    run_timeout: RunTimeout
    lock_retries: int
    max_lock_victims: int
    reconnect_seconds: float
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = msgspec.field(default_factory=random.Random)
    retry_pause: float = 0.5
    """Seconds before the first retry; doubled each time up to 10, with jitter."""

    @classmethod
    def of(cls, m: Migrations, **more: object) -> "Limits":
        """The limits of the configuration."""
        return cls(
            LockTimeout.parse(m.lock_timeout), StatementTimeout.parse(m.statement_timeout), StatementTimeout.parse(m.concurrent_timeout),
            FileTimeout.parse(m.file_timeout), RunTimeout.parse(m.run_timeout), m.lock_retries, m.max_lock_victims, float(m.reconnect_seconds), **more,  # type: ignore[arg-type]
        )  # fmt: skip

    def session(self) -> SessionSettings:
        """The settings of the work session."""
        return SessionSettings(self.lock_timeout, self.statement_timeout)

    def of_file(self, directives: Directives) -> tuple[LockTimeout, StatementTimeout]:
        """The limits of one file: its directives where given, else those of the run."""
        lock = LockTimeout.parse(directives.lock_timeout) if directives.lock_timeout else self.lock_timeout
        limit = (
            StatementTimeout.parse(directives.statement_timeout)
            if directives.statement_timeout
            else self.statement_timeout
        )
        return lock, limit

    def look_every(self) -> float:
        """Seconds between two looks at the lock queue: at least three in one lock time-out, so that a blocker is seen."""
        longest = self.lock_timeout.seconds or 1.0
        return max(0.02, min(0.25, longest / 4))

    def pause(self, attempt: int) -> float:
        """Seconds to wait before retry number ``attempt`` (from 1), with full jitter in its upper half."""
        top = min(10.0, self.retry_pause * 2.0 ** (attempt - 1))
        return float(top * (0.5 + 0.5 * self.rng.random()))


class Deadline(msgspec.Struct, frozen=True):
    """A moment of the monotonic clock and the cause that a cancel at that moment has."""

    at: float
    cause: Cause

    @classmethod
    def earlier(cls, *choices: "Deadline") -> "Deadline":
        """The earliest of them."""
        return min(choices, key=lambda d: d.at)
