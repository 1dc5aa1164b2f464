"""After a lost connection: what became of the file that was under way, and is this still the same server."""

from lockgate.errors import RunFailed, Unreachable
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import AppliedFile, Log
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.outcome import Outcome, outcome_of
from lockgate.postgres.settings import Facts
from lockgate.postgres.target import Target
from lockgate.postgres.warden import beat
from lockgate.postgres.wire import ConnectionLost, Wire

_TOLD = {
    Outcome.ELSEWHERE: "another server or timeline answers now: there was a failover",
    Outcome.UNREACHABLE: "the server cannot be reached",
    Outcome.IN_PROGRESS: "the old session is still busy with it",
    Outcome.UNKNOWN: "the server does not know the transaction any more",
}


def settle_in_doubt(
    lost: ConnectionLost, facts: Facts | None, target: Target, limits: Limits, alarm: Alarm, log: Log
) -> None:
    """Look up a COMMIT whose answer was lost and tell ``log`` what became of it.

    ``facts`` are those of the lost session. Returns when the file is known to be applied or rolled back, or when no
    COMMIT was under way (then it was rolled back). Raises ``RunFailed`` with ``IN_DOUBT`` when nobody can tell.
    """
    from lockgate.migrations.transactional import InDoubt

    if not isinstance(lost, InDoubt) or facts is None:
        return
    m = lost.prepared.migration
    outcome = outcome_of(
        target, facts, lost.xid, m.revision, alarm=alarm, seconds=limits.reconnect_seconds, clock=limits.clock
    )
    if outcome is Outcome.COMMITTED:
        log.in_flight = ""
        log.committed.append(AppliedFile(m.revision, m.name, "applied", 0, note="COMMITTED_AFTER_DISCONNECT"))
        return
    if outcome is Outcome.ABORTED:
        log.tell("rolled back", f"{m.file}: its COMMIT did not reach the server; it runs again")
        return
    raise RunFailed(
        f"{m.file}: the answer to COMMIT was lost, and {_TOLD[outcome]}",
        "IN_DOUBT",
        details={"revision": m.revision, "xid": lost.xid, "outcome": str(outcome)},
    )


def settle_committed(wire: Wire, run_id: str, log: Log) -> None:
    """Tell what became of the files that were committed when the connection was lost, and not known to be on disk.

    A commit that waits for the disk goes first: what the history shows after it is there to stay. A file that a crash took back
    is told as rolled back; the next round runs it again.
    """
    if not log.committed:
        return
    if not beat(wire, run_id):
        return
    rows = wire.one("SELECT revision_id FROM lockgate.migration_history WHERE run_id = $1", run_id).rows
    there = {row[0] for row in rows}
    while log.committed:
        file = log.committed.pop(0)
        if file.revision in there:
            log.done(file)
        else:
            log.tell(
                "rolled back",
                f"{file.revision}_{file.name}: the server was lost before its COMMIT was on disk",
            )


def refuse_failover(before: Facts, now: Facts) -> None:
    """Raise when another server, timeline or database answers than the one this run began on."""
    if _identity(now) != _identity(before):
        raise RunFailed(
            "another server or timeline answers than the one this run began on: there was a failover",
            "CONNECTION_LOST",
            next="lockgate plan against the new primary, then lockgate up",
        )


def _identity(facts: Facts) -> tuple[str, str, str]:
    return facts.system_identifier, facts.timeline, facts.database_oid


def wait_for_server(target: Target, limits: Limits, alarm: Alarm) -> None:
    """Wait, with backoff and for ``reconnect_seconds``, until the server takes connections. Raises ``RunFailed``."""
    deadline, pause = limits.clock() + limits.reconnect_seconds, 0.1
    while True:
        try:
            Wire(target, "reconnect", clock=limits.clock).close()
        except Unreachable as error:
            if limits.clock() >= deadline or alarm.signal:
                raise RunFailed(
                    f"the connection was lost and the server did not come back: {error.message}",
                    "CONNECTION_LOST",
                ) from None
        else:
            return
        alarm.sleep(pause)
        pause = min(pause * 2, 2.0)
