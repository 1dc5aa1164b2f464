"""Rows of the new side that point at nothing: found in the rows of a batch, or in the whole table."""

from typing import NamedTuple

import msgspec

from lockgate.postgres.link import Link
from lockgate.postgres.moves.mapping import KeyPart
from lockgate.postgres.queries import query
from lockgate.postgres.quoting import identifier

SHOWN = 20


class ForeignKey(msgspec.Struct, frozen=True):
    """A foreign key as the catalog has it: which columns of the table point at ``key`` of which other one."""

    name: str
    oid: int
    schema: str
    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    acts: bool = False
    """True where a DELETE of what it points at writes to the table: ON DELETE CASCADE, SET NULL, SET DEFAULT."""


class Reference(NamedTuple):
    """Columns of the new side that must be found in ``key`` of ``table`` (as SQL), unless one of them is NULL.

    ``own`` is True where the table points at itself: then rows of a batch may point at rows that are still to come.
    """

    columns: tuple[str, ...]
    table: str
    key: tuple[str, ...]
    own: bool = False

    def __str__(self) -> str:
        return f"({', '.join(self.columns)}) -> {self.table} ({', '.join(self.key)})"


class Dangling(NamedTuple):
    """Rows for which a reference leads nowhere: how many, and the first keys."""

    reference: str
    rows: int
    keys: tuple[tuple[str, ...], ...]


def foreign_keys(link: Link, oid: int) -> tuple[ForeignKey, ...]:
    """The foreign keys of the table of ``oid``."""
    return msgspec.json.decode(link.value(query("moves/references"), oid), type=tuple[ForeignKey, ...])


def look_sql(reference: Reference, key: tuple[KeyPart, ...], rows: str) -> str:
    """The query for what dangles in ``rows``, a FROM item with the new side's columns: a count, and the first keys."""
    c = [f"o.{identifier(n)}" for n in reference.columns]
    met = " AND ".join(f"p.{identifier(k)} = {n}" for k, n in zip(reference.key, c, strict=True))
    there = " AND ".join(f"{n} IS NOT NULL" for n in c)
    names = ", ".join(f"o.{identifier(k.destination)}::text" for k in key)
    return (
        f"WITH d AS MATERIALIZED (SELECT ARRAY[{names}] AS k FROM (SELECT * FROM {rows}) o WHERE {there} AND NOT EXISTS (SELECT FROM {reference.table} p WHERE {met}))"
        f" SELECT (SELECT count(*) FROM d), (SELECT COALESCE(pg_catalog.jsonb_agg(x.k), '[]') FROM (SELECT k FROM d LIMIT {SHOWN}) x)::text"
    )


def look(link: Link, references: tuple[Reference, ...], key: tuple[KeyPart, ...], rows: str, *parameters: str) -> tuple[Dangling, ...]:  # fmt: skip
    """What dangles in ``rows`` on the server of the new side."""
    found = []
    for reference in references:
        count, keys = link.rows(look_sql(reference, key, rows), *parameters)[0]
        if count:
            found.append(Dangling(str(reference), count, msgspec.json.decode(keys, type=tuple[tuple[str, ...], ...])))  # fmt: skip
    return tuple(found)
