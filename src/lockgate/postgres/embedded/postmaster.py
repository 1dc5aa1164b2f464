"""Which process is the server: what ``postmaster.pid`` says, and whether the process table agrees."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH110, PTH116, PTH123

import os
from typing import NamedTuple


class Postmaster(NamedTuple):
    """The server as ``postmaster.pid`` describes it: process id, data directory, socket directory, status.

    The paths are those it was started with.
    """

    pid: int
    data: str
    sockets: str
    ready: bool


def read_pidfile(data: str) -> Postmaster | None:
    """What the server of the data directory ``data`` wrote about itself; None when there is nothing whole."""
    try:
        fd = os.open(f"{data}/postmaster.pid", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        lines = os.read(fd, 8192).decode("utf-8", "surrogateescape").split("\n")
    finally:
        os.close(fd)
    # 1 pid, 2 data directory, 3 start, 4 port, 5 socket directory, 6 address, 7 shared memory, 8 status
    if len(lines) < 2 or not lines[0].strip().isdigit():
        return None
    lines += [""] * 8
    return Postmaster(int(lines[0]), lines[1], lines[4], lines[7].strip() == "ready")


def birth(pid: int) -> int:
    """When the process ``pid`` was born, in clock ticks since boot: pid and birth never come back together.

    0 when there is no such process, also when it is dead and only waits to be reaped. On systems without
    ``/proc`` it is 1 for every living process: there the lock ``alive`` alone has to tell.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        if has_proc():
            return 0
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return 0
        except PermissionError:
            pass
        return 1
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_server(pid: int, born: int, data: str) -> bool:
    """Whether ``pid``, born at ``born``, is the server of the data directory ``data`` and no other process.

    It has to live, belong to the owner of ``data`` and work in ``data``. Root in a container may not look at the
    working directory of others; then birth and owner decide.
    """
    if pid <= 1 or born == 0 or birth(pid) != born:
        return False
    if not has_proc():
        return True
    try:
        place = os.stat(data)
        if os.stat(f"/proc/{pid}").st_uid != place.st_uid:
            return False
        try:
            return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), place)
        except PermissionError:
            return True
    except OSError:
        return False


def find_server(data: str) -> tuple[Postmaster, int] | None:
    """The living server of ``data`` and its birth, ready or not; None when the pid file names no such process."""
    seen = read_pidfile(data)
    if seen is None or (not has_proc() and seen.data != data):
        return None
    born = birth(seen.pid)
    return (seen, born) if is_server(seen.pid, born, data) else None


def has_proc() -> bool:
    """Whether this system shows its processes under ``/proc``."""
    return os.path.exists("/proc/self/stat")
