"""Start a keeper and hear from it."""

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from lockgate.errors import LockgateError

_SOURCES = str(Path(__file__).parents[3])
_KEEPER = (
    "import sys, json; sys.path.append(sys.argv[1]); "
    "from lockgate.postgres.embedded.keeper import main; main(json.loads(sys.argv[2]))"
)
_REPORT = 3  # keeper.REPORT, which is not imported here
# Nothing else is handed on: the caller's environment may hold passwords, and /proc shows it.
_ENVIRONMENT = ("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD, signal.SIGQUIT)


def ask_keeper(order: dict[str, Any], seconds: float) -> None:
    """Have a new keeper carry out ``order`` and return when the server runs.

    ``order`` holds ``home``, ``version``, ``bindir``, ``idle_seconds``, ``settings``, ``sudo_uid`` and
    ``shelters``. Raises LockgateError (``EMBEDDED``) when the keeper reports trouble, or nothing in ``seconds``.
    """
    if not sys.executable:
        raise LockgateError("This Python does not know its own program (sys.executable).", "EMBEDDED")
    reader, writer = os.pipe()
    try:
        try:
            _start(order, writer)
        finally:
            os.close(writer)
        text = _read(reader, seconds)
    finally:
        os.close(reader)
    if text is None:
        raise LockgateError(
            f"The embedded PostgreSQL is not ready after {seconds:.0f} s; it goes on starting.",
            "EMBEDDED",
            state="The server may be recovering from a crash; nothing is lost.",
            next="Try again in a while.",
        )
    answer: dict[str, Any] = (
        json.loads(text) if text else {"error": "The keeper died before it could report."}
    )
    if "error" in answer:
        tail = answer.get("tail") or []
        log = answer.get("log", "")
        lines = [f"The embedded PostgreSQL could not be started: {answer['error']}"]
        lines += [f"The end of {log}:", *(f"  {line}" for line in tail)] if tail else []
        raise LockgateError(
            "\n".join(lines),
            "EMBEDDED",
            next=answer.get("next") or None,
            details={"home": order["home"], "log": log, "tail": tail},
        )


def _start(order: dict[str, Any], writer: int) -> None:
    """Start the keeper's first process, which forks the keeper and ends, and reap it.

    Spawned, not forked: the caller may have threads.
    """
    command = [sys.executable, "-I", "-S", "-c", _KEEPER, _SOURCES, json.dumps(order)]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    high = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 10)  # out of the way of 0 to 3
    null = (os.devnull, os.O_RDWR, 0)
    try:
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=[
                *((os.POSIX_SPAWN_OPEN, fd, *null) for fd in (0, 1, 2)),
                (os.POSIX_SPAWN_DUP2, high, _REPORT),
            ],
            setsigmask=[],
            setsigdef=_SIGNALS,
        )
    finally:
        os.close(high)
    with contextlib.suppress(ChildProcessError):  # the program reaps its children elsewhere
        os.waitpid(pid, 0)


def _read(reader: int, seconds: float) -> bytes | None:
    """Everything the keeper writes until it closes the pipe; None when that takes longer than ``seconds``."""
    end = time.monotonic() + seconds
    text = b""
    poll = select.poll()  # select() ends at 1,024 open files, and the caller may have more
    poll.register(reader, select.POLLIN)
    while poll.poll(max(0.0, end - time.monotonic()) * 1000):
        part = os.read(reader, 65536)
        if not part:
            return text
        text += part
    return None
