"""A query fails on a foreign key: is that the schema's doing, or only that of rows that were made up? Pure.

An application refers to rows that are there, and those of a scratch database are not its own. So a value that no parent
holds says nothing by itself. It does say something where the old release cannot know that there is a parent at all.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from lockgate.postgres.placeholders import Query
from lockgate.postgres.tables import ForeignKey, Table
from lockgate.rehearsal.parameters import place_of


class Known(msgspec.Struct, frozen=True):
    """What a query's release knows: the tables that were there when it first worked, their foreign keys, and what they were called: ``keys`` as reports show them."""

    tables: frozenset[int]
    foreign: frozenset[tuple[int, tuple[str, ...]]]
    names: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


def known_of(tables: Iterable[Table]) -> Known:
    """What may be known while these tables are there."""
    listed = list(tables)
    return Known(
        frozenset(t.oid for t in listed),
        frozenset((t.oid, f.columns) for t in listed for f in t.foreign),
        frozenset(t.name for t in listed),
        frozenset(t.key for t in listed),
    )


def unknowable(query: Query, tables: Sequence[Table], known: Known) -> str:
    """The new foreign key that values of the old release cannot be expected to satisfy, as ``table.column -> parent``; "" for none.

    They can where the parent was there already and the column is named like a reference to it.
    """
    names = {(t.schema, t.name): t for t in tables}
    for use in (one for whole in query.uses for one in whole.every):
        if use.role not in ("insert", "set"):
            continue
        place = place_of(use, names)
        if place is None:
            continue
        table, column = place
        for foreign in table.foreign:
            if column.name not in foreign.columns or (table.oid, foreign.columns) in known.foreign:
                continue
            parent = names.get((foreign.schema, foreign.table))
            there = parent is None or parent.oid in known.tables
            if not there or column.alone or not _refers(column.name, foreign):
                return f"{table.key}.{column.name} -> {foreign.table}"
    return ""


_KEY = re.compile(r"Key \((.*)\)=\((.*)\) already")
_TIMES = ("timestamp", "timestamptz", "time", "timetz")
_WHOLE_HOUR = re.compile(r":00:00(?!\.)")
"""What the server makes of ``date_trunc('hour', now())``: two inserts of one hour meet."""


def same_moment(detail: str, query: Query, tables: Iterable[Table]) -> bool:
    """Whether two inserts met in a key that holds a time of the server's making: both ran in one transaction, which has one ``now()``.

    A date, or a time of whole hours, is no such time: an application's inserts of one day meet in it, too.

    ``detail`` is what the server says with 23505: ``Key (a, b)=(1, 2) already exists.``
    """
    found = _KEY.search(detail)
    if found is None:
        return False
    listed, values = [name.strip('"') for name in found[1].split(", ")], found[2].split(", ")
    coarse = {
        name
        for name, value in zip(listed, values, strict=False)
        if len(listed) == len(values) and _WHOLE_HOUR.search(value)
    }
    names = set(listed) - coarse
    uses = [one for whole in query.uses for one in whole.every]
    given = {use.column for use in uses}
    targets = {
        relation for use in uses if use.role in ("insert", "within", "operand") for relation in use.relations
    }
    return any(
        column.name in names - given and column.default and column.base in _TIMES
        for table in tables
        if (table.schema, table.name) in targets or ("", table.name) in targets
        for column in table.columns
    )


def _refers(column: str, foreign: ForeignKey) -> bool:
    """Whether a column is named as what refers to that table: ``user_id``, ``author_uuid``, ``sku`` for ``products.sku``."""
    referred = foreign.refers[foreign.columns.index(column)]
    stem = foreign.table.removesuffix("s")
    return bool(
        (re.search(r"(_id|_uuid|_ref|_key|_code|id)$", column, re.I) and column.lower() != "id")
        or column.lower() == referred.lower() != "id"
        or stem.lower() in column.lower()
    )  # fmt: skip
