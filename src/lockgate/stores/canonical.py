"""The canonical encoding under every digest of an index: length-prefixed, so that two different values never share bytes.

``encode`` turns a value into bytes: a tag, the length of the body as eight big-endian bytes, the body.

====== =================================================================================
tag    body
====== =================================================================================
``N``  nothing: null
``T``  nothing: true
``F``  nothing: false
``I``  a whole number in decimal ASCII
``S``  text in UTF-8, as it is (no normalisation: other bytes are another text)
``B``  bytes
``V``  a vector: its components as big-endian IEEE 754 binary32 (what `vector_send` gives)
``L``  the encodings of the items, one behind the other
``M``  the encodings of key and value in turn, by the UTF-8 bytes of the key
====== =================================================================================

Floating-point numbers are no value here: their text differs between programs. A number that is a setting is written as
text by whoever sets it. docs/indexes.md holds test vectors; ``tests/indexes`` checks them.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Vector(NamedTuple):
    """The bytes of a vector: big-endian binary32 components."""

    data: bytes


Value = None | bool | int | str | bytes | Vector | Sequence["Value"] | Mapping[str, "Value"]


def _framed(tag: bytes, body: bytes) -> bytes:
    return tag + len(body).to_bytes(8, "big") + body


def encode(value: Value) -> bytes:
    """The canonical bytes of ``value``. Raises ``TypeError`` for a float or anything else without a canonical form."""
    if value is None:
        return _framed(b"N", b"")
    if isinstance(value, bool):
        return _framed(b"T" if value else b"F", b"")
    if isinstance(value, int):
        return _framed(b"I", str(value).encode())
    if isinstance(value, str):
        return _framed(b"S", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return _framed(b"B", value)
    if isinstance(value, Vector):
        return _framed(b"V", value.data)
    if isinstance(value, Mapping):
        items = sorted(((str(k).encode(), k) for k in value), key=lambda pair: pair[0])
        return _framed(b"M", b"".join(encode(str(k)) + encode(value[k]) for _, k in items))
    if isinstance(value, Sequence):
        return _framed(b"L", b"".join(map(encode, value)))
    raise TypeError(f"{type(value).__name__} has no canonical form")


def digest_of(domain: str, *values: Value) -> str:
    """SHA-256, in hex, of the canonical list of ``domain`` and ``values``. The domain keeps digests of one use out of another."""
    return hashlib.sha256(encode([domain, *values])).hexdigest()


def vector_of(components: Sequence[float]) -> Vector:
    """``components`` rounded to binary32. Raises ``OverflowError`` for one that binary32 cannot hold."""
    return Vector(struct.pack(f">{len(components)}f", *components))
