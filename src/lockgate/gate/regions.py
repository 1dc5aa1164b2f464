"""Reading all regions at once: threads, because each mostly waits for its server."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lockgate.gate.parity import Parity, compare, twins
from lockgate.postgres.identity import identity_of
from lockgate.postgres.parity import Sight, read_region
from lockgate.record.redact import redact

if TYPE_CHECKING:
    from lockgate.postgres.target import Target

AT_ONCE = 16
"""Regions that are read at the same time."""


def parity(targets: "Mapping[str, Target]", *, timeout: float = 10.0) -> Parity:
    """Read every region and compare them. Never raises for what a database does; ``timeout`` in seconds is per connection."""

    def read(target: "Target") -> Sight:
        try:
            return read_region(target, timeout=timeout)
        except Exception as error:
            return Sight("doubt", redact(f"the check itself failed: {type(error).__name__}: {error}"))

    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(targets))), "lockgate-parity") as pool:
        return compare(dict(zip(targets, pool.map(read, targets.values()), strict=True)))


def one_database(targets: "Mapping[str, Target]", *, timeout: float = 10.0) -> dict[str, str]:
    """Each name that leads to the database of an earlier one, and that one. What cannot be reached is nobody's twin."""
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(targets))), "lockgate-identity") as pool:
        found = pool.map(lambda target: identity_of(target, timeout=timeout), targets.values())
        return twins(dict(zip(targets, found, strict=True)))
