"""Processes that are forked instead of started: Python, with libraries imported already; see ``nursery.py``.

lockgate's own modules are not among them: each process imports those itself, so what a command forgets to import fails
here as it does for a user. Importing the libraries is most of what a call costs, and no test is about that twice;
``tests/acceptance`` starts every command as a user does.
"""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

LIBRARIES = (
    "click", "msgspec", "psycopg", "postgast", "pymysql",
    "concurrent.futures.thread", "difflib", "html", "http.client", "sqlite3", "statistics", "tarfile", "urllib.request", "zoneinfo",
)  # fmt: skip
"""What lockgate's rooms import from elsewhere, small things aside; those that are not installed are left out."""
_AT_START = re.compile(r"PYTHON.*|LC_.*|LANG|LANGUAGE|TZ|PSYCOPG_.*|OTEL_.*")
"""Variables that Python and libraries read once, at their start."""
_SECONDS = 60.0


def same_start(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment would have started as the forked ones did."""
    return _at_start(environment) == _at_start(os.environ)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if _AT_START.fullmatch(name)}


class Process:
    """A process that was forked, with the face of ``subprocess.Popen[str]``."""

    def __init__(
        self, arguments: Sequence[str], report: int, out: IO[str] | None, err: IO[str] | None
    ) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self.stdin = None
        self.stdout = out
        self.stderr = err
        self._report = report
        self._said = b""
        self._lock = threading.Lock()
        self._readers: dict[str, threading.Thread] = {}
        self._texts: dict[str, str] = {}
        pid = self._next_line(_SECONDS)
        assert pid is not None, "the nursery does not answer"
        self.pid = pid

    def poll(self) -> int | None:
        """The exit code (negative: the signal); None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; raises ``subprocess.TimeoutExpired``."""
        code = self._look(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def communicate(self, input: None = None, timeout: float | None = None) -> tuple[str, str]:
        """What is left of its two streams, and wait for its end; after a time-out it can be called again."""
        end = None if timeout is None else time.monotonic() + timeout
        for name in ("stdout", "stderr"):
            if name not in self._readers and getattr(self, name) is not None:
                self._readers[name] = threading.Thread(target=self._read, args=[name], daemon=True)
                self._readers[name].start()
        for reader in self._readers.values():
            reader.join(None if end is None else max(end - time.monotonic(), 0))
            if reader.is_alive():
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if end is None else max(end - time.monotonic(), 0))
        return self._texts.get("stdout", ""), self._texts.get("stderr", "")

    def _read(self, name: str) -> None:
        with getattr(self, name) as stream:
            self._texts[name] = stream.read()

    def send_signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    def __del__(self) -> None:
        os.close(self._report)

    def _look(self, seconds: float | None) -> int | None:
        with self._lock:
            if self.returncode is None:
                self.returncode = self._next_line(seconds)
            return self.returncode

    def _next_line(self, seconds: float | None) -> int | None:
        """The next number that the nursery reports, if it comes in time."""
        end = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._said:
            left = None if end is None else max(end - time.monotonic(), 0)
            if not select.select([self._report], [], [], left)[0]:
                return None
            data = os.read(self._report, 100)
            assert data, "the nursery ended"
            self._said += data
        line, self._said = self._said.split(b"\n", 1)
        return int(line)


class Nursery:
    """A process that forks others, with ``modules`` imported."""

    def __init__(self, *modules: str) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("nursery.py")), str(theirs.fileno()), *modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> Process:
        """Fork what ``python *arguments`` would be; a stream is a pipe or goes into an open descriptor."""
        out, outward = _stream(stdout)
        err, errward = _stream(stderr)
        report, reporting = os.pipe()
        order = {"arguments": list(arguments), "environment": dict(env), "directory": str(cwd)}
        fds = [stdout if outward is None else outward, stderr if errward is None else errward, reporting]
        socket.send_fds(self._line, [json.dumps(order).encode()], fds)
        for fd in (outward, errward, reporting):
            if fd is not None:
                os.close(fd)
        return Process([sys.executable, *arguments], report, out, err)

    def close(self) -> None:
        """End the nursery; what it forked goes on."""
        self._line.close()
        self._process.wait(10)


def _stream(wanted: int) -> tuple[IO[str] | None, int | None]:
    """Our end of a new pipe and theirs; nothing of either where the stream goes elsewhere."""
    if wanted != subprocess.PIPE:
        return None, None
    ours, theirs = os.pipe()
    return os.fdopen(ours, encoding="utf-8"), theirs


@cache
def nursery(*modules: str) -> Nursery:
    """This worker's nursery with the libraries of every command, and ``modules``; it ends with the worker."""
    return Nursery(*LIBRARIES, *modules)
