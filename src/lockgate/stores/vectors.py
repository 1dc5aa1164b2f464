"""Vectors as bytes, and what rounding makes of them."""

import math
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any


class Packed(Sequence[float]):
    """A vector that stays in its canonical bytes: nobody makes hundreds of numbers of it to copy it, to hash it or to write it.

    Where numbers are wanted it is a sequence of them, equal to the tuple of them.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data) // 4

    def __iter__(self) -> Iterator[float]:
        return iter(unpacked(self.data))

    def __getitem__(self, at: Any) -> Any:
        return unpacked(self.data)[at]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packed):
            return self.data == other.data
        return unpacked(self.data) == other

    def __hash__(self) -> int:
        return hash(unpacked(self.data))

    def __repr__(self) -> str:
        return f"Packed({unpacked(self.data)!r})"

    def is_finite(self) -> bool:
        """Whether each component is a number: not all eight bits of its exponent are set."""
        first = self.data[::4]
        if (
            b"\x7f" not in first and b"\xff" not in first
        ):  # seven of the eight, and nearly all vectors are done with
            return True
        exponents, one, carried = _masks(len(self))
        # All components at once, as one integer: one more makes a full exponent carry into the bit of the sign, and no other one.
        return not ((int.from_bytes(self.data, "big") & exponents) + one) & carried


@lru_cache(8)
def _masks(components: int) -> tuple[int, int, int]:
    """For so many components: the bits of the exponents, the lowest of each, and the bit above each."""
    first, second, third = (
        int.from_bytes(bytes.fromhex(m) * components, "big") for m in ("7f800000", "00800000", "80000000")
    )
    return first, second, third


def packed(vector: Sequence[float]) -> bytes:
    """Big-endian binary32, the canonical bytes. Raises ``OverflowError`` for what binary32 cannot hold."""
    return vector.data if isinstance(vector, Packed) else struct.pack(f">{len(vector)}f", *vector)


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


def is_zero(data: bytes) -> bool:
    """Whether canonical bytes are those of a vector of length 0. Costs next to nothing where they are not."""
    return not data.strip(b"\0\x80") and not any(unpacked(data))


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
