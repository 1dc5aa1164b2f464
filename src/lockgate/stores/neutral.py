"""Values between engines: one text for a value, which every store can make and take, without loss."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from lockgate.stores.rendering import BadText, render
from lockgate.stores.table import ANY, PACKED

TYPES = {
    "postgres": {"integer": "bigint", "decimal": "numeric", "float": "double precision", "boolean": "boolean", "text": "text", "bytes": "bytea", "date": "date",
                 "time": "time", "timestamp": "timestamp", "timestamptz": "timestamptz", "uuid": "uuid", "json": "jsonb", ANY: "text"},
    "mysql": {"integer": "bigint", "decimal": "decimal(38, 10)", "float": "double", "boolean": "boolean", "text": "longtext", "bytes": "longblob", "date": "date",
              "time": "time(6)", "timestamp": "datetime(6)", "timestamptz": "timestamp(6) NULL DEFAULT NULL", "uuid": "char(36)", "json": "json", ANY: "longtext"},
    "sqlite": {"integer": "INTEGER", "decimal": "TEXT", "float": "REAL", "boolean": "INTEGER", "text": "TEXT", "bytes": "BLOB", "date": "TEXT",
               "time": "TEXT", "timestamp": "TEXT", "timestamptz": "TEXT", "uuid": "TEXT", "json": "TEXT", ANY: ""},
}  # fmt: skip
"""The type that a created table gets for a family. A key of text becomes ``varchar(255)`` in MySQL, which cannot index more."""


def neutral(value: Any, family: str) -> str | None:
    """The text of ``value`` read as ``family``; None for NULL. Raises ``ValueError`` for a value that is not of it."""
    if value is None:
        return None
    if isinstance(value, BadText) and family != "bytes":
        raise ValueError(f"text that is not UTF-8: {value.hex()[:80]}")
    if family == "float":
        return repr(float(value))
    if family == "decimal":
        number = Decimal(repr(value) if isinstance(value, float) else str(value))
        return format(number, "f") if number.is_finite() else str(number)
    if family == "json":
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        value = int(value)
    if family in ("timestamp", "timestamptz", "date", "time") and isinstance(value, str):
        return value if "infinity" in value else render(value, family)
    return render(value, family)


def canonical(text: str | None, family: str) -> str | None:
    """The form of a neutral text that is equal exactly where values are: by it both sides of a batch are digested."""
    if text is None or family not in ("decimal", "float", "json"):
        return text
    try:
        return render(text, family)
    except (ValueError, ArithmeticError):
        return text


def canonical_key(text: str | None, family: str) -> str | None:
    """The one neutral text of a key's value: 1.50 and 1.5 name the same row."""
    return render(text, family) if text is not None and family == "decimal" else text


def native(text: str | None, family: str, engine: str) -> Any:
    """What ``engine`` takes as a parameter for a neutral text."""
    if text is None:
        return None
    if family == ANY:
        kind, _, rest = text.partition(":")
        if kind == "b":
            return bytes.fromhex(rest)
        return neutral_float(rest) if kind == "f" else int(rest) if kind == "i" else rest
    if engine == "postgres":
        return text
    if family in ("integer", "boolean"):
        return int(text)
    if family == "float":
        return float(text)
    if family == "bytes":
        return bytes.fromhex(text)
    return text


def neutral_float(bits: str) -> float:
    """The number with these bits, as ``rendering`` writes floats."""
    import struct

    number: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return number


def read_sql(expression: str, family: str, engine: str, type_: str = "") -> str:
    """SQL for an expression as it is read: text in PostgreSQL, whose driver would make other objects of it."""
    if engine == "mysql":
        return f"CAST({expression} AS DOUBLE)" if type_ == "float" else expression
    if engine != "postgres":
        return expression
    return {
        PACKED: "{}",
        "boolean": "({})::int::text",
        "bytes": "encode({}, 'hex')",
        "time": "to_char({}, 'HH24:MI:SS.US')",
        "timestamp": "CASE WHEN isfinite({0}) THEN to_char({0}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE ({0})::text END",
        "timestamptz": "CASE WHEN isfinite({0}) THEN to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') ELSE ({0})::text END",
    }.get(family, "({})::text").format(expression)


def write_sql(mark: str, family: str, engine: str, type_: str) -> str:
    """SQL for a parameter as it is written into a column of ``type_``."""
    if engine != "postgres":
        return mark
    if family == "bytes":
        return f"decode({mark}::text, 'hex')"
    return f"{mark}::text::{type_}"


def of_python(value: Any, family: str) -> str | None:
    """The neutral text of what an application hands over. Raises ``ValueError`` for what is not of the family."""
    if family == "timestamptz" and isinstance(value, dt.datetime) and value.tzinfo is None:
        raise ValueError("a time without a zone for a column that has one")
    return neutral(value, family)


def to_python(text: str | None, family: str) -> Any:
    """What a function of the application is given for a neutral text: the value of Python that fits the family; JSON as its text, None for NULL."""
    if text is None:
        return None
    if family == ANY:
        return native(text, family, "")
    return _TO_PYTHON.get(family, str)(text)


def _utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


_TO_PYTHON: dict[str, Callable[[str], Any]] = {
    "integer": int, "decimal": Decimal, "float": float, "boolean": lambda text: bool(int(text)), "bytes": bytes.fromhex, "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat, "timestamp": dt.datetime.fromisoformat, "timestamptz": _utc, "uuid": UUID,
}  # fmt: skip
