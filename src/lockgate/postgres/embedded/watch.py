"""Watch one server until it ends: stop it when it is idle, when its home is gone, when we are asked to."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH112

import contextlib
import os
import select
import signal
import time

from lockgate.postgres.embedded import clients, leftovers, locks, signals
from lockgate.postgres.embedded.launch import Server
from lockgate.postgres.embedded.postmaster import birth
from lockgate.postgres.embedded.settle import Settled

TICK_SECONDS = 1.0
STOP_SECONDS = 60.0


def until_the_end(settled: Settled, server: Server, idle_seconds: float) -> None:
    """Return when the server has ended, by itself or through us."""
    asked, wake = _wake_descriptors(server.pid)
    tick = max(0.02, min(TICK_SECONDS, idle_seconds / 5))
    use = _Use(settled.lock, server.sockets, idle_seconds)
    while True:
        woken = select.select(wake, [], [], tick)[0]
        _reap()
        if birth(server.pid) != server.born:
            leftovers.remove_sockets(server.sockets)
            return
        if asked in woken:  # SIGTERM: the machine goes down, or somebody ends us
            _stop(server, "fast")
            return
        if os.fstat(settled.lock).st_nlink == 0:  # the home, or all that was in it, is deleted
            _stop(server, "fast" if os.path.isdir(settled.place.data) else "immediate")
            leftovers.remove_base(settled.place, settled.pointer)
            return
        # Under the launch lock nobody can be told that the server runs: make sure, then stop it.
        if use.seems_over() and locks.acquire(settled.lock, 0.0):
            if use.is_over():
                _stop(server, "fast")
                return
            locks.release(settled.lock)


class _Use:
    """When the server was last used: a client was connected, or ``ensure`` handed it out (it touches the lock)."""

    def __init__(self, lock: int, sockets: str, idle_seconds: float) -> None:
        self._lock = lock
        self._sockets = sockets
        self._idle = idle_seconds
        self._touched = os.fstat(lock).st_mtime_ns
        self._last = self._asked = time.monotonic()

    def seems_over(self) -> bool:
        """Whether, as far as can be seen cheaply, nobody has used the server for ``idle_seconds``."""
        now = time.monotonic()
        touched = os.fstat(self._lock).st_mtime_ns
        if touched != self._touched or self._sees_clients(now):
            self._last, self._touched = now, touched
        return now - self._last >= self._idle

    def is_over(self) -> bool:
        """The same for sure: the server has the last word. What it does not tell counts as use."""
        over = (
            os.fstat(self._lock).st_mtime_ns == self._touched
            and clients.count_by_question(self._sockets) == 0
        )
        if not over:
            self._last = time.monotonic()
        return over

    def _sees_clients(self, now: float) -> bool:
        count = clients.count_by_kernel(self._sockets)
        if count is None and now - self._asked >= self._idle / 10:
            # Without the kernel's table the server is asked, and seldom: that costs it a connection.
            self._asked = now
            count = clients.count_by_question(self._sockets)
        return bool(count)


def _wake_descriptors(pid: int) -> tuple[int, list[int]]:
    """The descriptor that SIGTERM makes readable, and all that end the waiting early.

    Where the kernel tells the end of the process ``pid`` that is among them; elsewhere the tick has to do.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, lambda *_: None)
    wake = [reader]
    with contextlib.suppress(AttributeError, OSError):
        wake.append(os.pidfd_open(pid))
    return reader, wake


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _stop(server: Server, mode: str) -> None:
    """Stop the server and wait for its end; a stop that hangs becomes an immediate one."""
    for how in (mode, "immediate"):
        signals.send(server.pid, server.born, how)
        end = time.monotonic() + STOP_SECONDS
        while birth(server.pid) == server.born and time.monotonic() < end:
            _reap()
            time.sleep(0.005)
    leftovers.remove_sockets(server.sockets)
