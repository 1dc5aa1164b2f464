"""The checks of a drift, from what was measured of every query. Pure, without files."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from lockgate.indexes.alignment import Aligned, Noise
from lockgate.indexes.check import Check, within, worsening
from lockgate.indexes.documents import Disappeared
from lockgate.indexes.gold import GoldSet
from lockgate.indexes.limits import Limits
from lockgate.indexes.resample import bootstrap, percentile, poisson_tail
from lockgate.indexes.runs import Run
from lockgate.indexes.stability import State
from lockgate.record.verdict import Verdict


class Answers(NamedTuple):
    """One query measured on both sides.

    ``strict`` is the overlap with exact ties settled, ``settled`` and ``rbo`` with near ties settled; ``d`` the change of
    delta-S; ``before`` and ``after`` are nDCG, ``recall`` its change; ``after_settled`` and ``recall_settled`` are those with
    near ties settled; ``lost`` tells that the last relevant answer went.
    """

    qid: str
    aligned: Aligned
    strict: float
    settled: float
    rbo: float
    d: float
    before: float
    after: float
    recall: float
    covered: float
    covered_before: float
    lost: bool
    judged: bool
    after_settled: float
    recall_settled: float


def mean(values: Iterable[float]) -> float:
    """The mean; NaN of nothing."""
    found = list(values)
    return math.fsum(found) / len(found) if found else math.nan


def counted(base: Run, cand: Run, limits: Limits) -> list[Check]:
    """Counts: answers, duplicates, scores that are no numbers."""
    short = [q for q, hits in base.hits.items() if len(cand.hits[q]) < len(hits)]
    share = 1 - len(short) / len(base.hits)
    twice = len(cand.duplicates)
    return [
        within(
            "results-per-query", share, limits.results_per_query, at_most=False,
            details=f"{len(short)} queries get fewer answers than before: {', '.join(short[:3])}" if short else f"every query gets as many answers as before, up to {base.depth}",
        ),
        within(
            "duplicate-ids", twice, limits.duplicate_ids,
            details="; ".join(f"{doc} twice for {qid}" for qid, doc in cand.duplicates[:3]) or ("none" if not base.duplicates else f"none, but the baseline has {len(base.duplicates)}"),
        ),
        within(
            "scores-finite", len(cand.broken), limits.scores_not_finite,
            details=f"no number as score at {', '.join(cand.broken[:3])}" if cand.broken else "every score is a number",
        ),
    ]  # fmt: skip


def lists(rows: list[Answers], noise: Noise, gone: Disappeared, limits: Limits) -> list[Check]:
    """The lists against each other: size of the set, lost documents, overlap, RBO, noise."""
    few = len(rows) < limits.min_queries
    n = len(rows)
    strict, settled = mean(r.strict for r in rows), mean(r.settled for r in rows)
    low = sum(r.settled < 0.8 for r in rows)
    checks = [
        Check(
            "gold-size", float(n), float(limits.min_queries), Verdict.HOLD if few else Verdict.PASS,
            f"{n} queries" + (": too few to tell" if few else ""),
        )
    ]  # fmt: skip
    lost = f"{len(gone.lost)} documents are found by no query any more, {len(gone.misplaced)} only by other queries"
    answer = Verdict.PASS
    if gone.gone and gone.chance < limits.documents_lost:
        # One document alone has to be expected often: a graph may lose a single node.
        answer = Verdict.FAIL if gone.gone > 1 or gone.chance < limits.documents_lost / 100 else Verdict.HOLD
    elif gone.gone and gone.chance < limits.documents_doubt:
        answer = Verdict.HOLD
    checks.append(
        Check(
            "documents-lost", float(gone.gone), float(_bearable(gone, limits, answer)), answer,
            f"{lost}; search misses alone would do so with probability {gone.chance:.2g} (limit {limits.documents_lost:g}); missed elsewhere {gone.miss_rate:.2%}"
            + (f": {', '.join(list(gone.lost | gone.misplaced)[:5])}" if gone.gone else ""),
        )
    )  # fmt: skip
    if not limits.same_model:
        return [
            *checks,
            Check(
                "overlap-at-k", strict, None, Verdict.PASS, "another model answers otherwise: for information"
            ),
        ]
    if noise.informative:
        checks += [
            within("overlap-at-k", strict, limits.overlap, at_most=False, few=few, details="exact ties settled"),
            within(
                "overlap-settled", settled, limits.overlap_settled, at_most=False, few=few,
                details=f"near ties settled: scores within {noise.tolerance:.3g} of each other",
            ),
        ]  # fmt: skip
    else:
        answer = (
            Verdict.FAIL
            if strict < limits.overlap
            else Verdict.PASS
            if strict >= limits.overlap_settled
            else Verdict.HOLD
        )
        checks.append(
            Check(
                "overlap-at-k", strict, limits.overlap_settled, Verdict.HOLD if few and answer is Verdict.PASS else answer,
                "the scores say nothing (made from ranks), so near ties cannot be told from losses",
            )
        )  # fmt: skip
    checks.append(
        within("low-overlap", low / n, limits.low_overlap, details=f"{low} queries below 0.8", few=few)
    )
    checks.append(
        within("rbo", mean(r.rbo for r in rows), limits.rbo, at_most=False, few=few, details=f"p = {limits.rbo_p:g}, near ties settled")
    )  # fmt: skip
    if noise.informative and noise.pairs >= 8:
        checks.append(
            within(
                "score-noise", noise.relative, limits.score_noise, few=few,
                details=f"a score moves by {noise.sigma:.3g}, a list spans {noise.spread:.3g}",
            )
        )  # fmt: skip
    if noise.rounding is not None:
        checks.append(
            within("score-rounding", noise.rounding, limits.score_rounding, few=few, details="how far a cosine moves, as a standard deviation")
        )  # fmt: skip
    return checks


def _bearable(gone: Disappeared, limits: Limits, answer: Verdict) -> int:
    """How many documents may look lost before misses of the search no longer explain it."""
    count = 0
    while count < 1000 and poisson_tail(count + 1, gone.by_misses) >= limits.documents_lost:
        count += 1
    return max(count, gone.gone) if answer is Verdict.PASS else min(count, gone.gone - 1)


def quality(rows: list[Answers], limits: Limits, seed: int) -> list[Check]:
    """Against the judgements: nDCG, recall, hits that became misses, coverage."""
    few = len(rows) < limits.min_queries
    before, after = mean(r.before for r in rows), mean(r.after for r in rows)
    hit = sum(r.lost for r in rows)
    floor = min(limits.coverage, mean(r.covered_before for r in rows) - limits.coverage_drop)
    covered = mean(r.covered for r in rows)
    if not rows:
        return [Check("ndcg-drop", None, limits.ndcg_drop, Verdict.HOLD, "no query has a relevant document")]

    def fell(name: str, raw: list[float], settled: list[float], limit: float, details: str) -> Check:
        check = worsening(name, bootstrap(raw, seed=seed), limit, limits.band, few=few, details=details)
        if check.answer is not Verdict.HOLD or not limits.same_model or few:
            return check
        # It cannot be told from the figure alone; where near ties explain the fall, rounding moved equals past each other.
        again = worsening(name, bootstrap(settled, seed=seed), limit, limits.band, details="")
        if again.answer is not Verdict.PASS:
            return check
        return msgspec.structs.replace(check, answer=Verdict.PASS, details=f"{check.details}; {again.value:+.4f} with near ties settled")  # fmt: skip

    return [
        fell(
            "ndcg-drop", [r.before - r.after for r in rows], [r.before - r.after_settled for r in rows], limits.ndcg_drop,
            f"nDCG@{limits.k} {before:.4f} -> {after:.4f}",
        ),
        fell(
            "recall-drop", [-r.recall for r in rows], [-r.recall_settled for r in rows], limits.recall_drop, f"recall@{limits.k}"
        ),
        within("hit-to-miss", hit / len(rows), limits.hit_to_miss, few=few, details=f"{hit} queries lost their last relevant answer"),
        within(
            "coverage", covered, floor, at_most=False, few=few,
            details=f"before {mean(r.covered_before for r in rows):.3f}; the floor is {limits.coverage:g}, or {limits.coverage_drop:g} below the baseline where that is lower",
        ),
    ]  # fmt: skip


def semantic(rows: list[Answers], limits: Limits, seed: int, floor: float | None) -> list[Check]:
    """Delta-S: mean and p95 of the change, and the noise floor of the baseline."""
    few = len(rows) < limits.min_queries
    changes = [r.d for r in rows]
    interval = bootstrap(changes, seed=seed)
    drift = abs(interval.mean) if limits.same_model else interval.mean
    answer = (
        Verdict.PASS
        if drift <= limits.delta_s_diff
        else Verdict.HOLD
        if drift <= limits.delta_s_abort
        else Verdict.FAIL
    )
    checks = [
        Check(
            "delta-s-diff", interval.mean, limits.delta_s_diff, Verdict.HOLD if few and answer is Verdict.PASS else answer,
            f"mean over {len(rows)} queries, interval {interval.low:+.4f} to {interval.high:+.4f}; holds up to {limits.delta_s_abort:g}",
        ),
        within(
            "delta-s-p95", percentile([abs(c) for c in changes] if limits.same_model else changes, 0.95), limits.delta_s_p95,
            few=few, details="95th percentile of the change per query",
        ),
    ]  # fmt: skip
    if floor is not None:
        share = floor / limits.delta_s_diff if limits.delta_s_diff else math.inf
        noisy = share > limits.noise_floor
        checks.append(
            Check(
                "noise-floor", share, limits.noise_floor, Verdict.HOLD if noisy else Verdict.PASS,
                f"the baseline's own runs differ by {floor:.4f} in delta-S" + (": more than half the limit, nothing can be told" if noisy else ""),
            )
        )  # fmt: skip
    return checks


def _chaotic(chaotic: int, divergent: int, n: int, limits: Limits, *, few: bool) -> Check:
    """One query alone may be the miss of an approximate search, or a lost document: in a small set that cannot be told."""
    check = within(
        "lambda-chaotic", chaotic / n, limits.lambda_chaotic, few=few, details=f"{chaotic} chaotic, {divergent} divergent"
    )  # fmt: skip
    if check.answer is Verdict.FAIL and chaotic == 1 and limits.lambda_chaotic > 0:
        return msgspec.structs.replace(
            check, answer=Verdict.HOLD, details=f"one query alone; {check.details}"
        )
    return check


def stability(
    states: dict[str, State],
    limits: Limits,
    gold: GoldSet,
    baselines: Sequence[Run],
    candidates: Sequence[Run],
) -> list[Check]:
    """Lambda over the gold queries."""
    n = len(states)
    few = n < limits.min_queries
    count = {s: sum(found is s for found in states.values()) for s in State}
    asked = [q for q in states if gold.paraphrases.get(q)]
    unrun = sum(any(p not in baselines[0].hits for p in gold.paraphrases[q]) for q in asked)
    basis = f"{len(candidates)} seeds, {len(asked)} of {n} queries with paraphrases"
    if unrun:
        basis += f"; {unrun} queries have paraphrases that were not run"
    return [
        within("lambda", count[State.CONVERGENT] / n, limits.lambda_convergent, at_most=False, few=few or bool(unrun), details=f"convergent; {basis}"),
        _chaotic(count[State.CHAOTIC], count[State.DIVERGENT], n, limits, few=few),
        within("lambda-split", count[State.RECURSIVE] / n, limits.lambda_split, few=few, details=f"{count[State.RECURSIVE]} recursive"),
    ]  # fmt: skip
