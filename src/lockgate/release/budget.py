"""The time that one step of a release has: every wait of a step asks it, and it also hears signals."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lockgate.errors import RunFailed
from lockgate.migrations.failure import interrupted
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.child import Finished, run


class Budget:
    """``seconds`` for a step named ``name``. Without an alarm (on the way out after a signal) only time counts."""

    def __init__(
        self, name: str, seconds: float, alarm: Alarm | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.seconds = seconds
        self.alarm = alarm
        self.clock = clock
        self.begun = clock()

    @property
    def deadline(self) -> float:
        """The moment of the monotonic clock when the time is over."""
        return self.begun + self.seconds

    @property
    def left(self) -> float:
        """Seconds that are left; never below 0."""
        return max(0.0, self.deadline - self.clock())

    def check(self) -> None:
        """Raise ``Interrupted`` after a signal, ``RunFailed`` (``STEP_TIMEOUT``) when the time is over."""
        self.hear()
        if self.left <= 0:
            raise RunFailed(f"the step {self.name} did not end in {self.seconds:g} s", "STEP_TIMEOUT")

    def hear(self) -> None:
        """Raise ``Interrupted`` after a signal."""
        if self.alarm is not None and self.alarm.signal:
            stop = self.alarm.pending(0)
            raise interrupted(stop.message if stop else "stopped", self.alarm.signal)

    def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds`` or what is left, whichever is less; then ``check``."""
        pause = min(seconds, self.left)
        (self.alarm.sleep if self.alarm is not None else time.sleep)(pause)
        self.check()

    def run(
        self,
        arguments: Sequence[str],
        *,
        most: float | None = None,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stdin: bytes | None = None,
        inherits: Sequence[int] = (),
    ) -> Finished:
        """Run a program for at most ``most`` seconds or what is left. Raises ``Interrupted`` when a signal ended it."""
        limit = self.left if most is None else min(most, self.left)
        done = run(
            arguments, seconds=max(0.1, limit), environ=environ, alarm=self.alarm, folder=folder, stdin=stdin,
            inherits=inherits, clock=self.clock
        )  # fmt: skip
        if done.stopped == "signal":
            self.hear()
        return done
