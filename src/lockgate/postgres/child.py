"""A program run as a child: its own process group, a limit, a bounded output, and nothing secret on its command line."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from lockgate.errors import LockgateError
from lockgate.postgres.alarm import Alarm
from lockgate.record.redact import redact

MOST_OUTPUT = 1 << 20
"""Bytes kept of each stream; the end is kept, it is where programs say what went wrong."""
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL of the whole group."""


class Finished(NamedTuple):
    """How a child ended. ``code`` is its exit code, negative for a signal; ``stopped`` is "timeout", "signal" or ""."""

    code: int
    out: str
    err: str
    seconds: float
    stopped: str = ""

    @property
    def ok(self) -> bool:
        """True when it ended by itself with 0."""
        return self.code == 0 and not self.stopped

    def told(self, most: int = 2000) -> str:
        """The end of what it said on stderr (else stdout), without secrets."""
        return redact((self.err.strip() or self.out.strip())[-most:])


class Tail:
    """Reads a stream to its end in a thread and keeps the last part of it, so that who writes to it never has to wait.

    ``listener`` hears every line, also of what is not kept.
    """

    def __init__(self, stream: IO[bytes], listener: Callable[[str], None] | None = None) -> None:
        self.kept = bytearray()
        self._stream = stream
        self._listener = listener
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with self._stream:
            for line in self._stream:
                self.kept += line
                if len(self.kept) > MOST_OUTPUT:
                    del self.kept[:-MOST_OUTPUT]
                if self._listener is not None:
                    self._listener(line.decode("utf-8", "replace").rstrip())

    def text(self) -> str:
        """What was kept of it so far; all of that once its writers have ended."""
        self.thread.join(2.0)  # a grandchild may hold the pipe open; what is there has to do
        return bytes(self.kept).decode("utf-8", "replace")


def run(
    arguments: Sequence[str],
    *,
    seconds: float,
    environ: Mapping[str, str] | None = None,
    alarm: Alarm | None = None,
    folder: Path | None = None,
    stdin: bytes | None = None,
    listener: Callable[[str], None] | None = None,
    inherits: Sequence[int] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Finished:
    """Run a program to its end, or until ``seconds`` are over or a signal asks us to stop; then its whole group is ended.

    Raises ``LockgateError`` (``COMMAND_FAILED``) when the program is not there. ``listener`` hears lines of stderr;
    ``inherits`` are descriptors that it gets.
    """
    begun = clock()
    try:
        process = subprocess.Popen(
            list(arguments),
            env={**os.environ, **(environ or {})},
            cwd=folder,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=tuple(inherits),
        )
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        raise LockgateError(
            f"{arguments[0] if arguments else 'an empty command'}: {told}",
            "COMMAND_FAILED",
            state="It was not started.",
        ) from None
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = Tail(process.stdout), Tail(process.stderr, listener)
    if stdin is not None and process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(stdin)
    stopped, pause = "", 0.005
    try:
        while process.poll() is None:
            if alarm is not None and alarm.signal:
                stopped = "signal"
            elif clock() - begun >= seconds:
                stopped = "timeout"
            if stopped:
                _end(process, clock)
                break
            (alarm.sleep if alarm is not None else time.sleep)(pause)
            pause = min(pause * 1.5, 0.1)
    except BaseException:
        _end(process, clock)
        raise
    return Finished(process.returncode, out.text(), err.text(), round(clock() - begun, 3), stopped)


def _end(process: "subprocess.Popen[bytes]", clock: Callable[[], float]) -> None:
    """SIGTERM to the group, then SIGKILL; returns when the child is reaped."""
    deadline = clock() + GRACE
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - clock()))
            if number is signal.SIGTERM:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # what the child left behind
            return
    process.wait()
