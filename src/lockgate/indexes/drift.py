"""Did retrieval get worse? Two runs over one gold set → checks, causes and the worst queries, as one verdict.

Pure: files were read before, and what is printed comes after. The verdict fails when a check fails, holds when one cannot
tell (a small set, a noisy baseline), and passes only when every check does.
"""

import math
from collections.abc import Sequence

import msgspec

from lockgate.indexes import hashing, measures
from lockgate.indexes.alignment import Noise, align, measure_noise
from lockgate.indexes.causes import Cause, Evidence, name_causes
from lockgate.indexes.check import Check
from lockgate.indexes.documents import find_disappeared
from lockgate.indexes.gold import GoldSet
from lockgate.indexes.judging import Answers, counted, lists, mean, quality, semantic, stability
from lockgate.indexes.limits import Limits
from lockgate.indexes.resample import percentile
from lockgate.indexes.runs import Hit, Run, join
from lockgate.indexes.stability import Observation, State, observe
from lockgate.indexes.wording import shares_words
from lockgate.record.verdict import Verdict

WORST = 5
DEEPEST = 200


class Shown(msgspec.Struct, frozen=True):
    """One answer as a report shows it."""

    id: str
    score: float | None


class Worst(msgspec.Struct, frozen=True, rename="camel"):
    """One of the queries that changed most, with both lists."""

    qid: str
    text: str
    overlap: float
    delta_s: float
    ndcg_before: float | None
    ndcg_after: float | None
    state: str
    baseline: tuple[Shown, ...]
    candidate: tuple[Shown, ...]


class Measured(msgspec.Struct, frozen=True, rename="camel"):
    """What the figures rest on."""

    queries: int
    judged: int
    documents: int
    k: int
    depth: int
    seeds: int
    paraphrases: int
    noise_floor: float | None
    reference: str
    gold_digest: str


class Spread(msgspec.Struct, frozen=True, rename="camel"):
    """The figures of every query, in the order of ``qids``: for the report's distributions."""

    qids: tuple[str, ...]
    delta_s: tuple[float, ...]
    overlap: tuple[float, ...]
    ndcg: tuple[float, ...]
    states: dict[str, int]


class Drift(msgspec.Struct, frozen=True, rename="camel"):
    """The whole answer."""

    verdict: Verdict
    profile: str
    checks: tuple[Check, ...]
    causes: tuple[Cause, ...]
    worst: tuple[Worst, ...]
    measured: Measured
    spread: Spread


class _Reference:
    """Delta-S of an answer list: the mean of 1 - cos(query, document) with the pinned embedder; 1 for an empty list."""

    def __init__(self, gold: GoldSet) -> None:
        self._gold = gold
        self._embedder = hashing.HashingEmbedder()
        self._documents: dict[str, dict[int, float]] = {}
        self._queries: dict[str, dict[int, float]] = {}
        self._pairs: dict[tuple[str, str], float] = {}
        self.name = self._embedder.name

    def delta_s(self, qid: str, docs: Sequence[str]) -> float:
        if not docs:
            return 1.0
        return math.fsum(self._distance(qid, d) for d in docs) / len(docs)

    def _distance(self, qid: str, doc: str) -> float:
        pair = (qid, doc)
        if pair not in self._pairs:
            if qid not in self._queries:
                self._queries[qid] = self._embedder.sparse(self._gold.queries[qid])
            if doc not in self._documents:
                self._documents[doc] = self._embedder.sparse(self._gold.documents[doc])
            self._pairs[pair] = 1.0 - hashing.cosine(self._queries[qid], self._documents[doc])
        return self._pairs[pair]


def compare(
    gold: GoldSet,
    baselines: Sequence[Run],
    candidates: Sequence[Run],
    limits: Limits,
    *,
    seed: int = 20250101,
    found: Sequence[Check] = (),
) -> Drift:
    """Compare candidate runs with baseline runs. More than one of a side are its seeds; the first of each is judged.

    ``found`` are checks made elsewhere, of the index itself. Raises ``RunError`` where the runs do not join.
    """
    for run in (*baselines, *candidates):
        join(gold, baselines[0], run)
    base, cand = baselines[0], candidates[0]
    reference = _Reference(gold)
    noise = measure_noise(base, cand)
    exact = noise._replace(sigma=0.0)
    k = min(limits.k, base.depth) or limits.k
    rows = [_query(gold, q, base, cand, k, noise, exact, reference, limits) for q in base.hits]
    depth = min(DEEPEST, base.depth)
    deep = {q: align(base.hits[q], cand.hits[q], depth, noise) for q in base.hits}
    gone = find_disappeared(
        deep, cand, limits.misses_of(len(gold.documents)), ranks_only=not noise.informative
    )
    states = _states(gold, baselines, candidates, k, reference, limits)
    floor = _floor(baselines, k, reference)
    # One of a query and its paraphrases is one sample, not four.
    own = [r for r in rows if gold.origin(r.qid) == r.qid]
    checks = [
        *found,
        *counted(base, cand, limits),
        *lists(own, noise, gone, limits),
        *quality([r for r in own if r.judged], limits, seed),
        *semantic(own, limits, seed, floor),
        *stability(states, limits, gold, baselines, candidates),
    ]
    verdict = Verdict.all_of([c.answer for c in checks])
    causes = name_causes(
        Evidence(
            base,
            cand,
            noise,
            gone,
            deep,
            tuple(gold.documents),
            mean(r.strict for r in own),
            checks,
            shares_words(gold, base, k),
        )
    )
    phrasings = [1 + sum(p in base.hits for p in gold.paraphrases.get(q, ())) for q in states]
    return Drift(
        verdict, limits.profile, tuple(checks), tuple(causes),
        _worst(gold, rows, base, cand, k, states),
        Measured(
            len(own), sum(r.judged for r in own), len(gold.documents), k, base.depth,
            min(len(baselines), len(candidates)), max(0, min(phrasings, default=1) - 1), floor, reference.name, gold.digest,
        ),
        Spread(
            tuple(r.qid for r in own), tuple(r.d for r in own), tuple(r.settled for r in own),
            tuple(r.after - r.before for r in own if r.judged), {str(s): list(states.values()).count(s) for s in State},
        ),
    )  # fmt: skip


def _query(
    gold: GoldSet, qid: str, base: Run, cand: Run, k: int, noise: Noise, exact: Noise, reference: _Reference, limits: Limits,
) -> Answers:  # fmt: skip
    b, c = base.hits[qid], cand.hits[qid]
    aligned = align(b, c, k, noise)
    strict = align(b, c, k, exact)
    before, after = [h.id for h in b[:k]], [h.id for h in c[:k]]
    grades = gold.judgements.get(gold.origin(qid), {})
    judged = any(g > 0 for g in grades.values())
    lengths = {d: len(gold.documents[d].split()) for d in grades}
    relevant = {d for d in before if grades.get(d, 0) > 0}
    return Answers(
        qid, aligned,
        measures.overlap(strict.baseline, strict.candidate, k),
        measures.overlap(aligned.baseline, aligned.candidate, k),
        measures.rbo(aligned.baseline, aligned.candidate, limits.rbo_p),
        reference.delta_s(qid, after) - reference.delta_s(qid, before),
        measures.ndcg(before, grades, k), measures.ndcg(after, grades, k),
        measures.recall(after, grades, k) - measures.recall(before, grades, k),
        measures.coverage(after, grades, lengths, k), measures.coverage(before, grades, lengths, k),
        bool(relevant) and not any(grades.get(d, 0) > 0 for d in after) and not relevant & set(aligned.candidate),
        judged,
        measures.ndcg(aligned.candidate, grades, k),
        measures.recall(aligned.candidate, grades, k) - measures.recall(before, grades, k),
    )  # fmt: skip


def _floor(baselines: Sequence[Run], k: int, reference: _Reference) -> float | None:
    """The p95 of the change of delta-S among the baseline's own runs; None with one run."""
    if len(baselines) < 2:
        return None
    first = baselines[0]
    changes = [
        abs(
            reference.delta_s(q, [h.id for h in other.hits[q][:k]])
            - reference.delta_s(q, [h.id for h in first.hits[q][:k]])
        )
        for other in baselines[1:]
        for q in first.hits
    ]
    return percentile(changes, 0.95)


def _states(
    gold: GoldSet,
    baselines: Sequence[Run],
    candidates: Sequence[Run],
    k: int,
    reference: _Reference,
    limits: Limits,
) -> dict[str, State]:
    noises = {id(c): measure_noise(baselines[0], c) for c in candidates}
    states: dict[str, State] = {}
    for qid in baselines[0].hits:
        if gold.origin(qid) != qid:
            continue
        phrasings = [q for q in (qid, *gold.paraphrases.get(qid, ())) if q in baselines[0].hits]
        runs: list[Observation] = []
        agreement = 1.0
        for phrasing in phrasings:
            for place, run in enumerate(candidates):
                base = baselines[min(place, len(baselines) - 1)]
                noise = (
                    noises[id(run)]
                    if len(baselines) == 1
                    else measure_noise(base, run)
                    if place
                    else noises[id(run)]
                )
                row = _query(gold, phrasing, base, run, k, noise, noise, reference, limits)
                runs.append(Observation(row.d, row.settled, row.lost))
            for place, one in enumerate(candidates):
                for other in candidates[place + 1 :]:
                    agreement = min(
                        agreement, measures.overlap(_ids(one, phrasing), _ids(other, phrasing), k)
                    )
        states[qid] = observe(runs, agreement, same_model=limits.same_model)
    return states


def _ids(run: Run, qid: str) -> list[str]:
    return [h.id for h in run.hits[qid]]


def _worst(
    gold: GoldSet, rows: list[Answers], base: Run, cand: Run, k: int, states: dict[str, State]
) -> tuple[Worst, ...]:
    changed = [r for r in rows if r.settled < 1 or abs(r.d) > 0 or r.before != r.after]
    changed.sort(key=lambda r: (r.settled + r.rbo - abs(r.d) - max(0.0, r.before - r.after), r.qid))
    return tuple(
        Worst(
            r.qid, gold.queries[r.qid][:300], r.settled, r.d,
            r.before if r.judged else None, r.after if r.judged else None, str(states.get(gold.origin(r.qid), "")),
            _shown(base.hits[r.qid][:k]), _shown(cand.hits[r.qid][:k]),
        )
        for r in changed[:WORST]
    )  # fmt: skip


def _shown(hits: Sequence[Hit]) -> tuple[Shown, ...]:
    return tuple(Shown(h.id, h.score if math.isfinite(h.score) else None) for h in hits)
