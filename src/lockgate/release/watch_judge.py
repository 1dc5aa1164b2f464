"""What measurements during a watch amount to: pass, fail, or hold where they cannot tell."""

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from lockgate.config.release import Watch, WatchQuery
from lockgate.record.verdict import Verdict
from lockgate.record.words import counted
from lockgate.release.impact import Impact


class Sample(msgspec.Struct, frozen=True):
    """One look at one query: ``value`` is None when there was no data, ``error`` tells when the question failed."""

    at: str
    query: str
    value: float | None = None
    error: str = ""


class Baseline(msgspec.Struct, frozen=True):
    """What a query said before the release: the median of ``values`` (None where there was none), over the ``seconds`` before it; 0: one look."""

    value: float | None
    values: int = 0
    seconds: float = 0.0


def window_of(configured: float, protected: bool, impact: Impact) -> float:
    """Seconds of the watch: as ``configured``, else 30 or, after a heavy plan, 60 minutes where the target is protected; else 0."""
    if configured or not protected:
        return configured
    return 3600.0 if impact is Impact.HIGH else 1800.0


def median_of(values: Sequence[float], window: float) -> Baseline:
    """The baseline over ``values`` of the ``window`` seconds before the release. NaN is no value."""
    known = [value for value in values if value == value]
    return Baseline(median(known) if known else None, len(known), window)


class WatchVerdict(msgspec.Struct, frozen=True):
    """The verdict over all samples; ``reasons`` name the queries that broke a limit or could not tell."""

    answer: Verdict
    reasons: tuple[str, ...] = ()


def judge_sample(query: WatchQuery, sample: Sample, baseline: float | None) -> tuple[Verdict, str]:
    """The answer of one sample. NaN and missing data are no data."""
    if sample.error:
        return Verdict.HOLD, sample.error
    value = sample.value
    if value is None or value != value:
        return Verdict(query.on_empty), "no data"
    if query.max is not None and value > query.max:
        return Verdict.FAIL, f"{value:g} is above {query.max:g}"
    if query.min is not None and value < query.min:
        return Verdict.FAIL, f"{value:g} is below {query.min:g}"
    if query.max_increase_percent is not None:
        if baseline is None or baseline != baseline:
            return Verdict.HOLD, "there is no baseline to compare with"
        allowed = baseline + abs(baseline) * query.max_increase_percent / 100
        if value > allowed:
            return (
                Verdict.FAIL,
                f"{value:g} is more than {query.max_increase_percent:g} % above the baseline {baseline:g}",
            )
    return Verdict.PASS, ""


def judge_watch(
    watch: Watch, samples: Sequence[Sample], baseline: Mapping[str, float | None], *, over: bool
) -> WatchVerdict | None:
    """The verdict so far; None while the watch has to go on (``over`` is False).

    More than ``failure_limit`` failures of one query fail at once. More than ``error_limit`` looks in a row that cannot tell
    hold. At the end every query must have told something, and its last look must be a pass.
    """
    reasons: list[str] = []
    worst = Verdict.PASS
    for name, query in watch.queries.items():
        answers = [judge_sample(query, s, baseline.get(name)) for s in samples if s.query == name]
        failures = [why for answer, why in answers if answer is Verdict.FAIL]
        if len(failures) > watch.failure_limit:
            return WatchVerdict(Verdict.FAIL, (f"{name}: {failures[-1]} ({counted(len(failures), 'time')})",))
        row = 0
        for answer, why in answers:
            row = row + 1 if answer is Verdict.HOLD else 0
            if row > watch.error_limit:
                return WatchVerdict(Verdict.HOLD, (f"{name}: {why} ({row} looks in a row)",))
        if over:
            last, why = answers[-1] if answers else (Verdict.HOLD, "it was never looked at")
            if last is not Verdict.PASS:
                reasons.append(f"{name}: {why}")
                worst = Verdict.FAIL if last is Verdict.FAIL else (worst if worst is Verdict.FAIL else last)
    if not over:
        return None
    return WatchVerdict(worst, tuple(reasons))
