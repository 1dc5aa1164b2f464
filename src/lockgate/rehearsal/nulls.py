"""NULL that a release may send: the parameters of a query are never NULL by themselves, and a new NOT NULL refuses only that.

Each parameter that a query writes into a column that may hold NULL, as it is or through functions, is tried with NULL where
the query first works; of an array that is written in rows, an element. What adds to a value that is there is not tried.
What worked then and fails later is in doubt: whether the release ever sends NULL, only the rows of production show, by
their share of NULLs in that column. What files do to old rows, and moves, does not matter: it is about rows yet to come.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from lockgate.postgres.placeholders import Query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import ColumnOf, Table
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.compatibility import BREAKS, COMPATIBLE, HOLD
from lockgate.rehearsal.likeness import percent
from lockgate.rehearsal.older import Refusal
from lockgate.rehearsal.parameters import place_of
from lockgate.rehearsal.trials import Trial, error_of

MOST = 8
"""How many parameters of a query are tried with NULL one at a time; more are tried together, and by themselves where that fails."""
_NO_REFERENCE = "23503"
_WRITTEN = ("insert", "set", "within")

Execute = Callable[[Trial], list[str]]
Share = Callable[[Table, ColumnOf], float | None]


Ways = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
"""Calls with NULL, each beside those of the same values without it."""
Written = tuple[tuple[int, ...], Table, ColumnOf]
"""The numbers of parameters that make one value, and where it is written to."""


class Sent(msgspec.Struct, frozen=True):
    """A NULL that a query could send where it first worked. ``table`` and ``column`` as they were called then.

    ``known`` is the share of production's rows that hold NULL there, None where nobody knows.
    """

    table: str
    column: str
    ways: Ways
    known: float | None = None


class Together(msgspec.Struct, frozen=True):
    """NULLs that were sent all at once; each is looked at by itself where that fails."""

    ways: Ways
    each: tuple[Sent, ...]


def written(query: Query, tables: Iterable[Table]) -> list[Written]:
    """The parameters that the query writes into a column that may hold NULL, of several rows the first one's. Pure."""
    known = {(t.schema, t.name): t for t in tables}
    found: dict[tuple[int, str, str], Written] = {}
    for use in query.uses:
        place = place_of(use, known) if use.role in _WRITTEN else None
        if place is None or place[1].not_null:
            continue
        key = (place[0].oid, place[1].name, use.role)
        # coalesce($1, $2) is NULL only where both are.
        before = found[key][0] if key in found and use.role == "within" else ()
        if before or key not in found:
            found[key] = ((*before, use.number), *place)
    return list(found.values())


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
        for numbers, _, column in wanted
        for number in numbers
        if column.category != "A" and types[number - 1].endswith("[]")
    }

    def ways(*numbers: int) -> Ways:
        nulls = {number: "{NULL}" if number in arrays else None for number in numbers}
        sent = [[nulls.get(n, value) for n, value in enumerate(row, 1)] for row in rows]
        return tuple(
            (tuple(execute([with_null])), tuple(execute([row])))
            for with_null, row in zip(sent, rows, strict=True)
        )

    def working(*numbers: int) -> Ways:
        return tuple(way for way in ways(*numbers) if error_of(wire, way[0]) is None)

    one = [Sent(t.key, c.name, working(*numbers), share(t, c)) for numbers, t, c in wanted[:MOST]]
    found: list[Sent | Together] = [sent for sent in one if sent.ways]
    rest = wanted[MOST:]
    together = working(*(number for numbers, _, _ in rest for number in numbers)) if rest else ()
    if together:
        each = tuple(Sent(t.key, c.name, ways(*numbers), share(t, c)) for numbers, t, c in rest)
        found.append(Together(together, each))
    return found


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
    if sent.known is None:
        return HOLD, f"{fails}, and nothing shows whether it does: {message}; let no release that stays alive send it, or show with --snapshot that no row holds one"  # fmt: skip
    if sent.known > 0:
        share = percent(sent.known)
        return BREAKS, f"{fails}, and {share} of the rows of {sent.table} hold NULL in {sent.column}: {message}"  # fmt: skip
    return COMPATIBLE, f"{fails}, which no row of production shows"


def _refused(wire: Wire, ways: Ways) -> ServerError | None:
    """The error that the NULL meets now and the same values without it do not."""
    for calls, without in ways:
        error = error_of(wire, calls)
        if error is None:
            continue
        other = error_of(wire, without)
        # Rows to which the values refer may be gone by now, which is looked at elsewhere and says nothing of the NULL.
        if other is None or (other.sqlstate == _NO_REFERENCE != error.sqlstate):
            return error
    return None
