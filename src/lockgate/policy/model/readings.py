"""Texts of the less common types as values that stand in the order of the server's; None for what only a server reads."""

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal

_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?")
_BITS = re.compile(r"[01]*")
_BYTES = re.compile(r"\\x((?:[0-9a-f]{2})*)")
_MONEY = re.compile(r"-?\d{1,15}(\.\d{1,2})?")
_PART = re.compile(
    r"([+-]?\d+) *(microsecond|millisecond|second|sec|minute|min|hour|day|week|month|mon|year)s?"
)
_SECOND = 1_000_000
_UNITS = {
    "microsecond": 1, "millisecond": 1000, "second": _SECOND, "sec": _SECOND, "minute": 60 * _SECOND, "min": 60 * _SECOND,
    "hour": 3600 * _SECOND, "day": 86_400 * _SECOND, "week": 7 * 86_400 * _SECOND, "month": 30 * 86_400 * _SECOND,
    "mon": 30 * 86_400 * _SECOND, "year": 360 * 86_400 * _SECOND,
}  # fmt: skip
"""Microseconds of each, as intervals are compared: a month has thirty days, a day twenty-four hours."""


def clock(text: str) -> Decimal | None:
    """A time of day, in microseconds."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3] or 0)
    parts = int((match[4] or "").ljust(6, "0"))
    found = ((hours * 60 + minutes) * 60 + seconds) * _SECOND + parts
    good = minutes < 60 and seconds < 60 and found <= 24 * 3600 * _SECOND
    return Decimal(found) if good else None


def interval(text: str) -> Decimal | None:
    """An interval of whole units, a clock behind them, or both, in microseconds."""
    rest, total = text.strip().lower(), 0
    if re.fullmatch(r"[+-]?\d+", rest):
        return Decimal(int(rest) * _SECOND)
    while rest:
        match = _PART.match(rest)
        if match is not None:
            total += int(match[1]) * _UNITS[match[2]]
            rest = rest[match.end() :].strip()
            continue
        last = clock(rest)
        return None if last is None else Decimal(total) + last
    return Decimal(total) if text.strip() else None


def bits(text: str) -> str | None:
    """A string of bits: compared from the left, and of two alike the shorter comes first."""
    return text if _BITS.fullmatch(text) else None


def octets(text: str) -> str | None:
    """Bytes in hexadecimal."""
    match = _BYTES.fullmatch(text.lower())
    return match[1] if match is not None else None


def money(text: str) -> Decimal | None:
    """An amount without a sign of its currency."""
    return Decimal(text) if _MONEY.fullmatch(text) else None


def number_of_object(text: str) -> Decimal | None:
    """An oid."""
    return Decimal(text) if text.isdigit() and int(text) < 1 << 32 else None


def address(text: str) -> str | None:
    """An address with the length of its network; which is the smaller of two, only the server says."""
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        return None
    return found.with_prefixlen


READERS: dict[str, Callable[[str], Decimal | str | None]] = {
    "time": clock, "interval": interval, "bit": bits, "varbit": bits, "bytea": octets, "inet": address, "cidr": address,
    "oid": number_of_object, "money": money,
}  # fmt: skip
WITHOUT_ORDER = frozenset({"inet", "cidr"})
"""Kinds whose values are told apart here, and not put in order."""
