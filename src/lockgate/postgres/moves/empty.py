"""A move in place that was never started here, and whether it has nothing to move: then a file that waits for it may run.

A new database has no rows that an earlier release wrote, so nobody runs a move there. That may only be said while what keeps
both sides in step is in force: it was made under a lock that waits for every open writer, so each row that is not there
yet will be written on both sides. So the look has to come when the file's turn has come, after the files that make it.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire

_FACTS = """
SELECT pg_catalog.to_regclass($1)::text,
       (SELECT pg_catalog.string_agg(w.name, ', ') FROM pg_catalog.jsonb_array_elements_text($3::jsonb) w(name)
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgname = w.name AND t.tgenabled IN ('O', 'A')
                              AND t.tgrelid IN (pg_catalog.to_regclass($1)::oid, pg_catalog.to_regclass($2)::oid))
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conname = w.name AND k.contype = 'c'
                              AND k.conrelid IN (pg_catalog.to_regclass($1)::oid, pg_catalog.to_regclass($2)::oid)))
"""
# Rows that a policy hides are rows: with row_security off the server refuses to look instead of hiding them.
_BEGIN = (
    Call("BEGIN READ ONLY"),
    Call("SET LOCAL row_security = off"),
    Call("SET LOCAL lock_timeout = '2s'"),
)


class Unmoved(NamedTuple):
    """What is declared of a move in place that this database does not know; ``sync`` names its triggers and checks."""

    name: str
    source: str
    target: str
    sync: tuple[str, ...]


def why_waited_for(wire: Wire, move: Unmoved) -> str:
    """Why a file has to wait for ``move`` now; empty when its table is there, holds no rows, and is kept in step."""
    never = f"the move {move.name} was never started here"
    try:
        ((table, lacking),) = wire.one(_FACTS, move.source, move.target, json.dumps(move.sync)).rows
        if table is None:
            return f"{never}, and its table {move.source} is not there"
        if lacking:
            return f"{never}, and what keeps both its sides in step is not in force: {lacking}"
        return f"{never}, and {table} holds rows" if _holds_rows(wire, table) else ""
    except ServerError as error:  # unknown is never empty
        return f"{never}, and whether {move.source} holds rows could not be told: {error.message}"


def surely_waited_for(wire: Wire, moves: Iterable[Unmoved]) -> frozenset[str]:
    """The names of ``moves`` whose tables hold rows already, or may: what waits for those need not be begun with."""
    return frozenset(move.name for move in moves if _has_rows_or_may(wire, move.source))


def _has_rows_or_may(wire: Wire, source: str) -> bool:
    try:
        table = wire.value("SELECT pg_catalog.to_regclass($1)::text", source)
        return table is not None and _holds_rows(wire, table)
    except ServerError:
        return True


def _holds_rows(wire: Wire, table: str) -> bool:
    """``table`` as the server wrote it, quoted."""
    try:
        reply = wire.batch([*_BEGIN, Call(f"SELECT EXISTS (SELECT FROM {table})::text")])[-1]
        return reply.rows[0][0] != "false"
    finally:
        if wire.alive and not wire.idle:
            wire.one("ROLLBACK")
