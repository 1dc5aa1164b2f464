"""What the rows of a database amount to: a count and a digest for each table, the same wherever the same rows are."""

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.quoting import qualified
from lockgate.postgres.wire import Call, Wire
from lockgate.record.words import counted


class TableDigest(msgspec.Struct, frozen=True, rename="camel"):
    """One table: its rows, and a digest over them that no order changes; "" where the table was too large to read twice."""

    name: str
    rows: int
    digest: str = ""


_FORM = (
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL IntervalStyle = 'iso_8601'",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 3",
    "SET LOCAL search_path = pg_catalog, pg_temp",
    "SET LOCAL row_security = off",
)
"""What the text of a row depends on. ``row_security = off`` fails loudly where a policy would hide rows."""


def digests_here(wire: Wire, max_megabytes: int, deadline: float | None = None) -> list[TableDigest]:
    """The digests in the transaction that ``wire`` is in; a table above ``max_megabytes`` is counted only."""
    wire.batch([Call(sql) for sql in _FORM])
    found = []
    for schema, name, size in wire.one(query("backup_tables"), deadline=deadline).rows:
        quoted = qualified(schema or "", name or "")
        whole = int(size or 0) <= max_megabytes * 1_048_576
        # Two 64-bit halves of each row's md5, summed: order does not matter, and one changed row changes both sums.
        sums = (
            "sum(('x' || substr(h, 1, 16))::bit(64)::bigint::numeric)::text || ':' || sum(('x' || substr(h, 17, 16))::bit(64)::bigint::numeric)::text"
            if whole
            else "''"
        )
        source = f"SELECT md5(t::text) AS h FROM ONLY {quoted} t" if whole else f"SELECT 1 FROM ONLY {quoted}"  # noqa: S608 - quoted
        row = wire.one(
            f"SELECT count(*)::text, COALESCE({sums}, '') FROM ({source}) x",  # noqa: S608 - built from quoted names
            deadline=deadline,
        ).rows[0]
        found.append(TableDigest(f"{schema}.{name}", int(row[0] or 0), row[1] or ""))
    return found


def read_digests(wire: Wire, max_megabytes: int, deadline: float | None = None) -> list[TableDigest]:
    """The same in a read-only transaction of its own."""
    wire.batch([Call("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")])
    try:
        return digests_here(wire, max_megabytes, deadline)
    finally:
        if wire.alive:
            wire.batch([Call("ROLLBACK")], uncancellable=True)


def steady(before: list[TableDigest], after: list[TableDigest]) -> tuple[list[TableDigest], list[str]]:
    """(the tables that are the same in both, the names of the others): what a copy made in between has to hold, and what nobody can say."""
    same = [table for table in after if table in before]
    known = {table.name for table in same}
    return same, sorted({table.name for table in [*before, *after]} - known)


def differences(expected: list[TableDigest], seen: list[TableDigest]) -> list[str]:
    """How ``seen`` differs from ``expected``, a line each; empty when every table holds the same rows."""
    left, right = {t.name: t for t in expected}, {t.name: t for t in seen}
    told = [f"{name} is missing" for name in sorted(left.keys() - right.keys())]
    told += [f"{name} is there and should not" for name in sorted(right.keys() - left.keys())]
    for name in sorted(left.keys() & right.keys()):
        a, b = left[name], right[name]
        if a.rows != b.rows:
            told.append(f"{name} has {counted(b.rows, 'row')}, not {a.rows}")
        elif a.digest and b.digest and a.digest != b.digest:
            told.append(f"{name} has other rows")
        elif a.digest and not b.digest and a.rows:
            told.append(f"{name} was counted and not compared")
    return told
