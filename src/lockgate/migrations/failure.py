"""How a failed statement is told: file, line, statement, the server's words, and who was in the way."""

from typing import TYPE_CHECKING

import msgspec

from lockgate.errors import Interrupted, LockgateError, RunFailed
from lockgate.postgres.alarm import Cause
from lockgate.postgres.blockers import Sighting
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.record.reasons import ROLLED_BACK, UNTOUCHED, Exit, reason
from lockgate.record.redact import redact
from lockgate.record.words import counted

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared
    from lockgate.postgres.script import Statement


_THERE = frozenset({"42P07", "42701", "42710", "42P06", "42723"})
"""A table, column, object, schema or function is there already."""


def failed(
    prepared: "Prepared",
    statement: "Statement | None",
    error: ServerError,
    sighting: Sighting | None,
    *,
    limit_ms: int = 0,
    elapsed: float = 0.0,
    place: str = "at COMMIT",
) -> RunFailed:
    """The error of a file whose ``statement`` the server refused; None means what stands at ``place``."""
    code = reason_of(error.sqlstate)
    if code == "STATEMENT_TIMEOUT" and not (
        "statement timeout" in error.message or (limit_ms and elapsed * 1000 >= limit_ms)
    ):
        code = "MIGRATION_EXECUTION_FAILED"  # somebody else cancelled it: pg_cancel_backend
    file = prepared.migration.file
    line = _line(statement, error) if statement else 0
    where = f"{file}:{line}" if line else f"{file} ({place})"
    details: dict[str, object] = {
        "revision": prepared.revision, "file": file, "line": line, "sqlstate": error.sqlstate, "message": redact(error.message),
        "detail": redact(error.detail), "hint": redact(error.hint), "context": redact(error.context),
        "statement": redact(statement.text[:500]) if statement else place.removeprefix("at "),
    }  # fmt: skip
    text = f"{where}: {redact(error.message)}"
    if error.detail:
        text += f" ({redact(error.detail)})"
    if sighting is not None and code in ("LOCK_TIMEOUT", "DEADLOCK", "LOCK_VICTIMS", "STATEMENT_TIMEOUT"):
        details.update(sighting.fields())
        text += _in_the_way(sighting)
    row = reason(code)
    # Some codes are written for refusals before a run; here the server refused in the middle of one.
    state = ROLLED_BACK if row.state == UNTOUCHED else None
    leaving = None if row.exit in (Exit.FAILED, Exit.PRIVILEGE) else Exit.FAILED
    hint = redact(error.hint) or None if code == "PRIVILEGE" else None
    if error.sqlstate in _THERE:
        hint = f"{row.next}. Where this was made before lockgate came, lockgate baseline --help tells how it is taken over"
    return RunFailed(text, code, state=state, next=hint, exit=leaving, details=details)


def cancelled(prepared: "Prepared", cause: Cause, sighting: Sighting | None, signal: int) -> RunFailed:
    """The error of a file that we ended ourselves."""
    details: dict[str, object] = {"revision": prepared.revision, "file": prepared.migration.file}
    text = f"{prepared.migration.file}: {cause.message}"
    if sighting is not None:
        details.update(sighting.fields())
        text += _in_the_way(sighting)
    if cause.code == "CANCELLED":
        return interrupted(text, signal, details)
    return RunFailed(text, cause.code, details=details)


def interrupted(text: str, signal: int, details: dict[str, object] | None = None) -> Interrupted:
    """The error of a run that a signal ended; its exit code is 128 + the signal, as shells have it."""
    return Interrupted(text, exit=Exit.INTERRUPTED if signal == 2 else Exit.TERMINATED, details=details)


def stopped(cause: Cause, signal: int) -> LockgateError:
    """What ended a run from outside, between its statements: a signal, or one of its time limits."""
    if cause.code == "CANCELLED":
        return interrupted(cause.message, signal)
    return RunFailed(cause.message, cause.code)


def _line(statement: "Statement", error: ServerError) -> int:
    return statement.line + statement.text[: max(0, error.position - 1)].count("\n")


def _in_the_way(sighting: Sighting) -> str:
    lines = [f"\n  it waited for {sighting.wanted}"] if sighting.wanted else []
    lines += [f"\n  blocked by {blocker}" for blocker in sighting.blockers]
    if sighting.victims:
        lines.append(f"\n  {counted(sighting.victims, 'session')} queued behind it")
    return "".join(lines)


def to_fields(error: RunFailed) -> dict[str, object]:
    """The error as fields for ``run_step.details`` and reports."""
    return {
        "message": error.message,
        "state": error.state,
        "next": error.next,
        **{k: msgspec.to_builtins(v) for k, v in error.details.items()},
    }
