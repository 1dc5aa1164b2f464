"""Vectors as bytes, and what rounding makes of them."""

import math
import struct
from collections.abc import Sequence


def packed(vector: Sequence[float]) -> bytes:
    """Big-endian binary32, the canonical bytes. Raises ``OverflowError`` for what binary32 cannot hold."""
    return struct.pack(f">{len(vector)}f", *vector)


def unpacked(data: bytes) -> tuple[float, ...]:
    """The components of canonical bytes."""
    return struct.unpack(f">{len(data) // 4}f", data)


def single(vector: Sequence[float]) -> tuple[float, ...]:
    """The components as binary32 holds them."""
    return unpacked(packed(vector))


def rounded(vector: Sequence[float]) -> tuple[float, ...]:
    """The components as binary16 holds them."""
    return struct.unpack(f"<{len(vector)}e", struct.pack(f"<{len(vector)}e", *single(vector)))


def norm(vector: Sequence[float]) -> float:
    """The length."""
    return math.sqrt(sum(x * x for x in vector))
