"""One connection to the server: batches in one round trip each, bounded waits, a cancel that cannot miss.

The driver's own cursors are not used while migrations run: a batch goes out through libpq's pipeline mode, so a
whole small file costs one round trip, and the wait is ours, so that signals and deadlines are heard.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import errors as driver_errors
from psycopg import pq

from lockgate.errors import LockgateError
from lockgate.postgres.alarm import Alarm, Cause
from lockgate.postgres.connecting import connect_error
from lockgate.postgres.sqlstate import GONE, ServerError
from lockgate.postgres.target import Target
from lockgate.record.points import point
from lockgate.record.redact import redact

CANCELLING = 5.0
"""Seconds that the request to cancel may take."""
GRACE = 10.0
"""Seconds after a cancel in which the server has to answer before the connection counts as lost."""
PATIENCE = 60.0
"""Seconds that a call without a deadline of its own may take before the connection counts as lost."""


class ConnectionLost(LockgateError):
    """The connection broke while something was under way, so its outcome has to be looked up."""

    default_reason = "CONNECTION_LOST"


class Cancelled(Exception):
    """Our own cancel ended the statement; ``cause`` tells why we asked.

    ``error`` is None when it came too late and all succeeded, or, with ``sent`` False, when nothing was sent at all.
    """

    def __init__(self, cause: Cause, error: ServerError | None, *, sent: bool = True) -> None:
        super().__init__(cause.message)
        self.sent = sent
        self.cause = cause
        self.error = error


class Call(NamedTuple):
    """One statement of a batch: SQL text with ``$1`` parameters in text form, or the name of a prepared one."""

    sql: str
    parameters: tuple[str | None, ...] = ()
    prepared: bool = False


class Reply(NamedTuple):
    """What one call gave: rows as text, and the command tag."""

    rows: list[tuple[str | None, ...]]
    tag: str
    result: "pq.abc.PGresult | None" = None

    @property
    def columns(self) -> list[tuple[str, int, int]]:
        """The name of each column, the number of its type, and the modifier of that."""
        found = self.result
        if found is None:
            return []
        return [
            ((found.fname(n) or b"").decode(), found.ftype(n), found.fmod(n)) for n in range(found.nfields)
        ]


UNFLUSHED = Call("SET LOCAL synchronous_commit = off")
"""Before a COMMIT: it does not wait until the disk has it. A later commit that waits covers it, for the log is flushed in order."""
FLUSHED = Call("SET LOCAL synchronous_commit = on")
"""Before a COMMIT that has to wait: a migration file may have said otherwise for its transaction or for the session."""


class Ahead:
    """What goes out in front of a batch, in the same round trip, ended by a sync of its own: the COMMIT of the file before.

    It can neither be cancelled nor be dragged along: signals and the watchdog are heard once its answer is there. Then
    ``landed`` is called with its error, if any, and whether it waited for the disk; it gives back the deadline of the batch and
    its cause. Here it does not wait: ``UNFLUSHED`` goes before it. After an error the batch is cancelled, drained, and ``AheadRefused`` raised.
    """

    __slots__ = ("calls", "cause", "deadline", "label", "landed", "over")

    def __init__(
        self,
        calls: Sequence[Call],
        landed: "Callable[[ServerError | None, bool], tuple[float, Cause]]",
        *,
        deadline: float,
        cause: Cause,
        label: str,
    ) -> None:
        self.calls = calls
        self.landed = landed
        self.deadline = deadline
        self.cause = cause
        self.label = label
        self.over = False


class AheadRefused(Exception):
    """The server refused what went ahead of a batch, or we cancelled it for ``cause``; nothing of the batch may be committed."""

    def __init__(self, error: ServerError, cause: Cause | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.cause = cause


class Notice(NamedTuple):
    """A NOTICE or WARNING of the server."""

    severity: str
    sqlstate: str
    message: str


class Wire:
    """One session of the server.

    ``alarm`` is heard while waiting; without one (the guard's side) only deadlines are. ``clock`` is monotonic.
    """

    def __init__(
        self,
        target: Target,
        name: str,
        *,
        alarm: Alarm | None = None,
        clock: Callable[[], float] = time.monotonic,
        connect_timeout: float = 10.0,
    ) -> None:
        self.name = name
        self._alarm = alarm
        self._clock = clock
        self.ticket = 0
        self.patience: float | None = PATIENCE
        self.notices: list[Notice] = []
        self.marks: list[float] | None = None
        """When each reply of the newest batch came, for spans; None unless wanted, because each then costs a flush."""
        point(f"{name}:connect")
        parameters = target.parameters(
            application_name=f"lockgate/{name}", connect_timeout=max(2, round(connect_timeout)), keepalives_idle=30,
            keepalives_interval=10, keepalives_count=3, tcp_user_timeout=30_000, client_encoding="UTF8",
        )  # fmt: skip
        parameters["application_name"] = f"lockgate/{name}"
        parameters["client_encoding"] = "UTF8"
        try:
            self._connection = psycopg.Connection.connect(**parameters, autocommit=True)  # type: ignore[arg-type]
        except driver_errors.Error as error:
            raise connect_error(target, error) from None
        self._pg = self._connection.pgconn
        self._pg.nonblocking = 1
        self._pg.notice_handler = self._on_notice
        self.libpq_pid = self._pg.backend_pid

    # -- state ------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """False once the connection is known to be broken or closed."""
        return self._pg.status == pq.ConnStatus.OK

    @property
    def in_transaction(self) -> bool:
        """True inside a transaction block, also a failed one."""
        return self._pg.transaction_status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

    @property
    def idle(self) -> bool:
        """True when the session waits for a command outside any transaction."""
        return self._pg.transaction_status == pq.TransactionStatus.IDLE

    def _on_notice(self, result: pq.abc.PGresult) -> None:
        field = pq.DiagnosticField
        read = result.error_field
        text = (read(field.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
        self.notices.append(
            Notice(
                (read(field.SEVERITY_NONLOCALIZED) or b"").decode(),
                (read(field.SQLSTATE) or b"").decode(),
                text,
            )
        )
        del self.notices[:-50]

    def deafen(self) -> None:
        """Hear deadlines only from now on: signals belong to the main thread."""
        self._alarm = None

    def rename(self, name: str) -> int:
        """Be called ``name`` from now on, on the server too; the process id of the session that answered. Raises as ``batch``."""
        sql = "SELECT pg_catalog.pg_backend_pid()::text, pg_catalog.set_config('application_name', $1, false)"
        row = self.batch([Call(sql, (f"lockgate/{name}",))], label="rename")[0].rows[0]
        self.name = name
        return int(row[0] or 0)

    # -- talking ----------------------------------------------------------------------------------

    def one(self, sql: str, *parameters: str | None, deadline: float | None = None) -> Reply:
        """Run one statement in its own round trip."""
        return self.batch([Call(sql, parameters)], deadline=deadline)[0]

    def value(self, sql: str, *parameters: str | None, deadline: float | None = None) -> str | None:
        """The first column of the first row, or None."""
        rows = self.one(sql, *parameters, deadline=deadline).rows
        return rows[0][0] if rows else None

    def prepare(self, name: str, sql: str) -> None:
        """Prepare ``sql`` as ``name`` for calls with ``prepared=True``."""
        with self._guarded("prepare"):
            self._pg.enter_pipeline_mode()
            self._pg.send_prepare(name.encode(), sql.encode())
            self._pg.pipeline_sync()
            self._collect(None, None, uncancellable=True)

    def batch(
        self,
        calls: Iterable[Call],
        *,
        deadline: float | None = None,
        cause: Cause | None = None,
        uncancellable: bool = False,
        label: str = "batch",
        ahead: Ahead | None = None,
    ) -> list[Reply]:
        """Send all ``calls`` at once, behind ``ahead``, and read all replies: one round trip.

        The first error skips the rest, as in a transaction. At the ``deadline`` (of the monotonic clock) the batch is
        cancelled for ``cause``; without a cause the connection counts as lost. ``uncancellable`` is for COMMIT and
        ROLLBACK: signals and the watchdog are not heard, the deadline is. Raises ``ServerError`` with the index of the
        failing call, ``Cancelled`` when our own cancel was sent (its ``error`` is None when it came too late and all
        succeeded), ``ConnectionLost`` when the outcome is unknown (``ahead.over`` tells of which part).
        """
        self._check_alarm(uncancellable)
        if ahead is not None:
            point(f"{self.name}:{ahead.label}:send")
        with self._guarded(label):
            self._pg.enter_pipeline_mode()
            if ahead is not None:
                self._send([UNFLUSHED, *ahead.calls])
            self._send(calls)
            return self._collect(deadline, cause, uncancellable=uncancellable, ahead=ahead)

    def _send(self, calls: Iterable[Call]) -> None:
        for call in calls:
            values = [None if v is None else v.encode() for v in call.parameters]
            if call.prepared:
                self._pg.send_query_prepared(call.sql.encode(), values)
            else:
                self._pg.send_query_params(call.sql.encode(), values or None)
            if self.marks is not None:
                self._pg.send_flush_request()  # else the server keeps its replies until the sync
        self._pg.pipeline_sync()

    def alone(
        self,
        sql: str,
        *,
        deadline: float | None = None,
        cause: Cause | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Reply:
        """Run one statement with nothing around it: what may not run in a transaction block goes this way.

        ``meanwhile`` is done while the server works; what it raises is raised once the server has answered.
        """
        self._check_alarm(False)
        with self._guarded("alone"):
            self._pg.send_query(sql.encode())
            trouble: BaseException | None = None
            if meanwhile is not None:
                self._pg.flush()
                try:
                    meanwhile()
                except BaseException as error:
                    trouble = error
            try:
                reply = self._collect(deadline, cause, uncancellable=False, pipeline=False)[0]
            except (ConnectionLost, ServerError):
                if trouble is None:
                    raise
        if trouble is not None:
            raise trouble
        return reply

    def _check_alarm(self, uncancellable: bool) -> None:
        self.ticket += 1
        self.notices.clear()
        if self._alarm is not None and not uncancellable:
            cause = self._alarm.pending(self.ticket)
            if cause is not None:
                self._alarm.take()
                raise Cancelled(cause, None, sent=False)

    def _guarded(self, label: str) -> "_Guarded":
        return _Guarded(self, label)

    # -- waiting ----------------------------------------------------------------------------------

    def _collect(
        self,
        deadline: float | None,
        cause: Cause | None,
        *,
        uncancellable: bool,
        pipeline: bool = True,
        ahead: Ahead | None = None,
    ) -> list[Reply]:
        replies: list[Reply] = []
        if self.marks is not None:
            self.marks = [self._clock()]
        failure: ServerError | None = None
        refused: ServerError | None = None
        cancelled: Cause | None = None
        heard = not uncancellable
        if ahead is not None:
            deadline, cause, heard = ahead.deadline, ahead.cause, False
        elif deadline is None and self.patience is not None:
            deadline = self._clock() + self.patience
        index = 0
        while True:
            unsent = self._pg.flush()
            if unsent or self._pg.is_busy():
                now = self._clock()
                if cancelled is None and heard:
                    cancelled = self._cancel_if_asked()
                    if cancelled is not None:
                        deadline = self._clock() + GRACE
                if deadline is not None and now >= deadline and cause is not None and cancelled is None:
                    point(f"{self.name}:cancel")
                    self.cancel()
                    cancelled, deadline = cause, self._clock() + GRACE
                elif deadline is not None and now >= deadline:
                    raise ConnectionLost(f"the server did not answer on the {self.name} connection in time")
                self._wait(bool(unsent), 0.5 if deadline is None else min(0.5, deadline - now))
                continue
            result = self._pg.get_result()
            if result is None:
                if pipeline:
                    continue
                break
            status = result.status
            if status == pq.ExecStatus.PIPELINE_SYNC:
                if ahead is None or ahead.over:
                    break
                refused, failure, replies, index = failure, None, [], 0
                if self.marks is not None:
                    self.marks = [self._clock()]
                deadline, cause = self._land(ahead, refused)
                heard = not uncancellable
                if refused is not None or cancelled is not None:
                    self.cancel()
                    heard, deadline = False, self._clock() + GRACE
                continue
            if status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY):
                replies.append(_reply(result))
                index += 1
                if self.marks is not None:
                    self.marks.append(self._clock())
            elif status == pq.ExecStatus.FATAL_ERROR:
                failure = failure or _server_error(result, index)
                if failure.sqlstate in GONE or not self.alive:
                    raise ConnectionLost(
                        f"the server ended the session: {redact(failure.message)}",
                        details={"sqlstate": failure.sqlstate},
                    )
            elif status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
                failure = ServerError(
                    "0A000", "COPY through the client is not possible in a migration", index=index
                )
                self._connection.close()
                raise failure
        if pipeline:
            self._pg.exit_pipeline_mode()
        if refused is not None:
            raise AheadRefused(refused, cancelled)
        if cancelled is not None:
            # Also when it was too late and the statement succeeded: the caller must not go on as if nothing was asked.
            if self._alarm is not None:
                self._alarm.take()
            raise Cancelled(cancelled, failure)
        if failure is not None:
            raise failure
        return replies

    def _land(self, ahead: Ahead, refused: ServerError | None) -> tuple[float, Cause]:
        """What went ahead has its answer: say so at once. Half of the replies are still to come, so no error leaves a session."""
        ahead.over = True
        try:
            if refused is None:
                point(f"{self.name}:{ahead.label}:received")
            return ahead.landed(refused, False)
        except BaseException:
            self.close()
            raise

    def _wait(self, write: bool, seconds: float) -> None:
        fd = self._pg.socket
        if self._alarm is None:
            ready = _bare_wait(fd, write, seconds)
        else:
            ready = self._alarm.wait(fd, write=write, seconds=seconds)
        if ready:
            self._pg.consume_input()

    def _cancel_if_asked(self) -> Cause | None:
        cause = self._alarm.pending(self.ticket) if self._alarm is not None else None
        if cause is not None:
            point(f"{self.name}:cancel")
            self.cancel()
        return cause

    def cancel(self) -> None:
        """Ask the server to cancel what this session runs. Best effort: the answer tells what came of it."""
        try:
            self._connection.cancel_safe(timeout=CANCELLING)
        except driver_errors.Error:
            return

    def close(self) -> None:
        """Close the connection; the server rolls back what is open."""
        self._connection.close()


class _Guarded:
    """Passes the points before and after a round trip and turns the driver's errors into ours."""

    __slots__ = ("label", "wire")

    def __init__(self, wire: Wire, label: str) -> None:
        self.wire = wire
        self.label = label

    def __enter__(self) -> None:
        if not self.wire.alive:
            raise ConnectionLost(f"the {self.wire.name} connection is closed")
        point(f"{self.wire.name}:{self.label}:send")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConnectionLost):
            self.wire.close()
        elif isinstance(error, driver_errors.Error):
            self.wire.close()
            raise ConnectionLost(
                f"the {self.wire.name} connection broke: {redact(str(error)).strip()}"
            ) from None
        elif error is None:
            point(f"{self.wire.name}:{self.label}:received")


def _bare_wait(fd: int, write: bool, seconds: float) -> bool:
    import select

    # Not select(): it fails from descriptor 1024 on, and a service that embeds the gate may have thousands.
    poll = select.poll()
    poll.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _reply(result: "pq.abc.PGresult") -> Reply:
    columns = range(result.nfields)
    if not columns:
        return Reply([], (result.command_status or b"").decode())
    rows = [
        tuple(None if (v := result.get_value(row, column)) is None else v.decode() for column in columns)
        for row in range(result.ntuples)
    ]
    return Reply(rows, (result.command_status or b"").decode(), result)


def _server_error(result: "pq.abc.PGresult", index: int) -> ServerError:
    field = pq.DiagnosticField

    def read(name: pq.DiagnosticField) -> str:
        return (result.error_field(name) or b"").decode("utf-8", "replace")

    message = read(field.MESSAGE_PRIMARY) or (result.error_message or b"").decode("utf-8", "replace").strip()
    position = read(field.STATEMENT_POSITION)
    return ServerError(
        read(field.SQLSTATE) or "08006", message, index=index, detail=read(field.MESSAGE_DETAIL), hint=read(field.MESSAGE_HINT),
        context=read(field.CONTEXT), position=int(position) if position.isdigit() else 0,
    )  # fmt: skip
