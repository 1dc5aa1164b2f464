"""Heavy reads of a move from a standby of the source, each only once the standby is past the point that the read needs."""

import time
from collections.abc import Callable

from lockgate.errors import LockgateError, Refused
from lockgate.postgres.link import Link
from lockgate.postgres.relation import ServerFacts, server_facts
from lockgate.postgres.target import Target

POLL_SECONDS = 0.02


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
            reason = unfit(server_facts(primary), server_facts(self.link))
        except BaseException:
            self.link.close()
            raise
        if reason:
            self.link.close()
            raise Refused(f"{target} cannot be read in place of {primary.target}: {reason}", "MOVE_REPLICA", next="Point replica_env at a streaming standby of the source, or take it out.")  # fmt: skip

    def past(self) -> Link:
        """Wait until the standby shows everything that the primary had on disk when this was called; the session to read by.

        What the relay has brought over was committed, and flushed by the relay's own commit, before: so a snapshot taken
        now holds it. Raises ``LockgateError`` (``MOVE_REPLICA``) when it takes longer than the limit.
        """
        needed = int(self._primary.value("SELECT pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_catalog.pg_lsn"))  # fmt: skip
        deadline = self._clock() + self._wait
        while True:
            seen, paused = self.link.rows("SELECT COALESCE(pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_catalog.pg_lsn, 0), pg_catalog.pg_is_in_recovery() AND pg_catalog.pg_is_wal_replay_paused()")[0]  # fmt: skip
            behind = needed - int(seen)
            if behind <= 0:
                return self.link
            if self._clock() >= deadline:
                why = ": its replay is paused" if paused else ""
                raise LockgateError(
                    f"the replica {self.target} is {max(1, behind >> 10)} kB behind what has to be read, after {self._wait:g} s{why}", "MOVE_REPLICA",
                    details={"behindBytes": behind, "replayPaused": bool(paused)},
                )  # fmt: skip
            self._sleep(POLL_SECONDS)

    def close(self) -> None:
        """Let go of the session."""
        self.link.close()
