"""Reading all regions at once: threads, because each mostly waits for its server."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lockgate.gate.parity import Parity, compare
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
