"""Whether a migration runs in a database, whoever started it: the locks say so, also of a runner whose release is dead."""

from collections.abc import Callable

from lockgate.postgres.guard import GUARD_KEY, WORK_KEY, Guard
from lockgate.postgres.wire import Wire

PATIENCE = 5.0
"""Seconds for the server to free the locks of a runner that has just ended."""


def migration_under_way(wire: Wire) -> str:
    """Who holds the locks of a run now, in words; "" when nobody does. The work session's counts alone: it outlives its runner."""
    for key in (WORK_KEY, GUARD_KEY):
        holder = Guard.holder(wire, key)
        if holder:
            return f"server process {holder['pid']} ({holder['application'] or 'unnamed'}), {holder['user'] or 'another role'} from {holder['address']}, connected for {holder['age'] or '?'} s"
    return ""


def wait_for_migration(
    wire: Wire,
    patience: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    tell: Callable[[str], None] = lambda _: None,
) -> str:
    """Wait until no migration runs, at most ``patience`` seconds; who runs one still, else ""."""
    deadline, told = clock() + patience, False
    while (holder := migration_under_way(wire)) and clock() < deadline:
        if not told:
            told = True
            tell(holder)
        sleep(min(0.2, max(0.0, deadline - clock())))
    return holder
