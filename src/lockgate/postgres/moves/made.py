"""Columns that a Python function makes: what it gave stands beside its inputs in a table of the origin, so that the servers go on making rows by themselves.

A row of the destination is a matter of SQL in copy, relay, digest and comparison alike. So the function is called here, with inputs that were
read from rows, and its values are kept under the very inputs: never under a row, whose inputs may change the moment after. SQL then looks them up.

* Inputs that nothing stands under are an error (``UNMADE``), never NULL: the statement is undone, the function called, and it is tried again.
* The table is only added to. Two workers that meet the same inputs write the same value twice; nobody waits, and no snapshot is too old for it.
* A comparison calls the function again for everything that stands there, so a function that gives something else today is found.
"""

from collections.abc import Callable
from typing import NamedTuple

from lockgate.errors import Refused
from lockgate.postgres.link import Link
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.quoting import identifier, literal

UNMADE = "LG020"
"""The SQLSTATE for inputs that the function was not called with yet."""
PAGE = 20_000
"""So many different inputs are held at once."""


class Made(NamedTuple):
    """A column of the destination that a function makes: ``inputs`` is SQL over the origin's columns that gives one text, ``make`` gives
    for such a text the value as text, or why there is none."""

    column: str
    name: str
    inputs: str
    make: Callable[[str], tuple[str | None, str]]


def table(move: str, feed: str) -> str:
    """What was made for a feed."""
    return f'lockgate."made_{move}_{feed}"'


def value_sql(move: str, feed: str, column: str, inputs: str) -> str:
    """SQL that gives what the function made of ``inputs``, as text."""
    return f"{_function(move, feed)}({literal(column)}, {inputs})"


def ddl(mapping: Mapping) -> str:
    """The table of a feed and the function that looks into it; nothing where no function makes a column."""
    if not mapping.made:
        return ""
    name = table(mapping.move, mapping.feed)
    body = f"""
DECLARE
  made text;
  why  text;
BEGIN
  SELECT m.value, m.reason INTO made, why FROM {name} m
   WHERE pg_catalog.hashtextextended(m.inputs, 0) = pg_catalog.hashtextextended(given COLLATE "C", 0) AND m.inputs = given AND m.col = wanted LIMIT 1;
  IF FOUND AND why = '' THEN RETURN made; END IF;
  -- A comparison asks which rows have no value by itself, and must not end at the first one.
  IF pg_catalog.current_setting('lockgate.compare', true) = 'on' THEN RETURN NULL; END IF;
  IF FOUND THEN RAISE EXCEPTION USING ERRCODE = '22000', MESSAGE = why; END IF;
  RAISE EXCEPTION USING ERRCODE = '{UNMADE}', MESSAGE = pg_catalog.format('the Python function of %s was not called yet for a row of the move', wanted);
END
"""
    return f"""
CREATE TABLE IF NOT EXISTS {name} (col text COLLATE "C" NOT NULL, inputs text COLLATE "C" NOT NULL, value text, reason text NOT NULL);
CREATE INDEX IF NOT EXISTS {identifier(f"made_{mapping.move}_{mapping.feed}_of")} ON {name} (pg_catalog.hashtextextended(inputs, 0));
CREATE OR REPLACE FUNCTION {_function(mapping.move, mapping.feed)}(wanted text, given text) RETURNS text LANGUAGE plpgsql STABLE AS {literal(body)};
REVOKE ALL ON FUNCTION {_function(mapping.move, mapping.feed)}(text, text) FROM PUBLIC;
"""


def drop_ddl(move: str, feed: str) -> str:
    """Take both away; nothing happens where they are not there."""
    return f"DROP FUNCTION IF EXISTS {_function(move, feed)}(text, text); DROP TABLE IF EXISTS {table(move, feed)};"  # fmt: skip


def _function(move: str, feed: str) -> str:
    return f'lockgate."make_{move}_{feed}"'


def _known(mapping: Mapping, made: Made, inputs: str, also: str = "") -> str:
    """True where something stands under ``inputs``."""
    return (
        f'EXISTS (SELECT FROM {table(mapping.move, mapping.feed)} m WHERE pg_catalog.hashtextextended(m.inputs, 0) = pg_catalog.hashtextextended(({inputs}) COLLATE "C", 0)'
        f" AND m.inputs = {inputs} AND m.col = {literal(made.column)}{also})"
    )


def fill(link: Link, mapping: Mapping, where: str = "", *parameters: object) -> int:
    """Call the functions for the rows of the origin that ``where`` names, as far as nothing stands under their inputs yet; how many values came of it.

    Inside a transaction what is added is seen by its later statements, whatever its snapshot.
    """
    count = 0
    for made in mapping.made:
        rows = f"SELECT DISTINCT {made.inputs} AS inputs FROM {mapping.origin} {where}"
        while True:
            new = link.rows(f"SELECT q.inputs FROM ({rows}) q WHERE NOT {_known(mapping, made, 'q.inputs')} LIMIT {PAGE}", *parameters)  # fmt: skip
            if not new:
                break
            values = [(inputs, *made.make(inputs)) for (inputs,) in new]
            link.run(
                f"INSERT INTO {table(mapping.move, mapping.feed)} (col, inputs, value, reason) SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])",
                made.column, [v[0] for v in values], [v[1] for v in values], [v[2] for v in values],
            )  # fmt: skip
            count += len(values)
    return count


def forget_refused(link: Link, mapping: Mapping) -> None:
    """The functions are called again for inputs that they made nothing of."""
    if mapping.made:
        link.run(f"DELETE FROM {table(mapping.move, mapping.feed)} WHERE reason <> ''")


def unmade(link: Link, mapping: Mapping) -> set[tuple[str, ...]]:
    """The keys of rows of the origin for which a function has no value, yet or at all, at the snapshot of ``link``."""
    if not mapping.made:
        return set()
    keys = ", ".join(f"{identifier(k.origin)}::text" for k in mapping.key)
    value = " AND m.reason = ''"
    missing = " OR ".join(f"NOT {_known(mapping, made, made.inputs, value)}" for made in mapping.made)
    return {tuple(row) for row in link.rows(f"SELECT {keys} FROM {mapping.origin} WHERE {missing}")}


def refuse_other_values(link: Link, mapping: Mapping) -> None:
    """Call the functions again for everything that they made. Raises ``Refused`` (``MOVE_TRANSFORM``) when one gives something else today."""
    by = {made.column: made for made in mapping.made}
    if not by:
        return
    with link.transaction("READ ONLY"):
        for column, inputs, value, reason in link.stream(
            f"SELECT col::text, inputs::text, value, reason FROM {table(mapping.move, mapping.feed)} WHERE reason = ''"
        ):
            made = by.get(column)
            if made is not None and made.make(inputs) != (value, reason):
                raise Refused(
                    f"{made.name} gives another value for {column} than when its rows were copied, under the same version", "MOVE_TRANSFORM",
                    next=f"Let the function depend on its arguments alone, or raise its version; then lockgate move abort {mapping.move} and start anew.",
                )  # fmt: skip
