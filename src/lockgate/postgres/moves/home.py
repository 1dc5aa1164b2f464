"""The schema ``lockgate`` in a database that takes part in a move, made where it is missing, under the migration guard's lock."""

import time
from collections.abc import Callable

from lockgate.errors import Busy
from lockgate.postgres import home
from lockgate.postgres.guard import GUARD_KEY
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire


def ensure(target: Target, grants: Callable[[], str] | None = None, *, wait: float = 60.0) -> None:
    """Bring the schema ``lockgate`` of ``target`` to the newest format. Raises ``Busy`` when a migration runs for longer than ``wait`` seconds."""
    wire = Wire(target, "move home")
    try:
        if home.read_format(wire) >= home.FORMAT:
            return
        deadline = time.monotonic() + wait
        while wire.value(f"SELECT pg_catalog.pg_try_advisory_lock({GUARD_KEY})") != "t":
            if time.monotonic() >= deadline:
                raise Busy("a migration holds the lock of this database", "LOCK_BUSY")
            time.sleep(0.1)
        home.bring_up(wire, grants)
    finally:
        wire.close()
