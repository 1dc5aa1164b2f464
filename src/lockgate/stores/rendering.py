"""Values as every engine writes them: one text for one value, whatever it was read from. For engines that digest in this process."""

import datetime as dt
import hashlib
import json
import struct
from decimal import Decimal
from typing import Any


class BadText(bytes):
    """Text of SQLite that is not UTF-8: the bytes that stand there. No other engine takes it as text."""


def text_of(data: bytes) -> str | BadText:
    """What SQLite calls text, as text where it is."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return BadText(data)


def render(value: Any, family: str) -> str | None:
    """The canonical text of ``value`` read as ``family``; None for NULL. Raises ``ValueError`` for a value that is not of it."""
    if value is None:
        return None
    return _RENDER.get(family, _text)(value)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return str(value)


def _integer(value: Any) -> str:
    if isinstance(value, bytes):  # BIT columns
        return str(int.from_bytes(value, "big"))
    number = int(value)
    if isinstance(value, float) and value != number:
        raise ValueError(f"{value!r} is not an integer")
    return str(number)


def _decimal(value: Any) -> str:
    number = Decimal(repr(value) if isinstance(value, float) else _text(value))
    if not number.is_finite():
        return {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity"}[str(number)]
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _float(value: Any) -> str:
    number = float(value)
    return "7ff8000000000000" if number != number else struct.pack(">d", number).hex()


def _bytes(value: Any) -> str:
    return (value.encode() if isinstance(value, str) else bytes(value)).hex()


def _date(value: Any) -> str:
    return value.isoformat() if isinstance(value, dt.date) else _text(value)


def _time(value: Any) -> str:
    if isinstance(value, dt.timedelta):
        micros = value // dt.timedelta(microseconds=1)
        sign, micros = ("-", -micros) if micros < 0 else ("", micros)
        seconds, micros = divmod(micros, 1_000_000)
        return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}"
    if isinstance(value, dt.time):
        return value.strftime("%H:%M:%S.%f")
    return dt.time.fromisoformat(_text(value)).strftime("%H:%M:%S.%f")


def _timestamp(value: Any) -> str:
    when = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(_text(value))
    if when.tzinfo is not None:
        when = when.astimezone(dt.UTC).replace(tzinfo=None)
    return f"{when.year:04}-{when:%m-%d %H:%M:%S.%f}"


def _json(value: Any) -> str:
    """JSON as PostgreSQL's ``jsonb`` writes it: keys by length, then bytes; numbers with the digits that they came with."""
    return _dump(json.loads(_text(value), parse_float=Decimal))


def _dump(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: (len(k.encode()), k.encode()))
        return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=False)}: {_dump(value[k])}" for k in keys) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False)


def _any(value: Any) -> str:
    """A value together with its type, for engines in which a column says nothing about it."""
    if isinstance(value, bytes):
        return ("t:" if isinstance(value, BadText) else "b:") + value.hex()
    if isinstance(value, float):
        return "f:" + _float(value)
    return ("i:" if isinstance(value, int) else "s:") + str(value)


_RENDER = {
    "any": _any,
    "integer": _integer, "boolean": _integer, "decimal": _decimal, "float": _float, "bytes": _bytes,
    "date": _date, "time": _time, "timestamp": _timestamp, "timestamptz": _timestamp, "json": _json,
}  # fmt: skip


def row_bytes(texts: list[str | None]) -> bytes:
    """The bytes of a row: a length before every value, a mark for NULL. No separator could stand in a value."""
    parts = []
    for text in texts:
        if text is None:
            parts.append(b"N")
        else:
            data = text.encode("utf-8", "surrogatepass")
            parts.append(b"V%d:%b" % (len(data), data))
    return b"".join(parts)


def digest(data: bytes) -> tuple[int, int]:
    """The first 128 bits of SHA-256, as two signed numbers."""
    first, second = struct.unpack(">qq", hashlib.sha256(data).digest()[:16])
    return first, second
