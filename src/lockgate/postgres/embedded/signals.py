"""Signals to processes that were verified first: pids come back, and a name proves nothing."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH115, PTH116, PTH119, PTH208

import contextlib
import os
import signal

from lockgate.postgres.embedded.postmaster import birth, has_proc

MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
"""PostgreSQL's ways to stop: wait for the sessions, end them, or drop everything and recover at the next start."""


def send(pid: int, born: int, mode: str) -> bool:
    """Ask the server process ``pid``, born at ``born``, to stop. False when that process is no more."""
    if pid <= 1 or born == 0 or birth(pid) != born:
        return False
    try:
        os.kill(pid, MODES[mode])
    except ProcessLookupError:
        return False
    return True


def quit_orphans(data: str) -> None:
    """End what a killed server left behind: processes ``postgres`` of our account that work in ``data``.

    A busy backend may not notice for hours that its server died, and blocks the next start. Linux only.
    """
    if not has_proc():
        return
    place = os.stat(data)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):  # another account's, or just gone
            program = os.path.basename(os.readlink(f"/proc/{name}/exe"))
            if program == "postgres" and os.path.samestat(os.stat(f"/proc/{name}/cwd"), place):
                os.kill(int(name), signal.SIGQUIT)
