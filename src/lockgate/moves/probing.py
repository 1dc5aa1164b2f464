"""Before a move starts: do its expressions run, do they give the same twice, and does the way back bring back what was there?

Asked of the first rows only, read-only and with a limit on time; what is found here would be found by the backfill later.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from lockgate.moves.declaration import Declaration
from lockgate.moves.functions import functions_of, mentions
from lockgate.moves.layout import Problem
from lockgate.moves.transforms import Map, Transform
from lockgate.postgres.link import Link
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.quoting import identifier
from lockgate.postgres.sqlstate import ServerError

ROWS = 5_000
LIMIT_MS = 10_000
_MOMENT = re.compile(
    r"\b(now|transaction_timestamp)\s*\(|\b(current_timestamp|current_date|current_time|localtimestamp|localtime|current_user|session_user)\b",
    re.IGNORECASE,
)
"""What is the same within one transaction and another one later; the rest shows when it is asked twice."""


class Expression(NamedTuple):
    """A column and the SQL that gives it, with the column's type."""

    column: str
    sql: str
    type: str


class Probed(NamedTuple):
    """What stands in the way, and what a person should know."""

    problems: list[Problem]
    notes: list[str]


def probe(
    link: Link,
    origin: str,
    forward: list[Expression],
    reverse: list[Expression],
    there: "tuple[Link, str] | None" = None,
) -> Probed:
    """Try the expressions of a move on the first rows of ``origin``. Changes nothing. ``reverse`` reads what ``forward`` gives.

    ``there`` is the target where it exists: a way back may read columns that the target generates itself; those are not tried on rows.
    """
    found = Probed([], [])
    named = [(f"[columns] {e.column}", e) for e in forward]
    for name, e in named:
        try:
            link.rows(f"EXPLAIN SELECT ({e.sql})::{e.type} FROM {origin}")
        except ServerError as error:
            found.problems.append(
                Problem(
                    f"{name} = {e.sql!r}: {error.message}",
                    "Expressions are SQL over the source's columns; name types and functions with their schema.",
                )
            )
    if found.problems:
        return found
    made = f"SELECT {listed(forward)} FROM s"
    tried = []
    for e in reverse:
        try:
            link.rows(
                f"EXPLAIN WITH s AS (SELECT * FROM {origin} LIMIT 0), f AS ({made}) SELECT ({e.sql})::{e.type} FROM f"
            )
            tried.append(e)
        except ServerError as error:
            if there is not None and _runs(*there, e):
                continue
            found.problems.append(
                Problem(
                    f"[reverse] {e.column} = {e.sql!r}: {error.message}",
                    "Expressions of the way back are SQL over the target's columns.",
                )
            )
    if found.problems:
        return found
    reverse = tried
    try:
        sent = _unhashed(link, {e.type for e in (*forward, *reverse)})
        first, second = _twice(link, origin, made, forward, sent)
        had, back = _round_trip(link, origin, made, reverse, sent) if reverse else ([], [])
    except ServerError as error:
        if error.sqlstate[:2] in ("22", "23"):
            found.notes.append(
                f"one of the first {ROWS} rows is refused ({error.message}): such rows go to quarantine, and block the end"
            )
            return found
        if error.sqlstate == "57014":
            found.notes.append(f"the first {ROWS} rows were not tried: it took longer than {LIMIT_MS} ms")
            return found
        raise
    for e, a, b in zip(forward, first, second, strict=True):
        if a != b or _MOMENT.search(e.sql):
            found.problems.append(
                Problem(
                    f"[columns] {e.column} = {e.sql!r} does not give the same twice",
                    "Both sides could never be compared: take a value that depends on the row alone.",
                )
            )
    for e, a, b in zip(reverse, had, back, strict=True):
        if a != b and not found.problems:
            found.problems.append(
                Problem(
                    f"the way back is lossy: [reverse] {e.column} = {e.sql!r} does not bring back what the first {ROWS} rows hold",
                    "Give a [reverse] that does, or one_way = true to go without a rollback; accept = ['lossy'] takes the loss knowingly.",
                    "lossy",
                )
            )
    return found


def _runs(link: Link, table: str, e: Expression) -> bool:
    try:
        link.rows(f"EXPLAIN SELECT ({e.sql})::{e.type} FROM {table}")
    except ServerError:
        return False
    return True


def of_mapping(mapping: Mapping) -> list[Expression]:
    """The expressions of one direction."""
    return [Expression(v.destination, v.expression, v.type) for v in mapping.values]


def of_sql(mapping: Mapping, columns: Map) -> list[Expression]:
    """The expressions of one direction that SQL gives: what a function makes stands nowhere before the move has begun."""
    return [e for e in of_mapping(mapping) if not isinstance(columns.get(e.column), Transform)]


def without(back: list[Expression], declared: Declaration) -> tuple[list[Expression], list[str]]:
    """The expressions of the way back that can be tried beforehand, and notes on those that read what a function makes."""
    made = functions_of(declared.columns)
    own = [e for e in back if not isinstance(declared.reverse.get(e.column), Transform)]
    untried = [e for e in own if any(mentions(e.sql, c) for c in made)]
    words = "reads what a Python function makes: whether it brings back what was there shows in the proof after the cutover"
    return [e for e in own if e not in untried], [f"[reverse] {e.column} = {e.sql!r} {words}" for e in untried]  # fmt: skip


def listed(expressions: list[Expression]) -> str:
    """The expressions as the columns of a SELECT."""
    return ", ".join(f"({e.sql})::{e.type} AS {identifier(e.column)}" for e in expressions)


def _unhashed(link: Link, types: set[str]) -> set[str]:
    """Those of ``types`` that the server has no hash for, by its own word: which ones these are differs from version to version."""
    built_in = sorted(t for t in types if "." not in t)

    def hashes(some: list[str]) -> bool:
        row = ", ".join(f"NULL::{t}" for t in some)
        try:
            link.rows(f"SELECT pg_catalog.hash_record_extended(ROW({row}), 1)")
        except ServerError:
            return False
        return True

    # Types of elsewhere, domains among them, are compared by their bytes.
    return types - ({*built_in} if hashes(built_in) else {t for t in built_in if hashes([t])})


def _sums(expressions: list[Expression], rows: str, sent: set[str]) -> str:
    """A sum over each column that is the same for equal values: 1.5 and 1.50 are, where the type has an equality."""
    sums = []
    for e in expressions:
        column = identifier(e.column)
        item = f"record_send(ROW({column}))" if e.type in sent else column
        sums.append(f"sum(pg_catalog.hash_record_extended(ROW({item}), 1))::text")
    return f"SELECT {', '.join(sums)} FROM {rows}"


@contextmanager
def still(link: Link) -> Iterator[None]:
    """One snapshot, and scans that begin at the beginning: the first rows are the same ones each time."""
    with link.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY"):
        link.run(
            f"SET LOCAL statement_timeout = '{LIMIT_MS}ms'; SET LOCAL synchronize_seqscans = off; SET LOCAL max_parallel_workers_per_gather = 0"
        )
        yield


def _twice(
    link: Link, origin: str, made: str, forward: list[Expression], sent: set[str]
) -> tuple[list[object], list[object]]:
    sql = f"WITH s AS MATERIALIZED (SELECT * FROM {origin} LIMIT {ROWS}), f AS MATERIALIZED ({made}) {_sums(forward, 'f', sent)}"
    with still(link):
        return list(link.rows(sql)[0]), list(link.rows(sql)[0])


def _round_trip(
    link: Link, origin: str, made: str, reverse: list[Expression], sent: set[str]
) -> tuple[list[object], list[object]]:
    sql = (
        f"WITH s AS MATERIALIZED (SELECT * FROM {origin} LIMIT {ROWS}), f AS MATERIALIZED ({made}), b AS MATERIALIZED (SELECT {listed(reverse)} FROM f)"
        f" SELECT a.*, b.* FROM ({_sums(reverse, 's', sent)}) a, ({_sums(reverse, 'b', sent)}) b"
    )
    with still(link):
        seen = list(link.rows(sql)[0])
    return seen[: len(reverse)], seen[len(reverse) :]
