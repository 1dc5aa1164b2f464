"""Maintenance windows and freezes: a function of the settings, the impact of the plan, and the server's clock."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from lockgate.config.release import Freeze
from lockgate.config.windows import parse_window
from lockgate.errors import ConfigError
from lockgate.record.verdict import Verdict
from lockgate.release.impact import Impact


class Admission(msgspec.Struct, frozen=True):
    """Whether now is a time to release; ``code`` is "" when it is."""

    answer: Verdict
    code: str = ""
    message: str = ""


def judge_time(
    windows: Sequence[str], freezes: Sequence[Freeze], from_impact: str, impact: Impact, now: datetime
) -> Admission:
    """FROZEN inside a freeze; OUTSIDE_WINDOW when ``impact`` reaches ``from_impact`` and no window is open."""
    for freeze in freezes:
        start, end = _moment(freeze.start), _moment(freeze.end)
        if start <= now < end:
            return Admission(
                Verdict.FAIL,
                "FROZEN",
                f"frozen until {freeze.end}{': ' + freeze.reason if freeze.reason else ''}",
            )
    if not windows or impact < Impact[from_impact.upper()]:
        return Admission(Verdict.PASS)
    if any(parse_window(w).holds(now) for w in windows):
        return Admission(Verdict.PASS)
    return Admission(
        Verdict.FAIL,
        "OUTSIDE_WINDOW",
        f"a plan of {impact.word} impact waits for one of: {'; '.join(windows)} (now it is {now:%a %H:%M} UTC)",
    )


def _moment(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"freeze: {text!r} is not a time such as 2026-12-20T00:00Z") from None
    if value.tzinfo is None:
        raise ConfigError(f"freeze: {text!r} has no zone; write for example 2026-12-20T00:00Z")
    return value
