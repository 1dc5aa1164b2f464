"""SQL for digests of rows inside PostgreSQL."""

from lockgate.postgres import hashing
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


def row_hash(comparison: Comparison) -> str:
    """SQL for 64 bits over a row, for the first pass over whole tables. Without the server's own hash it is the first half of the digest of the row's bytes."""
    if comparison.algorithm != "hash":
        return digests(row_bytes(comparison.columns, comparison.algorithm), comparison.algorithm)[0]
    key = f"{identifier(comparison.key[0].name)}::bigint" if comparison.integer_key else ""
    values = comparison.columns[1:] if comparison.integer_key else comparison.columns
    return hashing.row_hash(
        [hashing.Part(item_sql(i), i.base if i.rendering == "binary" else "text") for i in values], key
    )
