"""Puts believable rows into a scratch database, and takes them out again. What could not be filled is told, not hidden."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import Table, prepare_reading, read_tables
from lockgate.postgres.wire import Call, Wire
from lockgate.rehearsal.choices import Choices
from lockgate.rehearsal.likeness import Likenesses
from lockgate.rehearsal.rows import NOTHING_KNOWN, backfill, fill, in_order, inserted, speaks_of

_WAYS: tuple[dict[str, bool], ...] = (
    {},
    {"guided": False},
    {"bare": True},
    {"guided": False, "bare": True},
    {"mixed": True},
    {"alone": True},
)
"""How a table is filled, the best first."""
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


class Filled(msgspec.Struct, frozen=True, rename="camel"):
    """What stands in the report about rows."""

    rows: dict[str, int]
    empty: dict[str, str]
