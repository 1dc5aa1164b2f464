"""Heavy reads of a move from a standby of the source, each only once the standby is past the point that the read needs."""

import time
from collections.abc import Callable
from typing import NamedTuple

from lockgate.errors import LockgateError, Refused
from lockgate.postgres.link import Link
from lockgate.postgres.quoting import identifier
from lockgate.postgres.relation import ServerFacts, server_facts
from lockgate.postgres.target import Target

POLL_SECONDS = 0.02

_PRIMARY = """
SELECT pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_catalog.pg_lsn,
       ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()), 8))::bit(32)::bigint
"""
# The control file of a standby learns of another timeline only with its next restartpoint; its receiver knows it at once.
_STANDBY = """
SELECT COALESCE(pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_catalog.pg_lsn, 0), pg_catalog.pg_is_in_recovery(),
       pg_catalog.pg_is_in_recovery() AND pg_catalog.pg_is_wal_replay_paused(),
       (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()), r.received_tli, r.pid IS NOT NULL
  FROM (VALUES (1)) one LEFT JOIN pg_catalog.pg_stat_wal_receiver r ON true
"""


class Seen(NamedTuple):
    """A standby at one moment. ``received`` is the timeline that its receiver writes: None without one, and where the role may not see it."""

    replayed: int
    in_recovery: bool
    paused: bool
    checkpointed: int
    received: int | None
    receiving: bool

    @property
    def hidden(self) -> bool:
        """True when there is a receiver and the role may not see what it receives: waiting does not help."""
        return self.receiving and self.received is None


def astray(timeline: int, seen: Seen) -> str:
    """Why the log that the standby replays is not known to be that of a primary on ``timeline``; empty when it is. Pure.

    A place in the log says nothing across timelines: a standby that went on with an old primary after another was promoted
    is past any place of the new one, holds what was lost there and lacks what was written since.
    """
    if not seen.in_recovery:
        return "it was promoted: it takes writes itself"
    if seen.hidden:
        return "the role may not see which timeline it receives"
    # A standby that has lost its primary, or that is fed from an archive, has no receiver to ask.
    standby = seen.checkpointed if seen.received is None else seen.received
    return f"it is on timeline {standby}, the primary on {timeline}" if standby != timeline else ""


def unfit(primary: ServerFacts, replica: ServerFacts) -> str:
    """Why a server is no standby of the primary's database; empty when it is. Pure."""
    if not replica.in_recovery:
        return "it takes writes itself, so it is no standby"
    if replica.system_identifier != primary.system_identifier:
        return "it is a standby of another server"
    if replica.database_oid != primary.database_oid:
        return "it leads to another database of the server"
    return ""


class Replica:
    """One session of a standby of ``primary``. Raises ``Refused`` (``MOVE_REPLICA``) when the server is none, and what ``Link`` raises."""

    def __init__(
        self, target: Target, primary: Link, name: str, wait_seconds: float, *,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.target = target
        self._primary, self._wait = primary, wait_seconds
        self._clock, self._sleep = clock, sleep
        self.link = Link(target, name)
        try:
            next_ = "Point replica_env at a streaming standby of the source, or take it out."
            reason = unfit(server_facts(primary), server_facts(self.link))
            if not reason and Seen(*self.link.rows(_STANDBY)[0]).hidden:
                reason, next_ = "the role may not see which timeline it receives", self._grant()
            if reason:
                raise Refused(f"{target} cannot be read in place of {primary.target}: {reason}", "MOVE_REPLICA", next=next_)  # fmt: skip
        except BaseException:
            self.link.close()
            raise

    def past(self) -> Link:
        """Wait until the standby, on the primary's timeline, shows everything that the primary had on disk when this was called; the session to read by.

        What the relay has brought over was committed, and flushed by the relay's own commit, before: so a snapshot taken
        now holds it. Raises ``LockgateError`` (``MOVE_REPLICA``) when it takes longer than the limit, also for a standby
        that does not come to the primary's timeline within it: one that follows a promotion is a moment late.
        """
        needed, timeline = map(int, self._primary.rows(_PRIMARY)[0])
        deadline = self._clock() + self._wait
        while True:
            seen = Seen(*self.link.rows(_STANDBY)[0])
            strayed, behind = astray(timeline, seen), needed - int(seen.replayed)
            if behind <= 0 and not strayed:
                return self.link
            if self._clock() >= deadline or seen.hidden or not seen.in_recovery:
                raise self._strayed(strayed, timeline, seen) if strayed else self._late(behind, seen.paused)
            self._sleep(POLL_SECONDS)

    def _late(self, behind: int, paused: bool) -> LockgateError:
        why = ": its replay is paused" if paused else ""
        return LockgateError(
            f"the replica {self.target} is {max(1, behind >> 10)} kB behind what has to be read, after {self._wait:g} s{why}", "MOVE_REPLICA",
            details={"behindBytes": behind, "replayPaused": paused},
        )  # fmt: skip

    def _strayed(self, reason: str, timeline: int, seen: Seen) -> LockgateError:
        seen_timeline = seen.checkpointed if seen.received is None else seen.received
        return LockgateError(
            f"the replica {self.target} cannot be read in place of {self._primary.target}: {reason}", "MOVE_REPLICA",
            next=self._grant() if seen.hidden else "Point replica_env at a standby that follows this primary, let it follow this one, or take replica_env out.",
            details={"timeline": timeline} if seen.hidden else {"timeline": timeline, "replicaTimeline": seen_timeline},
        )  # fmt: skip

    def _grant(self) -> str:
        role = identifier(self.link.value("SELECT session_user"))
        return f"On the primary: GRANT pg_read_all_stats TO {role}; or take replica_env out."

    def close(self) -> None:
        """Let go of the session."""
        self.link.close()
