"""Spans of files and their statements, where tracing is on."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from lockgate.migrations.contract import Prepared
from lockgate.postgres.script import Statement
from lockgate.record.tracing import Past, Value, span, tracing


def statement_spans(
    prepared: Prepared, marks: Sequence[float] | None, settings: int, now: float, error: str = ""
) -> tuple[Past, ...]:
    """One span a statement that was answered: ``marks`` are the times of the replies, BEGIN and ``settings`` in front.

    With ``error``, a SQLSTATE, the statement behind the last reply is the one that failed.
    """
    if not marks:
        return ()
    found = []
    for number, statement in enumerate(prepared.statements, 1 + settings):
        if number + 1 < len(marks):
            found.append(
                Past(name_of(statement), marks[number], marks[number + 1], told(prepared, statement))
            )
        elif number + 1 == len(marks) and error:
            failed = {**told(prepared, statement), "db.response.status_code": error}
            found.append(Past(name_of(statement), marks[number], now, failed, error))
    return tuple(found)


def traced(prepared: Prepared, begun: float, ended: float, spans: Sequence[Past], error: str = "") -> None:
    """Write the span of a file with those of its statements."""
    found = tracing()
    if found is not None:
        found.past(Past(_file_name(prepared), begun, ended, _of_file(prepared), error, spans))


def file_span(prepared: Prepared) -> "AbstractContextManager[object]":
    """A span around a file whose statements run one by one."""
    return span(_file_name(prepared), _of_file(prepared))


def statement_span(prepared: Prepared, statement: Statement) -> "AbstractContextManager[object]":
    """A span around one statement of such a file."""
    return span(name_of(statement), told(prepared, statement))


def _file_name(prepared: Prepared) -> str:
    return f"migration {prepared.migration.revision}_{prepared.migration.name}"


def _of_file(prepared: Prepared) -> dict[str, Value]:
    return {
        "db.system.name": "postgresql", "lockgate.migration.revision": prepared.migration.revision,
        "lockgate.migration.phase": prepared.directives.phase, "code.file.path": prepared.migration.file,
    }  # fmt: skip


def name_of(statement: Statement) -> str:
    """What a span is called after its statement: the kind, as in ``create table``."""
    return statement.kind.removesuffix("_stmt").replace("_", " ")


def told(prepared: Prepared, statement: Statement) -> dict[str, Value]:
    """What a span tells of its statement; never its text."""
    return {
        "db.system.name": "postgresql", "db.operation.name": name_of(statement),
        "code.file.path": prepared.migration.file, "code.line.number": statement.line,
    }  # fmt: skip
