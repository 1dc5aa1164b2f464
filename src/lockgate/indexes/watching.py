"""When does a watch after a swap abort? A table of conditions and one function over the looks so far. Pure; times come in.

A condition may have to last: the sources abort when delta-S drifts above 0.05 *for more than 15 minutes*, and at once on the
hard stops. Looks that lie further apart than ``gap`` prove nothing about the time between them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from lockgate.record.verdict import Verdict


class Look(msgspec.Struct, frozen=True, rename="camel"):
    """One look at what serves: seconds since the epoch, and the figures against the answers before the swap.

    ``errors`` is the share of the gold queries that were not answered, ``other`` the share of answers that came from another
    generation; ``flips`` the share of queries that are not convergent. Figures are None where nothing was answered.
    """

    at: float
    delta_s_diff: float | None
    delta_s_p95: float | None
    coverage: float | None
    convergent: float | None
    flips: float | None
    errors: float
    other: float
    states: dict[str, int] = {}


class Condition(NamedTuple):
    """One reason to abort: which figure, above or below which limit, for how many seconds, and who asks for it."""

    id: str
    figure: str
    above: bool
    limit: float
    lasting: float
    source: str


CONDITIONS = (
    Condition("delta-s-diff", "delta_s_diff", True, 0.05, 900.0, "seed 001: abort when drift > 0.05 for more than 15 min"),
    Condition("delta-s-p95", "delta_s_p95", True, 0.15, 0.0, "index swap: hard stop when p95 drift > 0.15"),
    Condition("coverage", "coverage", False, 0.60, 0.0, "index swap: hard stop when coverage < 0.60"),
    Condition("lambda-flips", "flips", True, 0.20, 0.0, "index swap: hard stop when the flip rate > 0.20"),
    Condition("errors", "errors", True, 0.01, 0.0, "index swap: hard stop when errors > 1 %"),
)  # fmt: skip
"""What aborts a watch. A figure that the answers before the swap broke already is no fault of the swap (``excused``)."""
COMPARED = frozenset({"delta-s-diff", "delta-s-p95", "lambda-flips"})
"""Conditions whose figures compare two generations: a loss of either shows in them. The others look at what serves alone."""
ACCEPTED = 0.02
"""At the end of the window the mean drift is at most this, or the watch holds (seed 001: accept <= 0.02)."""


class Watching(NamedTuple):
    """What the looks amount to. ``answer`` is None while the watch goes on; ``condition`` names what aborted it."""

    answer: Verdict | None
    condition: str = ""
    reason: str = ""
    since: float | None = None


def judge_looks(
    looks: Sequence[Look], *, over: bool, gap: float, conditions: Sequence[Condition] = CONDITIONS, excused: Sequence[str] = ()
) -> Watching:  # fmt: skip
    """The answer over all looks, oldest first. ``over`` says that the window has passed.

    Fails as soon as a condition has lasted longer than it may; holds where something else answered, or where at the end the
    drift is above what is accepted, or a condition has begun and not yet lasted.
    """
    if not looks:
        return Watching(Verdict.HOLD, "never-looked", "nobody looked") if over else Watching(None)
    last = looks[-1]
    if last.other:
        return Watching(
            Verdict.HOLD, "moved", f"{last.other:.0%} of the answers came from another generation: somebody moved the alias"
        )  # fmt: skip
    begun: list[str] = []
    for condition in conditions:
        if condition.id in excused:
            continue
        since = _since(looks, condition, gap)
        if since is None:
            continue
        value, lasted = getattr(last, condition.figure), last.at - since
        side = "above" if condition.above else "below"
        told = f"{condition.id} {value:.4g} is {side} {condition.limit:g}"
        if lasted > condition.lasting or not condition.lasting:
            for_long = f" for {lasted / 60:.0f} min" if condition.lasting else ""
            return Watching(Verdict.FAIL, condition.id, f"{told}{for_long} ({condition.source})", since)
        begun.append(f"{told} since {lasted / 60:.0f} min")
    if not over:
        return Watching(None)
    if begun:
        return Watching(Verdict.HOLD, "begun", "; ".join(begun))
    if last.delta_s_diff is None:
        return Watching(Verdict.HOLD, "not-measured", "the last look measured nothing")
    if last.delta_s_diff > ACCEPTED and "delta-s-diff" not in excused:
        return Watching(Verdict.HOLD, "delta-s-diff", f"the drift is {last.delta_s_diff:.4f}, accepted is {ACCEPTED:g}")  # fmt: skip
    return Watching(Verdict.PASS)


def judge_changed(judged: Watching, changed: str, *, blameless: bool) -> Watching:
    """A bad answer of ``judge_looks`` where the generation before is not what was sealed; ``changed`` says how.

    It holds: nothing is there to go back to. ``blameless``: what serves is what was sealed, so a figure that only compares the two is no fault of it.
    """
    compared = judged.condition in COMPARED
    whose = "; so the difference is not its fault" if blameless and compared else ""
    return Watching(
        Verdict.HOLD, "before-changed", f"{judged.reason}; but {changed}{whose}; the alias was left where it points", judged.since
    )  # fmt: skip


def _since(looks: Sequence[Look], condition: Condition, gap: float) -> float | None:
    """Since when a condition holds without a break; None where the last look does not show it."""
    since: float | None = None
    for look in reversed(looks):
        value = getattr(look, condition.figure)
        bad = value is not None and (value > condition.limit if condition.above else value < condition.limit)
        if not bad or (since is not None and since - look.at > gap):
            break
        since = look.at
    return since
