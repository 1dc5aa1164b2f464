"""A non-transactional file: its statements one by one, each journalled, resumed at the right one.

A statement that no transaction can hold gets an intent row that is committed first; what it left is examined before it
runs (again). Every other statement runs in a transaction of its own together with its journal row.
"""

import hashlib

import msgspec

from lockgate.errors import RunFailed
from lockgate.migrations import transactional
from lockgate.migrations.contract import Prepared
from lockgate.migrations.failure import cancelled, failed
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.progress import AppliedFile, Log
from lockgate.migrations.session import WorkSession, sets_something, statement
from lockgate.migrations.spans import statement_span
from lockgate.migrations.transactional import InDoubt
from lockgate.postgres import concurrent
from lockgate.postgres.alarm import Cause
from lockgate.postgres.concurrent import State
from lockgate.postgres.script import ScriptError, Statement, split
from lockgate.postgres.sqlstate import RETRY, ServerError
from lockgate.postgres.warden import Warden
from lockgate.postgres.wire import FLUSHED, Call, Cancelled, ConnectionLost, Wire
from lockgate.record.words import counted


class StepRow(msgspec.Struct, frozen=True, rename="camel"):
    """One row of the journal."""

    number: int
    statement_hash: str
    statement: str
    kind: str
    state: str
    attempts: int
    started_at: str


_READ = "SELECT number::text, statement_hash, statement, kind, state, attempts::text, started_at::text FROM lockgate.migration_step WHERE revision_id = $1 ORDER BY migration_step.number"


def read_steps(wire: Wire, revision: str) -> list[StepRow]:
    """The journal of one file, in order."""
    rows = [tuple(cell or "" for cell in row) for row in wire.one(_READ, revision).rows]
    return [StepRow(int(r[0]), r[1], r[2], r[3], r[4], int(r[5]), r[6]) for r in rows]


def statement_hash(text: str) -> str:
    """sha256 of a statement's text, blanks folded: moving a line does not make it another statement."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


class JournalRunner:
    """Runs one non-transactional file on a work session."""

    def __init__(
        self,
        session: WorkSession,
        prepared: Prepared,
        limits: Limits,
        run: Deadline,
        warden: Warden,
        log: Log,
    ) -> None:
        self.session = session
        self.wire = session.wire
        self.prepared = prepared
        self.limits = limits
        self.warden = warden
        self.log = log
        self.lock, self.limit = limits.of_file(prepared.directives)
        self._reset = any(sets_something(s) for s in prepared.statements)
        self._retries = 0
        self._at = 1
        file = Deadline(
            limits.clock() + max(limits.file_timeout.seconds, limits.concurrent_timeout.seconds),
            Cause("FILE_TIMEOUT", "ran longer than its time limit"),
        )
        self.deadline = Deadline.earlier(file, run)

    def apply(self) -> None:
        """Run what the journal does not show as done, then write the history row. Raises as ``TransactionalRunner.apply``."""
        try:
            reset = self._apply()
        except Cancelled as stop:
            self.session.rollback()
            raise self._cancelled(stop) from None
        except (
            ServerError
        ) as error:  # refused what we asked around the statements: the journal, a look at what is there
            self.session.rollback()
            raise self._failed(None, error) from None
        if reset:
            self.session.reset()

    def _apply(self) -> bool:
        m = self.prepared.migration
        rows = {row.number: row for row in read_steps(self.wire, m.revision)}
        self._match(rows)
        if rows:
            done = sum(row.state == "done" for row in rows.values())
            self.log.tell(
                "resuming",
                f"{m.file}: {done} of {counted(len(self.prepared.statements), 'statement')} done",
            )
        attempts = max((row.attempts for row in rows.values()), default=0)
        for number, item in enumerate(self.prepared.statements, 1):
            self._at = number
            row = rows.get(number)
            if row is not None and row.state == "done":
                if item.kind == "variable_set_stmt":
                    self.wire.one(item.text)  # the session is new: what comes after relies on the setting
                continue
            with statement_span(self.prepared, item):
                if item.alone is None:
                    self._in_transaction(number, item)
                else:
                    self._alone(number, item, row)
        self._at = len(self.prepared.statements) + 1
        started = self.wire.value(
            "SELECT pg_catalog.min(started_at)::text FROM lockgate.migration_step WHERE revision_id = $1",
            m.revision,
        )
        return self._record(attempts + 1 + self._retries, started, "since the first attempt" if rows else "")

    def _match(self, rows: dict[int, StepRow]) -> None:
        """The journal must fit the file. A statement that did not succeed may have been edited; a done one may not."""
        for number, row in rows.items():
            item = self.prepared.statements[number - 1] if number <= len(self.prepared.statements) else None
            if item is not None and statement_hash(item.text) == row.statement_hash:
                continue
            if row.state == "done":
                raise RunFailed(
                    f"{self.prepared.migration.file}: statement {number} was changed after it had run: {row.statement[:120]}", "PARTIAL",
                    next="Restore that statement in the file, then lockgate up", details={"revision": self.prepared.revision, "step": number, "ran": row.statement},
                )  # fmt: skip
            self._heal_edited(row)

    def _heal_edited(self, row: StepRow) -> None:
        try:
            old = split(row.statement)[0]
        except (ScriptError, IndexError):
            return
        if old.alone is not None:
            found = concurrent.examine(self.wire, old.alone, old.text, resumed=True)
            if found.state is State.HALF:
                self._heal(old, found.heal, found.evidence)

    # -- a statement in a transaction of its own ----------------------------------------------------

    def _in_transaction(self, number: int, item: Statement) -> None:
        """Run one statement with its journal row, retrying what was rolled back whole: lock time-out, deadlock, serialization."""
        attempt = 1
        while True:
            try:
                return self._try(number, item)
            except RunFailed as failure:
                again = failure.details.get("sqlstate") in RETRY and attempt <= self.limits.lock_retries
                if not again or self.limits.clock() >= self.deadline.at:
                    raise
                pause = self.limits.pause(attempt)
                self.log.tell(
                    "retrying",
                    f"attempt {attempt} of {self.limits.lock_retries + 1}: {failure.code}, again in {pause:.1f} s. {failure.message}",
                )
                self.session.guard.alarm.sleep(pause)
                attempt += 1
                self._retries += 1

    def _try(self, number: int, item: Statement) -> None:
        calls = [Call("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")]
        calls += [
            Call(f"SET LOCAL lock_timeout = '{self.lock.setting()}'"),
            Call(f"SET LOCAL statement_timeout = '{self.limit.setting()}'"),
        ]
        calls += [
            Call(item.text),
            self.session.check_call(),
            self._done_call(number, item),
            Call("SELECT pg_catalog.pg_current_xact_id()::text"),
        ]
        started = self.limits.clock()
        self.warden.begin(self.wire.ticket + 1)
        try:
            replies = self.wire.batch(
                calls, deadline=self.deadline.at, cause=self.deadline.cause, label="step"
            )
            # What the statement left in the session holds for the rest of its file, as its author expects.
            self._reset = self.session.judge(replies[-3], self.lock, self.limit) or self._reset
            self._fenced(replies[-2].rows)
        except ServerError as error:
            self.session.rollback()
            raise self._failed(item, error, self.limit.milliseconds, self.limits.clock() - started) from None
        finally:
            self.warden.end()
        try:
            self.wire.batch(
                [Call("COMMIT")],
                uncancellable=True,
                deadline=self.limits.clock() + transactional.COMMIT_GRACE,
                label="commit",
            )
        except ServerError as error:
            self.session.rollback()
            raise self._failed(item, error) from None

    # -- a statement that no transaction can hold ---------------------------------------------------

    def _alone(self, number: int, item: Statement, row: StepRow | None) -> None:
        assert item.alone is not None
        found = concurrent.examine(
            self.wire,
            item.alone,
            item.text,
            resumed=row is not None and statement_hash(item.text) == row.statement_hash,
        )
        self._intent(number, item, found.evidence)
        if found.state is State.HALF:
            self._heal(item, found.heal, found.evidence)
        if found.state is State.DONE:
            self.log.tell("found done", f"{self.prepared.migration.file}:{item.line}: {found.evidence}")
        elif not (found.state is State.HALF and found.then_done):
            self._tell_waits(item)
            self._run(item, item.text)
            missing = concurrent.confirm(self.wire, item.alone, item.text)
            if missing:
                raise RunFailed(
                    f"{self.prepared.migration.file}:{item.line}: the statement succeeded, but {missing}",
                    "PARTIAL",
                    details={"revision": self.prepared.revision, "step": number},
                )
        self._fenced(self.wire.batch([self._done_call(number, item)], label="done")[0].rows)

    def _intent(self, number: int, item: Statement, evidence: str) -> None:
        identity = self.session.guard.identity
        before = msgspec.json.encode({"found": evidence}).decode()
        reply = self.wire.one(
            statement("intent"),
            self.prepared.revision,
            str(number),
            statement_hash(item.text),
            item.text,
            _kind(item),
            before,
            identity.run_id,
            str(self.session.guard.epoch),
        )
        self._fenced(reply.rows)

    def _heal(self, item: Statement, heal: tuple[str, ...], evidence: str) -> None:
        for text in heal:
            self.log.tell("healing", f"{self.prepared.migration.file}:{item.line}: {evidence}; {text}")
            self._run(item, text)

    def _run(self, item: Statement, text: str) -> None:
        """Run one statement with nothing around it, with no lock time-out: one in the middle would leave it half done."""
        limit = self.limit if self.prepared.directives.statement_timeout else self.limits.concurrent_timeout
        self.wire.batch(
            [Call("SET lock_timeout = 0"), Call(f"SET statement_timeout = '{limit.setting()}'")],
            label="limits",
        )
        started = self.limits.clock()
        self.warden.begin(self.wire.ticket + 1)
        try:
            self.wire.alone(text, deadline=self.deadline.at, cause=self.deadline.cause)
        except ServerError as error:
            raise self._failed(item, error, limit.milliseconds, self.limits.clock() - started) from None
        except Cancelled as stop:
            if stop.error is not None or not stop.sent:
                raise self._cancelled(stop) from None
            # It succeeded before the cancel arrived; a signal is heard again before the next statement.
        finally:
            self.warden.end()
            if self.wire.alive:
                back = [
                    Call(f"SET lock_timeout = '{self.limits.lock_timeout.setting()}'"),
                    Call(f"SET statement_timeout = '{self.limits.statement_timeout.setting()}'"),
                ]
                self.wire.batch(back, uncancellable=True, label="limits")

    def _tell_waits(self, item: Statement) -> None:
        if item.alone is not None and item.alone.kind != "vacuum":
            waits = concurrent.old_transactions(self.wire)
            if waits:
                self.log.tell(
                    "waiting",
                    f"{self.prepared.migration.file}:{item.line} has to wait for {len(waits)} old transactions: {'; '.join(waits[:5])}",
                )

    # -- the end ------------------------------------------------------------------------------------

    def _record(self, attempts: int, started_at: str | None, note: str) -> bool:
        """Write the history row; True when the session has to be made anew."""
        m = self.prepared.migration
        calls = [
            Call("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
            self.session.check_call(),
            self.session.record_call(m, self.prepared.directives.phase, started_at=started_at),
        ]
        replies = self.wire.batch(calls, label="file")
        reset = self.session.judge(replies[1], self.limits.lock_timeout, self.limits.statement_timeout)
        self._fenced(replies[2].rows)
        row = replies[2].rows[0]
        try:
            self.wire.batch(
                [FLUSHED, Call("COMMIT")],
                uncancellable=True,
                deadline=self.limits.clock() + transactional.COMMIT_GRACE,
                label="commit",
            )
        except ConnectionLost as lost:
            raise InDoubt(lost.message, self.prepared, row[0] or "") from None
        self.log.in_flight = ""
        self.log.done(AppliedFile(m.revision, m.name, "applied", int(row[2] or 0), attempts, note))
        return reset or self._reset

    def _done_call(self, number: int, item: Statement) -> Call:
        identity = self.session.guard.identity
        return Call(
            statement("step_done"),
            (
                self.prepared.revision,
                str(number),
                statement_hash(item.text),
                item.text,
                identity.run_id,
                str(self.session.guard.epoch),
                _kind(item),
            ),
        )

    def _fenced(self, rows: list[tuple[str | None, ...]]) -> None:
        if not rows:
            self.session.rollback()
            raise RunFailed(
                f"a newer run holds the fence; {self.prepared.migration.file} goes on there", "FENCED"
            )

    def _failed(
        self, item: Statement | None, error: ServerError, limit_ms: int = 0, elapsed: float = 0.0
    ) -> RunFailed:
        return self._partial(
            failed(
                self.prepared,
                item,
                error,
                self.warden.sighting,
                limit_ms=limit_ms,
                elapsed=elapsed,
                place="at its journal",
            )
        )

    def _cancelled(self, stop: Cancelled) -> RunFailed:
        return self._partial(
            cancelled(self.prepared, stop.cause, self.warden.sighting, self.session.guard.alarm.signal)
        )

    def _partial(self, failure: RunFailed) -> RunFailed:
        number = self._at
        failure.state = (
            f"Statements before number {number} of {self.prepared.migration.file} are done and journalled; the files before it are applied."
            if number > 1
            else "Nothing of this file is done; the files before it are applied."
        )
        if failure.code in ("MIGRATION_EXECUTION_FAILED", "STATEMENT_TIMEOUT", "CANCELLED"):
            failure.next = "Mend the cause, then lockgate up: it resumes at this statement and clears what was left half done."
        failure.details["step"] = number
        return failure


def _kind(item: Statement) -> str:
    return item.alone.kind if item.alone else item.kind
