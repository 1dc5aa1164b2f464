"""How sure is a mean? Paired bootstrap over queries, with its seed as an argument."""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A mean with its bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], *, seed: int, rounds: int = 2000, level: float = 0.95) -> Interval:
    """The percentile interval of the mean of paired differences. All three are NaN without values."""
    n = len(values)
    if not n:
        return Interval(math.nan, math.nan, math.nan)
    mean = math.fsum(values) / n
    if all(v == values[0] for v in values):
        return Interval(mean, mean, mean)
    rng = random.Random(seed)  # noqa: S311 - resampling, not a secret
    means = sorted(sum(rng.choices(values, k=n)) / n for _ in range(rounds))
    tail = (1 - level) / 2
    return Interval(mean, means[int(tail * rounds)], means[min(rounds - 1, math.ceil((1 - tail) * rounds))])


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; NaN without values."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


def poisson_tail(count: int, expected: float) -> float:
    """The probability of ``count`` or more where ``expected`` is the mean."""
    if count <= 0:
        return 1.0
    if expected <= 0:
        return 0.0
    term = below = math.exp(-expected)
    for n in range(1, count):
        term *= expected / n
        below += term
    return max(0.0, 1.0 - below)
