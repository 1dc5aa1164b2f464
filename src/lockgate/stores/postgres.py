"""PostgreSQL as a store: digests are made in the server, next to the rows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from lockgate.errors import LockgateError
from lockgate.postgres.link import Link, refusal
from lockgate.postgres.quoting import identifier
from lockgate.postgres.relation import ColumnFacts, Relation, ServerFacts, find, server_facts
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.record.words import agree, counted
from lockgate.stores.pgdigest import digests, item_sql, key_hash, row_bytes, row_hash
from lockgate.stores.ranges import runs
from lockgate.stores.store import Cut, KeyRange, Leaf, RowDigest, Within
from lockgate.stores.table import Column, Comparison, Table

FAMILY_OF = {
    "smallint": "integer", "integer": "integer", "bigint": "integer", "numeric": "decimal",
    "real": "float", "double precision": "float", "boolean": "boolean",
    "text": "text", "character varying": "text", "character": "text", "name": "text",
    "bytea": "bytes", "date": "date", "time without time zone": "time", "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz", "uuid": "uuid", "json": "json", "jsonb": "json",
}  # fmt: skip
CHUNK_BYTES = 128 << 20
"""A scan of a plain table goes in pieces of this size, so that it can tell how far it is."""


class PostgresStore:
    """One database of PostgreSQL, one session, one table."""

    def __init__(self, target: Target, name: str) -> None:
        self.target = target
        self.link = Link(target, name)
        self.facts: ServerFacts = server_facts(self.link)
        self.relation: Relation | None = None
        self._like: Relation | None = None
        self.rows_sql = ""
        """The FROM item that gives the rows to compare: the table, or a query over it."""
        self._snapshot = ""

    def describe_as(self, read: Relation, like: Relation, names: tuple[str, ...], rows_sql: str) -> Table:
        """Compare what ``rows_sql`` makes of the table ``read``, which has the columns ``names`` of ``like`` (a table perhaps elsewhere)."""
        self.link.run("SET SESSION search_path = pg_catalog, pg_temp")
        self.relation, self.rows_sql, self._like = read, rows_sql, like
        columns = tuple(c for c in like.columns if c.name in names)
        return table_of(msgspec.structs.replace(like, columns=columns), self.facts)

    def describe(self, name: str) -> Table:
        """See ``Store``. From here on the search path is empty: what a value looks like must not depend on it."""
        try:
            self.relation = relation = find(self.link, name)
        except ServerError as error:
            raise refusal(error, f"looking at {name}", self.target) from None
        self.rows_sql = relation.sql
        self.link.run("SET SESSION search_path = pg_catalog, pg_temp")
        return table_of(relation, self.facts)

    def snapshot(self, like: object = None) -> None:
        """See ``Store``."""
        # The planner takes every key's hash for a group of its own; there are a few thousand, which need no sort.
        self.link.run("SET SESSION work_mem = '64MB'; SET SESSION enable_sort = off")
        self.link.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if isinstance(like, PostgresStore) and like._snapshot and self.facts.same_database(like.facts):
            self.link.run(f"SET TRANSACTION SNAPSHOT '{like._snapshot}'")
        if isinstance(like, PostgresStore) and self.facts.system_identifier == like.facts.system_identifier:
            for store in (self, like):  # both sides already share this server's processors
                store.link.run("SET SESSION max_parallel_workers_per_gather = 0")
        if like is None:
            self._snapshot = self.link.value("SELECT pg_catalog.pg_export_snapshot()")
        self.link.run("SELECT 1")  # the snapshot is taken now, not when the first scan begins

    # -- digests ------------------------------------------------------------------------------------

    def key_range(self, comparison: Comparison) -> KeyRange | None:
        """See ``Store``."""
        relation = self._described()
        if not comparison.integer_key or not relation.proves_unique((comparison.key[0].name,)):
            return None
        name = comparison.key[0].name
        types = {c.type for r in (relation, self._like or relation) for c in r.columns if c.name == name}
        if len(types) > 1 or relation.kind not in "rp":
            return None  # what is read is not the column of the index
        low, high = self._ask(f"SELECT min({identifier(name)})::bigint, max({identifier(name)})::bigint FROM {self.rows_sql}", "reading")[0]  # fmt: skip
        return KeyRange(1, 0) if low is None else KeyRange(low, high)

    def leaves(
        self, comparison: Comparison, cut: Cut, within: Within, progress: Callable[[float], None]
    ) -> dict[int, Leaf]:
        """See ``Store``."""
        relation = self._described()
        # One hash of 64 bits here. What differs is then told apart by 128 bits a row.
        rows, condition = self._rows(comparison, within)
        select = f"SELECT {_leaf(comparison, cut)}, count(*), sum({row_hash(comparison)})::text FROM {rows}"
        found: dict[int, Leaf] = {}
        pieces = self._pieces(relation) if rows == self.rows_sql else [""]
        for number, piece in enumerate(pieces):
            where = " AND ".join(c for c in (condition, piece) if c)
            sql = f"{select}{f' WHERE {where}' if where else ''} GROUP BY 1"
            for place, count, digest in self._ask(sql, "reading"):
                seen = Leaf(count, int(digest))
                found[place] = found[place].plus(seen) if place in found else seen
            progress((number + 1) / len(pieces))
        return found

    def _rows(self, comparison: Comparison, within: Within) -> tuple[str, str]:
        """The FROM item and the condition that give the rows ``within``."""
        if within is None:
            return self.rows_sql, ""
        if within.cut.by == "hash":
            leaves = ",".join(map(str, within.leaves))
            return self.rows_sql, f"{_leaf(comparison, within.cut)} = ANY ('{{{leaves}}}'::int[])"
        name = identifier(comparison.key[0].name)
        found = runs(within.cut.bits, within.leaves)
        lows, highs = (",".join(str(run[side]) for run in found) for side in (0, 1))
        # OFFSET 0 keeps it a loop over the index, one range at a time, whatever the planner guesses.
        each = f"SELECT * FROM {self.rows_sql} WHERE {name} >= lockgate_r.low AND {name} <= lockgate_r.high OFFSET 0"
        return (
            f"unnest('{{{lows}}}'::bigint[], '{{{highs}}}'::bigint[]) AS lockgate_r (low, high) CROSS JOIN LATERAL ({each}) lockgate_q",
            "",
        )

    def row_digests(self, comparison: Comparison, within: Within) -> Iterator[RowDigest]:
        """See ``Store``."""
        relation = self._described()
        rows, condition = self._rows(comparison, within)
        first, second = digests("d", comparison.algorithm)
        keys = [
            f"{identifier(k.name)}::bigint" if comparison.integer_key else item_sql(k, for_people=True)
            for k in comparison.key
        ]
        names = [f"k{i}" for i in range(len(keys))]
        inner = f"SELECT {', '.join(f'{k} AS {n}' for k, n in zip(keys, names, strict=True))}, {row_bytes(comparison.columns, comparison.algorithm)} AS d FROM {rows}"
        sql = f"SELECT {', '.join(names)}, {first}, {second} FROM ({inner}{f' WHERE {condition}' if condition else ''} OFFSET 0) q"
        try:
            for row in self.link.stream(sql):
                yield RowDigest(row[:-2], (row[-2], row[-1]))
        except ServerError as error:
            raise refusal(error, f"reading {relation.sql}", self.target) from None

    def find_bad_keys(self, comparison: Comparison) -> Sequence[str]:
        """See ``Store``. Costs nothing where an index guarantees the key, as it does for every move."""
        relation = self._described()
        if self.rows_sql != relation.sql or relation.proves_unique(tuple(k.name for k in comparison.key)):
            return ()
        keys = [item_sql(k, for_people=True) for k in comparison.key]
        null = " OR ".join(f"{identifier(k.name)} IS NULL" for k in comparison.key)
        wrong = []
        count = self._ask(f"SELECT count(*) FROM {self.rows_sql} WHERE {null}", "reading")[0][0]
        if count:
            wrong.append(f"{counted(count, 'row')} {agree(count, 'has', 'have')} a NULL in the key")
        twice = self._ask(
            f"SELECT {', '.join(keys)}, count(*) FROM {self.rows_sql} WHERE NOT ({null}) GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))} HAVING count(*) > 1 LIMIT 3",
            "reading",
        )
        wrong += [f"({', '.join(map(str, row[:-1]))}) occurs {row[-1]} times" for row in twice]
        return wrong

    def _ask(self, sql: str, doing: str) -> list[tuple[Any, ...]]:
        try:
            return self.link.rows(sql)
        except ServerError as error:
            raise refusal(error, f"{doing} {self._described().sql}", self.target) from None

    def _described(self) -> Relation:
        if self.relation is None:
            raise LockgateError("describe() comes first")
        return self.relation

    def _pieces(self, relation: Relation) -> list[str]:
        """Conditions that cut a plain heap table into pieces; one empty condition where that cannot be done."""
        if (
            relation.kind not in "rm"
            or relation.access_method != "heap"
            or relation.bytes <= CHUNK_BYTES * 3 // 2
        ):
            return [""]
        pages = int(
            self.link.value(
                "SELECT pg_catalog.pg_relation_size($1::oid) / current_setting('block_size')::int",
                relation.oid,
            )
        )
        step = CHUNK_BYTES // 8192
        cuts = list(range(step, pages, step))
        lows, highs = [0, *cuts], [*cuts, None]
        return [
            f"ctid >= '({low},0)'::tid" + (f" AND ctid < '({high},0)'::tid" if high is not None else "")
            for low, high in zip(lows, highs, strict=True)
        ]

    def cancel(self) -> None:
        """See ``Store``."""
        self.link.cancel()

    def close(self) -> None:
        """See ``Store``."""
        self.link.close()


def table_of(relation: Relation, facts: ServerFacts) -> Table:
    """``relation`` in the words of no particular engine."""
    return Table(
        name=f"{relation.schema}.{relation.name}",
        columns=tuple(_column(c) for c in relation.columns),
        unique=tuple(u.columns for u in relation.uniques if u.not_null),
        rows=relation.rows if relation.rows >= 0 else relation.bytes // 100,
        engine="postgres",
        version=facts.version // 10000,
        probe=facts.probe,
    )


def family_of(c: ColumnFacts) -> str:
    """What the values of a column are by nature; empty for what no other engine has."""
    family = FAMILY_OF.get(c.base, "") if c.base_schema == "pg_catalog" else ""
    if not family and (c.class_ == "e" or c.base.rpartition(".")[2] == "citext"):
        return "text"
    return family


def _column(c: ColumnFacts) -> Column:
    base = c.base if c.base_schema == "pg_catalog" else c.base.rpartition(".")[2]
    return Column(c.name, c.type, base, family_of(c) or base, c.portable, c.not_null, c.generated)


def _leaf(comparison: Comparison, cut: Cut) -> str:
    """SQL for the leaf of a row."""
    if cut.by == "range":
        return f"({identifier(comparison.key[0].name)}::bigint >> {cut.bits})"
    return f"({key_hash(comparison)} & {(1 << cut.bits) - 1})::int"
