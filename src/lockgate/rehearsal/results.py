"""What a query gives back, and what becomes of what it writes: the server casts what it stores, and an old release may read a text where it knew a number.

A query that goes on may give columns of other types, which no error tells. Types of one family are read alike by drivers
(``integer`` and ``bigint``, ``text`` and ``varchar``, an enum and a text); between families the release is in doubt.
"""

from collections.abc import Iterable, Sequence

import msgspec

from lockgate.postgres.placeholders import Query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import Table
from lockgate.postgres.wire import Call, Wire
from lockgate.rehearsal.parameters import parts_of, place_of

_DATES = frozenset({"timestamp", "timestamptz"})
_DOCUMENTS = frozenset({"json", "jsonb"})


class Gives(msgspec.Struct, frozen=True):
    """A column of a result or of a table: its name, its type, the letter of that type's category in ``pg_type``, and the modifier (``atttypmod``)."""

    name: str
    type: str
    category: str
    modifier: int = -1


def read_results(wire: Wire, execute: Sequence[str], known: dict[int, tuple[str, str]]) -> tuple[Gives, ...]:
    """The columns that the last of the calls ``execute`` gives; everything is rolled back. ``known`` remembers types by their numbers.

    Raises ``ServerError``, and leaves no transaction.
    """
    calls = [Call("BEGIN"), *map(Call, execute), Call("ROLLBACK")]
    try:
        columns = wire.batch(calls)[-2].columns
    except ServerError:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True)
        raise
    missing = sorted({number for _, number, _ in columns} - known.keys())
    if missing:
        asked = "SELECT oid::text, typname::text, typcategory::text FROM pg_catalog.pg_type WHERE oid = ANY ($1::oid[])"
        for oid, name, category in wire.one(asked, "{" + ",".join(map(str, missing)) + "}").rows:
            known[int(oid or 0)] = (name or "", category or "")
    return tuple(
        Gives(name, *known.get(number, ("", "")), modifier=modifier) for name, number, modifier in columns
    )


Key = tuple[int, int]
"""A table and a column by their numbers, which stay when both are renamed."""


def read_columns(wire: Wire, keys: Iterable[Key]) -> dict[Key, Gives]:
    """The columns with these keys that are there. Raises ``ServerError``."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    asked = (
        "SELECT a.attrelid::bigint::text, a.attnum::text, a.attname, t.typname, t.typcategory::text, a.atttypmod::text"
        " FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::int[])) k (r, n) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.r AND a.attnum = k.n"
        " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE NOT a.attisdropped"
    )
    lists = ["{" + ",".join(str(key[place]) for key in wanted) + "}" for place in (0, 1)]
    return {
        (int(table or 0), int(number or 0)): Gives(
            name or "", kind or "", category or "", int(modifier or -1)
        )
        for table, number, name, kind, category, modifier in wire.one(asked, *lists).rows
    }


def written_to(query: Query, tables: Iterable[Table]) -> list[Key]:
    """The columns that the parameters of the query are written into, as they are. Pure."""
    known = {(t.schema, t.name): t for t in tables}
    places = [place_of(use, known) for use in query.uses if use.role in ("insert", "set")]
    places += [
        place
        for use in query.uses
        for _, part, place, _ in parts_of(use, known)
        if part.role in ("insert", "set")
    ]
    return [(place[0].oid, place[1].number) for place in places if place is not None]


def coarser(before: Gives, now: Gives) -> bool:
    """Whether a column takes what it took and silently drops a part: digits behind the point, the time of a day. Pure."""
    if before.category == now.category == "N":
        return _digits(now) < _digits(before)
    return before.type in _DATES and now.type == "date"


_WHOLE = frozenset({"int2", "int4", "int8", "oid"})
_ANY = 10_000


def _digits(column: Gives) -> int:
    """The digits behind the point that a number keeps."""
    if column.type in _WHOLE:
        return 0
    if column.type == "money":
        return 2
    if column.type != "numeric" or column.modifier < 4:
        return _ANY
    scale = (column.modifier - 4) & 0x7FF
    return scale if scale < 1024 else 0  # a negative one rounds to tens


def changed(before: Sequence[Gives], now: Sequence[Gives]) -> tuple[str, str]:
    """What is in doubt, and what is only worth a note; "" for nothing. Columns are known by their names. Pure."""
    there, here = _by_name(before), _by_name(now)
    doubts, notes = [], []
    for key, old in there.items():
        new = here.get(key)
        if new is None:
            doubts.append(f"it has no column {old.name} any more")
        elif coarser(old, new):
            doubts.append(f"{old.name} keeps less of a value as {said(new)} than as {said(old)}")
        elif _family(new) != _family(old):
            doubts.append(f"{old.name} is {new.type} and was {old.type}")
        elif new.type != old.type and "E" not in (new.category, old.category):
            notes.append(f"its result has {old.name} as {new.type}, which was {old.type}")
    doubt = (
        f"its result changes, and nothing shows whether the release can read it: {', '.join(doubts)}"
        if doubts
        else ""
    )
    return doubt, "; ".join(notes)


def said(column: Gives) -> str:
    """The type in words; of a numeric with its digits."""
    if column.type == "numeric" and column.modifier >= 4:
        return f"numeric({column.modifier - 4 >> 16 & 0xFFFF},{_digits(column)})"
    return column.type


def _by_name(columns: Sequence[Gives]) -> dict[tuple[str, int], Gives]:
    """The columns by name, and of several with one name by their turn."""
    found: dict[tuple[str, int], Gives] = {}
    for column in columns:
        turn = sum(1 for name, _ in found if name == column.name)
        found[column.name, turn] = column
    return found


def _family(column: Gives) -> str:
    """What drivers read alike: all numbers, all texts (an enum is sent as one), both kinds of timestamp, both of JSON; other types are their own."""
    if column.category in "NB":
        return column.category
    if column.category in "SE":
        return "S"
    if column.type in _DATES:
        return "timestamp"
    return "json" if column.type in _DOCUMENTS else column.type
