"""A move in place that was never started here, and whether it has nothing to move: then a file that waits for it may run.

Or next to nothing: the rows that files of the same run put into a table that was not there before. Where nobody is protected
from that (``Unmoved.fill``), few of them are filled in at once, and both sides compared.

A new database has no rows that an earlier release wrote, so nobody runs a move there. That may only be said while what keeps
both sides in step is in force: it was made under a lock that waits for every open writer, so each row that is not there
yet will be written on both sides. So the look has to come when the file's turn has come, after the files that make it.
"""

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from lockgate.errors import LockgateError
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire
from lockgate.record.words import agree, counted

FEW = 1000
"""Rows that are filled in within a run; more are a move's, which goes in batches."""

Fill = Callable[[], str]
"""Fills every row in and compares both sides: "" when they say the same. Raises ``LockgateError`` and ``ServerError``."""

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


class Turn(NamedTuple):
    """What a look at a move found when a file's turn had come: why the file has to wait, or "", and then what is told of it."""

    because: str
    told: str = ""


class Awaited(Protocol):
    """A move that a file waits for, asked when the file's turn has come."""

    @property
    def name(self) -> str:
        """The move's name."""

    def take_turn(self, wire: Wire) -> Turn:
        """Whether the file has to wait; what still has to be done for it may be done now."""


class Unmoved(NamedTuple):
    """What is declared of a move in place that this database does not know; ``sync`` names its triggers and checks."""

    name: str
    source: str
    target: str
    sync: tuple[str, ...]
    fill: Fill | None = None
    """Does at once what the move would do, where that may be done within the run."""

    def take_turn(self, wire: Wire) -> Turn:
        """The file need not wait when the table is there, kept in step, and holds no rows, or few that are filled in."""
        return _take_turn(wire, self)


def _take_turn(wire: Wire, move: Unmoved) -> Turn:
    """Whether a file has to wait for ``move`` now: not when its table is there, kept in step, and holds no rows, or few that are filled in."""
    never = f"the move {move.name} was never started here"
    try:
        ((table, lacking),) = wire.one(_FACTS, move.source, move.target, json.dumps(move.sync)).rows
        if table is None:
            return Turn(f"{never}, and its table {move.source} is not there")
        if lacking:
            return Turn(f"{never}, and what keeps both its sides in step is not in force: {lacking}")
        rows = _rows_of(wire, table)
    except ServerError as error:  # unknown is never empty
        return Turn(f"{never}, and whether {move.source} holds rows could not be told: {error.message}")
    if not rows:
        return Turn("", f"move {move.name} had nothing to move: {move.source} is empty")
    if move.fill is None or rows > FEW:
        return Turn(f"{never}, and {table} holds rows")
    try:
        apart = move.fill()
    except (LockgateError, ServerError) as error:
        apart = error.message
    if apart:
        return Turn(f"{never}, and the rows that {table} holds could not be filled in at once: {apart}")
    told = f"{counted(rows, 'row')} of {move.source} {agree(rows, 'was', 'were')} filled in, and both sides say the same"
    return Turn("", f"move {move.name}: {told}")


def surely_waited_for(wire: Wire, moves: Iterable[Unmoved]) -> frozenset[str]:
    """The names of ``moves`` whose tables hold rows already, or may: what waits for those need not be begun with."""
    return frozenset(move.name for move in moves if _has_rows_or_may(wire, move.source))


def _has_rows_or_may(wire: Wire, source: str) -> bool:
    try:
        table = wire.value("SELECT pg_catalog.to_regclass($1)::text", source)
        return table is not None and _rows_of(wire, table) > 0
    except ServerError:
        return True


def _rows_of(wire: Wire, table: str) -> int:
    """How many rows there are, counted to one more than ``FEW``; ``table`` as the server wrote it, quoted."""
    try:
        counting = f"SELECT pg_catalog.count(*) FROM (SELECT FROM {table} LIMIT {FEW + 1}) q"
        return int(wire.batch([*_BEGIN, Call(counting)])[-1].rows[0][0] or 0)
    finally:
        if wire.alive and not wire.idle:
            wire.one("ROLLBACK")
