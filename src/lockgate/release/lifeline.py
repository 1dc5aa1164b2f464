"""A child that ends cleanly once its parent is gone, also by ``kill -9``: it watches the end of a pipe that only the parent holds."""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lockgate.postgres.alarm import Alarm

VARIABLE = "LOCKGATE_LIFELINE"
"""Names the inherited end of the pipe to the child: its number, and its inode, so that another file of that number is never read."""


@contextmanager
def lifeline() -> Iterator[tuple[int, dict[str, str]]]:
    """The descriptor that a child has to inherit, and the variable that tells it; the other end closes with this block or this process."""
    ear, held = os.pipe()  # neither is inherited by any other child
    try:
        yield ear, {VARIABLE: f"{ear}:{os.fstat(ear).st_ino}"}
    finally:
        os.close(ear)
        os.close(held)


def follow(alarm: Alarm, named: str | None) -> None:
    """Let the end of the pipe that ``named`` names count as SIGTERM for ``alarm``: the statement is cancelled and the end recorded.

    Where nothing is named, or it did not come through (a program in between has closed it), nobody is followed.
    """
    number, _, inode = (named or "").partition(":")
    if not (number.isdigit() and inode.isdigit()):
        return
    ear = int(number)
    try:
        seen = os.fstat(ear)
    except OSError:
        return
    if not stat.S_ISFIFO(seen.st_mode) or seen.st_ino != int(inode):
        return
    os.set_inheritable(ear, False)
    threading.Thread(target=_wait, args=(ear, alarm), name="lifeline", daemon=True).start()


def _wait(ear: int, alarm: Alarm) -> None:
    while os.read(ear, 64):
        pass
    # Whoever read what we say is gone too; a broken pipe must not come between a cancel and its record.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    if not alarm.signal:  # a second signal would end the process at once
        os.kill(os.getpid(), signal.SIGTERM)
