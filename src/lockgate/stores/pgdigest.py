"""SQL for digests of rows inside PostgreSQL."""

from lockgate.postgres.quoting import identifier
from lockgate.stores.table import Comparison, Item


def row_bytes(items: tuple[Item, ...], algorithm: str) -> str:
    """SQL for the bytes of a row, with a length before every value and a mark for NULL.

    For the server's own hash it is PostgreSQL's wire form; for SHA-256 text that every engine can make.
    """
    if algorithm == "hash":
        return f"record_send(ROW({', '.join(item_sql(i) for i in items)}))"
    parts = (
        f"COALESCE('V' || octet_length(convert_to({t}, 'UTF8')) || ':' || {t}, 'N')"
        for t in map(item_sql, items)
    )
    return f"convert_to({' || '.join(parts)}, 'UTF8')"


def key_hash(comparison: Comparison) -> str:
    """SQL for a 64-bit hash of the key, the same on both sides; it spreads rows over leaves."""
    if comparison.integer_key:
        return f"hashint8extended({identifier(comparison.key[0].name)}::bigint, 0)"
    sent = row_bytes(comparison.key, comparison.algorithm)
    if comparison.algorithm == "hash":
        return f"hash_record_extended(ROW({sent}), 0)"
    return _half(f"sha256({sent})", 0)


def digests(sent: str, algorithm: str) -> tuple[str, str]:
    """SQL for the two halves of the digest of the bytes ``sent``."""
    if algorithm == "hash":
        return f"hash_record_extended(ROW({sent}), 1)", f"hash_record_extended(ROW({sent}), 2)"
    return _half(f"sha256({sent})", 0), _half(f"sha256({sent})", 8)


def _half(digest: str, offset: int) -> str:
    return f"('x' || encode(substr({digest}, {offset + 1}, 8), 'hex'))::bit(64)::bigint"


def item_sql(item: Item, *, for_people: bool = False) -> str:
    """SQL for the value of a column as it is compared, or as it is shown to people."""
    column = identifier(item.name)
    if item.rendering == "binary" and not for_people:
        return column
    return _CANONICAL.get(item.rendering, "{}::text").format(column)


_CANONICAL = {
    "canonical:boolean": "{}::int::text",
    "canonical:integer": "CASE {0}::text WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE {0}::text END",
    "canonical:decimal": "trim_scale({}::numeric)::text",
    "canonical:float": "encode(float8send({}::double precision), 'hex')",
    "canonical:bytes": "encode({}, 'hex')",
    "canonical:time": "to_char({}, 'HH24:MI:SS.US')",
    "canonical:timestamp": "CASE WHEN isfinite({0}) THEN to_char({0}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE {0}::text END",
    "canonical:timestamptz": "CASE WHEN isfinite({0}) THEN to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') ELSE {0}::text END",
    "canonical:json": "{}::jsonb::text",
}
"""The form of a value that every engine can make; every other family's text is so already."""


_BYTES = 'COLLATE "C"'
"""Under a collation that takes letters for equal, the hash of a text does too."""
_TEXT = {"text", "character varying"}
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


def row_hash(comparison: Comparison) -> str:
    """SQL for 64 bits over a row, for the first pass over whole tables: half the cost of the bytes of the row.

    A record's hash adds its parts up, so values that wander between two rows would cancel in a sum over rows. They do
    not where every part is hashed with the row's key as its seed, or the sum once more. Without the server's own hash it
    is the first half of the digest of the row's bytes.
    """
    if comparison.algorithm != "hash":
        return digests(row_bytes(comparison.columns, comparison.algorithm), comparison.algorithm)[0]
    parts: list[str] = []
    rest: list[str] = []
    for item in comparison.columns:
        value = item_sql(item)
        if comparison.integer_key and item == comparison.key[0]:
            parts.append(f"{identifier(item.name)}::bigint")
        elif item.rendering != "binary" or item.base in _TEXT:
            parts.append(f"({value}) {_BYTES}")
        elif item.base in _ITSELF:
            parts.append(value)
        elif item.base == "bigint":
            parts += [value, f"({value} >> 32)::int"]
        elif item.base in _SENT:
            parts.append(_SENT[item.base].format(value))
        else:
            rest.append(value)
    if rest:
        parts.append(f"record_send(ROW({', '.join(rest)}))")
    if len(parts) > _MOST_PARTS:
        return digests(row_bytes(comparison.columns, comparison.algorithm), comparison.algorithm)[0]
    row = f"ROW({', '.join(parts)})"
    if comparison.integer_key:
        return f"hash_record_extended({row}, {identifier(comparison.key[0].name)}::bigint)"
    return f"hash_record_extended(ROW(int8send(hash_record_extended({row}, 1))), 1)"
