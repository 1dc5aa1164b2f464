"""A pure computation in a forked copy of this process, while this one waits for the server.

Used where both sides take long enough to be worth a fork: judging a thousand files needs a processor, taking over a
database needs patience.
"""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")
LONGEST = 60.0
"""Seconds without a sign of life after which the copy is given up."""


def worth_it(items: int, least: int = 200) -> bool:
    """True when ``items`` pieces of work are enough for a fork (about 5 ms), and there is a second processor to do them."""
    # A copy of a process with threads may hold locks that nobody in it will ever release.
    alone = threading.active_count() == 1
    return items >= least and alone and hasattr(os, "fork") and (os.cpu_count() or 1) > 1


class Beside(Generic[T]):
    """``compute`` at work in a copy of this process. Its answer comes back as msgpack of ``kind``.

    Make it while no other thread runs. ``compute`` may not touch connections, files or the terminal.
    """

    def __init__(self, compute: Callable[[], T], kind: type[T]) -> None:
        self._kind = kind
        self._read, write = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:  # no room for another process: the caller does the work itself
            os.close(self._read)
            os.close(write)
            self._read = -1
            return
        if self._pid == 0:
            os.close(self._read)
            _work(compute, write)
        os.close(write)

    def result(self) -> T | None:
        """Wait for the answer; None when the copy came to nothing, and the caller has to do the work itself."""
        if self._read < 0:
            return None
        data = b""
        while select.select([self._read], [], [], LONGEST)[0]:
            part = os.read(self._read, 1 << 20)
            if not part:
                break
            data += part
        self.close()
        try:
            return msgspec.msgpack.decode(data, type=self._kind)
        except msgspec.DecodeError:
            return None

    def close(self) -> None:
        """End the copy, when nobody wants its answer any more."""
        if self._read >= 0:
            os.close(self._read)
            self._read = -1
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _work(compute: Callable[[], T], write: int) -> None:
    """The life of the copy: it never returns, and an error is an answer that is not there."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        data = msgspec.msgpack.encode(compute())
        with open(write, "wb") as pipe:
            pipe.write(data)
    finally:
        os._exit(0)
