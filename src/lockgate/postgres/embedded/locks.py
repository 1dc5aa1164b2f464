"""File locks that die with the process that holds them (``flock``)."""

import fcntl
import os
import time

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_lock(path: str) -> int:
    """Open the lock file ``path``, made when missing, and return its descriptor. Locks nothing yet.

    The file is never replaced: its inode is the lock. Raises OSError for a symbolic link.
    """
    return os.open(path, _OPEN | os.O_CREAT, 0o644)


def acquire(fd: int, seconds: float) -> bool:
    """Take the lock alone, trying for ``seconds``. False when somebody else held it all that time."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.005)
        else:
            return True


def share(fd: int) -> bool:
    """Take the lock together with other readers, without waiting. False when somebody holds it alone."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def release(fd: int) -> None:
    """Let go of the lock; the file stays open."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def is_held(path: str) -> bool:
    """Whether a living process holds the lock ``path`` alone. A missing file is held by nobody."""
    try:
        fd = os.open(path, _OPEN)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not share(fd)
    finally:
        os.close(fd)


def wait_until_free(path: str, seconds: float) -> bool:
    """Wait until no process holds the lock ``path``; False when one does after ``seconds``."""
    end = time.monotonic() + seconds
    while is_held(path):
        if time.monotonic() >= end:
            return False
        time.sleep(0.005)
    return True
