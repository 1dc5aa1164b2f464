"""Windows of time, as releases and data moves are given them.

A window is ``Mon-Fri 09:00-17:00 Europe/Berlin``: days (one, a range, or ``daily``), times of that zone, the zone's name
(``UTC`` when left out). One that ends before it begins goes over midnight.
"""

import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from lockgate.errors import ConfigError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(
    r"(?P<days>daily|[a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*)\s+(?P<start>\d{2}:\d{2})-(?P<end>\d{2}:\d{2})(?:\s+(?P<zone>\S+))?\Z",
    re.IGNORECASE,
)


class Window(msgspec.Struct, frozen=True):
    """One maintenance window: weekdays from 0 (Monday), local times, and the zone they are of."""

    days: frozenset[int]
    start: time
    end: time
    zone: str

    def holds(self, now: datetime) -> bool:
        """Whether the moment ``now`` is inside. Local times: a window keeps its hours when the clocks change."""
        local = now.astimezone(ZoneInfo(self.zone))
        clock = local.time().replace(tzinfo=None)
        if self.start <= self.end:
            return local.weekday() in self.days and self.start <= clock < self.end
        yesterday = (local - timedelta(days=1)).weekday()
        return (local.weekday() in self.days and clock >= self.start) or (
            yesterday in self.days and clock < self.end
        )


def parse_window(text: str) -> Window:
    """Read one window. Raises ``ConfigError``."""
    match = _WINDOW.match(text.strip())
    if not match:
        raise ConfigError(f"window {text!r} is not like 'Mon-Fri 09:00-17:00 Europe/Berlin'")
    days: set[int] = set()
    for part in match["days"].lower().split(","):
        if part == "daily":
            days |= set(range(7))
            continue
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise ConfigError(f"window {text!r}: a day is one of {', '.join(d.title() for d in _DAYS)}")
        begin, stop = _DAYS.index(first), _DAYS.index(last or first)
        days |= {(begin + n) % 7 for n in range((stop - begin) % 7 + 1)}
    zone = match["zone"] or "UTC"
    try:
        ZoneInfo(zone)
        start, end = time.fromisoformat(match["start"]), time.fromisoformat(match["end"])
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"window {text!r}: unknown zone or time") from None
    return Window(frozenset(days), start, end, zone)
