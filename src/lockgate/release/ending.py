"""How the end of a run is written down: state, reason and what the artifact can be made from again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from lockgate.errors import LockgateError, RunFailed
from lockgate.migrations.failure import to_fields
from lockgate.migrations.progress import Log
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire
from lockgate.record.redact import redact, redact_value
from lockgate.release.report import RunReport


def write_end(
    wire: Wire, report: RunReport, log: Log, failure: LockgateError | None, deadline: float
) -> bool:
    """Write how the run ended into ``run``: whether that was possible. If not, the next runner marks it abandoned."""
    if not report.epoch:
        return True
    if not wire.alive:
        return False
    state = (
        "succeeded"
        if failure is None
        else {"CANCELLED": "cancelled", "IN_DOUBT": "held"}.get(failure.code, "failed")
    )
    calls = [
        Call(
            "UPDATE lockgate.run SET state = $2, reason_code = $3, message = $4, finished_at = pg_catalog.clock_timestamp(), after_rev = (SELECT pg_catalog.max(revision_id) FROM lockgate.migration_history), details = details || $5::jsonb WHERE run_id = $1",
            (
                report.run_id,
                state,
                failure.code if failure else "",
                redact(failure.message) if failure else "",
                _details(report, failure),
            ),
        )
    ]
    if log.lock_waited:
        waited = msgspec.json.encode({"lockWaitSeconds": round(log.lock_waited, 3)}).decode()
        calls.append(
            Call(
                "INSERT INTO lockgate.run_step (run_id, step, outcome, details) VALUES ($1, 'lock-wait', $2, $3::jsonb)",
                (report.run_id, state, waited),
            )
        )
    if failure is not None:
        told = to_fields(failure) if isinstance(failure, RunFailed) else {"message": failure.message}
        plain = msgspec.to_builtins(
            {k: v for k, v in told.items() if k != "report"}, str_keys=True, enc_hook=str
        )
        fields = msgspec.json.encode(redact_value(plain)).decode()
        calls.append(
            Call(
                "INSERT INTO lockgate.run_step (run_id, revision_id, step, outcome, reason_code, details) VALUES ($1, $2, 'apply', $3, $4, $5::jsonb)",
                (report.run_id, log.in_flight or None, state, failure.code, fields),
            )
        )
    try:
        if wire.in_transaction:
            wire.batch(
                [Call("ROLLBACK")],
                uncancellable=True,
                deadline=deadline,
                label="rollback",
            )
        wire.batch(calls, uncancellable=True, deadline=deadline, label="finish")
    except (LockgateError, ServerError):
        return False
    return True


@contextmanager
def connected(target: Target, name: str, clock: Callable[[], float]) -> Iterator[Wire | None]:
    """A new connection for what is left to write when those of the run are gone; None when there is none to be had."""
    try:
        wire = Wire(target, name, clock=clock, connect_timeout=3)
    except LockgateError:
        yield None
        return
    try:
        yield wire
    finally:
        wire.close()


def _details(report: RunReport, failure: LockgateError | None) -> str:
    """What the artifact of this run can be made from again; what the history holds itself is left out."""
    telling = [f for f in report.applied if f.attempts > 1 or f.note]
    short = msgspec.structs.replace(report, applied=telling, timeline=report.timeline[-200:])
    fields = {k: v for k, v in (failure.details if failure else {}).items() if k != "report"}
    plain = msgspec.to_builtins({"report": short, "failure": fields}, str_keys=True, enc_hook=str)
    return msgspec.json.encode(redact_value(plain)).decode()
