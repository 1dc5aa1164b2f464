"""One check of an index: a figure, its limit and one of three answers."""

import math

import msgspec

from lockgate.indexes.resample import Interval
from lockgate.record.verdict import Verdict


class Check(msgspec.Struct, frozen=True):
    """One check. ``value`` is None where it could not be measured, ``limit`` None where nothing is demanded."""

    id: str
    value: float | None
    limit: float | None
    answer: Verdict
    details: str


def within(
    name: str, value: float, limit: float, *, at_most: bool = True, few: bool = False, details: str = ""
) -> Check:
    """A figure against its limit. ``few``: so few samples that a good figure is no proof, so it holds."""
    if math.isnan(value):
        return Check(name, None, limit, Verdict.HOLD, f"not measured; {details}")
    slack = 1e-9  # a mean of tenths may miss its limit in the last bit
    good = value <= limit + slack if at_most else value >= limit - slack
    answer = Verdict.FAIL if not good else Verdict.HOLD if few else Verdict.PASS
    return Check(name, float(value), float(limit), answer, details)


def worsening(
    name: str, worse: Interval, limit: float, band: float, *, few: bool = False, details: str = ""
) -> Check:
    """A mean fall with its interval: fails when it is above the limit and surely a fall, holds when noise could hide either.

    It passes only when the upper end of the interval stays within ``band`` times the limit.
    """
    text = f"{details}; interval {worse.low:+.4f} to {worse.high:+.4f}"
    if math.isnan(worse.mean):
        return Check(name, None, limit, Verdict.HOLD, f"not measured; {details}")
    if worse.low > limit or (worse.mean > limit and worse.low > 0 and not few):
        answer = Verdict.FAIL
    elif worse.mean <= limit and worse.high <= band * limit and not few:
        answer = Verdict.PASS
    else:
        answer = Verdict.HOLD
    return Check(name, worse.mean, limit, answer, text)
