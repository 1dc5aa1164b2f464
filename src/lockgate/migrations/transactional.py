"""One transactional file: its statements, the session check, the fence check and the history row in one transaction.

Two round trips: everything up to the history row, then COMMIT. Between them the client knows the transaction's id, so
that a lost acknowledgement can be looked up, and has seen that the session still is what it was.
"""

import msgspec

from lockgate.errors import RunFailed
from lockgate.migrations.contract import Prepared
from lockgate.migrations.failure import cancelled, failed
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.progress import AppliedFile, Log
from lockgate.migrations.session import WorkSession, sets_something
from lockgate.postgres.alarm import Cause
from lockgate.postgres.script import Statement
from lockgate.postgres.sqlstate import RETRY, ServerError
from lockgate.postgres.warden import Warden
from lockgate.postgres.wire import Call, Cancelled, ConnectionLost

COMMIT_GRACE = 60.0
"""Seconds that a COMMIT may take beyond the file's own limit before its wait is cancelled: a synchronous standby is slow."""


class InDoubt(ConnectionLost):
    """The connection was lost after COMMIT was sent. ``xid`` and ``revision`` are what to look for."""

    def __init__(self, message: str, prepared: Prepared, xid: str) -> None:
        super().__init__(message, details={"revision": prepared.revision, "xid": xid})
        self.prepared = prepared
        self.xid = xid


class Sealed(msgspec.Struct, frozen=True):
    """What is known between the last statement and COMMIT."""

    xid: str
    duration_ms: int
    reset: bool


class _Refusal(Exception):
    """The server refused ``statement`` (None: the history row or the COMMIT) after ``elapsed`` seconds."""

    def __init__(self, error: ServerError, statement: Statement | None, elapsed: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.statement = statement
        self.elapsed = elapsed


def apply_transactional(
    session: WorkSession,
    prepared: Prepared,
    limits: Limits,
    run: Deadline,
    warden: Warden,
    log: Log,
    *,
    schema_digest: str | None = None,
) -> AppliedFile:
    """Apply one file, retrying lock time-outs, deadlocks and serialization failures: all rolled back whole before.

    Raises ``RunFailed``, ``InDoubt`` (after COMMIT was sent) or ``ConnectionLost`` (before: nothing was committed).
    """
    attempt = 1
    while True:
        try:
            sealed = _fill(session, prepared, limits, run, warden)
            note = _commit(session, prepared, sealed, limits, run)
        except _Refusal as refusal:
            session.rollback()
            limit = limits.of_file(prepared.directives)[1].milliseconds
            failure = failed(
                prepared,
                refusal.statement,
                refusal.error,
                warden.sighting,
                limit_ms=limit,
                elapsed=refusal.elapsed,
            )
            if (
                refusal.error.sqlstate not in RETRY
                or attempt > limits.lock_retries
                or limits.clock() >= run.at
            ):
                failure.details["attempts"] = attempt
                raise failure from None
            pause = limits.pause(attempt)
            log.tell(
                "retrying",
                f"attempt {attempt} of {limits.lock_retries + 1}: {failure.code}, again in {pause:.1f} s. {failure.message}",
            )
            session.guard.alarm.sleep(pause)
            attempt += 1
        except RunFailed:
            session.rollback()
            raise
        else:
            if sealed.reset:
                session.reset()
            m = prepared.migration
            return AppliedFile(m.revision, m.name, "applied", sealed.duration_ms, attempt, note)


def _fill(session: WorkSession, prepared: Prepared, limits: Limits, run: Deadline, warden: Warden) -> Sealed:
    lock, limit = limits.of_file(prepared.directives)
    calls = [Call("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")]
    if lock != limits.lock_timeout:
        calls.append(Call(f"SET LOCAL lock_timeout = '{lock.setting()}'"))
    if limit != limits.statement_timeout:
        calls.append(Call(f"SET LOCAL statement_timeout = '{limit.setting()}'"))
    first = len(calls)
    calls += [Call(s.text) for s in prepared.statements]
    calls.append(session.record_call(prepared.migration, prepared.directives.phase))
    file = Deadline(
        limits.clock() + limits.file_timeout.seconds,
        Cause("FILE_TIMEOUT", f"ran longer than migrations.file_timeout ({limits.file_timeout})"),
    )
    deadline = Deadline.earlier(file, run)
    started = limits.clock()
    warden.begin(session.wire.ticket + 1)
    try:
        replies = session.wire.batch(calls, deadline=deadline.at, cause=deadline.cause, label="file")
    except ServerError as error:
        number = error.index - first
        statement = prepared.statements[number] if 0 <= number < len(prepared.statements) else None
        raise _Refusal(error, statement, limits.clock() - started) from None
    except Cancelled as stop:
        session.rollback()
        raise cancelled(prepared, stop.cause, warden.sighting, session.guard.alarm.signal) from None
    finally:
        warden.end()
    if not session.wire.in_transaction:
        raise RunFailed(f"{prepared.migration.file} ended the transaction that it ran in", "SESSION_LEAK")
    if not replies[-1].rows:
        raise RunFailed(f"a newer run holds the fence; {prepared.migration.file} was rolled back", "FENCED")
    row = replies[-1].rows[0]
    reset = session.judge_recorded(row, lock, limit) or any(sets_something(s) for s in prepared.statements)
    return Sealed(row[0] or "", int(row[2] or 0), reset)


def _commit(session: WorkSession, prepared: Prepared, sealed: Sealed, limits: Limits, run: Deadline) -> str:
    until = max(run.at, limits.clock()) + COMMIT_GRACE
    try:
        session.wire.batch(
            [Call("COMMIT")],
            deadline=until,
            cause=Cause("RUN_TIMEOUT", "COMMIT waited too long"),
            uncancellable=True,
            label="commit",
        )
    except ServerError as error:
        raise _Refusal(error, None) from None
    except Cancelled as stop:
        if stop.error is not None:
            raise _Refusal(stop.error, None) from None
        return "its COMMIT stopped waiting for a synchronous standby"
    except ConnectionLost as lost:
        raise InDoubt(lost.message, prepared, sealed.xid) from None
    return ""
