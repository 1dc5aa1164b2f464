"""Moves in place: fill in what an expand migration put beside the old column or table, while its triggers keep both in step.

Nothing is relayed here: whoever writes one side writes the other in the same statement or transaction. A batch locks the rows
that it fills in, in the order of their keys, so a writer is either seen or waits; it gives up early on locks, so that a
deadlock never ends an application's transaction.
"""

import time
from typing import Any

import msgspec

from lockgate.postgres.link import Link
from lockgate.postgres.moves.batch import Copied, Poisoned, Range, record
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.moves.relay import DATA_ERRORS
from lockgate.postgres.queries import query
from lockgate.postgres.quoting import identifier
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.points import point
from lockgate.record.words import agree, counted

LOCK_TIMEOUT = "500ms"
"""Below the server's ``deadlock_timeout`` of a second: of two that wait for each other it is the batch that lets go."""


class Back(msgspec.Struct, frozen=True):
    """One column of the old side and the SQL over the new side's columns that gives it."""

    column: str
    expression: str
    type: str


class Sides(msgspec.Struct, frozen=True):
    """Old and new side. ``mapping`` holds the key and the columns that are filled in; ``conflict`` is the new table's unique key."""

    mapping: Mapping
    one_table: bool
    filled: tuple[str, ...]
    back: tuple[Back, ...] = ()
    conflict: tuple[str, ...] = ()
    not_null: tuple[str, ...] = ()

    @property
    def fills(self) -> tuple[tuple[str, str], ...]:
        """(column as SQL, its value as SQL) of every column that is filled in."""
        return tuple(
            (identifier(v.destination), f"({v.expression})::{v.type}")
            for v in self.mapping.values
            if v.destination in self.filled
        )

    @property
    def pending(self) -> str:
        """In one table: rows whose new column is still empty though the old one gives it a value."""
        return " OR ".join(f"({c} IS NULL AND {value} IS NOT NULL)" for c, value in self.fills)

    @property
    def in_step(self) -> str:
        """In one table: either column explains the other, to the last bit. A new value may say more than the old type holds."""
        forth = " AND ".join(f"pg_catalog.record_image_eq(ROW({c}), ROW({value}))" for c, value in self.fills)
        if not self.back:
            return f"({forth})"
        back = " AND ".join(
            f"pg_catalog.record_image_eq(ROW({identifier(b.column)}), ROW(({b.expression})::{b.type}))"
            for b in self.back
        )
        filled = " AND ".join(f"{c} IS NOT NULL" for c, _ in self.fills)
        return f"(({forth}) OR ({filled} AND {back}))"


class Compared(msgspec.Struct, frozen=True):
    """What one look at all rows found, in one snapshot. ``nulls`` counts NULLs in each column that must have none."""

    rows_source: int
    rows_target: int
    digest_source: str
    digest_target: str
    differing: int
    listed: tuple[tuple[tuple[str, ...], str], ...]
    nulls: dict[str, int]


def copy_range(sides: Sides, link: Link, piece: Range, ledger: str, owner: str) -> Copied:
    """Fill in one range and write its row of the ledger, in one transaction. Raises ``Poisoned``; nothing is filled in then."""
    m = sides.mapping
    begin = time.monotonic()
    where = m.in_range("origin", low=piece.low is not None)
    parameters = [*piece.high, *(piece.low or ())]
    try:
        with link.transaction():
            link.run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            _fill(sides, link, where, parameters)
            copied = _look(sides, link, piece, where, parameters)
            record(link, m, piece, copied, ledger, owner, begin)
            point("move:batch:commit")
        return copied
    except ServerError as error:
        if error.sqlstate[:2] in DATA_ERRORS:
            raise Poisoned(error) from None
        raise


def fill_all(sides: Sides, link: Link) -> None:
    """Fill in every row in one transaction: for the few rows of a new database. Raises ``ServerError``."""
    with link.transaction():
        _fill(sides, link, "true", [])


def fill_key(sides: Sides, link: Link, key: tuple[str, ...], *, anew: bool = False) -> None:
    """Fill in the row of ``key``; ``anew`` makes the new side what the old side gives, whatever stood there. Raises ``Poisoned``."""
    m = sides.mapping
    values = ", ".join(f"${i + 1}::text::{k.type}" for i, k in enumerate(m.key))
    where = f"({m.origin_key}) = ({values})"
    try:
        with link.transaction():
            link.run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            if anew and sides.one_table:
                sets = ", ".join(f"{c} = {value}" for c, value in sides.fills)
                link.run(f"UPDATE {m.origin} SET {sets} WHERE {where}", *key)
                return
            if anew:
                link.rows(f"SELECT 1 FROM {m.origin} WHERE {where} FOR SHARE", *key)
                link.run(f"DELETE FROM {m.destination} WHERE ({m.destination_key}) = ({values})", *key)
            _fill(sides, link, where, list(key))
    except ServerError as error:
        if error.sqlstate[:2] in DATA_ERRORS:
            raise Poisoned(error) from None
        raise


def _fill(sides: Sides, link: Link, where: str, parameters: list[str]) -> None:
    m = sides.mapping
    if sides.one_table:
        condition = f"{where} AND ({sides.pending})"
        link.rows(
            f"SELECT count(*) FROM (SELECT 1 FROM {m.origin} WHERE {condition} ORDER BY {m.origin_key} FOR NO KEY UPDATE) q",
            *parameters,
        )
        sets = ", ".join(f"{c} = COALESCE({c}, {value})" for c, value in sides.fills)
        link.run(f"UPDATE {m.origin} SET {sets} WHERE {condition}", *parameters)
        return
    # The rows stay as they are until this commits: a delete waits, and then finds the row on the other side.
    link.rows(
        f"SELECT count(*) FROM (SELECT 1 FROM {m.origin} WHERE {where} ORDER BY {m.origin_key} FOR SHARE) q",
        *parameters,
    )
    conflict = ", ".join(identifier(c) for c in sides.conflict)
    link.run(
        f"INSERT INTO {m.destination} ({m.columns}) OVERRIDING SYSTEM VALUE SELECT {m.select} FROM {m.origin} WHERE {where} ON CONFLICT ({conflict}) DO NOTHING",
        *parameters,
    )


def _look(sides: Sides, link: Link, piece: Range, where: str, parameters: list[str]) -> Copied:
    m = sides.mapping
    there = m.in_range("destination", low=piece.low is not None)
    a = m.digest(f"(SELECT {m.select} FROM {m.origin} WHERE {where}) s")
    b = m.digest(f"(SELECT {m.columns} FROM {m.destination} WHERE {there}) t")
    rows_source, digest_source, rows_target, digest_target = link.rows(
        f"SELECT a.*, b.* FROM ({a}) a, ({b}) b", *parameters
    )[0]
    return Copied(rows_source, rows_target, digest_source, digest_target)


def compare(sides: Sides, link: Link, most: int = 50) -> Compared:
    """Look at all rows of both sides in one snapshot; lists ``most`` of those that are out of step."""
    m = sides.mapping
    source = f"(SELECT {m.select} FROM {m.origin}) s"
    target = f"(SELECT {m.columns} FROM {m.destination}) t"
    with link.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY"):
        rows_source, digest_source = link.rows(m.digest(source))[0]
        rows_target, digest_target = link.rows(m.digest(target))[0]
        nulls = {}
        for name in sides.not_null:
            nulls[name] = int(
                link.value(f"SELECT count(*) FROM {m.destination} WHERE {identifier(name)} IS NULL")
            )
        count, listed = 0, []
        if (rows_source, digest_source) != (rows_target, digest_target):
            found = _differing(sides)
            count = int(link.value(f"SELECT count(*) FROM ({found}) q"))
            listed = [
                (tuple(row[:-1]), row[-1]) for row in link.rows(f"SELECT * FROM ({found}) q LIMIT {most:d}")
            ]
    return Compared(rows_source, rows_target, digest_source, digest_target, count, tuple(listed), nulls)


def _differing(sides: Sides) -> str:
    m = sides.mapping
    if sides.one_table:
        texts = ", ".join(f"{identifier(k.origin)}::text AS k{i}" for i, k in enumerate(m.key))
        return f"SELECT {texts}, 'changed' FROM {m.origin} WHERE NOT {sides.in_step}"
    keys = [identifier(k.destination) for k in m.key]
    texts = ", ".join(f"COALESCE(s.{k}, t.{k})::text AS k{i}" for i, k in enumerate(keys))
    on = " AND ".join(f"s.{k} = t.{k}" for k in keys)
    row = {side: ", ".join(f"{side}.{identifier(v.destination)}" for v in m.values) for side in "st"}
    return (
        f"SELECT {texts}, CASE WHEN t.{keys[0]} IS NULL THEN 'missing' WHEN s.{keys[0]} IS NULL THEN 'extra' ELSE 'changed' END"
        f" FROM (SELECT {m.select} FROM {m.origin}) s FULL JOIN (SELECT {m.columns} FROM {m.destination}) t ON {on}"
        f" WHERE t.{keys[0]} IS NULL OR s.{keys[0]} IS NULL OR NOT pg_catalog.record_image_eq(ROW({row['s']}), ROW({row['t']}))"
    )


def told(found: Compared) -> str:
    """Why both sides do not say the same, in words; "" when they do."""
    if found.differing:
        first = f", the first ({', '.join(found.listed[0][0])}) {found.listed[0][1]}" if found.listed else ""
        return f"{found.differing} rows are not in step{first}"
    for name, count in found.nulls.items():
        if count:
            return f"{counted(count, 'row')} {agree(count, 'has', 'have')} NULL in {name}, which is to become NOT NULL: give their old side a value"
    return ""


def sync_of(
    link: Link, oids: list[int], triggers: tuple[str, ...], checks: tuple[str, ...]
) -> dict[str, str]:
    """What is there of the declared triggers and checks: name → digest of its definition, "off" for a trigger that does not fire."""
    rows: list[tuple[Any, ...]] = link.rows(query("moves/sync"), oids, list(triggers), list(checks))
    return {name: definition for name, definition in rows}  # noqa: C416 - names both columns
