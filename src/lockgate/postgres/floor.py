"""Announcing the floor that a contract-phase file is about to raise, so that no new instance starts below it."""

from lockgate.postgres.gate import FLOOR_KEY
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Cancelled, Wire

_ANNOUNCE = """
INSERT INTO lockgate.floor_announcement AS a (floor, run_id) VALUES ($1, $2)
ON CONFLICT (singleton) DO UPDATE SET floor = excluded.floor, run_id = excluded.run_id, announced_at = pg_catalog.clock_timestamp()
"""
_FORGET = "DELETE FROM lockgate.instance WHERE heartbeat_at < pg_catalog.clock_timestamp() - interval '1 day'"
_AWAY = """
SELECT COALESCE(max(i.ttl_seconds), 0)::text FROM lockgate.instance i
 WHERE i.schema_max < $1 AND i.heartbeat_at <= pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => i.ttl_seconds::double precision)
   AND i.heartbeat_at > pg_catalog.clock_timestamp() - interval '1 hour'
"""


def announce(wire: Wire, floor: str, run_id: str) -> float:
    """Announce ``floor`` for the run ``run_id`` and commit it; the seconds that instances need to have read it.

    Heartbeats and the announcement exclude each other: who registers before it is seen by a look after it, who comes after
    it reads it. Seconds are above 0 only where an instance below the floor has lost the database within the last hour: it
    counts as new when it comes back, but may serve until it asks again. The announcement is void when the run has ended.
    Raises ``ServerError``, ``Cancelled``, ``ConnectionLost``.
    """
    calls = [
        Call("BEGIN"),
        Call("SELECT pg_catalog.pg_advisory_xact_lock($1::bigint)", (str(FLOOR_KEY),)),
        Call(_ANNOUNCE, (floor, run_id)),
        Call(_FORGET),
        Call(_AWAY, (floor,)),
        Call("COMMIT"),
    ]
    try:
        replies = wire.batch(calls, label="announce")
    except (ServerError, Cancelled):
        if wire.alive:
            wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
        raise
    # Four heartbeats make the time for which one counts; one of them, and its jitter, is the wait.
    return int(replies[4].rows[0][0] or 0) * 0.3
