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
        elif time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            self._output.note(f"{doing}: {done:.0%}")

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
