"""How full a server is: connections in use, and the oldest open transaction."""

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.wire import Wire


class Pressure(msgspec.Struct, frozen=True, rename="camel"):
    """``most`` connections the server takes from ordinary roles, ``used`` now; the oldest open transaction in seconds, and whose."""

    most: int
    used: int
    oldest_seconds: float
    oldest: str

    @property
    def free(self) -> int:
        """Connections that are left."""
        return self.most - self.used


def read_pressure(wire: Wire) -> Pressure:
    """Read it from the server's own views."""
    row = [c or "" for c in wire.one(query("pressure")).rows[0]]
    return Pressure(int(row[0]) - int(row[1]), int(row[2]), float(row[3] or 0), row[4])
