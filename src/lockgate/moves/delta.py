"""ΔS of a move whose target is read by similarity: when the drift of its answers has lasted too long, the move aborts. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

LIMIT = 0.05
"""ΔS above which answers have drifted: the mission's own number, as ``drift`` uses it."""
LASTING = timedelta(minutes=15)
"""So long it has to stay above the limit; a single bad sample is noise."""


class Seen(NamedTuple):
    """One measurement, by the server's clock."""

    at: datetime
    delta_s: float


def lasting(
    seen: Sequence[Seen], now: datetime, *, limit: float = LIMIT, span: timedelta = LASTING
) -> timedelta | None:
    """For how long every measurement up to ``now`` has been above ``limit``; None when that is shorter than ``span``.

    ``seen`` is in order of time. One measurement alone shows nothing about the time after it: the newest has to be above too.
    """
    since = None
    for one in seen:
        if one.delta_s <= limit:
            since = None
        elif since is None:
            since = one.at
    if since is None or len(seen) < 2 or seen[-1].at - since < span:
        return None
    return now - since
