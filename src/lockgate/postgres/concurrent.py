"""Statements that no transaction can hold: what is there before, what a crash leaves, how to tell half from whole.

A closed list of kinds (see ``script.Alone``). Each is examined before it runs, also on the first try, because what is
in the way may be older than the journal; and after it ran, because success of the statement alone proves too little
(``IF NOT EXISTS`` is content with an invalid index).
"""

import re
from enum import StrEnum

import msgspec
from psycopg import sql

from lockgate.errors import RunFailed
from lockgate.postgres.queries import query
from lockgate.postgres.script import Alone, probe_index
from lockgate.postgres.sqlstate import RETRY, ServerError
from lockgate.postgres.wire import Call, Wire


class State(StrEnum):
    """What stands in the database of the thing that a statement makes, drops or rebuilds."""

    TODO = "todo"
    DONE = "done"
    HALF = "half"


class Examination(msgspec.Struct, frozen=True):
    """The state, what was seen, and the statements that heal a half-done one before it runs again."""

    state: State
    evidence: str = ""
    heal: tuple[str, ...] = ()
    then_done: bool = False
    """True when the healing itself finishes the work."""


def examine(wire: Wire, task: Alone, text: str, *, resumed: bool) -> Examination:
    """Look at the object of ``task``. ``resumed`` says that the journal holds an intent of ours for it.

    Raises ``RunFailed`` (``INVALID_INDEX``, ``INDEX_DEFINITION_DIFFERS``) for what is in the way and is not ours.
    """
    if task.kind == "create_index":
        return _create_index(wire, task, text)
    if task.kind == "drop_index":
        there = wire.value("SELECT pg_catalog.to_regclass($1)::text", _name(task.schema, task.name))
        return (
            Examination(State.DONE, f"{task.name} is gone")
            if not there and resumed
            else Examination(State.TODO)
        )
    if task.kind in ("reindex_index", "reindex_table"):
        return _reindex(wire, task, resumed)
    if task.kind == "detach_partition":
        return _detach(wire, task, resumed)
    return Examination(State.TODO)


def _create_index(wire: Wire, task: Alone, text: str) -> Examination:
    table = _name(task.table_schema, task.table)
    rows = wire.one(query("index"), table, task.name).rows
    if not rows:
        return Examination(State.TODO)
    valid, unique, definition, same_table, shown, builder = rows[0]
    equal = same_table == "t" and _shape(definition or "", unique == "t") == _expected(
        wire, task, text, table
    )
    if builder:
        raise RunFailed(
            f"index {shown} is being built right now by pid {builder}",
            "INVALID_INDEX",
            next="Wait for that build, then lockgate up",
            details={"index": shown, "pid": builder},
        )
    if valid == "t":
        if equal:
            return Examination(State.DONE, f"index {shown} is there, valid, and of this definition")
        raise RunFailed(
            f"index {shown} exists with another definition: {definition}",
            "INDEX_DEFINITION_DIFFERS",
            details={"index": shown, "definition": definition},
        )
    drop = f"DROP INDEX CONCURRENTLY {shown}"
    if not equal:
        raise RunFailed(
            f"index {shown} is invalid and has another definition than the file's: {definition}",
            "INVALID_INDEX",
            next=f"{drop};  then lockgate up",
            details={"index": shown, "definition": definition, "fix": drop},
        )
    return Examination(State.HALF, f"index {shown} is invalid: an earlier build did not end", (drop,))


def _expected(wire: Wire, task: Alone, text: str, table: str) -> tuple[bool, str]:
    """The definition that the statement gives on an empty copy of the table, in a transaction that is rolled back."""
    probe = probe_index(text, "lockgate_probe")
    try:
        replies = wire.batch(
            [
                Call("BEGIN"),
                Call(
                    f"CREATE TEMPORARY TABLE lockgate_probe (LIKE {table} INCLUDING GENERATED) ON COMMIT DROP"
                ),
                Call(probe),
                Call(
                    "SELECT i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i WHERE i.indrelid = 'pg_temp.lockgate_probe'::regclass"
                ),
                Call("ROLLBACK"),
            ],
            label="probe",
        )
    except ServerError as error:
        wire.batch([Call("ROLLBACK")], uncancellable=True)
        if error.sqlstate in RETRY or error.sqlstate.startswith(("53", "57")):
            raise  # no lock, no room, no time: that says nothing about the definition
        if error.sqlstate == "42501":
            raise RunFailed(
                f"the role may not make the temporary table that a definition is compared on: {error.message}",
                "PRIVILEGE",
                next="GRANT TEMPORARY ON DATABASE ... to the migrator; lockgate roles prints it",
            ) from None
        return False, "cannot be built on an empty copy of the table"
    row = replies[3].rows[0]
    return _shape(row[1] or "", row[0] == "t")


_USING = re.compile(r" USING .*$", re.DOTALL)


def _shape(definition: str, unique: bool) -> tuple[bool, str]:
    match = _USING.search(definition)
    return unique, match[0] if match else definition


def _reindex(wire: Wire, task: Alone, resumed: bool) -> Examination:
    if not resumed:
        return Examination(State.TODO)
    leftovers = reindex_leftovers(
        wire,
        _name(task.schema or task.table_schema, task.name) if task.kind == "reindex_index" else "",
        _name(task.table_schema, task.table) if task.table else "",
    )
    return Examination(
        State.HALF if leftovers else State.TODO,
        ", ".join(leftovers),
        tuple(f"DROP INDEX CONCURRENTLY {name}" for name in leftovers),
    )


def reindex_leftovers(wire: Wire, index: str, table: str) -> list[str]:
    """The invalid ``_ccnew`` and ``_ccold`` indexes that a REINDEX CONCURRENTLY left on the table (or the index's table)."""
    rows = wire.one(
        "SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
        "WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' AND i.indrelid = COALESCE((SELECT x.indrelid FROM pg_catalog.pg_index x "
        # Before PostgreSQL 16 an empty name is an error, not a null.
        "WHERE x.indexrelid = pg_catalog.to_regclass(NULLIF($1, ''))), pg_catalog.to_regclass(NULLIF($2, ''))) ORDER BY 1",
        index,
        table,
    ).rows
    return [row[0] or "" for row in rows]


def _detach(wire: Wire, task: Alone, resumed: bool) -> Examination:
    child, parent = _name(task.schema, task.name), _name(task.table_schema, task.table)
    row = wire.one(
        "SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhrelid = pg_catalog.to_regclass($1) AND inhparent = pg_catalog.to_regclass($2)",
        child,
        parent,
    ).rows
    if not row:
        return Examination(State.DONE, f"{task.name} is detached") if resumed else Examination(State.TODO)
    if row[0][0] == "t":
        return Examination(
            State.HALF,
            f"{task.name} is half detached",
            (f"ALTER TABLE {parent} DETACH PARTITION {child} FINALIZE",),
            then_done=True,
        )
    return Examination(State.TODO)


def confirm(wire: Wire, task: Alone, text: str) -> str:
    """After the statement ran: "" when its effect is there, else what is missing."""
    if task.kind == "create_index":
        rows = wire.one(query("index"), _name(task.table_schema, task.table), task.name).rows
        return "" if rows and rows[0][0] == "t" else f"index {task.name} is not there or not valid"
    if task.kind == "drop_index":
        there = wire.value("SELECT pg_catalog.to_regclass($1)::text", _name(task.schema, task.name))
        return f"index {there} is still there" if there else ""
    if task.kind == "detach_partition":
        return "" if _detach(wire, task, True).state is State.DONE else f"{task.name} is not detached"
    if task.kind in ("reindex_index", "reindex_table"):
        left = _reindex(wire, task, True)
        return f"left behind: {left.evidence}" if left.evidence else ""
    return ""


def old_transactions(wire: Wire) -> list[str]:
    """The sessions that a concurrent build will have to wait for, told in one line each."""
    return [
        f"pid {r[0]} ({r[1] or r[2]}, {r[3]}, transaction open for {r[4]} s)"
        for r in wire.one(query("old_transactions")).rows
    ]


def _name(schema: str, name: str) -> str:
    """A quoted, qualified name; "" for an empty one."""
    if not name:
        return ""
    return sql.Identifier(schema, name).as_string() if schema else sql.Identifier(name).as_string()
