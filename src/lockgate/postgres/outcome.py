"""Was it committed? The acknowledgement of a COMMIT can be lost; the answer is in the server."""

import time
from collections.abc import Callable
from enum import StrEnum

from lockgate.errors import LockgateError
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.settings import FACTS, Facts, read_facts
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import ConnectionLost, Wire


class Outcome(StrEnum):
    """What became of a transaction whose end we did not see."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    IN_PROGRESS = "in progress"
    UNKNOWN = "unknown"
    """The server does not know any more (too old), or is another one than before, and the history has no row."""
    ELSEWHERE = "elsewhere"
    """Another server or another timeline answers: there was a failover."""
    UNREACHABLE = "unreachable"


def outcome_of(
    target: Target,
    facts: Facts,
    xid: str,
    revision: str,
    *,
    alarm: Alarm,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Look up what became of transaction ``xid`` that was to record ``revision``.

    ``facts`` are those of the session that was lost. Reconnects with backoff for ``seconds``. The history row is the
    final word where the server's own memory of the transaction is gone; without a row, and without that memory, nobody
    can tell.
    """
    deadline, pause = clock() + seconds, 0.1
    last = Outcome.UNREACHABLE
    while True:
        try:
            wire = Wire(target, "outcome", clock=clock, connect_timeout=5)
            try:
                last = _look(wire, facts, xid, revision, clock)
            finally:
                wire.close()
        except (LockgateError, ServerError, ConnectionLost):
            last = Outcome.UNREACHABLE
        if last not in (Outcome.IN_PROGRESS, Outcome.UNREACHABLE) or clock() >= deadline or alarm.signal:
            return last
        alarm.sleep(min(pause, max(0.0, deadline - clock())))
        pause = min(pause * 2, 2.0)


def _look(wire: Wire, facts: Facts, xid: str, revision: str, clock: Callable[[], float]) -> Outcome:
    now = read_facts(wire.one(FACTS, deadline=clock() + 10))
    if (
        now.system_identifier != facts.system_identifier
        or now.timeline != facts.timeline
        or now.database_oid != facts.database_oid
    ):
        return Outcome.ELSEWHERE
    if now.in_recovery:
        return (
            Outcome.UNREACHABLE
        )  # a standby may lag: what it has not heard of may be committed all the same
    status: str | None
    try:
        status = wire.value("SELECT pg_catalog.pg_xact_status($1::xid8)", xid, deadline=clock() + 10)
    except ServerError as error:
        if error.sqlstate != "22023":
            raise
        # "transaction ID is in the future": a crash lost even the assignment, so it cannot have been committed.
        status = "aborted"
    # Asked after the status: what is committed by then is seen. The row was written by that very transaction, so a commit
    # without it is somebody else's: ours was taken back by a crash that lost even the number, which was given out again.
    if now.home and wire.value(
        "SELECT 1 FROM lockgate.migration_history WHERE revision_id = $1 AND xid = $2",
        revision,
        xid,
        deadline=clock() + 10,
    ):
        return Outcome.COMMITTED
    return {
        "committed": Outcome.ABORTED,
        "aborted": Outcome.ABORTED,
        "in progress": Outcome.IN_PROGRESS,
    }.get(status or "", Outcome.UNKNOWN)
