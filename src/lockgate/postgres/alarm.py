"""How anything outside the main thread makes it stop waiting: a signal, a deadline, the watchdog.

Only the main thread sends statements and only it cancels them, so a cancel can never hit another statement
than the one that was meant.
"""

import os
import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Self


class Cause:
    """Why a statement is to be cancelled. ``ticket`` names the batch it is meant for; 0 means any."""

    __slots__ = ("code", "message", "ticket")

    def __init__(self, code: str, message: str, ticket: int = 0) -> None:
        self.code = code
        self.message = message
        self.ticket = ticket


class Alarm:
    """A bell that wakes the main thread. As a context manager it also takes SIGINT, SIGTERM and SIGHUP.

    The first signal asks for a clean stop; the second ends the process at once, which the engine survives
    as it survives ``kill -9``.
    """

    def __init__(self) -> None:
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._cause: Cause | None = None
        self.signal: int = 0
        self._before: dict[int, object] = {}
        # Not select(): it fails from descriptor 1024 on, and a run over many databases has many.
        self._polls: dict[tuple[int, bool], select.poll] = {}

    def ring(self, cause: Cause) -> None:
        """Ask for a cancel; the first cause wins until it is taken, or until one for another batch comes."""
        if self._cause is None or self._cause.ticket != cause.ticket:
            self._cause = cause
        try:
            self._bell.send(b"!")
        except OSError:  # full or closed: whoever listens is awake or gone
            return

    def pending(self, ticket: int) -> Cause | None:
        """The cause that waits for ``ticket``, if any. A signal waits for every ticket until the end."""
        if self.signal:
            name = signal.Signals(self.signal).name
            return Cause("CANCELLED", f"stopped by {name}")
        cause = self._cause
        if cause is not None and cause.ticket in (0, ticket):
            return cause
        return None

    def take(self) -> None:
        """Forget the pending cause (not a signal): it was acted upon, or its statement is over."""
        self._cause = None

    def wait(self, fd: int, *, write: bool, seconds: float) -> bool:
        """Wait until ``fd`` is ready or the bell rings, at most ``seconds``. True when ``fd`` is ready."""
        ear = self._ear.fileno()
        poll = self._polls.get((fd, write))
        if poll is None:
            poll = self._polls[fd, write] = select.poll()
            poll.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
            poll.register(ear, select.POLLIN)
        ready = dict(poll.poll(max(0.0, seconds) * 1000))
        if ear in ready:
            try:
                while self._ear.recv(64):
                    pass
            except BlockingIOError:
                pass
        return fd in ready

    def sleep(self, seconds: float) -> None:
        """Sleep, but wake when the bell rings."""
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        if poll.poll(max(0.0, seconds) * 1000):
            try:
                self._ear.recv(64)
            except BlockingIOError:
                return

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.signal:
            os._exit(128 + number)
        self.signal = number
        self.ring(Cause("CANCELLED", f"stopped by {signal.Signals(number).name}"))

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            try:
                self._before[number] = signal.signal(number, self._handle)
            except ValueError:  # not the main thread: the embedding program owns the signals
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]
        self._before.clear()
        self.close()

    def close(self) -> None:
        """Close both ends."""
        self._ear.close()
        self._bell.close()
