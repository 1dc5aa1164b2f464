"""Puts believable rows into a scratch database, and takes them out again. What could not be filled is told, not hidden."""

from collections.abc import Mapping
from itertools import islice, product

import msgspec
from msgspec.structs import replace

from lockgate.postgres.breaking import read_breakable
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import ColumnOf, Table, prepare_reading, quote, read_tables
from lockgate.postgres.wire import Call, Wire
from lockgate.rehearsal.choices import Choices
from lockgate.rehearsal.likeness import Likenesses
from lockgate.rehearsal.rows import NOTHING_KNOWN, backfill, fill, in_order, inserted, speaks_of
from lockgate.rehearsal.values import candidates, chosen, expression

_WAYS: tuple[dict[str, bool], ...] = (
    {},
    {"guided": False},
    {"bare": True},
    {"guided": False, "bare": True},
    {"mixed": True},
    {"alone": True},
)
"""How a table is filled, the best first."""
_PORTION = 500
"""Rows that are changed at a time: whoever works on the table meanwhile waits for no more."""
_TURNS = 50
_COMBINED = 200
"""Combinations of values that are tried for a constraint."""
_MOST = 400
"""Characters of a table's checks that are told."""


class Filling:
    """The rows of one rehearsal. ``rows`` tells how many each table got, ``empty`` why one got none."""

    def __init__(
        self,
        wire: Wire,
        *,
        rows: int,
        seed: int,
        wanted: Mapping[str, int] | None = None,
        like: Likenesses | None = None,
        promised: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """``promised`` are checks of tables that files have yet to bring and to validate: the rows satisfy them where the columns are there."""
        self._wire = wire
        self._rows = rows
        self._seed = seed
        self._wanted = dict(wanted or {})
        self._like = like or {}
        self._promised = promised or {}
        self._prepared = False
        self._choices = Choices(seed)
        self._done: set[int] = set()
        self._filled: set[int] = set()
        self.rows: dict[str, int] = {}
        self.empty: dict[str, str] = {}

    def fill(self) -> None:
        """Fill every table that is empty and was not filled before."""
        if not self._rows and not self._wanted:
            return
        if not self._prepared:
            prepare_reading(self._wire)
            self._prepared = True
        for found in in_order(read_tables(self._wire, self._done, prepared=True)):
            table = self._choices.settle(self._wire, [self._with_promises(found)])[0]
            count = self._wanted.get(table.key, self._rows)
            self._done.add(table.oid)
            if not count:
                continue
            self._fill(table, count)

    def _with_promises(self, table: Table) -> Table:
        """The table with the checks that it will have, as far as its columns know what they speak of."""
        for check in self._promised.get(table.key, ()):
            try:
                self._wire.one(f"SELECT {check} FROM {table.quoted} LIMIT 0")  # noqa: S608
            except ServerError:
                continue
            named = [column for column in table.columns if speaks_of(check, column)]
            table = replace(
                table,
                checks=(*table.checks, check),
                columns=tuple(
                    replace(c, checks=(*c.checks, check)) if named == [c] else c for c in table.columns
                ),
            )
        return table

    def _fill(self, table: Table, count: int) -> None:
        """Fill one table. Rows that a migration put in are better than ours: the statement itself sees to that."""
        why = ""
        for how in _WAYS:
            like = self._like.get(table.key, NOTHING_KNOWN)
            statement = fill(table, 1 if how.get("alone") else count, self._seed, like=like, **how)
            if statement is None:
                why = why or "a column has a type of which no values can be made"
                continue
            try:
                made = inserted(self._wire.one(statement).tag)
            except ServerError as error:
                why = why or f"{error.sqlstate}: {error.message}"
                made = 0
            if made:
                self.rows[table.key] = made
                self._filled.add(table.oid)
                self.empty.pop(table.key, None)
                return
            if self._wire.value(f"SELECT EXISTS (SELECT FROM {table.quoted})") == "t":  # noqa: S608
                return
            why = why or f"no made-up row satisfied its checks: {_told(table)}"
        self.empty[table.key] = why

    def backfill(self) -> None:
        """Give values to what is NULL in the tables that were filled, as a finished data move would have."""
        for table in read_tables(self._wire):
            for statement in backfill(table, self._seed) if table.key in self.rows else ():
                try:
                    self._wire.one(statement)
                except ServerError as error:
                    self.empty[table.key] = f"could not be backfilled: {error.message}"

    def satisfy(self) -> None:
        """Change the rows that break a CHECK or NOT NULL that is NOT VALID, as somebody does in production before it is validated: a few at a time.

        For rows that cannot be made anew, because clients are at work on them. What cannot be satisfied stays.
        """
        for one in read_breakable(self._wire):
            if not one.broken:
                continue
            named = set(msgspec.json.decode(one.columns, type=list[str]))
            for table in self._choices.settle(self._wire, read_tables(self._wire)):
                columns = [c for c in table.columns if c.name in named]
                if table.key == one.table and columns:
                    self._satisfy(table, one.broken, columns)

    def _satisfy(self, table: Table, broken: str, columns: list[ColumnOf]) -> None:
        texts = satisfying(self._wire, columns, broken, self._seed)
        if texts is None:
            return
        listed = ", ".join(f"{quote(c.name)} = {text}" for c, text in zip(columns, texts, strict=True))
        left = f"SELECT count(*) FROM {table.quoted} WHERE {broken}"  # noqa: S608
        there = int(self._wire.value(left) or 0)
        # A row that a client changes meanwhile is met by a later turn.
        for turn in range(there // _PORTION + _TURNS):
            some = f"SELECT ctid AS place, {turn * _PORTION} + row_number() OVER () AS g FROM {table.quoted} WHERE {broken} LIMIT {_PORTION}"  # noqa: S608
            try:
                self._wire.one(
                    f"UPDATE {table.quoted} t SET {listed} FROM ({some}) n WHERE t.ctid = n.place"  # noqa: S608
                )
            except ServerError as error:
                self.empty[table.key] = f"rows could not be made to satisfy a constraint: {error.message}"
                return
            if self._wire.value(left) == "0":
                return

    def clear(self) -> None:
        """Take out every row that was put in, whatever refers to it; those tables may be filled anew."""
        here = [table for table in read_tables(self._wire) if table.oid in self._filled]
        calls = [Call("SET session_replication_role = replica")]
        calls += [Call(f"DELETE FROM {table.quoted}") for table in here]  # noqa: S608
        # The rows that come next are to have the numbers of these: parameters that were found among them stay good.
        calls.append(
            Call(query("rehearsal/restart"), ("{" + ",".join(str(table.oid) for table in here) + "}",))
        )
        self._wire.batch([*calls, Call("RESET session_replication_role")])
        self._done -= self._filled
        self._filled.clear()
        self.rows.clear()


def _told(table: Table) -> str:
    told = "; ".join(filter(None, (*table.checks, table.partition))) or "none"
    return told if len(told) <= _MOST else f"{told[:_MOST]}..."


def satisfying(wire: Wire, columns: list[ColumnOf], broken: str, seed: int) -> list[str] | None:
    """SQL for values of these columns, for row ``n.g``, with which a row is not ``broken``; None where none are found."""
    ways = []
    for column in columns:
        plain = expression(column, "n.g", seed)
        spoken = [*chosen(column, "n.g"), *candidates(column, (broken,), "n.g")]
        ways.append([*spoken, *([plain] if plain else [])])
    for texts in islice(product(*ways), _COMBINED):
        row = ", ".join(f"{text} AS {quote(c.name)}" for c, text in zip(columns, texts, strict=True))
        asked = f"SELECT pg_catalog.bool_or(({broken}) IS NOT FALSE) FROM (SELECT {row} FROM (VALUES (1::bigint), (12), (1000)) n(g)) made"  # noqa: S608
        try:
            if wire.value(asked) == "f":
                return list(texts)
        except ServerError:
            continue
    return None


class Filled(msgspec.Struct, frozen=True, rename="camel"):
    """What stands in the report about rows."""

    rows: dict[str, int]
    empty: dict[str, str]
