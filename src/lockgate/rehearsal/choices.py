"""Which values a column's own checks accept: the candidates are tried on the server before any row is made of them.

Each column is settled by itself, so that a table with many checks needs no luck: a row satisfies what stands on one
column by construction, and only checks over several columns are left to the WHERE of the filling.
"""

from collections.abc import Iterable

import msgspec

from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import ColumnOf, Table, quote
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.values import NUMBER, candidates, expression

MOST = 12
"""How many values are kept for a column."""
_SAMPLES = "(VALUES (7::bigint), (12), (910001)) sample(g)"

_Key = tuple[str, str, tuple[str, ...], tuple[str, ...], bool]


class Choices:
    """Remembers what it found, for tables are read again and again. ``wire`` is a session on the scratch database."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[_Key, tuple[bool, tuple[str, ...]]] = {}

    def settle(self, wire: Wire, tables: Iterable[Table]) -> list[Table]:
        """The tables, their columns with the values that their own checks accept."""
        return [self._table(wire, table) for table in tables]

    def _table(self, wire: Wire, table: Table) -> Table:
        if not any(column.checks or column.domain for column in table.columns):
            return table
        return msgspec.structs.replace(
            table, columns=tuple(self._column(wire, column) for column in table.columns)
        )

    def _column(self, wire: Wire, column: ColumnOf) -> ColumnOf:
        if not column.checks and not column.domain:
            return column
        key = (column.name, column.type, column.checks, column.domain, column.unique)
        if key not in self._known:
            self._known[key] = self._found(wire, column)
        plain, choices = self._known[key]
        return msgspec.structs.replace(column, plain=plain, choices=choices)

    def _found(self, wire: Wire, column: ColumnOf) -> tuple[bool, tuple[str, ...]]:
        ordinary = expression(column, NUMBER, self._seed)
        plain = ordinary is not None and _accepted(wire, column, ordinary)
        found: list[str] = []
        for text in candidates(column, column.checks, NUMBER):
            if len(found) < MOST and _accepted(wire, column, text):
                found.append(text)
        return plain, tuple(found)


def _accepted(wire: Wire, column: ColumnOf, text: str) -> bool:
    """Whether the checks accept the value for every sampled number; what the server cannot even make is not accepted."""
    told = " AND ".join(f"(({check}) IS NOT FALSE)" for check in column.checks) or "true"
    made = text.replace(NUMBER, "sample.g")
    asked = f"SELECT pg_catalog.bool_and({told} AND {quote(column.name)} IS NOT NULL) FROM (SELECT {made} AS {quote(column.name)} FROM {_SAMPLES}) made"  # noqa: S608
    try:
        return wire.value(asked) == "t"
    except ServerError:
        return False
