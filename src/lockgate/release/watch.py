"""The watch after a rollout: Prometheus queries, looked at for a while against what they said before it."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from lockgate.config import seconds
from lockgate.config.release import Watch
from lockgate.errors import Refused
from lockgate.record.reasons import Exit
from lockgate.record.redact import redact, remember
from lockgate.record.words import counted
from lockgate.release.budget import Budget
from lockgate.release.smoke import fetch
from lockgate.release.watch_judge import Baseline, Sample, WatchVerdict, judge_watch, median_of


class Watched(msgspec.Struct):
    """What a watch saw."""

    verdict: WatchVerdict
    baseline: dict[str, float | None]
    samples: list[Sample]
    seconds: float = 0.0


def ask(watch: Watch, name: str, now: Callable[[], str], clock: Callable[[], float]) -> Sample:
    """The value of one query now: a scalar, or the largest of a vector."""
    at, data, error = _ask(watch, "query", {"query": watch.queries[name].query}, now, clock)
    if error:
        return Sample(at, name, error=error)
    try:
        scalar = data["resultType"] == "scalar"
        said = [data["result"]] if scalar else [one["value"] for one in data["result"]]
        return Sample(at, name, max((value for _, value in _numbers(said)), default=None))
    except (ValueError, KeyError, TypeError, IndexError):
        return Sample(at, name, error=STRANGE)


def look_back(watch: Watch, name: str, now: Callable[[], str], clock: Callable[[], float]) -> list[Sample]:
    """What one query said over ``baseline_window`` up to now, by the clock of Prometheus: at each moment a scalar, or the largest of a vector.

    Where it cannot be asked: one sample with the error.
    """
    window = seconds(watch.baseline_window)
    at, data, error = _ask(watch, "query", {"query": "time()"}, now, clock)
    try:
        if not error:
            end = float(data["result"][1])
            step = max(seconds(watch.interval), window / MOST, 0.001)
            asked = {"query": watch.queries[name].query, "start": end - window, "end": end, "step": step}
            at, data, error = _ask(watch, "query_range", asked, now, clock)
        if error:
            return [Sample(at, name, error=error)]
        moments: dict[float, float] = {}
        for series in data["result"]:
            for moment, value in _numbers(series["values"]):
                moments[moment] = max(value, moments.get(moment, float("-inf")))
        return [Sample(f"{moment:.3f}", name, value) for moment, value in sorted(moments.items())]
    except (ValueError, KeyError, TypeError, IndexError):
        return [Sample(at, name, error=STRANGE)]


def _numbers(said: Iterable[tuple[float, str]]) -> Iterator[tuple[float, float]]:
    """(moment, value) of what Prometheus said, without NaN.

    A series that is idle divides by nothing. It has no value, and must not hide those of the others: no number compares with NaN.
    """
    return ((moment, number) for moment, value in said if (number := float(value)) == number)


def _ask(
    watch: Watch, what: str, asked: Mapping[str, Any], now: Callable[[], str], clock: Callable[[], float]
) -> tuple[str, Any, str]:
    """(when, the data, the error): one of the last two says something."""
    url = f"{watch.prometheus_url.rstrip('/')}/api/v1/{what}?{urlencode(asked)}"
    response = fetch(url, _headers(watch, os.environ), 10.0, now, clock, BYTES)
    at = response.requested_at
    if response.status == 0:
        return at, None, response.error
    try:
        said: Any = json.loads(response.text)
        if said["status"] != "success":
            return at, None, redact(f"{said.get('errorType', '')}: {said.get('error', '')}")[:300]
        return at, said["data"], ""
    except (ValueError, KeyError, TypeError):
        return at, None, f"status {response.status}, and not what Prometheus answers"


LOOKS = 3
"""How often a query that fails is asked before a release gives up on it."""
MOST = 240
"""How many moments of a query's past are looked at, at the most."""
BYTES = 1 << 24
"""Of an answer of Prometheus: some thousand series with their past."""
STRANGE = "not what Prometheus answers"


def baseline_of(watch: Watch, now: Callable[[], str], budget: Budget) -> dict[str, Baseline]:
    """What every query said before anything is changed: the median over ``baseline_window``, or one look where that is empty.

    Raises ``Refused`` (``WATCH_HELD``, hold) where it cannot be asked: a watch that could only hold later stops the release now.
    """
    found: dict[str, Baseline] = {}
    window = seconds(watch.baseline_window)
    for name in watch.queries:
        for look in range(1, LOOKS + 1):
            samples = (
                look_back(watch, name, now, budget.clock) if window else [ask(watch, name, now, budget.clock)]
            )
            error = next((s.error for s in samples if s.error), "")
            if not error:
                break
            if look == LOOKS:
                raise Refused(
                    f"{name} cannot be asked, so the watch after the rollout could tell nothing: {error}",
                    "WATCH_HELD",
                    state="Nothing was changed.",
                    next="Mend watch.prometheus_url or the query, then lockgate release resume",
                    exit=Exit.HOLD,
                )
            budget.sleep(min(seconds(watch.interval), 2.0))
        found[name] = median_of([s.value for s in samples if s.value is not None], window)
    return found


def watch_release(
    watch: Watch,
    window: float,
    baseline: Mapping[str, float | None],
    budget: Budget,
    now: Callable[[], str],
    tell: Callable[[str], None] = lambda _: None,
) -> Watched:
    """Look at every query, every interval, for ``window`` seconds; sooner over when a limit is broken for good."""
    samples: list[Sample] = []
    begun = budget.clock()
    while True:
        for name in watch.queries:
            samples.append(ask(watch, name, now, budget.clock))
        over = budget.clock() - begun >= window
        verdict = judge_watch(watch, samples, baseline, over=over)
        if verdict is not None:
            return Watched(verdict, dict(baseline), samples, round(budget.clock() - begun, 3))
        tell(f"{counted(len(samples), 'sample')}, {max(0.0, window - (budget.clock() - begun)):.0f} s left")
        budget.sleep(min(seconds(watch.interval), max(0.01, window - (budget.clock() - begun))))


def _headers(watch: Watch, environ: Mapping[str, str]) -> dict[str, str]:
    token = environ.get(watch.token_env, "") if watch.token_env else ""
    remember(token)
    return {"Authorization": f"Bearer {token}"} if token else {}
