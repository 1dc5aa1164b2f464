"""Transactional files: statements, session check, fence check and history row of a file in one transaction.

Per file one round trip: the COMMIT of the file before travels in front of the next file's statements, with a sync of its
own between them. What that keeps: the client knows the id of a transaction, and has seen that the session still is what it
was, before it sends its COMMIT; only that one file can be in doubt, for the COMMIT of the next is not sent yet; and a COMMIT
that the server refuses takes the statements behind it along, which are rolled back.

A COMMIT that another file follows does not wait for the disk (nor for a synchronous standby): the warden flushes on the guard
connection meanwhile, and the log is flushed in order. Until then such a file is ``committed`` and not told as applied: a crash
of the server takes it back whole, history row and all, and the next round runs it again. The last COMMIT waits itself.
"""

import contextlib
from collections.abc import Iterator

import msgspec

from lockgate.errors import RunFailed
from lockgate.migrations.contract import Prepared
from lockgate.migrations.failure import cancelled, failed
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.progress import AppliedFile, Log
from lockgate.migrations.session import WorkSession, sets_something
from lockgate.migrations.spans import statement_spans, traced
from lockgate.postgres.alarm import Cause
from lockgate.postgres.script import Statement
from lockgate.postgres.sqlstate import RETRY, ServerError
from lockgate.postgres.warden import Warden, beat
from lockgate.postgres.wire import FLUSHED, Ahead, AheadRefused, Call, Cancelled, ConnectionLost
from lockgate.record.tracing import Past

COMMIT_GRACE = 60.0
"""Seconds that a COMMIT may take beyond the file's own limit before its wait is cancelled: a synchronous standby is slow."""
_COMMIT_SLOW = Cause("RUN_TIMEOUT", "COMMIT waited too long")
_BEGIN = Call("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
COMMIT = Call("COMMIT")
_STANDBY = "its COMMIT stopped waiting for a synchronous standby"


class InDoubt(ConnectionLost):
    """The connection was lost after COMMIT was sent. ``xid`` and ``revision`` are what to look for."""

    def __init__(self, message: str, prepared: Prepared, xid: str) -> None:
        super().__init__(message, details={"revision": prepared.revision, "xid": xid})
        self.prepared = prepared
        self.xid = xid


class Sealed(msgspec.Struct, frozen=True):
    """A file between its history row and its COMMIT: what is known of it, and which attempt it is."""

    prepared: Prepared
    xid: str
    duration_ms: int
    reset: bool
    attempt: int
    begun: float = 0.0
    spans: tuple[Past, ...] = ()


class _Refusal(Exception):
    """The server refused ``statement`` (None: the history row or the COMMIT) after ``elapsed`` seconds."""

    def __init__(self, error: ServerError, statement: Statement | None, elapsed: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.statement = statement
        self.elapsed = elapsed


def calls_of(session: WorkSession, prepared: Prepared, limits: Limits) -> Iterator[Call]:
    """What a file is to the server, but for its COMMIT. One by one, so that the server is at the COMMIT in front while we go on."""
    yield _BEGIN
    for setting in _settings(prepared, limits):
        yield Call(f"SET LOCAL {setting}")
    for statement in prepared.statements:
        yield Call(statement.text)
    yield session.record_call(prepared.migration, prepared.directives.phase)


def _settings(prepared: Prepared, limits: Limits) -> list[str]:
    """The limits of the file that are not those of the run."""
    lock, limit = limits.of_file(prepared.directives)
    own = [f"lock_timeout = '{lock.setting()}'"] if lock != limits.lock_timeout else []
    return own + ([f"statement_timeout = '{limit.setting()}'"] if limit != limits.statement_timeout else [])


class TransactionalRunner:
    """Applies transactional files one after another. ``settle`` has to be called before anything else uses the session."""

    def __init__(self, session: WorkSession, limits: Limits, run: Deadline, warden: Warden, log: Log) -> None:
        self.session = session
        self.limits = limits
        self.run = run
        self.warden = warden
        self.log = log
        self._open: Sealed | None = None
        self._since = 0.0

    def apply(self, prepared: Prepared) -> None:
        """Run one file up to its COMMIT, which goes out with the next file or by ``settle``.

        Retries lock time-outs, deadlocks and serialization failures: all were rolled back whole before. Raises
        ``RunFailed``, ``InDoubt`` (after a COMMIT was sent) or ``ConnectionLost`` (before: nothing was committed). Whatever
        it raises, the file before is settled.
        """
        self._seal(prepared, 1)

    def settle(self) -> None:
        """Commit the file that is open, if any, and tell the log. Raises as ``apply``."""
        while self._open is not None:
            sealed = self._open
            self.log.in_flight = sealed.prepared.revision
            try:
                note = self._commit(sealed)
            except _Refusal as refusal:
                self._refused(sealed, refusal)
                continue
            if note:
                self.log.mark(note)
            self._landed(sealed, note)  # first: it is committed, whatever becomes of the session now
            if sealed.reset:
                self.session.reset()

    def flush(self) -> None:
        """Bring what is committed to disk and tell it, when a failure keeps the next COMMIT from doing so. Raises nothing.

        The warden has stopped: its connection is free, and nobody else holds the row of the run.
        """
        guard = self.session.guard
        for wire in (guard.guard, guard.work):
            if self.log.committed and wire.alive:
                with contextlib.suppress(ConnectionLost, ServerError):
                    if wire.in_transaction:
                        wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
                    deadline = self.limits.clock() + COMMIT_GRACE
                    if beat(
                        wire, guard.identity.run_id, deadline=deadline, uncancellable=True, label="flush"
                    ):
                        self.log.harden(self.log.landed)

    def _seal(self, prepared: Prepared, attempt: int) -> None:
        while True:
            try:
                sealed = self._fill(prepared, attempt)
            except AheadRefused as ahead:
                assert self._open is not None
                if ahead.cause is not None:  # our own limit: to try again would wait as long again
                    self.session.rollback()
                    raise cancelled(self._open.prepared, ahead.cause, None, 0) from None
                self._refused(self._open, _Refusal(ahead.error, None))
                self.settle()
                continue
            except _Refusal as refusal:
                self._retry(prepared, refusal, attempt)
                attempt += 1
                continue
            except RunFailed:
                self.session.rollback()
                raise
            break
        self._open = sealed
        if sealed.reset:
            self.settle()

    def _refused(self, sealed: Sealed, refusal: _Refusal) -> None:
        """The COMMIT of ``sealed`` was refused, so it was rolled back: run it again if that can help, else raise."""
        self._open = None
        self.log.in_flight = sealed.prepared.revision
        self._retry(sealed.prepared, refusal, sealed.attempt)
        self._seal(sealed.prepared, sealed.attempt + 1)

    def _retry(self, prepared: Prepared, refusal: _Refusal, attempt: int) -> None:
        """Roll back and wait until the next attempt; raise when there is none."""
        self.session.rollback()
        limits = self.limits
        failure = failed(
            prepared,
            refusal.statement,
            refusal.error,
            self.warden.sighting,
            limit_ms=limits.of_file(prepared.directives)[1].milliseconds,
            elapsed=refusal.elapsed,
        )
        if (
            refusal.error.sqlstate not in RETRY
            or attempt > limits.lock_retries
            or limits.clock() >= self.run.at
        ):
            failure.details["attempts"] = attempt
            raise failure from None
        pause = limits.pause(attempt)
        self.log.tell(
            "retrying",
            f"attempt {attempt} of {limits.lock_retries + 1}: {failure.code}, again in {pause:.1f} s. {failure.message}",
        )
        self.session.guard.alarm.sleep(pause)

    def _landed(self, sealed: Sealed, note: str, *, flushed: bool = True) -> None:
        """``sealed`` is committed, and what is committed is on disk where ``flushed``."""
        m = sealed.prepared.migration
        self._open = None
        self.log.in_flight = ""
        file = AppliedFile(m.revision, m.name, "applied", sealed.duration_ms, sealed.attempt, note)
        self.log.commit(file, flushed=flushed)
        traced(sealed.prepared, sealed.begun, self.limits.clock(), sealed.spans)

    def _fill(self, prepared: Prepared, attempt: int) -> Sealed:
        limits, wire = self.limits, self.session.wire
        lock, limit = limits.of_file(prepared.directives)
        own = _settings(prepared, limits)
        ahead = self._ahead(prepared)
        deadline = self._begin(prepared, wire.ticket + 1) if ahead is None else self.run
        try:
            replies = wire.batch(
                calls_of(self.session, prepared, limits),
                deadline=deadline.at,
                cause=deadline.cause,
                label="file",
                ahead=ahead,
            )
        except ServerError as error:
            number = error.index - 1 - len(own)
            statement = prepared.statements[number] if 0 <= number < len(prepared.statements) else None
            spans = statement_spans(prepared, wire.marks, len(own), limits.clock(), error.sqlstate)
            traced(prepared, self._since, limits.clock(), spans, error.sqlstate)
            raise _Refusal(error, statement, limits.clock() - self._since) from None
        except Cancelled as stop:
            if not stop.sent:
                self.settle()  # what stops this file is no reason to lose the one that only lacks its COMMIT
            traced(prepared, self._since, limits.clock(), (), stop.cause.code)
            self.session.rollback()
            signal = self.session.guard.alarm.signal
            raise cancelled(prepared, stop.cause, self.warden.sighting, signal) from None
        except ConnectionLost as lost:
            if ahead is not None and not ahead.over and self._open is not None:
                raise InDoubt(lost.message, self._open.prepared, self._open.xid) from None
            raise
        finally:
            self.warden.end()
        if not wire.in_transaction:
            raise RunFailed(f"{prepared.migration.file} ended the transaction that it ran in", "SESSION_LEAK")
        if not replies[-1].rows:
            raise RunFailed(
                f"a newer run holds the fence; {prepared.migration.file} was rolled back", "FENCED"
            )
        row = replies[-1].rows[0]
        reset = self.session.judge_recorded(row, lock, limit)
        reset = reset or any(sets_something(s) for s in prepared.statements)
        spans = statement_spans(prepared, wire.marks, len(own), limits.clock())
        return Sealed(prepared, row[0] or "", int(row[2] or 0), reset, attempt, self._since, spans)

    def _begin(self, prepared: Prepared, ticket: int) -> Deadline:
        """The server turns to ``prepared`` now: its clock starts, and the warden looks after it."""
        self.log.in_flight = prepared.revision
        self.warden.begin(ticket)
        self._since = self.limits.clock()
        limit = self.limits.file_timeout
        cause = Cause("FILE_TIMEOUT", f"ran longer than migrations.file_timeout ({limit})")
        return Deadline.earlier(Deadline(self.limits.clock() + limit.seconds, cause), self.run)

    def _ahead(self, behind: Prepared) -> Ahead | None:
        """The COMMIT of the open file, to go in front of the statements of ``behind``."""
        sealed = self._open
        if sealed is None:
            return None

        def landed(refused: ServerError | None, flushed: bool) -> tuple[float, Cause]:
            if refused is None:
                self._landed(sealed, "", flushed=flushed)
            deadline = self._begin(behind, self.session.wire.ticket)
            return deadline.at, deadline.cause

        self.log.in_flight = sealed.prepared.revision
        return Ahead([COMMIT], landed, deadline=self._patience(), cause=_COMMIT_SLOW, label="commit")

    def _patience(self) -> float:
        return max(self.run.at, self.limits.clock()) + COMMIT_GRACE

    def _commit(self, sealed: Sealed) -> str:
        try:
            self.session.wire.batch(
                [FLUSHED, COMMIT],
                deadline=self._patience(),
                cause=_COMMIT_SLOW,
                uncancellable=True,
                label="commit",
            )
        except ServerError as error:
            raise _Refusal(error, None) from None
        except Cancelled as stop:
            if stop.error is not None:
                self.session.rollback()
                raise cancelled(sealed.prepared, stop.cause, None, self.session.guard.alarm.signal) from None
            return _STANDBY
        except ConnectionLost as lost:
            raise InDoubt(lost.message, sealed.prepared, sealed.xid) from None
        return ""
