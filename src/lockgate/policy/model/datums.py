"""Constants as they stand in a text, made comparable where no server is needed for it.

A datum is a text: ``n:5`` a number, ``s:…`` a quoted value, ``d:…`` one of a type that was named and is no text,
``b:true``, ``null``, ``min``, ``max``, and ``?`` for anything else.
"""

import re
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isfinite
from struct import pack, unpack

from lockgate.policy.model.readings import READERS, WITHOUT_ORDER

INTEGERS = frozenset({"int2", "int4", "int8"})
PLAIN_TEXT = "text in bytes"
"""The kind of a text whose collation is C: its order is that of its bytes."""
TEXTS = frozenset({"text", "varchar", PLAIN_TEXT})


class Labels(str):
    """The kind of an enum whose labels are known in their order."""

    places: dict[str, Decimal]

    def __new__(cls, labels: list[str]) -> "Labels":
        """The kind of an enum with ``labels``, first to last."""
        made = super().__new__(cls, "enum")
        made.places = {label: Decimal(at) for at, label in enumerate(labels)}
        return made


FLOATS = frozenset({"float4", "float8"})
DATES = frozenset({"date", "timestamp", "timestamptz"})
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?(Z|[+-]\d\d(?::?\d\d)?)?")
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_PLAIN_TEXT = re.compile(r"[0-9]*|[a-z]*")
_BOOLEANS = {
    "true": "t",
    "t": "t",
    "yes": "t",
    "on": "t",
    "1": "t",
    "false": "f",
    "f": "f",
    "no": "f",
    "off": "f",
    "0": "f",
}
_ENDLESS = {
    "infinity": Decimal("1e400"),
    "inf": Decimal("1e400"),
    "-infinity": Decimal("-1e400"),
    "-inf": Decimal("-1e400"),
    "nan": Decimal("1e401"),
}
"""Beyond every float, and that which is no number beyond them all."""
Comparable = tuple[int, Decimal | str]
LOWEST: Comparable = (-1, "")
HIGHEST: Comparable = (1, "")
NULL: Comparable = (2, "")


def comparable(datum: str, kind: str) -> Comparable | None:
    """``datum`` as a value of the type ``kind``, to be held against others of it; None when only a server knows."""
    if datum in ("null", "min", "max"):
        return {"null": NULL, "min": LOWEST, "max": HIGHEST}[datum]
    form, _, value = datum.partition(":")
    value = value.strip() if kind not in TEXTS else value
    if kind in INTEGERS or kind == "numeric":
        return _number(value, whole=kind != "numeric") if form in ("n", "s") else None
    if kind in FLOATS:
        return _float(value, kind) if form in ("n", "s") else None
    if kind == "bool":
        known = _BOOLEANS.get(value.lower()) if form in ("b", "s", "d") else None
        return None if known is None else (0, known)
    if kind in READERS:
        read = READERS[kind](value) if form in ("s", "d", "n") else None
        return None if read is None else (0, read)
    if form != "s" and (form != "d" or kind in (*TEXTS, "enum", "bpchar")):
        return None
    if kind == "enum":
        # Labels whose order is known are the places that they have.
        places = kind.places if isinstance(kind, Labels) else {}
        return (0, places.get(value, value))
    if kind in TEXTS:
        return (0, value)
    if kind == "bpchar":
        return (0, value.rstrip(" "))
    if kind == "uuid":
        value = value.lower().strip("{}")
        return (0, value.replace("-", "")) if _UUID.fullmatch(value) else None
    if kind in DATES and value.lower() in ("infinity", "-infinity"):
        return (0, value.lower())  # before and behind every digit
    match = _MOMENT.fullmatch(value) if kind in DATES else None
    if match is None or (kind == "date" and match[2]) or (match[4] and kind != "timestamptz"):
        return None
    clock, seconds = match[2] or "00:00", match[3] or ":00"
    if clock > "23:59" or seconds > ":59.999999" or len(seconds) > len(":59.999999"):
        return None  # the server makes another moment of it
    moment = f"{match[1]} {clock}{seconds}"
    if match[4]:
        moment = _in_utc(moment, match[4])
    return (0, moment.rstrip("0").rstrip(".") if "." in moment else moment) if moment else None


def _number(value: str, *, whole: bool) -> Comparable | None:
    """A number; None of one that a whole one would be rounded from, and of those that are none."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    rounded = whole and number.is_finite() and number != number.to_integral_value()
    return (0, number) if number.is_finite() and not rounded else None


def _float(value: str, kind: str) -> Comparable | None:
    """A number as the type keeps it; one of four bytes only where it needs no more, since the server compares eight."""
    if value.lower() in _ENDLESS:
        return (0, _ENDLESS[value.lower()])
    try:
        number = float(value)
    except ValueError:
        return None
    if not isfinite(number) or (kind == "float4" and unpack("<f", pack("<f", number))[0] != number):
        return None
    return (0, Decimal(number))


def _in_utc(moment: str, offset: str) -> str:
    """A moment with an offset, for sessions in UTC, which is what the model takes for granted of type changes too; "" when it is none."""
    offset = "+00" if offset == "Z" else offset
    hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
    away = timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1)
    try:
        return (datetime.fromisoformat(moment) - away).isoformat(" ")
    except (ValueError, OverflowError):
        return ""


def ordered(values: list[Comparable], kind: str) -> bool:
    """Whether ``<`` of the server is ``<`` of these values. The order of texts is a matter of collation, but for plain ones."""
    if kind == "enum":
        return all(at or isinstance(value, Decimal) for at, value in values)
    if kind in WITHOUT_ORDER:
        return False
    return (
        kind not in (*TEXTS, "bpchar")
        or kind == PLAIN_TEXT
        or all(at or (isinstance(value, str) and _PLAIN_TEXT.fullmatch(value)) for at, value in values)
    )


def fits(column: str, cast: str, datum: str) -> bool:
    """Whether comparing a column of type ``column`` with a constant cast to ``cast`` compares values of the column's own type.

    Anything else casts the column instead, or is left to the executor, and the planner prunes nothing by it.
    """
    if not cast:
        # A number without a cast is an integer when it looks like one and is not too large for it.
        number = datum.removeprefix("n:")
        return column not in INTEGERS or not datum.startswith("n:") or _is_integer(number)
    if column in INTEGERS:
        return cast in INTEGERS
    if column in TEXTS:
        return cast in TEXTS
    if column in FLOATS:
        return cast in FLOATS
    if column in ("date", "timestamp"):
        return cast in ("date", "timestamp")
    if column in ("bit", "varbit"):
        return cast in ("bit", "varbit")
    # An enum can only be held against its own labels.
    return column == "enum" or cast == column or (column == "numeric" and cast in INTEGERS)


def _is_integer(number: str) -> bool:
    return number.lstrip("-").isdigit() and -(1 << 63) <= int(number) < 1 << 63
