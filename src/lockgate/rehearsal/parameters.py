"""Parameters for a query: several sets of values that an application could send, none of them NULL. Pure text.

The values are SQL expressions that the scratch server evaluates once, at the revision at which the query first works; from
then on they are fixed, so that what fails later fails because of the schema.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from lockgate.postgres.placeholders import Field, Query, Use
from lockgate.postgres.tables import ColumnOf, Table, quote
from lockgate.rehearsal.shapes import made_of
from lockgate.rehearsal.values import candidates, chosen, expression

FRESH = 910_001
"""The number of the first row that is made for an INSERT: above every row that is there."""
STEP = 13
"""How far apart the numbers of two sets are: as many rows as a set's INSERT may have, and no divisor of what values go round in."""
PAIRED = 1_000
"""How far above ``FRESH`` the keys of pairs begin."""
_SECOND = 500
"""How far above the keys of a pair's first call those of its second are: more than an INSERT has rows."""
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
    wanted = _wanted_of(query, known, types)
    every = [one for whole in wanted for one in whole.every]
    free = [*_PLAIN] if any(one.place is None and one.use.role != "limit" for one in every) else []
    variants = [*_VARIANTS, *free]
    spoken = max((len(_allowed(one.use, one.place)) for one in every), default=0)
    most = min(MOST + len(free), len(variants) + spoken) if query.uses else 1
    rows = _rows_of(wanted)
    made: list[list[list[str]]] = []
    for number in range(most):
        variant = variants[number] if number < len(variants) else ""
        row = [
            _made(one, variant, seed, FRESH + number * STEP + turn, number - len(variants))
            for one, turn in zip(wanted, rows, strict=True)
        ]
        made.append([_texts(row)])
    if _MEETS.search(query.text):
        row = [
            _made(one, THERE, seed, FRESH + most * STEP + turn)
            for one, turn in zip(wanted, rows, strict=True)
        ]
        made.append([_texts(row)])
    return made + _pairs(wanted, seed)


def _rows_of(wanted: "Sequence[Wanted]") -> list[int]:
    """The row of an INSERT of several rows that each parameter belongs to, from 0: how often its column came before.

    Keys of two rows of one statement differ, as an application's do.
    """
    seen: dict[tuple[str, str, str], int] = {}
    found = []
    for one in wanted:
        if one.use.role != "insert" or one.place is None:
            found.append(0)
            continue
        table, column = one.place
        place = (table.schema, table.name, column.name)
        found.append(seen.get(place, 0))
        seen[place] = found[-1] + 1
    return found


def absent_of(query: Query, types: Sequence[str], tables: Iterable[Table], seed: int) -> list[list[str]]:
    """One set of parameters, for one call, whose conditions look for keys that no row has."""
    known = {(t.schema, t.name): t for t in tables}
    wanted = _wanted_of(query, known, types)
    return [_texts(_made(one, ABSENT, seed, FRESH) for one in wanted)]


def _pairs(wanted: "Sequence[Wanted]", seed: int) -> list[list[list[str]]]:
    """Two inserts in a row, alike but for their keys: those that are unique by themselves, and all that are part of a key."""
    if not any(one.use.role == "insert" for whole in wanted for one in whole.every):
        return []
    turns = _rows_of(wanted)

    def row(step: int, *, whole: bool) -> list[str]:
        def made(one: Wanted, turn: int) -> str:
            def of_key(part: Wanted) -> int:
                column = part.place[1] if part.place else None
                key = column is not None and (column.unique if whole else column.alone)
                return FRESH + PAIRED + turn + (step if key else 0)

            return _made(one, "", seed, of_key)

        return _texts(made(one, turn) for one, turn in zip(wanted, turns, strict=True))

    return [[row(0, whole=whole), row(_SECOND, whole=whole)] for whole in (False, True)]


def _texts(row: Iterable[str]) -> list[str]:
    return [f"({text})::text" for text in row]


Place = tuple[Table, ColumnOf] | None


class Wanted(NamedTuple):
    """A parameter, where its value goes or comes from, and the type that the server gives it. ``parts`` are those of a document or row."""

    use: Use
    place: Place
    kind: str
    parts: "tuple[tuple[tuple[str | int, ...], Wanted], ...]" = ()

    @property
    def every(self) -> "Iterable[Wanted]":
        """What values are made for: its parts, or itself."""
        return [one for _, one in self.parts] if self.parts else [self]


def _wanted_of(query: Query, known: dict[tuple[str, str], Table], types: Sequence[str]) -> "list[Wanted]":
    found = []
    for use in query.uses:
        one = _fitting(use, known, types)
        found.append(one._replace(parts=tuple(_parts(use, known))))
    return found


def _parts(use: Use, known: dict[tuple[str, str], Table]) -> "Iterator[tuple[tuple[str | int, ...], Wanted]]":
    seen = set()
    for path, part, place, kind in parts_of(use, known):
        if path not in seen:
            seen.add(path)
            role = "insert" if part.role in ("within", "operand") and place is not None else part.role
            yield path, Wanted(part._replace(role=role), place, kind)


def parts_of(
    use: Use, known: dict[tuple[str, str], Table]
) -> "Iterator[tuple[tuple[str | int, ...], Use, Place, str]]":
    """The parts of a document or row: the path to each, what it stands for, its place, the type that the query gives it ("" for none)."""
    for field in use.fields:
        row = None if field.record is None else _relation(field.record, known)
        if field.record is not None and row is None:
            continue  # no row of a type that is known here
        if field.path[-1] == "*":
            yield from _all_columns(use.number, field, row, known)
            continue
        if row is not None and all(column.name != field.path[-1] for column in row.columns):
            continue  # the bare name was one of another source
        part = Use(use.number, field.role, field.relations, field.column, field.position)
        yield field.path, part, place_of(part, known), field.kind


def _all_columns(
    number: int, field: Field, row: Table | None, known: dict[tuple[str, str], Table]
) -> "Iterator[tuple[tuple[str | int, ...], Use, Place, str]]":
    for step, column in enumerate(row.columns if row else ()):
        name = field.names[step] if step < len(field.names) else ""
        position = -1 if name else field.position + step
        part = Use(number, field.role, field.relations, name, position)
        yield (*field.path[:-1], column.name), part, place_of(part, known), column.type


def _relation(name: tuple[str, str], known: dict[tuple[str, str], Table]) -> Table | None:
    schema, bare = name
    return next((t for t in known.values() if t.name == bare and schema in ("", t.schema)), None)


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
            return Wanted(use, None, kind)
        return Wanted(use._replace(role="insert", many=many), place, kind)
    if place is not None and place[1].category == "A" and not kind.endswith("[]") and "array" not in kind:
        return Wanted(use, None, kind)  # one of its elements, as in `$1 = ANY (flags)`
    return Wanted(use, place, kind)


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


def _made(
    one: Wanted, variant: str, seed: int, number: "int | Callable[[Wanted], int]", turn: int = -1
) -> str:
    """The value of a parameter: for ``turn`` from 0 on one of those that are allowed, else for ``variant``; of a document or row, of all its parts."""
    if one.parts and variant not in _PLAIN:
        leaves = [
            (path, f"pg_catalog.to_jsonb(({_made(part, variant, seed, number, turn)})::{_type_of(part)})")
            for path, part in one.parts
        ]
        return made_of(leaves, one.kind)
    choices = _allowed(one.use, one.place) if turn >= 0 else []
    if choices:
        return choices[turn % len(choices)]
    count = number if isinstance(number, int) else number(one)
    return _value(one.use, one.place, one.kind or "text", variant, seed, count)


def _type_of(part: Wanted) -> str:
    return part.kind or "text" if part.place is None or part.use.many else part.place[1].type


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


_TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})


def fits(column: ColumnOf, kind: str) -> bool:
    """Whether a parameter of type ``kind`` is a value of the column, or an array of such."""
    bare = _bare(kind.removesuffix("[]") if column.category != "A" else kind)
    return bare in (column.base, column.type) or {bare, column.base} <= _TEXTS
