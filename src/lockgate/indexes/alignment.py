"""Which differences between two runs are near ties? Documents whose scores differ less than the copy's rounding may swap.

A float16 copy, int8 quantisation or another insertion order swaps documents that are nearly equal; a lost document or a
wrong vector moves some that are not. The noise is measured on the runs themselves, robustly, so that a tenth of wrong
vectors does not raise it, and all margins are in the baseline's own score units.
"""

import math
from statistics import median
from typing import NamedTuple

from lockgate.indexes.runs import Hit, Run

SIGMAS = 5.0
"""How many standard deviations of the noise still make a near tie."""
EIGHT_BITS = 0.004
"""The most that rounding may move a cosine: eight bits on vectors and queries over [-1, 1] move it by sqrt(2) / 127 / sqrt(12) = 0.0032."""
MONOTONE = 0.002
"""Scores of another kind on the same order (a distance for a cosine) leave only rounding: this share of the spread."""


class Noise(NamedTuple):
    """The noise of the candidate's scores against the baseline's.

    ``sigma`` is the standard deviation of one score in baseline units, ``spread`` the median distance from the first to
    the last score of a list, ``slope`` and ``intercept`` turn a baseline score into the candidate's. ``informative`` is
    False where scores say nothing (made from ranks, or all equal): then only ids are compared. ``pairs`` counts the
    common answers behind it; ``exact`` is True where nine tenths of the scores agree to binary32, ``scale`` where slope
    and intercept fit well enough to read one run's scores as the other's. ``rounding`` is how far a cosine moves (None
    where scores are no cosines), ``rescaled`` tells that scores are of another kind than before: another metric.
    """

    sigma: float
    spread: float
    slope: float
    intercept: float
    informative: bool
    pairs: int
    exact: bool
    scale: bool
    rounding: float | None
    rescaled: bool

    @property
    def relative(self) -> float:
        """``sigma`` over ``spread``; 0 where scores say nothing."""
        return self.sigma / self.spread if self.informative and self.spread > 0 else 0.0

    @property
    def tolerance(self) -> float:
        """How far two scores of the baseline may be apart and still be a near tie."""
        return SIGMAS * self.sigma + 1e-6 * self.spread if self.informative else 0.0


def measure_noise(baseline: Run, candidate: Run) -> Noise:
    """Measure the noise over all common answers of all queries."""
    spreads = [h[0].score - h[-1].score for h in baseline.hits.values() if len(h) > 1 and _finite(h)]
    spread = median(spreads) if spreads else 0.0
    pairs: list[tuple[float, float]] = []
    gaps: list[float] = []
    inversions = chances = 0
    for qid, hits in baseline.hits.items():
        other = {h.id: h.score for h in candidate.hits.get(qid, ())}
        common = [(h.score, other[h.id]) for h in hits if h.id in other]
        common = [(b, c) for b, c in common if math.isfinite(b) and math.isfinite(c)]
        pairs += common
        for place, (b1, c1) in enumerate(common):
            for b2, c2 in common[place + 1 : place + 12]:
                chances += 1
                if c2 > c1 and b1 > b2:
                    inversions += 1
                    gaps.append(b1 - b2)
    informative = spread > 0 and not _from_ranks(baseline)
    if not informative or len(pairs) < 8:
        return Noise(0.0, spread, 1.0, 0.0, informative, len(pairs), False, False, None, False)
    slope, intercept = _fit(pairs)
    residuals = sorted(abs((c - intercept) / slope - b) if slope else math.inf for b, c in pairs)
    by_scores = 1.4826 * median(residuals)
    by_order = 1.33 * median(gaps) if gaps else 0.0
    # Each overstates the noise in its own way: residuals where scores are on a bent scale, inverted pairs where the only
    # inversions are those of wrong documents.
    sigma = min(by_scores, by_order)
    cosines, rescaled = _kinds(baseline, candidate, slope)
    # Far other scores in the same order, nowhere turned round: another scale, such as 1 / (1 + distance) for a cosine.
    shift = median(abs(c - b) for b, c in pairs)
    rescaled = rescaled or (
        cosines and chances > 100 and inversions <= 0.002 * chances and shift > 0.1 * spread
    )
    rounding = 1.4826 * median(abs(c - b) for b, c in pairs) if cosines and not rescaled else None
    if rescaled:
        sigma = min(sigma, MONOTONE * spread)
    elif rounding is not None:
        sigma = min(sigma, EIGHT_BITS)
    near = sum(r <= 4e-6 * max(1.0, abs(spread)) for r in residuals) / len(residuals)
    return Noise(
        sigma,
        spread,
        slope,
        intercept,
        True,
        len(pairs),
        near >= 0.9,
        by_scores <= 0.1 * spread,
        rounding,
        rescaled,
    )


def _kinds(baseline: Run, candidate: Run, slope: float) -> tuple[bool, bool]:
    """Are the baseline's scores cosines, and are the candidate's of another kind?"""
    one, other = _largest(baseline), _largest(candidate)
    cosines = one <= 1.0001 and not baseline.distances
    kept = baseline.distances == candidate.distances and (other <= 1.0001 if cosines else 0.5 < slope < 2.0)
    return cosines, not kept


def _largest(run: Run) -> float:
    return max(
        (abs(h.score) for hits in run.hits.values() for h in hits if math.isfinite(h.score)), default=0.0
    )


def _finite(hits: tuple[Hit, ...]) -> bool:
    return all(math.isfinite(h.score) for h in hits)


def _from_ranks(run: Run) -> bool:
    """True when every query has the same scores: they were made from ranks."""
    lists = {tuple(h.score for h in hits[:5]) for hits in run.hits.values() if len(hits) >= 5}
    return len(lists) == 1 and sum(len(hits) >= 5 for hits in run.hits.values()) > 2


def _fit(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Slope and intercept of candidate over baseline scores: identity where it fits, else least squares on the best 60 %."""
    off = median(abs(c - b) for b, c in pairs)
    reach = (
        median(abs(b - median(b for b, _ in pairs)) for b, _ in pairs) if len(pairs) < 3000 else _reach(pairs)
    )
    if off <= 0.1 * reach:
        return 1.0, 0.0
    kept = pairs
    slope, intercept = 1.0, median(c - b for b, c in pairs)
    for _ in range(8):
        n = len(kept)
        mb, mc = sum(b for b, _ in kept) / n, sum(c for _, c in kept) / n
        var = sum((b - mb) ** 2 for b, _ in kept)
        slope = sum((b - mb) * (c - mc) for b, c in kept) / var if var else 0.0
        intercept = mc - slope * mb
        ranked = sorted(pairs, key=lambda p: abs(p[1] - slope * p[0] - intercept))
        kept = ranked[: max(8, int(0.6 * len(pairs)))]
    return (slope, intercept) if slope > 0 else (0.0, 0.0)


def _reach(pairs: list[tuple[float, float]]) -> float:
    middle = median(b for b, _ in pairs)
    return median(abs(b - middle) for b, _ in pairs)


class Aligned(NamedTuple):
    """One query's lists, ``k`` deep, with near ties settled the baseline's way.

    ``candidate`` is the candidate's list in which documents that a near tie explains stand where the baseline has them.
    ``absent`` are the baseline's documents that should have been answered and were not, ``intruders`` the candidate's
    that no near tie explains.
    """

    baseline: tuple[str, ...]
    candidate: tuple[str, ...]
    absent: tuple[str, ...]
    intruders: tuple[str, ...]


def align(base: tuple[Hit, ...], cand: tuple[Hit, ...], k: int, noise: Noise) -> Aligned:
    """Settle the near ties of one query."""
    tau = noise.tolerance
    b, c = base[:k], cand[:k]
    b_score = {h.id: h.score for h in base}
    b_ids, c_ids = [h.id for h in b], [h.id for h in c]
    in_b, in_c = set(b_ids), set(c_ids)
    gone = [h for h in b if h.id not in in_c]
    fresh = [h for h in c if h.id not in in_b]
    if not (gone or fresh) and b_ids == c_ids:
        return Aligned(tuple(b_ids), tuple(c_ids), (), ())
    explained_gone: list[str] = []
    explained_fresh: list[str] = []
    if noise.informative and gone and fresh and b:
        # A document just behind the cut tells where the cut is; without one the last answer does.
        cut = base[k].score if len(base) > k else b[-1].score
        reach = {h.id: _as_baseline(h, b_score, noise) for h in fresh}
        pool = sorted(fresh, key=lambda h: reach[h.id])
        for h in sorted(gone, key=lambda h: h.score):
            best = pool[-1] if pool else None
            if best is None or h.score - cut > tau or not math.isfinite(h.score):
                continue
            if noise.scale and reach[best.id] < h.score - tau:
                continue
            explained_gone.append(h.id)
            explained_fresh.append(pool.pop(0).id if not noise.scale else _closest(pool, reach, h.score))
    settled = [i for i in c_ids if i not in explained_fresh] + explained_gone
    place = {i: n for n, i in enumerate(b_ids)}
    settled = _bubble(settled, b_score, place, tau, set(explained_gone))
    return Aligned(
        tuple(b_ids),
        tuple(settled),
        tuple(h.id for h in gone if h.id not in explained_gone),
        tuple(h.id for h in fresh if h.id not in explained_fresh),
    )


def _closest(pool: list[Hit], reach: dict[str, float], score: float) -> str:
    best = min(pool, key=lambda h: abs(reach[h.id] - score))
    pool.remove(best)
    return best.id


def _as_baseline(hit: Hit, b_score: dict[str, float], noise: Noise) -> float:
    """What the baseline would have scored it: its own score where it is there, else the candidate's on the baseline's scale."""
    if hit.id in b_score:
        return b_score[hit.id]
    if not math.isfinite(hit.score) or not noise.slope:
        return -math.inf
    return (hit.score - noise.intercept) / noise.slope


def _bubble(
    ids: list[str], score: dict[str, float], place: dict[str, int], tau: float, moved: set[str]
) -> list[str]:
    """Swap neighbours that stand the other way round than in the baseline, as long as their scores are a near tie."""
    ids = list(ids)
    changed = True
    while changed:
        changed = False
        for n in range(len(ids) - 1):
            one, two = ids[n], ids[n + 1]
            if (
                one in place
                and two in place
                and place[one] > place[two]
                and (two in moved or abs(score[one] - score[two]) <= tau)
            ):
                ids[n], ids[n + 1] = two, one
                changed = True
    return ids
