"""The end of a home for good: its servers stopped, its data deleted wherever that lies."""

import os
import shutil
from pathlib import Path

from lockgate.postgres.embedded import locks
from lockgate.postgres.embedded.face import Embedded
from lockgate.postgres.embedded.look import versions
from lockgate.postgres.embedded.place import identify, is_private, locate, read_json

LOCK_SECONDS = 10.0


def discard(home: Path) -> bool:
    """Stop every server of ``home`` at once and delete it with all data; a home that is not there is no error.

    False, and what is left stays, where one is being started: its keeper stops it when nobody uses it. Raises
    LockgateError (``EMBEDDED``) for a server that does not end.
    """
    real = os.path.realpath(home)
    for version in versions(real):
        place = locate(real, version)
        lock = locks.open_lock(place.lock)
        try:
            if not locks.acquire(lock, LOCK_SECONDS):
                return False
            if server := Embedded.find(home, version):
                server.stop("immediate")
            # A base elsewhere goes only when it says itself that it is this home's.
            if is_private(place.base) and identify(real).is_same(read_json(place.record)):
                shutil.rmtree(place.base, ignore_errors=True)
        finally:
            os.close(lock)
    shutil.rmtree(real, ignore_errors=True)
    return True
