"""Look at processes from outside, and wait for conditions instead of sleeping. Linux only."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


def until(condition: Callable[[], _T], seconds: float = 20.0) -> _T:
    """Call ``condition`` until it answers something true, and return that; fail after ``seconds``."""
    begin = time.monotonic()
    while not (answer := condition()):
        now = time.monotonic()
        assert now < begin + seconds, f"not within {seconds} s: {condition}"
        time.sleep(min(0.05, 0.002 + (now - begin) / 10))
    return answer


def lives(pid: int) -> bool:
    """Whether the process ``pid`` runs; one that is dead and not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def kill(pid: int) -> None:
    """Kill the process ``pid`` (-9), if it lives, and return when it is dead: the signal alone takes a moment."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not lives(pid))


def parent(pid: int) -> int:
    """The parent of the process ``pid``; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0


def with_word(word: str) -> list[int]:
    """The living processes that have ``word`` in one of their command line's words."""
    found = []
    for pid in living():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if pid != os.getpid() and lives(pid) and any(word.encode() in one for one in words):
            found.append(pid)
    return found


def working_in(directory: Path) -> list[int]:
    """The living processes whose working directory is ``directory``."""
    found = []
    for pid in living():
        try:
            same = Path(f"/proc/{pid}/cwd").samefile(directory)
        except OSError:
            continue
        if same and lives(pid):
            found.append(pid)
    return found


def living() -> list[int]:
    """The process ids that are in use."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
