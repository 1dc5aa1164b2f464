"""Parameters for a query: several sets of values that an application could send, none of them NULL. Pure text.

The values are SQL expressions that the scratch server evaluates once, at the revision at which the query first works; from
then on they are fixed, so that what fails later fails because of the schema.
"""

from collections.abc import Iterable, Sequence

from lockgate.postgres.placeholders import Query, Use
from lockgate.postgres.tables import ColumnOf, Table, quote
from lockgate.rehearsal.values import candidates, expression

FRESH = 910_001
"""The number of the first row that is made for an INSERT: above every row that is there."""
MOST = 12
"""How many sets a query is tried with."""
_VARIANTS = ("", "small", "large", "row")


def sets_of(query: Query, types: Sequence[str], tables: Iterable[Table], seed: int) -> list[list[str]]:
    """For each set of parameters the expression of each value, as text."""
    known = {(t.schema, t.name): t for t in tables}
    places = [_place(use, known) for use in query.uses]
    allowed = [_allowed(use, place) for use, place in zip(query.uses, places, strict=True)]
    count = min(MOST, len(_VARIANTS) + max(map(len, allowed), default=0)) if query.uses else 1
    made = []
    for number in range(count):
        variant = _VARIANTS[number] if number < len(_VARIANTS) else ""
        row = []
        for use, place, choices in zip(query.uses, places, allowed, strict=True):
            chosen = number - len(_VARIANTS)
            kind = types[use.number - 1] if use.number <= len(types) else "text"
            if chosen >= 0 and choices:
                row.append(choices[chosen % len(choices)])
            else:
                row.append(_value(use, place, kind, variant, seed, FRESH + number * 13))
        made.append([f"({text})::text" for text in row])
    return made


Place = tuple[Table, ColumnOf] | None


def _place(use: Use, known: dict[tuple[str, str], Table]) -> Place:
    for schema, name in use.relations:
        for table in [known.get((schema, name))] if schema else [t for t in known.values() if t.name == name]:
            if table is None:
                continue
            if use.position >= 0 and use.position < len(table.columns):
                return table, table.columns[use.position]
            for column in table.columns:
                if column.name == use.column:
                    return table, column
    return None


def _allowed(use: Use, place: Place) -> list[str]:
    """Values that the table's checks and enums speak of: together the whole of what was allowed before."""
    if place is None or use.role not in ("insert", "set"):
        return []
    table, column = place
    if column.labels:
        labels = [expression(column, str(i), 0) or "NULL" for i in range(len(column.labels))]
        return labels[: MOST - len(_VARIANTS)]
    return candidates(column, table.checks, "7")


def _value(use: Use, place: Place, kind: str, variant: str, seed: int, number: int) -> str:
    if use.role == "limit":
        return "10"
    if place is None:
        many = kind.endswith("[]")
        element = _bare(kind.removesuffix("[]"))
        column = ColumnOf("value", kind, f"_{element}" if many else element, category="A" if many else "S", element=element if many else "")  # fmt: skip
        plain = expression(column, "7", seed, "" if variant == "row" else variant)
        return plain or "'1'"
    table, column = place
    there = f"SELECT {quote(column.name)} FROM {table.quoted} WHERE {quote(column.name)} IS NOT NULL"  # noqa: S608
    fresh = expression(column, str(number), seed, "" if variant == "row" else variant) or "'1'"
    if use.role == "filter":
        value = f"COALESCE(({there} LIMIT 1 OFFSET 1), ({there} LIMIT 1), {fresh})"
        return f"ARRAY[{value}]" if use.many else value
    parent = next((f for f in table.foreign if column.name in f.columns), None)
    if parent is not None:
        key = quote(parent.refers[parent.columns.index(column.name)])
        fresh = f"(SELECT {key} FROM {quote(parent.schema)}.{quote(parent.table)} LIMIT 1)"  # noqa: S608
    first = next((c for c in table.columns if c.unique), None)
    if variant == "row" and not column.alone and column is not first:
        # What another row holds already: a new unique constraint shows. Of a key one column is enough to be new.
        return f"COALESCE(({there} LIMIT 1), {fresh})"
    return fresh


_BARE = {
    "bigint": "int8", "integer": "int4", "smallint": "int2", "boolean": "bool", "character varying": "varchar", "character": "bpchar",
    "double precision": "float8", "real": "float4", "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
    "time without time zone": "time", "time with time zone": "timetz",
}  # fmt: skip


def _bare(kind: str) -> str:
    return _BARE.get(kind, kind)
