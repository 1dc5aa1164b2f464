"""What a rollout looks like from the database: heartbeats of the new release, and those of the old ones ending."""

from collections.abc import Callable

from lockgate.errors import RunFailed
from lockgate.postgres.wire import Wire
from lockgate.record.words import agree, counted
from lockgate.release.budget import Budget
from lockgate.release.smoke_judge import release_matches

_LIVE = """
SELECT service, instance_id, release_id FROM lockgate.instance
 WHERE heartbeat_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => ttl_seconds::double precision) ORDER BY 1, 2
"""


def wait_for_rollout(connect: Callable[[], Wire], sha: str, budget: Budget, drain: float) -> str:
    """Wait until instances of ``sha`` live and, within ``drain`` seconds more, no others do. Raises ``ROLLOUT_FAILED``."""
    seen_at = None
    while True:
        wire = connect()
        try:
            rows = wire.one(_LIVE).rows
        finally:
            wire.close()
        new = [r for r in rows if release_matches(r[2] or "", sha)]
        old = [r for r in rows if not release_matches(r[2] or "", sha)]
        if new and seen_at is None:
            seen_at = budget.clock()
        if new and not old:
            return f"{counted(len(new), 'instance')} of the new release live, none of another"
        waited = seen_at is not None and budget.clock() - seen_at >= drain
        if budget.left <= 0 or waited:
            who = ", ".join(f"{r[0]} {r[1]} ({r[2] or 'unknown'})" for r in old[:5])
            told = (
                f"{counted(len(old), 'old instance')} still {agree(len(old), 'lives', 'live')}: {who}"
                if new
                else "no instance of the new release showed up"
            )
            raise RunFailed(told, "ROLLOUT_FAILED")
        budget.hear()
        (budget.alarm.sleep if budget.alarm is not None else budget.sleep)(min(0.5, max(0.01, budget.left)))
