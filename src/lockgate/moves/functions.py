"""Python functions as columns of a move that PostgreSQL makes: what is declared → SQL over what they made, and whether they can be trusted with it."""

import json
from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.moves.transforms import Map, Transform, load
from lockgate.postgres.link import Link
from lockgate.postgres.moves.made import Made, value_sql
from lockgate.postgres.quoting import identifier
from lockgate.postgres.relation import ColumnFacts, Relation
from lockgate.postgres.tree.lexing import names
from lockgate.stores.making import Field, Given, Unmade, make, plain
from lockgate.stores.neutral import TYPES, canonical, read_sql, write_sql
from lockgate.stores.postgres import family_of

ROWS = 1_000
"""So many of the first rows are tried before a move starts."""


def mentions(by: str | Transform, column: str) -> bool:
    """True when what gives a column reads ``column``: one of its inputs, or a name in its SQL, not a piece of one."""
    return column in (by.of if isinstance(by, Transform) else names(by))


def sql_of(expressions: Map) -> dict[str, str]:
    """The columns that SQL gives."""
    return {name: by for name, by in expressions.items() if isinstance(by, str)}


def functions_of(expressions: Map) -> dict[str, Transform]:
    """The columns that a function gives."""
    return {name: by for name, by in expressions.items() if isinstance(by, Transform)}


def given(column: ColumnFacts, by: Transform, origin: Relation) -> Given:
    """The column as a function makes it, which is loaded. Raises as ``transforms.load``."""
    own = {c.name: c for c in origin.columns}
    fields = tuple(Field(c, _family(own[c]), own[c].type) for c in by.of)
    return Given(column.name, "", _family(column), "", fields, load(by))


def _family(column: ColumnFacts) -> str:
    found = family_of(column)
    return found if found in TYPES["postgres"] else "text"


def made_by(column: ColumnFacts, by: Transform, origin: Relation) -> Made:
    """What calls the function of a column with inputs that SQL reads. Raises as ``transforms.load``."""
    g = given(column, by, origin)
    inputs = ", ".join(read_sql(identifier(f.name), f.family, "postgres") for f in g.of)

    def call(text: str) -> tuple[str | None, str]:
        image = make([g], json.loads(text))
        return (None, image.reason) if isinstance(image, Unmade) else (plain(image)[0], "")

    return Made(
        column.name, f"{by.python} {by.version}", f"pg_catalog.jsonb_build_array({inputs})::text", call
    )


def expression_of(move: str, feed: str, column: ColumnFacts, made: Made) -> str:
    """SQL that gives the column."""
    return write_sql(value_sql(move, feed, column.name, made.inputs), _family(column), "postgres", column.type)  # fmt: skip


class Tried(NamedTuple):
    """What stands in the way (what, fix), and what a person should know."""

    problems: list[tuple[str, str]]
    notes: list[str]


def tried(link: Link, columns: Map, reverse: Map, source: Relation, target: Relation) -> Tried:
    """Call the functions for the first rows of the source, twice, and the way back for what came out. Changes nothing."""
    found = Tried([], [])
    forward, back = functions_of(columns), functions_of(reverse)
    here, there = ({c.name: c for c in r.columns} for r in (source, target))
    try:
        ways = [given(there[name], by, source) for name, by in forward.items()]
        returns = [given(here[name], by, target) for name, by in back.items()]
    except LockgateError as error:
        found.problems.append((error.message, error.next))
        return found
    rows = _rows(link, source)
    named = [dict(zip(here, row, strict=True)) for row in rows]
    values: list[dict[str, str | None]] = []
    refused = []
    for own in named:
        once, twice = ([make([g], [own[f.name] for f in g.of]) for g in ways] for _ in "ab")
        reasons = [image.reason for image in once if isinstance(image, Unmade)]
        refused += reasons[:1]
        values.append(
            {} if reasons else {g.name: plain(image)[0] for g, image in zip(ways, once, strict=True)}
        )
        for g, a, b in zip(ways, once, twice, strict=True):
            if a != b and not reasons:
                found.problems.append((f"[columns] {g.name} by {forward[g.name].python} does not give the same twice", "Both sides could never be compared: take a value that depends on the row alone."))  # fmt: skip
                return found
    if refused:
        found.notes.append(f"{len(refused)} of the first {len(rows)} rows are refused ({refused[0]}): such rows go to quarantine, and block the end")  # fmt: skip
    copied = {c for c in there.keys() & here.keys() if c not in columns}
    for g in returns:
        if not {f.name for f in g.of} <= copied | forward.keys():
            found.notes.append(f"[reverse] {g.name} by {back[g.name].python} reads columns that SQL makes: whether it brings back what was there shows in the proof after the cutover")  # fmt: skip
            continue
        for own, new in zip(named, values, strict=True):
            if forward and not new:
                continue
            again = make([g], [new.get(f.name, own.get(f.name)) for f in g.of])
            if isinstance(again, Unmade) or canonical(plain(again)[0], g.family) != canonical(
                own[g.name], g.family
            ):
                found.problems.append((f"the way back is lossy: [reverse] {g.name} by {back[g.name].python} does not bring back what the first {ROWS} rows hold", "Give a [reverse] that does, or one_way = true to go without a rollback."))  # fmt: skip
                break
    return found


def _rows(link: Link, source: Relation) -> list[tuple[str | None, ...]]:
    items = ", ".join(read_sql(identifier(c.name), _family(c), "postgres") for c in source.columns)
    return link.rows(f"SELECT {items} FROM {source.sql} LIMIT {ROWS}")
