"""Rows from before a constraint: NOT VALID spares the rows that are there, until something updates one of them.

For each such constraint that a file leaves behind, and each query that writes, a row is given back what its columns could
hold before: NULL, and the values that the checks of the base spoke of. What a check refused that was proven right before the
constraint came is in no row: a constraint that is only loosened or renamed meets nothing. What the files themselves do to old rows is done to it
too, and then the query runs. All of that happens in one transaction that is rolled back.
"""

import json
import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import ColumnOf, Table, literal, quote
from lockgate.postgres.wire import Call, Wire
from lockgate.rehearsal.compatibility import BREAKS, HOLD
from lockgate.rehearsal.likeness import Likenesses, percent
from lockgate.rehearsal.names import Named, as_now, figures, renaming, under
from lockgate.rehearsal.values import candidates, chosen, expression

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
    """What an old row may hold: column → SQL. ``known`` is the share of production's rows that do, None where nobody knows.

    ``beside`` is what other columns hold then, where a check ties them to it.
    """

    values: tuple[tuple[str, str], ...]
    known: float | None = None
    beside: tuple[tuple[str, str], ...] = ()

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


def _named(wire: Wire) -> dict[int, Named]:
    """The tables that are there, by number."""
    calls = [
        Call("SET search_path = pg_catalog, pg_temp"),  # every other name comes out qualified
        Call(query("rehearsal/proven")),
        Call("RESET search_path"),
    ]
    decode = msgspec.json.Decoder(Named).decode
    listed = [decode(row[0] or "") for row in wire.batch(calls, label="proven")[1].rows]
    return {one.oid: one for one in listed}


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


def tied(row: Planted, table: Table | None, proven: Iterable[str]) -> list[Planted]:
    """``row`` with a value of one other column that a check of ``proven`` names together with it. Pure."""
    columns = table.columns if table else ()
    held = {name for name, _ in row.values}
    found = []
    for check in proven:
        named = [c for c in columns if re.search(rf'(?<!\w)"?{re.escape(c.name)}"?(?!\w)', check)]
        if held.isdisjoint(c.name for c in named):
            continue
        for column in (c for c in named if c.name not in held):
            texts = [f"{literal(label)}::{column.type}" for label in column.labels] or [
                *chosen(column, "7"), *candidates(column, (check,), "7"),
            ]  # fmt: skip
            plain = expression(column, "7", 7)
            every = [*([] if column.not_null else ["NULL"]), *texts, *([plain] if plain else [])]
            found += [replace(row, beside=((column.name, text),)) for text in every]
    return found[:_MOST]


class OlderRows:
    """Looks at the rows that new constraints spare, on one scratch database; ``refusals`` after each file."""

    def __init__(self, like: Likenesses) -> None:
        self._like = like
        self._known: set[int] = set()
        self._named: dict[int, Named] | None = None
        self._proven: dict[int, Named] = {}
        """Constraint → its table as it was right before the constraint came."""
        self._before: Mapping[int, Table] = {}
        self._done: list[tuple[str, dict[int, Named]]] = []
        """What files did to rows, each with the tables as they were called before the file."""
        self.filled_in = False

    def begin(self, tables: Iterable[Table]) -> None:
        """These tables are there: what is not known of them yet is what their rows could hold before."""
        self._before = {**{t.oid: t for t in tables}, **self._before}

    def share(self, table: Table, column: ColumnOf) -> float | None:
        """The share of production's rows that hold NULL in this column, None where nobody knows; whatever both are called by now."""
        base = self._before.get(table.oid)
        name = next((c.name for c in base.columns if c.number == column.number), "") if base else ""
        known = self._like.get(base.key, {}).get(name) if base else None
        return known.null_share if known else None

    def applied(self, statements: Iterable[tuple[str, str]]) -> None:
        """A file was applied: (kind, text) of its statements."""
        self._done += [(text, self._named or {}) for kind, text in statements if kind in TOUCHES_ROWS]

    def new(self, wire: Wire) -> list[Unproven]:
        """The constraints that came since the first look to a table that was there, and whose old rows are not proven yet."""
        here = read_unproven(wire)
        before, self._named = self._named, _named(wire)
        # What came together with its table has no older rows.
        self._known |= {c.oid for c in here if before is None or c.relation not in before}
        fresh = [c for c in here if c.oid not in self._known]
        for constraint in fresh:
            # A check that goes later than the constraint came is satisfied by all rows that the constraint spares.
            if before is not None:
                self._proven.setdefault(constraint.oid, before[constraint.relation])
        return fresh

    def refusal(
        self, wire: Wire, constraint: Unproven, text: str, calls: Iterable[list[str]]
    ) -> Refusal | None:
        """The worst that an old row of the constraint's table does to the query ``text``, of which all ``calls`` work on new rows; None for nothing."""
        worst: Refusal | None = None
        if not _UPDATES.search(text):
            return None  # an INSERT makes a row of its own, and a DELETE is not checked
        listed = list(calls)
        table = self._table(constraint)
        planted = self._planted_for(wire, constraint, table)
        name = constraint.key.rpartition(".")[2]
        if planted and re.search(rf"\b{re.escape(name)}\b", text) and _is_empty(wire, constraint.table):
            told = f"{constraint.key} holds no rows here, so nothing shows what constraint {constraint.name} (NOT VALID) does to this on a row from before it"
            return Refusal(HOLD, "", told)
        proven = self._proven_now(wire, constraint) if planted else []
        for row in self._possible(wire, constraint, planted, proven, table):
            met = (self._meet(wire, constraint, row, proven, texts) for texts in listed)
            error = next(filter(None, met), None)
            if error is None:
                continue
            if row.known:
                told = f"{error.message}; {percent(row.known)} of the rows of {constraint.key} hold {row.told}, and constraint {constraint.name} refuses any UPDATE of them"
                return Refusal(BREAKS, error.sqlstate, told)
            worst = worst or Refusal(
                HOLD,
                error.sqlstate,
                f"constraint {constraint.name} (NOT VALID) refuses this on a row of {constraint.key} that holds {row.told} from before it; "
                f"whether there are such rows is not known: fill them in before{', or show with --snapshot that there are none' if 'NULL in' in row.told else ''}",
            )
        return worst

    def _table(self, constraint: Unproven) -> Table | None:
        """The constraint's table as the base had it, its columns under the names that they have now."""
        table, now = self._before.get(constraint.relation), self._now(constraint)
        return table if table is None or now is None else as_now(table, now)

    def _now(self, constraint: Unproven) -> Named | None:
        return (self._named or {}).get(constraint.relation)

    def _planted_for(self, wire: Wire, constraint: Unproven, table: Table | None) -> list[Planted]:
        """What old rows may hold. A column that came later holds in every row what the files have put there."""
        now, base = self._now(constraint), self._before.get(constraint.relation)
        like = self._like
        if now is not None and base is not None and base.key in like:
            like = {base.key: figures(like[base.key], base, now)}
        found = planted_for(constraint, [] if table is None else [table], like, filled_in=self.filled_in)
        there = {column.name for column in table.columns} if table else set()
        later = {n for row in found for n, text in row.values if text == "NULL" and n not in there}
        full = {n for n in later if not _holds_null(wire, constraint.table, n)}
        return [row for row in found if full.isdisjoint(n for n, _ in row.values)]

    def _proven_now(self, wire: Wire, constraint: Unproven) -> list[str]:
        """The checks that held of every row before the constraint came, under the names of now, as far as these can still be asked."""
        before, now = self._proven.get(constraint.oid), self._now(constraint)
        if before is None or now is None:
            return []
        told = [under(check, before, now) for check in before.checks]
        return [check for check in told if check and _can_be_asked(wire, constraint.table, check)]

    def _possible(
        self, wire: Wire, constraint: Unproven, planted: list[Planted], proven: list[str], table: Table | None
    ) -> list[Planted]:
        """Those of ``planted`` that a row could hold; of what it could hold only together with another column's value, with that."""
        if not proven:
            return planted
        found = []
        for row in planted:
            ways = (row, *tied(row, table, proven))
            found += [next((way for way in ways if _planted(wire, constraint, way, proven)), None)]
            _roll_back(wire)
        return [row for row in found if row is not None]

    def _as_before(self, constraint: Unproven, before: dict[int, Named]) -> tuple[list[str], list[str]]:
        then, now = before.get(constraint.relation), self._now(constraint)
        return ([], []) if then is None or now is None else renaming(then, now)

    def _meet(
        self, wire: Wire, constraint: Unproven, row: Planted, proven: list[str], calls: list[str]
    ) -> ServerError | None:
        """The error with which the constraint refuses ``calls`` on rows that hold ``row``; None where it does not, or no row can hold that."""
        try:
            if not _planted(wire, constraint, row, proven):
                return None
            for done, before in self._done:
                _tried(wire, done, self._as_before(constraint, before))
            wire.batch([*map(Call, calls), Call("SET CONSTRAINTS ALL IMMEDIATE")])
        except ServerError as error:
            named = error.sqlstate == "23502" or f'"{constraint.name}"' in error.message
            return error if error.sqlstate in _REFUSED and named else None
        finally:
            _roll_back(wire)
        return None


def _holds_null(wire: Wire, table: str, column: str) -> bool:
    return wire.value(f"SELECT EXISTS (SELECT FROM {table} WHERE {quote(column)} IS NULL)") == "t"  # noqa: S608 - quoted


def _is_empty(wire: Wire, table: str) -> bool:
    return wire.value(f"SELECT EXISTS (SELECT FROM {table})") == "f"  # noqa: S608 - quoted by the server


def _can_be_asked(wire: Wire, table: str, check: str) -> bool:
    """False where a file took away or renamed what the check speaks of."""
    try:
        wire.one(f"SELECT FROM {table} WHERE {check} LIMIT 0")
    except ServerError:
        return False
    return True


def _roll_back(wire: Wire) -> None:
    if wire.alive and wire.in_transaction:
        wire.batch([Call("ROLLBACK")], uncancellable=True)


def _planted(wire: Wire, constraint: Unproven, row: Planted, proven: list[str]) -> bool:
    """Plant ``row``, without triggers if that is possible. False, with no transaction, where it is not possible at all."""
    return any(_plant(wire, constraint, row, proven, quietly=quietly) for quietly in (True, False))


def _plant(wire: Wire, constraint: Unproven, row: Planted, proven: list[str], *, quietly: bool) -> bool:
    """Begin a transaction in which every row of the table holds ``row``, as if it had been there before the constraint.

    Rows for which that breaks a check of ``proven`` are none that could be there, and go. ``quietly`` keeps triggers out of it, which takes a superuser. False, with no transaction, where the rows cannot hold that.
    """
    named = quote(constraint.name)
    values = ", ".join(f"{quote(name)} = {text}" for name, text in (*row.values, *row.beside))
    role = [Call("SET LOCAL session_replication_role = replica")] if quietly else []
    refused = " OR ".join(f"({check}) IS FALSE" for check in proven)
    gone = [Call(f"DELETE FROM {constraint.table} WHERE {refused}")] if proven else []  # noqa: S608 - as above
    back = [Call("SET LOCAL session_replication_role = origin")] if quietly else []
    try:
        replies = wire.batch(
            [
                Call("BEGIN"), *role,
                Call(f"ALTER TABLE {constraint.table} DROP CONSTRAINT {named}"),
                Call(f"UPDATE {constraint.table} SET {values}"),  # noqa: S608 - quoted by the server and by quote()
                *gone,
                Call(f"ALTER TABLE {constraint.table} ADD CONSTRAINT {named} {constraint.definition}"),
                *back,
                Call(f"SELECT EXISTS (SELECT FROM {constraint.table})"),  # noqa: S608 - as above
            ]
        )  # fmt: skip
    except ServerError:
        _roll_back(wire)
        return False
    if replies[-1].rows[0][0] != "t":
        _roll_back(wire)
        return False
    return True


def _tried(wire: Wire, text: str, names: tuple[list[str], list[str]]) -> None:
    """Do what a file did, under the names of then (``names``: statements there and back) where those of now do not do; where it cannot be done a second time, nothing."""
    there, back = names
    for around in (([], []), (there, back)) if there else (([], []),):
        calls = ["SAVEPOINT lockgate_older", *around[0], text, *around[1], "RELEASE lockgate_older"]
        try:
            wire.batch(list(map(Call, calls)))
        except ServerError:
            if wire.in_transaction:
                wire.batch([Call("ROLLBACK TO lockgate_older")])
        else:
            return
