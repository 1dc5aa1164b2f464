"""Values on the far side of what a CHECK says, and values that are alike but not the same: what an application may send and a sample does not hold.

Pure text: SQL for the scratch server, which says of each whether the column takes it and whether the check refuses it.
"""

from collections.abc import Iterable

from lockgate.postgres.tables import ColumnOf, literal
from lockgate.rehearsal.values import about, candidates, numbers_in, words_in

MOST = 40
"""How many values are tried for a column."""
_LONGEST = 20_000
"""Of texts that are made because a check speaks of their length; a limit beyond it is taken for one that nobody meets."""
_OUTSIDE = {
    "N": ("0", "-1", "-1000000"),
    "S": ("''", "' '", "'?'", "'lockgate'"),
    "D": ("'1900-01-01'", "'2999-12-31'", "'00:00'", "'23:59:59'"),
    "T": ("'0'", "'-1 day'", "'1000 days'"),
    "B": ("false", "true"),
    "A": ("'{}'",),
    "R": ("'empty'", "'(,)'"),
}
"""Category of a type → what checks commonly leave out."""
_OF_TYPE = {
    "json": ("'{}'", "'[]'", "'null'", """'"text"'"""),
    "jsonb": ("'{}'", "'[]'", "'null'", """'"text"'"""),
    "uuid": ("'00000000-0000-0000-0000-000000000000'",),
    "bytea": ("''",),
}
_DAYS = ("date", "timestamp", "timestamptz")


def far(column: ColumnOf, condition: str, ordinary: str | None) -> list[str]:
    """SQL for values around each literal of ``condition`` and for what such conditions commonly refuse; of texts also ``ordinary`` in other cases and with blanks."""
    parts = about(column, (condition,))
    found: list[str] = []
    for part in parts:
        words = words_in(part)
        if column.category == "N":
            numbers = [*numbers_in(part), *(number for word in words for number in numbers_in(word))]
            found += [f"({number} + {step})" for number in numbers for step in (0, 1, -1)]
        elif column.base in _DAYS:
            # A date and a number of days is a date, so it is made of a timestamp.
            found += [
                f"({literal(word)}::timestamptz + interval '{step} days')"
                for word in words
                for step in (0, -1, 1)
            ]
        elif column.category == "S":
            lengths = [int(n) for n in numbers_in(part) if n.isdigit() and int(n) <= _LONGEST]
            found += [f"repeat('x', {n + step})" for n in lengths for step in (0, 1, -1) if n + step > 0]
        else:
            found += map(literal, words)
    found += _OF_TYPE.get(column.base, _OUTSIDE.get(column.category, ()))
    found += map(literal, column.labels)
    if column.category == "S":
        found += [] if ordinary is None else like(column, ordinary)
        found += [f"({text})" for text in candidates(column, (condition,), "7")]
    return [f"({text})::{kind_of(column)}" for text in dict.fromkeys(found)][:MOST]


def kind_of(column: ColumnOf) -> str:
    """The type to make a value of the column as: behind a domain, whose checks are not to refuse it before it is sent, and with the digits that it is written with."""
    return column.base if column.domain or column.base == "numeric" else column.type


def like(column: ColumnOf, value: str) -> list[str]:
    """SQL for values that differ from ``value`` in what an index on an expression may pass over: case, blanks, sign, a second."""
    one = literal(value)
    if column.category in ("S", "U") and column.base not in _OF_TYPE:
        return [f"upper({one})", f"lower({one})", f"initcap({one})", f"{one} || ' '", f"' ' || {one}"]
    if column.category == "N":
        return [f"-({one}::{kind_of(column)})", f"{one}::{kind_of(column)} + 0.1"]
    if column.base in _DAYS:
        return [f"{one}::{kind_of(column)} + interval '{step} second'" for step in (1, -1)]
    return []


def swapped(columns: Iterable[ColumnOf]) -> list[tuple[int, int]]:
    """Which of ``columns``, by their turn, may hold each other's values: a check may compare them."""
    listed = list(columns)
    return [
        (first, second)
        for first, one in enumerate(listed)
        for second, other in enumerate(listed)
        if first < second and one.base == other.base and one.name != other.name
    ]
