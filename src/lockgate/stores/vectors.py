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


class Lengths:
    """The lengths of many vectors, without keeping them: how many are 0 or no number, the least and the greatest of the others."""

    def __init__(self) -> None:
        self.count = self.zero = self.broken = 0
        self.low: float | None = None
        self.high: float | None = None

    def add(self, vector: Sequence[float]) -> None:
        """Look at one more vector."""
        length = norm(vector)
        self.count += 1
        if length == 0:
            self.zero += 1
        elif not length < math.inf:
            self.broken += 1
        else:
            self.low = length if self.low is None else min(self.low, length)
            self.high = length if self.high is None else max(self.high, length)
