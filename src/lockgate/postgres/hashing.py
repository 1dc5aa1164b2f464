"""SQL for 64 bits over a row by the server's own hash, for sums over rows: half the cost of hashing the wire form of the row."""

from collections.abc import Iterable
from typing import NamedTuple

TEXTS = {"text", "character varying"}
_ITSELF = {"bytea", "uuid", "smallint", "integer", "date", "oid", "boolean"}
"""Types whose own hash covers every bit of a value. Others are equal where bytes are not (-0 and 0, 1.0 and 1.00), hash
a number without its sign, or fold 64 bits into 32 first; their bytes are hashed."""
_SENT = {
    "timestamp without time zone": "timestamp_send({})",
    "timestamp with time zone": "timestamptz_send({})",
    "numeric": "numeric_send({})",
    "double precision": "float8send({})",
    "real": "float4send({})",
}
_MOST_PARTS = 1600
"""A row holds at most 1664 parts."""


class Part(NamedTuple):
    """One value of a row: its SQL and its type below domains, as ``format_type`` writes it; ``text`` for what was cast to text."""

    sql: str
    base: str


def row_hash(values: Iterable[Part], key: str = "") -> str:
    """SQL for the hash of a row. ``key`` is SQL for a bigint that identifies the row, if one does; it need not be among ``values``.

    A record's hash adds its parts up, so values that wander between two rows would cancel in a sum over rows. They do
    not where every part is hashed with the row's key as its seed, or the sum is hashed once more.
    """
    parts: list[str] = [key] if key else []
    rest: list[str] = []
    for sql, base in values:
        if base in TEXTS:
            # Under a collation that takes letters for equal, the hash of a text would too.
            parts.append(f'({sql}) COLLATE "C"')
        elif base in _ITSELF:
            parts.append(sql)
        elif base == "bigint":
            parts += [sql, f"(({sql}) >> 32)::int"]
        elif base in _SENT:
            parts.append(_SENT[base].format(sql))
        else:
            rest.append(sql)
    if len(parts) > _MOST_PARTS:
        return f"hash_record_extended(ROW(record_send(ROW({', '.join(v.sql for v in values)}))), 1)"
    if rest:
        parts.append(f"record_send(ROW({', '.join(rest)}))")
    row = f"ROW({', '.join(parts)})"
    if key:
        return f"hash_record_extended({row}, {key})"
    return f"hash_record_extended(ROW(int8send(hash_record_extended({row}, 1))), 1)"
