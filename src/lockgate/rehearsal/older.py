"""Rows from before a constraint: NOT VALID spares the rows that are there, until something updates one of them.

For each such constraint that a file leaves behind, and each query that writes, a row is given back what its columns could
hold before: NULL, and the values that the checks of the base spoke of. What the files themselves do to old rows is done to it
too, and then the query runs. All of that happens in one transaction that is rolled back.
"""

import json
import re
from collections.abc import Iterable, Mapping

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import Table, literal, quote
from lockgate.postgres.wire import Call, Wire
from lockgate.rehearsal.compatibility import BREAKS, HOLD
from lockgate.rehearsal.likeness import Likenesses
from lockgate.rehearsal.values import chosen

TOUCHES_ROWS = ("update_stmt", "delete_stmt", "merge_stmt", "do_stmt", "select_stmt", "call_stmt")
"""Kinds of statement by which a file may fill in or remove rows that are there."""
_UPDATES = re.compile(r"\b(update|merge)\b", re.I)
_REFUSED = ("23514", "23502")
_MOST = 12


class Unproven(msgspec.Struct, frozen=True):
    """A constraint that holds for new rows only. ``table`` is as SQL takes it, ``key`` as reports show it."""

    oid: int
    table: str
    key: str
    name: str
    definition: str
    relation: int
    columns: tuple[str, ...]


class Refusal(msgspec.Struct, frozen=True):
    """What an old row does to a query: ``answer`` is breaks where production is known to hold such rows, else hold."""

    answer: str
    sqlstate: str
    message: str


class Planted(msgspec.Struct, frozen=True):
    """What an old row may hold: column → SQL. ``known`` is the share of production's rows that do, None where nobody knows."""

    values: tuple[tuple[str, str], ...]
    known: float | None = None

    @property
    def told(self) -> str:
        """The row in words."""
        return " and ".join(f"{text.partition('::')[0]} in {name}" for name, text in self.values)


def read_unproven(wire: Wire) -> list[Unproven]:
    """The constraints of this database that its old rows need not satisfy."""
    return [
        Unproven(int(oid or 0), table or "", key or "", name or "", told or "", int(rel or 0), tuple(json.loads(columns or "[]")))
        for oid, table, key, name, told, rel, columns in wire.one(query("rehearsal/unproven")).rows
    ]  # fmt: skip


def _tables(wire: Wire) -> set[int]:
    """The tables that are there, by number."""
    rows = wire.one(
        "SELECT oid::text FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384"
    ).rows
    return {int(row[0] or 0) for row in rows}


def planted_for(
    constraint: Unproven, before: Iterable[Table], like: Likenesses, *, filled_in: bool
) -> list[Planted]:
    """What rows of the constraint's table may hold from before it. Pure.

    ``before`` are the tables as the base had them. ``filled_in`` says that a data move has given every NULL a value.
    """
    table = next((t for t in before if t.oid == constraint.relation), None)
    columns = {c.name: c for c in table.columns} if table else {}
    known = like.get(table.key, {}) if table else {}
    nulls, found = [], []
    for name in constraint.columns:
        column = columns.get(name)
        share = known[name].null_share if name in known else None
        if not filled_in and share != 0.0 and (column is None or not column.not_null):
            nulls.append(Planted(((name, "NULL"),), share))
        if column is not None:
            texts = [f"{literal(label)}::{column.type}" for label in column.labels] or chosen(column, "7")
            found += [Planted(((name, text),)) for text in texts[:_MOST]]
    together = [Planted(tuple(p.values[0] for p in nulls))] if len(nulls) > 1 else []
    return [*nulls, *together, *found]


class OlderRows:
    """Looks at the rows that new constraints spare, on one scratch database; ``refusals`` after each file."""

    def __init__(self, like: Likenesses) -> None:
        self._like = like
        self._known: set[int] = set()
        self._tables: set[int] | None = None
        self._before: Mapping[int, Table] = {}
        self._done: list[str] = []
        self.filled_in = False

    def begin(self, tables: Iterable[Table]) -> None:
        """These tables are there: what is not known of them yet is what their rows could hold before."""
        self._before = {**{t.oid: t for t in tables}, **self._before}

    def applied(self, statements: Iterable[tuple[str, str]]) -> None:
        """A file was applied: (kind, text) of its statements."""
        self._done += [text for kind, text in statements if kind in TOUCHES_ROWS]

    def new(self, wire: Wire) -> list[Unproven]:
        """The constraints that came since the first look to a table that was there, and whose old rows are not proven yet."""
        here = read_unproven(wire)
        before, self._tables = self._tables, _tables(wire)
        # What came together with its table has no older rows.
        self._known |= {c.oid for c in here if before is None or c.relation not in before}
        return [c for c in here if c.oid not in self._known]

    def refusal(
        self, wire: Wire, constraint: Unproven, text: str, calls: Iterable[list[str]]
    ) -> Refusal | None:
        """The worst that an old row of the constraint's table does to the query ``text``, of which all ``calls`` work on new rows; None for nothing."""
        worst: Refusal | None = None
        listed = list(calls)
        planted = planted_for(constraint, self._before.values(), self._like, filled_in=self.filled_in)
        name = constraint.key.rpartition(".")[2]
        if not _UPDATES.search(text):
            return None  # an INSERT makes a row of its own, and a DELETE is not checked
        if planted and re.search(rf"\b{re.escape(name)}\b", text) and _is_empty(wire, constraint.table):
            told = f"{constraint.key} holds no rows here, so nothing shows what constraint {constraint.name} (NOT VALID) does to this on a row from before it"
            return Refusal(HOLD, "", told)
        for row in planted:
            error = next(filter(None, (self._meet(wire, constraint, row, texts) for texts in listed)), None)
            if error is None:
                continue
            if row.known:
                share = f"{row.known:.1%}".replace(".0%", "%")
                told = f"{error.message}; {share} of the rows of {constraint.key} hold {row.told}, and constraint {constraint.name} refuses any UPDATE of them"
                return Refusal(BREAKS, error.sqlstate, told)
            worst = worst or Refusal(
                HOLD,
                error.sqlstate,
                f"constraint {constraint.name} (NOT VALID) refuses this on a row of {constraint.key} that holds {row.told} from before it; "
                f"whether there are such rows is not known: fill them in before{', or show with --snapshot that there are none' if 'NULL in' in row.told else ''}",
            )
        return worst

    def _meet(self, wire: Wire, constraint: Unproven, row: Planted, calls: list[str]) -> ServerError | None:
        """The error with which the constraint refuses ``calls`` on rows that hold ``row``; None where it does not, or no row can hold that."""
        try:
            if not (
                _plant(wire, constraint, row, quietly=True) or _plant(wire, constraint, row, quietly=False)
            ):
                return None
            for text in self._done:
                _tried(wire, text)
            wire.batch([*map(Call, calls), Call("SET CONSTRAINTS ALL IMMEDIATE")])
        except ServerError as error:
            named = error.sqlstate == "23502" or f'"{constraint.name}"' in error.message
            return error if error.sqlstate in _REFUSED and named else None
        finally:
            if wire.alive and wire.in_transaction:
                wire.batch([Call("ROLLBACK")], uncancellable=True)
        return None


def _is_empty(wire: Wire, table: str) -> bool:
    return wire.value(f"SELECT EXISTS (SELECT FROM {table})") == "f"  # noqa: S608 - quoted by the server


def _plant(wire: Wire, constraint: Unproven, row: Planted, *, quietly: bool) -> bool:
    """Begin a transaction in which every row of the table holds ``row``, as if it had been there before the constraint.

    ``quietly`` keeps triggers out of it, which takes a superuser. False, with no transaction, where the rows cannot hold that.
    """
    named = quote(constraint.name)
    values = ", ".join(f"{quote(name)} = {text}" for name, text in row.values)
    role = [Call("SET LOCAL session_replication_role = replica")] if quietly else []
    back = [Call("SET LOCAL session_replication_role = origin")] if quietly else []
    try:
        wire.batch(
            [
                Call("BEGIN"), *role,
                Call(f"ALTER TABLE {constraint.table} DROP CONSTRAINT {named}"),
                Call(f"UPDATE {constraint.table} SET {values}"),  # noqa: S608 - quoted by the server and by quote()
                Call(f"ALTER TABLE {constraint.table} ADD CONSTRAINT {named} {constraint.definition}"),
                *back,
            ]
        )  # fmt: skip
    except ServerError:
        if wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True)
        return False
    return True


def _tried(wire: Wire, text: str) -> None:
    """Do what a file did; where it cannot be done a second time, nothing."""
    try:
        wire.batch([Call("SAVEPOINT lockgate_older"), Call(text), Call("RELEASE lockgate_older")])
    except ServerError:
        if wire.in_transaction:
            wire.batch([Call("ROLLBACK TO lockgate_older")])
