"""One direction of a move as SQL text: where rows come from, where they go, and what is made of them."""

import hashlib
from typing import TYPE_CHECKING

import msgspec

from lockgate.postgres.hashing import Part, row_hash
from lockgate.postgres.quoting import identifier

if TYPE_CHECKING:
    from lockgate.postgres.moves.made import Made


class KeyPart(msgspec.Struct, frozen=True):
    """One column of the key: its name on both sides and its type as SQL takes it."""

    origin: str
    destination: str
    type: str


class Value(msgspec.Struct, frozen=True):
    """One column of the destination and the SQL over the origin's columns that gives it. ``binary``: its bytes may be hashed as they are."""

    destination: str
    expression: str
    type: str
    binary: bool
    base: str = ""
    """The type below domains, as the server writes it without its modifier."""


class Mapping(msgspec.Struct, frozen=True):
    """One direction. ``feed`` is ``forward`` (source to target) or ``reverse``; table names are SQL."""

    move: str
    feed: str
    origin: str
    destination: str
    key: tuple[KeyPart, ...]
    values: tuple[Value, ...]
    same_database: bool
    same_order: bool
    """True when a range of keys means the same rows on both sides (types and collations are equal)."""
    made: "tuple[Made, ...]" = ()
    """The values that Python functions make."""

    @property
    def outbox(self) -> str:
        """The table with the keys that changed on the origin."""
        return f'lockgate."outbox_{self.move}_{self.feed}"'

    @property
    def batch(self) -> str:
        """The temporary table with the keys of the batch at hand."""
        return f'pg_temp."lockgate_batch_{self.feed}"'

    @property
    def batch_columns(self) -> tuple[str, ...]:
        """Names that no column of the origin has."""
        return tuple(f"lockgate_k{i}" for i in range(len(self.key)))

    @property
    def origin_key(self) -> str:
        """The key's columns on the origin."""
        return ", ".join(identifier(k.origin) for k in self.key)

    @property
    def destination_key(self) -> str:
        """The key's columns on the destination."""
        return ", ".join(identifier(k.destination) for k in self.key)

    @property
    def columns(self) -> str:
        """The destination's columns, in the order of ``values``."""
        return ", ".join(identifier(v.destination) for v in self.values)

    @property
    def select(self) -> str:
        """The list that makes a row of the destination out of one of the origin."""
        return ", ".join(f"({v.expression})::{v.type} AS {identifier(v.destination)}" for v in self.values)

    def digest(self, rows: str) -> str:
        """Count and digest (the sum of 64 bits a row) of ``rows``, a FROM item with the destination's columns."""
        key = self.key[0]
        whole = len(self.key) == 1 and key.type in ("smallint", "integer", "bigint")
        # What seeds the hash of every part need not be a part of its own once more.
        values = [v for v in self.values if not (whole and v.destination == key.destination)]
        hashed = row_hash(
            [Part(identifier(v.destination) + ("" if v.binary else "::text"), v.base if v.binary else "text") for v in values],
            f"{identifier(key.destination)}::bigint" if whole else "",
        )  # fmt: skip
        return f"SELECT count(*), COALESCE(sum({hashed}), 0)::text FROM {rows}"

    def key_match(self, side: str, row: str) -> str:
        """The condition that the key of ``row`` (an alias of a batch row) is that of ``side`` (origin or destination, unaliased)."""
        return " AND ".join(
            f"{identifier(k.origin if side == 'origin' else k.destination)} = {row}.{c}"
            for k, c in zip(self.key, self.batch_columns, strict=True)
        )

    def in_range(self, side: str, *, low: bool, first: int = 1) -> str:
        """A condition on the key with ``$n::text`` parameters: above low (when there is one) and up to high."""
        names = ", ".join(identifier(k.origin if side == "origin" else k.destination) for k in self.key)

        def bound(start: int) -> str:
            return ", ".join(f"${start + i}::text::{k.type}" for i, k in enumerate(self.key))

        high = f"({names}) <= ({bound(first)})"
        return f"{high} AND ({names}) > ({bound(first + len(self.key))})" if low else high


def lock_key(move: str, purpose: str) -> int:
    """The 64-bit advisory key of a move for ``purpose``: ``relay`` (one relay) or ``apply`` (relay against backfill)."""
    return int.from_bytes(
        hashlib.sha256(f"lockgate:move:{move}:{purpose}".encode()).digest()[:8], "big", signed=True
    )
