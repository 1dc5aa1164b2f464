"""How hard the server is pressed now, in numbers; what cannot be read is None, and None pauses the backfill."""

from typing import NamedTuple

from lockgate.postgres.link import Link
from lockgate.postgres.sqlstate import ServerError

_SQL = """
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend') * 100.0 / current_setting('max_connections')::int,
       (SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT granted),
       (SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'),
       (SELECT max(COALESCE(EXTRACT(epoch FROM replay_lag), 0)) FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'),
       (SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE state IS NULL)
"""


class Pressure(NamedTuple):
    """``replica_lag`` in seconds: None when replicas are there and their lag cannot be read, 0.0 when there are none."""

    connections_percent: float | None
    lock_waiters: int | None
    replica_lag: float | None


def read(link: Link) -> Pressure:
    """Ask the server."""
    try:
        connections, waiters, replicas, lag, hidden = link.rows(_SQL)[0]
    except ServerError:
        return Pressure(None, None, None)
    seen = float(lag or 0) if replicas else 0.0
    return Pressure(float(connections), int(waiters), None if hidden else seen)


def verdict(pressure: Pressure, *, connections: int, waiters: int, lag: int) -> str:
    """Why the backfill has to wait; empty when it may go on. Pure. What cannot be read makes it wait."""
    for name, value, limit in (
        ("connections in percent", pressure.connections_percent, connections),
        ("sessions that wait for locks", pressure.lock_waiters, waiters),
        ("replica lag in seconds", pressure.replica_lag, lag),
    ):
        if value is None:
            return f"{name} cannot be read"
        if value > limit:
            return f"{name}: {value:.0f} is above {limit}"
    return ""
