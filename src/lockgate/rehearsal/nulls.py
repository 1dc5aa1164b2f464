"""NULL that a release may send: the parameters of a query are never NULL by themselves, and a new NOT NULL refuses only that.

Each parameter that a query writes into a column that may hold NULL, as it is, through functions or as an operand, is tried with
NULL where the query first works; of an array that is written in rows, an element; of a JSON document or a row, the part.
A column that it copies from rows into rows is tried with NULL in these rows.
What worked then and fails later is in doubt: whether the release ever sends NULL, only the rows of production show, by
their share of NULLs in that column. What files do to old rows, and moves, does not matter: it is about rows yet to come.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from lockgate.postgres.placeholders import Query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import ColumnOf, Table, quote
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.compatibility import BREAKS, COMPATIBLE, HOLD
from lockgate.rehearsal.likeness import percent
from lockgate.rehearsal.older import Refusal
from lockgate.rehearsal.parameters import parts_of, place_of
from lockgate.rehearsal.shapes import without
from lockgate.rehearsal.trials import Trial, error_of

MOST = 8
"""How many parameters of a query are tried with NULL one at a time; more are tried together, and by themselves where that fails."""
MOST_COPIED = 40
"""How many columns that a query copies are tried."""
_NO_REFERENCE = "23503"
_WRITTEN = ("insert", "set", "within", "operand")
_INSIDE = ("within", "operand")

Execute = Callable[[Trial], list[str]]
Share = Callable[[Table, ColumnOf], float | None]


Ways = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
"""Calls with NULL, each beside those of the same values without it."""
Hole = tuple[int, tuple[str | int, ...]]
"""What is NULL: a parameter by its number, and the path to a part of it, () for the whole."""
Written = tuple[tuple[Hole, ...], Table, ColumnOf]
"""The parameters that make one value, and where it is written to."""


class Sent(msgspec.Struct, frozen=True):
    """A NULL that a query could send where it first worked. ``table`` and ``column`` as they were called then.

    ``known`` is the share of production's rows that hold NULL there, None where nobody knows. ``copied`` says that it is one in a row, which the query copies.
    """

    table: str
    column: str
    ways: Ways
    known: float | None = None
    copied: bool = False


class Together(msgspec.Struct, frozen=True):
    """NULLs that were sent all at once; each is looked at by itself where that fails."""

    ways: Ways
    each: tuple[Sent, ...]


def written(query: Query, tables: Iterable[Table]) -> list[Written]:
    """The parameters that the query writes into a column that may hold NULL, of several rows the first one's. Pure."""
    known = {(t.schema, t.name): t for t in tables}
    found: dict[tuple[int, str, str], Written] = {}
    for use in query.uses:
        parts = [(path, part, place) for path, part, place, _ in parts_of(use, known)]
        of_rows = any(field.record for field in use.fields) and parts
        for path, part, place in parts if of_rows else [((), use, place_of(use, known)), *parts]:
            if place is None or part.role not in _WRITTEN:
                continue
            if place[1].not_null and not (part.role in _INSIDE and _may_hold_inside(place[1])):
                continue
            key = (place[0].oid, place[1].name, part.role)
            # coalesce($1, $2) is NULL only where both are.
            before = found[key][0] if key in found and part.role == "within" else ()
            if before or key not in found:
                found[key] = ((*before, (use.number, path)), *place)
    return list(found.values())


def _may_hold_inside(column: ColumnOf) -> bool:
    """Whether a value of the column, which is not NULL, may have NULL inside: a row, a document, an array."""
    return column.category in ("C", "A") or column.base in ("json", "jsonb")


def copies(query: Query, tables: Iterable[Table]) -> list[tuple[Table, ColumnOf]]:
    """The columns that may hold NULL among those that the query copies from rows into rows. Pure."""
    rows = [t for t in tables if t.kind in "rp"]
    found: dict[tuple[int, str], tuple[Table, ColumnOf]] = {}
    for copied in query.copied:
        for table in rows:
            if not {(table.schema, table.name), ("", table.name)}.intersection(copied.relations):
                continue
            for column in table.columns:
                if copied.column in ("*", column.name) and not column.not_null and not column.generated:
                    found[table.oid, column.name] = (table, column)
    return list(found.values())[:MOST_COPIED]


def emptying(table: Table, column: ColumnOf) -> tuple[str, str, str]:
    """Statements that put NULL into a column of every row, past triggers and foreign keys; the second one does it."""
    quiet = "SET LOCAL session_replication_role = {}"
    change = f"UPDATE {table.quoted} SET {quote(column.name)} = NULL"  # noqa: S608 - quoted
    return (quiet.format("replica"), change, quiet.format("origin"))


def sendable(
    wire: Wire,
    query: Query,
    types: Sequence[str],
    sets: Sequence[Trial],
    execute: Execute,
    tables: Iterable[Table],
    share: Share,
) -> list[Sent | Together]:
    """The NULLs with which the prepared query works now; the other values are those of its first set and its last."""
    single = [trial[0] for trial in sets if len(trial) == 1]
    # The last one meets a row that is there already where the query says ON CONFLICT.
    rows = [single[0], *([single[-1]] if len(single) > 1 else [])] if single else []

    wanted = written(query, tables)
    # Of an array whose elements are written in rows of their own, one of them is NULL.
    arrays = {
        number
        for holes, _, column in wanted
        for number, path in holes
        if not path and column.category != "A" and types[number - 1].endswith("[]")
    }

    def emptied(number: int, value: str | None, paths: Sequence[tuple[str | int, ...]]) -> str | None:
        if () in paths or value is None:
            return "{NULL}" if number in arrays else None
        for path in paths:
            value = _without(wire, value, path, types[number - 1])
        return value

    def ways(*holes: Hole) -> Ways:
        at: dict[int, list[tuple[str | int, ...]]] = {}
        for number, path in holes:
            at.setdefault(number, []).append(path)
        sent = [
            [emptied(n, value, at[n]) if n in at else value for n, value in enumerate(row, 1)] for row in rows
        ]
        return tuple(
            (tuple(execute([with_null])), tuple(execute([row])))
            for with_null, row in zip(sent, rows, strict=True)
        )

    def working(*holes: Hole) -> Ways:
        return tuple(way for way in ways(*holes) if error_of(wire, way[0]) is None)

    one = [Sent(t.key, c.name, working(*holes), share(t, c)) for holes, t, c in wanted[:MOST]]
    for t, c in copies(query, tables):
        # Past triggers and foreign keys where that is allowed: it takes a superuser.
        for before in (emptying(t, c), emptying(t, c)[1:2]):
            held = [((*before, *execute([row])), tuple(execute([row]))) for row in rows]
            found_working = tuple(way for way in held if error_of(wire, way[0]) is None)
            if found_working:
                one.append(Sent(t.key, c.name, found_working, share(t, c), copied=True))
                break
    found: list[Sent | Together] = [sent for sent in one if sent.ways]
    rest = wanted[MOST:]
    together = working(*(hole for holes, _, _ in rest for hole in holes)) if rest else ()
    if together:
        each = tuple(Sent(t.key, c.name, ways(*holes), share(t, c)) for holes, t, c in rest)
        found.append(Together(together, each))
    return found


def _without(wire: Wire, value: str, path: tuple[str | int, ...], kind: str) -> str:
    """The document or row ``value`` with NULL at ``path``; as it is where it has no such part."""
    try:
        return wire.value(f"SELECT {without(value, path, kind)}") or value
    except ServerError:
        return value


def refusal(wire: Wire, sent: Iterable[Sent | Together]) -> Refusal | None:
    """What becomes of the prepared query, which works with its own values, when it sends one of these NULLs; None for nothing.

    The answer is compatible, with the reason, where production holds no NULL in any column that refuses it.
    """
    told: dict[str, dict[str, str]] = {}
    for found in sent:
        if _refused(wire, found.ways) is None:
            continue
        for one in found.each if isinstance(found, Together) else (found,):
            error = _refused(wire, one.ways)
            if error is not None:
                answer, message = judged(one, error.message)
                told.setdefault(answer, {}).setdefault(message, error.sqlstate)
    for answer in (BREAKS, HOLD, COMPATIBLE):
        if answer in told:
            return Refusal(answer, next(iter(told[answer].values())), "; ".join(told[answer]))
    return None


def judged(sent: Sent, message: str) -> tuple[str, str]:
    """The answer that follows from the server's ``message`` to a NULL that was sent, and its words. Pure."""
    name = f"{sent.table}.{sent.column}"
    fails = f"fails when the release sends NULL for {name}"
    if sent.copied:
        fails = f"fails when it copies NULL from {name}"
        mend = f"fill {sent.column} in before, or show with --snapshot that no row holds NULL there"
        if sent.known is None:
            return HOLD, f"{fails}, and nothing shows whether a row holds it: {message}; {mend}"
    if sent.known is None:
        return HOLD, f"{fails}, and nothing shows whether it does: {message}; let no release that stays alive send it, or show with --snapshot that no row holds one"  # fmt: skip
    if sent.known > 0:
        share = percent(sent.known)
        return BREAKS, f"{fails}, and {share} of the rows of {sent.table} hold NULL in {sent.column}: {message}"  # fmt: skip
    return COMPATIBLE, f"{fails}, which no row of production shows"


def _refused(wire: Wire, ways: Ways) -> ServerError | None:
    """The error that the NULL meets now and the same values without it do not."""
    for calls, ordinary in ways:
        error = error_of(wire, calls)
        if error is None:
            continue
        before = calls[: len(calls) - len(ordinary)]
        if before and error_of(wire, before) is not None:
            continue  # no row can hold the NULL any more
        other = error_of(wire, ordinary)
        # Rows to which the values refer may be gone by now, which is looked at elsewhere and says nothing of the NULL.
        if other is None or (other.sqlstate == _NO_REFERENCE != error.sqlstate):
            return error
    return None
