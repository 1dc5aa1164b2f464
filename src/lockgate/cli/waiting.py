"""Long work that is not a migration: a bar with ETA on a terminal, a line now and then elsewhere, and a clean stop."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lockgate.cli.output import Format, Output
from lockgate.errors import LockgateError
from lockgate.record.reasons import Exit
from lockgate.record.words import lasting

EVERY = 5.0
"""Seconds between two lines in a pipe."""


class Waiting:
    """Shows how far long work is. ``show`` may be called from any thread."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: Any = None
        self._task: Any = None
        self._doing = ""
        self._told = time.monotonic()
        self._since = (self._told, 0.0)

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, doing: str, done: float) -> None:
        """``done`` (0.0 to 1.0) of what is called ``doing``."""
        if self._output.terminal and self._output.format is Format.TEXT:
            self._draw(doing, done)
            return
        now = time.monotonic()
        if doing != self._doing:
            self._doing, self._since = doing, (now, done)
        if now - self._told >= EVERY:
            self._told = now
            self._output.note(f"{doing}: {done:.0%}{_left(done, *self._since, now)}")

    def _draw(self, doing: str, done: float) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("ETA"), TimeRemainingColumn())  # fmt: skip
            self._bar = Progress(*columns, console=Console(no_color=not self._output.colour, highlight=False), transient=True)  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(doing, total=1.0)
        if doing != self._doing:
            self._doing = doing
            self._bar.reset(self._task, description=doing, total=1.0)
        self._bar.update(self._task, completed=done)


def _left(done: float, since: float, first: float, now: float) -> str:
    """How long the rest takes at the pace since the moment ``since``, at which ``first`` of the work was done; "" where that cannot be known."""
    if not first < done < 1 or now - since < 1:
        return ""
    return f", about {lasting((1 - done) * (now - since) / (done - first))} left"


@contextmanager
def stoppable(what: str) -> Iterator[None]:
    """Turn SIGTERM, SIGHUP and Ctrl-C inside the block into an error with the right exit code."""

    def stop(number: int, _frame: FrameType | None) -> None:
        code = Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED
        raise LockgateError(
            f"{what} was stopped by {signal.Signals(number).name}", "CANCELLED", state="What was recorded stays; nothing is half done.",
            next="Call the command again: it goes on where it stopped.", exit=code,
        )  # fmt: skip

    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
