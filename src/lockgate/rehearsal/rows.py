"""Rows for the tables of a scratch database: one INSERT ... SELECT a table, parents before children. Pure text.

A row that a check refuses is left out by the statement itself (the check stands in its WHERE), so what is inserted
respects checks, foreign keys, unique keys and the bounds of partitions, or is not inserted.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from zlib import crc32

from lockgate.postgres.tables import ColumnOf, ForeignKey, Table, quote
from lockgate.rehearsal.likeness import Likeness, alike, different, with_nulls
from lockgate.rehearsal.values import candidates, chosen, expression

_PARENTS = 10_000
"""From how many rows of a parent children choose."""
NOTHING_KNOWN: Mapping[str, Likeness] = MappingProxyType({})
_TRIES = 8
"""Candidates for each row that is wanted, where a condition may refuse some."""
_MIXED = 5_000
"""Candidates at least where values are mixed: a condition over three columns finds one in a hundred."""


def in_order(tables: Iterable[Table]) -> list[Table]:
    """Parents before children; what is left of a circle comes last, in the order given."""
    waiting = {(t.schema, t.name): t for t in tables}
    done: list[Table] = []
    while waiting:
        ready = [
            table
            for name, table in waiting.items()
            if not any((f.schema, f.table) in waiting and (f.schema, f.table) != name for f in table.foreign)
        ] or list(waiting.values())
        for table in ready:
            done.append(table)
            del waiting[table.schema, table.name]
    return done


def fill(
    table: Table,
    count: int,
    seed: int,
    *,
    guided: bool = True,
    bare: bool = False,
    mixed: bool = False,
    alone: bool = False,
    like: Mapping[str, Likeness] = NOTHING_KNOWN,
) -> str | None:
    """The statement that puts up to ``count`` rows into ``table`` if it is empty; None when a column that must be given cannot be.

    ``guided`` lets the values that checks mention in; where one of them does not fit its type, try without. ``bare`` gives
    only what must be given. ``mixed`` draws every column that a condition names by itself, from all that is thought of for it and NULL,
    which conditions over several columns need. ``like`` says of columns what they are like in production. ``alone`` is for a single row into a table with a deferrable key, which knows no ON CONFLICT.
    """
    given, sources, joins = [], [], []
    foreign = {name: (number, f) for number, f in enumerate(table.foreign) for name in f.columns}
    conditions = tuple(c for c in (*table.checks, table.partition) if c)
    left_out: list[ColumnOf] = []
    for column in table.columns:
        if column.generated or column.identity or column.sequence:
            left_out.append(column)
            continue
        if bare and (column.default or not column.not_null):
            left_out.append(column)
            continue
        drawn = mixed and any(speaks_of(c, column) for c in conditions)
        if column.name in foreign:
            made = _from_parent(column, *foreign[column.name], table)
            if drawn and made is not None and not column.not_null:
                made = _drawn(column, [made, f"NULL::{column.type}"])
        elif drawn:
            made = _drawn(column, _thought_of(column, conditions, seed))
        else:
            made = _guided(column, conditions if guided else (), seed, like.get(column.name), count)
        if made is not None and column.name in like:
            made = with_nulls(made, column, like[column.name])
        if made is None:
            if column.not_null and not column.default:
                return None
            left_out.append(column)
            continue
        given.append(column.name)
        sources.append(f"{made} AS {quote(column.name)}")
    used = {foreign[name][0] for name in given if name in foreign}
    joins = [
        _join(number, f, _parents(f, like, count)) for number, f in enumerate(table.foreign) if number in used
    ]
    # What is left out is NULL; of what the server fills in by itself nothing can be said here.
    conditions = tuple(c for c in conditions if not any(speaks_of(c, x) for x in left_out if _filled(x)))
    nulls = [
        f"NULL::{x.type} AS {quote(x.name)}"
        for x in left_out
        if not _filled(x) and any(speaks_of(c, x) for c in conditions)
    ]
    wanted = count * (_TRIES if conditions else 1)
    wanted = max(wanted, _MIXED) if mixed else wanted
    names = ", ".join(map(quote, given))
    where = " AND ".join(f"(({c}) IS NOT FALSE)" for c in conditions) or "true"
    empty = f"NOT EXISTS (SELECT FROM {table.quoted})"
    if not given:
        return f"INSERT INTO {table.quoted} SELECT FROM generate_series(1, {count}) g WHERE {empty}"
    inner = f"SELECT {', '.join([*sources, *nulls])} FROM generate_series(1, {wanted}::bigint) g {' '.join(joins)}"  # noqa: S608
    return f"INSERT INTO {table.quoted} ({names}) SELECT {names} FROM ({inner}) {quote(table.name)} WHERE {empty} AND {where} LIMIT {count}{'' if alone else ' ON CONFLICT DO NOTHING'}"  # noqa: S608


def backfill(table: Table, seed: int) -> list[str]:
    """Statements that give a value to what is NULL, as a finished data move would have."""
    texts = []
    foreign = {name for f in table.foreign for name in f.columns}
    for column in table.columns:
        made = expression(column, "n.g", seed)
        if column.not_null or column.generated or column.identity or column.name in foreign or made is None:
            continue
        name = quote(column.name)
        texts.append(
            f"UPDATE {table.quoted} t SET {name} = {made} FROM (SELECT ctid AS place, row_number() OVER () AS g FROM {table.quoted} WHERE {name} IS NULL) n WHERE t.ctid = n.place"  # noqa: S608
        )
    return texts


def _filled(column: ColumnOf) -> bool:
    return column.default or column.generated or column.identity or column.sequence


def speaks_of(condition: str, column: ColumnOf) -> bool:
    """Whether the condition speaks of the column."""
    return re.search(rf'(?<!\w)"?{re.escape(column.name)}"?(?!\w)', condition) is not None


def _guided(
    column: ColumnOf, conditions: tuple[str, ...], seed: int, like: Likeness | None, count: int
) -> str | None:
    plain = expression(column, "g", seed) if column.plain or not column.choices else None
    allowed = chosen(column, "g") or candidates(column, conditions, "g")
    if not allowed and like is not None:
        return alike(column, like, count, seed) or plain
    if not allowed or (column.unique and plain and column.choices):
        return plain
    listed = ", ".join(allowed)
    choice = f"(ARRAY[{listed}])[1 + (g / 2 % {len(allowed)})::int]"
    return choice if plain is None else f"CASE WHEN g % 2 = 0 THEN {plain} ELSE {choice} END"


def _thought_of(column: ColumnOf, conditions: tuple[str, ...], seed: int) -> list[str]:
    """Everything that the column may have to hold: what its own checks accept, what conditions speak of, ordinary values and the ends of its type, NULL."""
    ways = ("",) if column.unique else ("", "small", "large")
    plain = [expression(column, "g", seed, way) for way in ways] if column.plain or not column.choices else []
    texts = [*chosen(column, "g"), *candidates(column, conditions, "g"), *filter(None, plain)]
    return [*dict.fromkeys(texts), *([] if column.not_null else [f"NULL::{column.type}"])]


def _drawn(column: ColumnOf, texts: list[str]) -> str | None:
    """One of ``texts``, by a number that no other column of the row shares."""
    if not texts:
        return None
    number = f"(hashint8extended(g, {crc32(column.name.encode())}) & 1048575) % {len(texts)}"
    cases = " ".join(f"WHEN {i} THEN {text}" for i, text in enumerate(texts))
    return f"CASE {number} {cases} END"


def _from_parent(column: ColumnOf, number: int, f: ForeignKey, table: Table) -> str | None:
    if (f.schema, f.table) == (table.schema, table.name):
        return None  # a row that refers to its own table: the root of the tree
    return f"p{number}.{quote('k' + str(f.columns.index(column.name)))}"


def _parents(f: ForeignKey, like: Mapping[str, Likeness], count: int) -> int:
    """From how many parents the children choose: as many as differ in production, where that is known."""
    known = [different(like[name], count) for name in f.columns if name in like]
    return min(_PARENTS, max(known, default=0) or _PARENTS)


def _join(number: int, f: ForeignKey, most: int) -> str:
    parent = f"{quote(f.schema)}.{quote(f.table)}"
    keys = ", ".join(f"{quote(name)} AS {quote('k' + str(i))}" for i, name in enumerate(f.refers))
    rows = f"SELECT {keys}, row_number() OVER () AS rn FROM {parent} LIMIT {most}"  # noqa: S608
    count = f"(SELECT greatest(1, least({most}, count(*))) FROM {parent})"  # noqa: S608
    return f"JOIN ({rows}) p{number} ON p{number}.rn = 1 + g % {count}"


def inserted(tag: str) -> int:
    """The number of rows in a command tag such as ``INSERT 0 20``."""
    match = re.search(r"(\d+)$", tag)
    return int(match[1]) if match else 0
