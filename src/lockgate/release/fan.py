"""Many databases, one set of files: the canary first and alone, then the rest side by side, and a stop at the first failure.

What is done stands in each database itself, so the next call simply goes on: databases with nothing pending are a look each.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from lockgate.config import Settings
from lockgate.errors import LockgateError
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Event, Log
from lockgate.postgres.alarm import Alarm, Cause
from lockgate.postgres.target import Target
from lockgate.record.redact import redact
from lockgate.release.operator import new_identity
from lockgate.release.project import Files
from lockgate.release.up import Run
from lockgate.release.vetting import Vetted

APPLIED, UP_TO_DATE, FAILED, SKIPPED = "applied", "up to date", "failed", "not tried"


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one database. ``outcome`` is applied, up to date, failed, or not tried; the error's words with failed."""

    outcome: str
    reason_code: str = ""
    message: str = ""
    next: str = ""
    exit_code: int = 0
    run_id: str = ""
    before: str = ""
    after: str = ""
    applied: tuple[str, ...] = ()
    seconds: float = 0.0


class Fan(msgspec.Struct, frozen=True, rename="camel"):
    """What became of all of them; ``stopped_by`` names the first that failed, or the signal."""

    places: Mapping[str, Place]
    stopped_by: str = ""
    exit_code: int = 0


class FanOut:
    """``up`` over many databases. ``listener(name, event)`` hears every event, from any thread.

    ``targets`` are taken in their order; with ``canary`` the first one goes alone.
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        files: Files,
        settings: Settings,
        *,
        concurrency: int = 4,
        canary: bool = True,
        lock_wait: float = 60.0,
        listener: Callable[[str, Event], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.targets = targets
        self.files = files
        self.settings = settings
        self.concurrency = concurrency
        self.canary = canary
        self.lock_wait = lock_wait
        self._listener = listener
        self._clock = clock
        self._alarms: dict[str, Alarm] = {}
        self._lock = threading.Lock()
        self._signal = 0
        self._stopped_by = ""
        self._code = 0
        self._places: dict[str, Place] = {}
        self._vetted = Vetted()

    def stop(self, number: int) -> None:
        """A signal: every run under way cancels its statement and rolls back; no other one begins. Safe in a handler."""
        self._signal = number
        for alarm in list(self._alarms.values()):
            alarm.signal = number
            alarm.ring(Cause("CANCELLED", "stopped by a signal"))

    def up(self) -> Fan:
        """Apply everywhere what is pending. Never raises for what a database does: every one has its line."""
        waiting = list(self.targets)
        if self.canary and waiting:
            self._note(waiting[0], self._one(waiting[0]))
            waiting.pop(0)
        with ThreadPoolExecutor(self.concurrency, "lockgate-up") as pool:
            running: dict[Future[Place], str] = {}
            while waiting or running:
                while (
                    waiting and not self._stopped_by and not self._signal and len(running) < self.concurrency
                ):
                    name = waiting.pop(0)
                    running[pool.submit(self._one, name)] = name
                if not running:
                    break
                # A time limit, so that a signal's handler gets its turn in this thread.
                for future in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    self._note(running.pop(future), future.result())
        for name in waiting:
            self._places[name] = Place(SKIPPED)
        ordered = {name: self._places[name] for name in self.targets}
        if self._signal:
            return Fan(ordered, self._stopped_by or f"signal {self._signal}", 128 + self._signal)
        return Fan(ordered, self._stopped_by, self._code)

    def _note(self, name: str, place: Place) -> None:
        self._places[name] = place
        if place.outcome == FAILED and not self._stopped_by:
            self._stopped_by, self._code = name, place.exit_code

    def _one(self, name: str) -> Place:
        begun = self._clock()
        alarm = Alarm()
        with self._lock:
            self._alarms[name] = alarm
        if self._signal:
            alarm.signal = self._signal
        try:
            run = Run(
                self.targets[name], self.files, self.settings, Limits.of(self.settings.migrations), new_identity("up"),
                Log(None if self._listener is None else lambda event: self._hear(name, event)), alarm, lock_wait=self.lock_wait, vetted=self._vetted,
            )  # fmt: skip
            try:
                report = run.up()
            except LockgateError as error:
                report = run.report
                return Place(
                    FAILED, error.code, redact(error.message), error.next, int(error.exit), report.run_id, report.before, report.after,
                    tuple(f.revision for f in report.applied), round(self._clock() - begun, 3),
                )  # fmt: skip
            return Place(
                APPLIED if report.applied else UP_TO_DATE, run_id=report.run_id, before=report.before, after=report.after,
                applied=tuple(f.revision for f in report.applied), seconds=round(self._clock() - begun, 3),
            )  # fmt: skip
        except Exception as error:
            return Place(FAILED, "BUG", redact(f"{type(error).__name__}: {error}"), "lockgate status", 70)
        finally:
            with self._lock:
                self._alarms.pop(name, None)
            alarm.close()

    def _hear(self, name: str, event: Event) -> None:
        if self._listener is not None:
            self._listener(name, event)
