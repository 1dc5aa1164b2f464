"""The hash that PostgreSQL spreads rows of a hash-partitioned table by, for the types where it needs no server.

It is part of the on-disk format, so it never changes: Bob Jenkins's lookup3 with a 64-bit seed
(``src/common/hashfn.c``), one value a key, joined by ``hash_combine64``.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from struct import pack

from lockgate.policy.model.datums import FLOATS, INTEGERS, NULL, TEXTS, Comparable

_SEED = 0x7A5B22367996DCFD
_START = 0x9E3779B9 + 3923095
_COMBINE = 0x49A0F4DD15E5A8E3
_32 = 0xFFFFFFFF
_64 = 0xFFFFFFFFFFFFFFFF
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - as the server counts, without a zone


def row_hash(values: Sequence[Comparable], kinds: Sequence[str]) -> int | None:
    """The hash of a partition key; None when a type's hash is not known here. NULL adds nothing."""
    total = 0
    for value, kind in zip(values, kinds, strict=True):
        if value == NULL:
            continue
        one = _hash(value, kind)
        if one is None:
            return None
        total ^= (one + _COMBINE + (total << 54) + (total >> 7)) & _64
    return total


def _hash(value: Comparable, kind: str) -> int | None:
    plain = value[1]
    if (kind in FLOATS or kind == "numeric") and isinstance(plain, Decimal) and plain.adjusted() >= 400:
        return None  # what is no number, or has no end
    if plain in ("infinity", "-infinity") and kind not in TEXTS:
        return None
    if isinstance(plain, Decimal):
        if kind == "numeric":
            return _numeric(plain)
        if kind in FLOATS:
            # Numbers of four bytes are hashed as those of eight.
            return _bytes(pack("<d", float(plain))) if plain else _SEED
        return _integer(int(plain), kind) if kind in INTEGERS and plain == int(plain) else None
    if kind in TEXTS or kind == "bpchar":
        return _bytes(plain.encode())
    if kind == "uuid":
        return _bytes(bytes.fromhex(plain))
    if kind == "bool":
        return _word(int(plain == "t"))
    if kind == "date":
        return _word((date.fromisoformat(plain[:10]) - _EPOCH.date()).days)
    if kind in ("timestamp", "timestamptz"):
        moment = datetime.fromisoformat(plain) - _EPOCH
        return _integer((moment.days * 86_400 + moment.seconds) * 1_000_000 + moment.microseconds, "int8")
    return None


def _numeric(number: Decimal) -> int | None:
    """``hash_numeric_extended``: digits to the base of 10,000 without zeros around them, and where the point stands."""
    if not number.is_finite():
        return None
    whole, _, rest = f"{abs(number):f}".partition(".")
    whole = whole.zfill(-(-len(whole) // 4) * 4)
    rest = rest.ljust(-(-len(rest) // 4) * 4, "0")
    digits = [int(text) for text in re.findall("....", whole + rest)]
    weight = len(whole) // 4 - 1
    while digits and not digits[0]:
        digits.pop(0)
        weight -= 1
    while digits and not digits[-1]:
        digits.pop()
    if not digits:
        return (_SEED - 1) & _64
    return _bytes(b"".join(digit.to_bytes(2, "little") for digit in digits)) ^ (weight & _64)


def _integer(number: int, kind: str) -> int:
    if kind != "int8":
        return _word(number)
    high = (number >> 32) & _32
    return _word((number & _32) ^ (high if number >= 0 else ~high & _32))


def _word(number: int) -> int:
    """``hash_bytes_uint32_extended``."""
    a, b, c = _seeded(4)
    return _final((a + (number & _32)) & _32, b, c)


def _bytes(key: bytes) -> int:
    """``hash_bytes_extended`` on a little-endian machine, which gives what it gives on any other."""
    a, b, c = _seeded(len(key))
    while len(key) >= 12:
        a = (a + int.from_bytes(key[:4], "little")) & _32
        b = (b + int.from_bytes(key[4:8], "little")) & _32
        c = (c + int.from_bytes(key[8:12], "little")) & _32
        a, b, c = _mix(a, b, c)
        key = key[12:]
    a = (a + int.from_bytes(key[:4], "little")) & _32
    b = (b + int.from_bytes(key[4:8], "little")) & _32
    # The lowest byte of c is kept for the length.
    c = (c + (int.from_bytes(key[8:], "little") << 8)) & _32
    return _final(a, b, c)


def _seeded(length: int) -> tuple[int, int, int]:
    start = (_START + length) & _32
    return _mix((start + (_SEED >> 32)) & _32, (start + (_SEED & _32)) & _32, start)


def _turned(word: int, by: int) -> int:
    return ((word << by) | (word >> (32 - by))) & _32


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for by in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _32) ^ _turned(c, by)
        c = (c + b) & _32
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    for by in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turned(b, by)) & _32
        a, b, c = b, c, a
    # Seven turns of three: the words are back in place but for one step.
    return (a << 32) | b
