"""How made-up values are made like production's: how many are NULL, how many differ, how wide they are. Pure text.

The three figures come from the snapshot, which has them from the server's own statistics. No value of production is known.
"""

import math
from collections.abc import Mapping
from zlib import crc32

import msgspec

from lockgate.policy.model.snapshot import Snapshot
from lockgate.postgres.tables import ColumnOf
from lockgate.rehearsal.values import expression

_PRIME, _OF = 48_271, 10_007
WIDEST = 2_000
"""Bytes of text that are made at most: wider values leave their table anyway."""


class Likeness(msgspec.Struct, frozen=True):
    """What is known of a column: ``null_share`` from 0 to 1, ``distinct`` as in pg_stats (above 0 a count, below 0 a share of
    the rows, 0 unknown), ``width`` in bytes, 0 unknown."""

    null_share: float = 0.0
    distinct: float = 0.0
    width: int = 0


Likenesses = Mapping[str, Mapping[str, Likeness]]
"""Table → column → what it is like."""


def likenesses_of(snapshot: Snapshot) -> Likenesses:
    """What the snapshot knows of the columns of its tables; a column of which it knows nothing is left out."""
    return {
        key: {
            name: Likeness(max(0.0, column.null_share), column.distinct, max(0, column.width))
            for name, column in relation.columns.items()
            if column.null_share >= 0
        }
        for key, relation in snapshot.schema.relations.items()
        if relation.kind in "rm"
    }


def percent(share: float) -> str:
    """A share in words; one that is there is never told as 0%."""
    return "less than 0.1%" if 0 < share < 0.001 else f"{share:.1%}".replace(".0%", "%")


def different(likeness: Likeness, count: int) -> int:
    """How many values differ among ``count`` rows; 0 where that is unknown."""
    wanted = likeness.distinct if likeness.distinct > 0 else -likeness.distinct * count
    return min(count, math.ceil(wanted))


def alike(column: ColumnOf, likeness: Likeness, count: int, seed: int) -> str | None:
    """SQL for the value of ``column`` in row ``g``, as many different ones as production has; None where nothing says how many."""
    many = different(likeness, count)
    if not many or column.unique or column.labels or column.base == "bool":
        return None
    apart = msgspec.structs.replace(column, unique=True)  # made as a key is: from the number alone
    made = expression(apart, f"(1 + g % {many})", seed)
    wide = min(likeness.width - 1, WIDEST)
    if made is None or wide < 16 or column.base not in ("text", "varchar") or column.modifier >= 0:
        return made
    return f"rpad({made}, {wide}, md5(g::text) || md5((g + 1)::text))"


def with_nulls(made: str, column: ColumnOf, likeness: Likeness) -> str:
    """``made``, and NULL in as many rows as production has it."""
    if column.not_null or likeness.null_share <= 0:
        return made
    share = round(likeness.null_share * _OF)
    return f"CASE WHEN (g::bigint * {_PRIME} + {crc32(column.name.encode())}) % {_OF} < {share} THEN NULL ELSE {made} END"
