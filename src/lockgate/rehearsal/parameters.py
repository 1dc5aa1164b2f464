"""Parameters for a query: several sets of values that an application could send, none of them NULL. Pure text.

The values are SQL expressions that the scratch server evaluates once, at the revision at which the query first works; from
then on they are fixed, so that what fails later fails because of the schema.
"""

import re
from collections.abc import Iterable, Sequence

from lockgate.postgres.placeholders import Query, Use
from lockgate.postgres.tables import ColumnOf, Table, quote
from lockgate.rehearsal.values import candidates, chosen, expression

FRESH = 910_001
"""The number of the first row that is made for an INSERT: above every row that is there."""
PAIRED = 1_000
"""How far above ``FRESH`` the keys of pairs begin."""
MOST = 12
"""How many sets a query is tried with."""
_VARIANTS = ("", "small", "large", "row")
THERE = "there"
"""The variant of a row whose keys are there already: what ON CONFLICT and MERGE do with it is done."""
ABSENT = "absent"
"""The variant of a condition that no row meets."""
_MEETS = re.compile(r"\bon\s+conflict\b|\bmerge\s+into\b", re.I)
_PLAIN = {"number": "7", "unit": "day", "date": "2024-02-03", "list": "[]", "zone": "UTC"}
"""What a text may have to be where no column says it: variants that are tried where the others fail."""


def sets_of(query: Query, types: Sequence[str], tables: Iterable[Table], seed: int) -> list[list[list[str]]]:
    """Sets of parameters to try the query with: each is one call or two in a row, each call the expression of each value, as text.

    The two calls of a pair differ in keys only, as two inserts of an application may: a new unique constraint shows.
    """
    known = {(t.schema, t.name): t for t in tables}
    wanted = [_fitting(use, known, types) for use in query.uses]
    allowed = [_allowed(use, place) for use, place, _ in wanted]
    free = [*_PLAIN] if any(place is None and use.role != "limit" for use, place, _ in wanted) else []
    variants = [*_VARIANTS, *free]
    most = min(MOST + len(free), len(variants) + max(map(len, allowed), default=0)) if query.uses else 1
    made: list[list[list[str]]] = []
    for number in range(most):
        variant = variants[number] if number < len(variants) else ""
        turn = number - len(variants)
        row = [
            choices[turn % len(choices)]
            if turn >= 0 and choices
            else _value(use, place, kind, variant, seed, FRESH + number * 13)
            for (use, place, kind), choices in zip(wanted, allowed, strict=True)
        ]
        made.append([_texts(row)])
    if _MEETS.search(query.text):
        row = [_value(use, place, kind, THERE, seed, FRESH + most * 13) for use, place, kind in wanted]
        made.append([_texts(row)])
    return made + _pairs(wanted, seed)


def absent_of(query: Query, types: Sequence[str], tables: Iterable[Table], seed: int) -> list[list[str]]:
    """One set of parameters, for one call, whose conditions look for keys that no row has."""
    known = {(t.schema, t.name): t for t in tables}
    wanted = [_fitting(use, known, types) for use in query.uses]
    return [_texts(_value(use, place, kind, ABSENT, seed, FRESH) for use, place, kind in wanted)]


def _pairs(wanted: "Sequence[Wanted]", seed: int) -> list[list[list[str]]]:
    """Two inserts in a row, alike but for their keys: those that are unique by themselves, and all that are part of a key."""
    if not any(use.role == "insert" for use, _, _ in wanted):
        return []
    number = FRESH + PAIRED

    def row(step: int, *, whole: bool) -> list[str]:
        values = []
        for use, place, kind in wanted:
            column = place[1] if place else None
            key = column is not None and (column.unique if whole else column.alone)
            values.append(_value(use, place, kind, "", seed, number + (step if key else 0)))
        return _texts(values)

    return [[row(0, whole=whole), row(1, whole=whole)] for whole in (False, True)]


def _texts(row: Iterable[str]) -> list[str]:
    return [f"({text})::text" for text in row]


Place = tuple[Table, ColumnOf] | None
Wanted = tuple[Use, Place, str]
"""A parameter, where its value goes or comes from, and the type that the server gives it."""


def place_of(use: Use, known: dict[tuple[str, str], Table]) -> Place:
    """The table and column that a parameter belongs to, None where that cannot be told."""
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


def _fitting(use: Use, known: dict[tuple[str, str], Table], types: Sequence[str]) -> Wanted:
    """A parameter inside an expression is of its column only where it has the same type: ``day + $1`` may be a number."""
    place = place_of(use, known)
    kind = types[use.number - 1] if use.number <= len(types) else "text"
    if use.role in ("within", "operand") and place is not None:
        many = kind.endswith("[]") and place[1].category != "A"
        if _bare(kind.removesuffix("[]") if many else kind) not in (place[1].base, place[1].type):
            return use, None, kind
        return use._replace(role="insert", many=many), place, kind
    return use, place, kind


def _allowed(use: Use, place: Place) -> list[str]:
    """Values that the table's checks and enums speak of: together the whole of what was allowed before."""
    if place is None:
        return []
    table, column = place
    if column.labels and use.role in ("insert", "set", "filter"):
        # Looked for, too: a label that is renamed or gone is no value any more, whatever rows hold.
        labels = [expression(column, str(i), 0) or "NULL" for i in range(len(column.labels))]
        return [f"ARRAY[{label}]" if use.many else label for label in labels[: MOST - len(_VARIANTS)]]
    if use.many or use.role not in ("insert", "set"):
        return []
    return chosen(column, "7") or candidates(column, table.checks, "7")


def _value(use: Use, place: Place, kind: str, variant: str, seed: int, number: int) -> str:
    one = _one_value(use, place, kind, variant, seed, number)
    return f"ARRAY[{one}]" if use.many and place is not None else one


def _one_value(use: Use, place: Place, kind: str, variant: str, seed: int, number: int) -> str:
    if use.role == "limit":
        return "10"
    if place is None:
        many = kind.endswith("[]")
        element = _bare(kind.removesuffix("[]"))
        column = ColumnOf("value", kind, f"_{element}" if many else element, category="A" if many else "S", element=element if many else "")  # fmt: skip
        if element in ("text", "varchar", "json", "jsonb") and variant in _PLAIN:
            return f"ARRAY['{_PLAIN[variant]}']" if many else f"'{_PLAIN[variant]}'"
        plain = expression(column, "7", seed, "" if variant in ("row", THERE, ABSENT, *_PLAIN) else variant)
        return plain or "'1'"
    table, column = place
    there = f"SELECT {quote(column.name)} FROM {table.quoted} WHERE {quote(column.name)} IS NOT NULL"  # noqa: S608
    ordinary = variant in ("row", THERE, ABSENT)
    fresh = expression(column, str(number), seed, "" if ordinary else variant) or "NULL"
    if not column.plain and column.choices:
        fresh = chosen(column, str(number))[0]
    if use.role == "filter" and variant == ABSENT and column.unique:
        return fresh
    if use.role == "filter":
        return f"COALESCE(({there} LIMIT 1 OFFSET 1), ({there} LIMIT 1), {fresh})"
    parent = next((f for f in table.foreign if column.name in f.columns), None)
    if parent is not None:
        key = quote(parent.refers[parent.columns.index(column.name)])
        fresh = f"(SELECT {key} FROM {quote(parent.schema)}.{quote(parent.table)} LIMIT 1)"  # noqa: S608
    if variant == THERE and column.unique:
        return f"COALESCE(({there} LIMIT 1), {fresh})"
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
