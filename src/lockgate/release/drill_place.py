"""Where a drill takes place: a home for one throw-away server, which is gone with the drill.

It holds a copy of production. A drill that is killed cannot remove it, so the next one does; until then its server
stops by itself, as nobody uses it.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lockgate.errors import LockgateError
from lockgate.postgres.embedded import locks
from lockgate.postgres.embedded.discard import discard

_PREFIX = "drill-"
_STARTS = 10.0
"""Seconds within which a drill has locked the folder that it made."""


@contextmanager
def drill_place(scratch: Path) -> Iterator[Path]:
    """A home in ``scratch`` for as long as the drill lasts. What killed drills left there is removed first."""
    scratch.mkdir(parents=True, exist_ok=True)
    sweep(scratch)
    place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=scratch))
    lock = locks.open_lock(f"{place}/lock")
    try:
        locks.acquire(lock, 0.0)
        place.chmod(0o755)  # the server's own account has to enter it when we are root
        yield place / "server"
    finally:
        _remove(place)
        os.close(lock)


def sweep(scratch: Path) -> None:
    """Remove the places of drills that were killed; that of a living one stays."""
    for place in scratch.glob(_PREFIX + "*"):
        with suppress(OSError):
            young = time.time() - place.stat().st_mtime < _STARTS and not (place / "lock").exists()
            if not place.is_symlink() and not young and not locks.is_held(f"{place}/lock"):
                _remove(place)


def _remove(place: Path) -> None:
    # What does not end now is for the next drill: the outcome of this one is worth more.
    with suppress(OSError, LockgateError):
        if discard(place / "server"):
            shutil.rmtree(place, ignore_errors=True)
