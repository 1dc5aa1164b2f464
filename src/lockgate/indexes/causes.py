"""What went wrong? The names of the likely causes, from the shape of the difference between two runs.

Run files show answers, not vectors, so some causes look alike from here; then each is named, and marked as not sure.
`lockgate index validate` looks at the index itself and names the one.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median, pvariance
from typing import NamedTuple

import msgspec

from lockgate.indexes.alignment import Aligned, Noise
from lockgate.indexes.check import Check
from lockgate.indexes.documents import Disappeared
from lockgate.indexes.runs import Hit, Run
from lockgate.record.verdict import Verdict

_OF_LISTS = {
    "overlap-at-k", "overlap-settled", "low-overlap", "rbo", "documents-lost", "score-noise", "score-rounding",
    "results-per-query", "ndcg-drop", "recall-drop", "hit-to-miss",
}  # fmt: skip
"""The checks whose failure says that the lists changed."""


class Cause(msgspec.Struct, frozen=True):
    """A cause by its name. ``sure`` is False where another cause would look the same."""

    cause: str
    sure: bool
    evidence: str


class Evidence(NamedTuple):
    """What the causes are read from. ``corpus`` are the document ids in the order of the corpus, ``strict`` the mean overlap.

    ``worded`` tells that every answer of the baseline shares a rare word with its query, as those of an index of words do.
    """

    base: Run
    cand: Run
    noise: Noise
    gone: Disappeared
    deep: Mapping[str, Aligned]
    corpus: tuple[str, ...]
    strict: float
    checks: Sequence[Check]
    worded: bool = False


def name_causes(e: Evidence) -> list[Cause]:
    """The causes of what failed or holds, surest first; none where the lists did not change."""
    bad = {c.id for c in e.checks if c.answer is not Verdict.PASS}
    failed = {c.id for c in e.checks if c.answer is Verdict.FAIL}
    causes = _broken_scores(e)
    if (bad & _OF_LISTS) and (failed or e.gone.gone):
        if _moved_ids(e) >= 0.9:
            causes = [c for c in causes if c.cause != "zero-vectors" or e.cand.broken]
            causes.append(
                Cause("ids-shuffled", True, "the same scores come back at the same ranks under other ids")
            )
        else:
            # Where most scores agree, some documents are wrong or the search misses; else the whole space is another one.
            local = not e.noise.rescaled and (
                e.noise.exact or (e.noise.scale and not failed & {"score-noise", "score-rounding"})
            )
            causes += (_local(e) if e.noise.informative and local else []) or _global(e)
    return sorted(causes, key=lambda c: not c.sure)


def _broken_scores(e: Evidence) -> list[Cause]:
    causes = []
    if e.cand.duplicates:
        causes.append(Cause("duplicate-ids", True, f"{len(e.cand.duplicates)} answers name a document twice"))
    if e.cand.broken:
        causes.append(
            Cause("zero-vectors", True, f"{len(e.cand.broken)} queries have a score that is no number")
        )
    elif (tied := _tied(e)) >= 2:
        causes.append(
            Cause("zero-vectors", True, f"{tied} new answers share one score in every list where they stand")
        )
    short = sum(len(e.cand.hits[q]) < len(hits) for q, hits in e.base.hits.items())
    if short > len(e.base.hits) // 2:
        causes.append(
            Cause(
                "ann-search-narrow",
                False,
                f"{short} queries get fewer answers than before: is ef_search below k?",
            )
        )
    return causes


def _tied(e: Evidence) -> int:
    """How many new answers are always tied with another new answer: a zero vector is equally far from everything.

    Copies of a document are tied too, but in the baseline as well, so only documents that stand alone there count.
    """
    alone: dict[str, bool] = {}
    for hits in e.base.hits.values():
        for h, same in zip(hits, _ties(hits), strict=True):
            alone[h.id] = alone.get(h.id, True) and not same
    tied: dict[str, list[bool]] = {}
    for qid, hits in e.cand.hits.items():
        fresh = [h for h in hits if h.id in set(e.deep[qid].intruders) and alone.get(h.id)]
        for h, same in zip(fresh, _ties(fresh), strict=True):
            tied.setdefault(h.id, []).append(same)
    return sum(len(many) >= 3 and sum(many) > 0.8 * len(many) for many in tied.values())


def _ties(hits: Sequence[Hit]) -> list[bool]:
    """For each answer, whether another one has its score."""
    count = Counter(h.score for h in hits)
    return [count[h.score] > 1 for h in hits]


def _moved_ids(e: Evidence) -> float:
    """Of the ranks that another document holds now, the share with the score of before."""
    if not e.noise.informative:
        return 0.0
    same = total = queries = 0
    for qid, hits in e.base.hits.items():
        tied = _ties(hits)
        before = total
        for b, c, twin in zip(hits, e.cand.hits[qid], tied, strict=False):
            # Where documents share a score, one that is missed leaves its rank to its twin.
            if b.id != c.id and not twin:
                total += 1
                same += math.isclose(b.score, c.score, rel_tol=1e-5, abs_tol=1e-7)
        queries += total > before
    return same / total if total >= 2 and queries >= 2 else 0.0


def _local(e: Evidence) -> list[Cause]:
    """Most scores agree, so some documents are wrong, or the search misses."""
    gone = e.gone
    causes: list[Cause] = []
    doubtful = gone.gone and gone.chance < 0.2
    if doubtful:
        place = {d: n for n, d in enumerate(e.corpus)}
        where = sorted(place[d] for d in (*gone.lost, *gone.misplaced))
        total = f"{gone.gone} documents"
        if _at_end(where, len(e.corpus)):
            causes.append(
                Cause(
                    "stale-tail",
                    False,
                    f"{total}, all at the end of the corpus: the newest are not indexed, or stale",
                )
            )
        if len(gone.misplaced) > len(gone.lost):
            causes.append(Cause("foreign-vectors", False, f"{total} answer other queries than before"))
            causes.append(Cause("ids-shuffled", False, f"{total} answer other queries than before"))
        else:
            causes.append(Cause("documents-missing", False, f"{total} are found by no query any more"))
            for also in ("foreign-vectors", "zero-vectors"):
                causes.append(
                    Cause(
                        also,
                        False,
                        f"{total} could be there with a wrong vector; lockgate index validate tells",
                    )
                )
    if gone.missed and (not doubtful or gone.miss_rate > 0.01):
        # Documents that are gone leave the others alone; a search that misses does not.
        share = sum(gone.lost.values()) + sum(gone.misplaced.values())
        causes.insert(
            0 if gone.missed > 0.2 * share else len(causes),
            Cause(
                "ann-recall", not doubtful,
                f"{gone.missed} answers missed of documents that other queries find ({gone.miss_rate:.1%}): graph or search parameters",
            )
        )  # fmt: skip
    if (moved := _rescored(e)) > 0.1 * gone.missed and moved >= 3:
        # A search that misses leaves the scores of what it finds alone.
        causes = [c for c in causes if c.cause != "foreign-vectors"]
        causes = [msgspec.structs.replace(c, sure=False) for c in causes]
        evidence = f"{moved} answers have a score of their own while the others kept theirs"
        causes.insert(0, Cause("foreign-vectors", False, evidence))
        if _lexical(e):
            causes.insert(
                0, Cause("analyzer-changed", False, f"a lexical index with other terms: {evidence}")
            )
        elif e.worded:
            causes.append(
                Cause("analyzer-changed", False, f"every answer shares a word with its query: {evidence}")
            )
        if moved > 0.5 * e.noise.pairs:
            causes.append(Cause("dimensions-truncated", False, evidence))
    return causes


def _lexical(e: Evidence) -> bool:
    """Do the runs come from an index of words? Its scores are no cosines, or lists end where no word is shared.

    Raw inner products look the same, so this names a cause and rules none out.
    """
    uneven = sum(len(hits) < e.base.depth for hits in e.base.hits.values()) >= 0.1 * len(e.base.hits)
    if uneven and len(e.corpus) > e.base.depth:
        return True
    return all(max(_scores(run), default=0.0) > 1.0001 for run in (e.base, e.cand))


def _rescored(e: Evidence) -> int:
    """How many common answers have a score far off the others' common change."""
    if not (e.noise.scale and e.noise.slope):
        return 0
    reach = max(2 * e.noise.tolerance, 0.002 * e.noise.spread)
    moved = 0
    for qid, hits in e.base.hits.items():
        other = {h.id: h.score for h in e.cand.hits[qid]}
        for h in hits:
            new = other.get(h.id)
            if new is not None and abs((new - e.noise.intercept) / e.noise.slope - h.score) > reach:
                moved += 1
    return moved


def _at_end(where: list[int], size: int) -> bool:
    """True when documents stand so far behind that chance would hardly put all of them there."""
    return len(where) >= 2 and (1 - where[0] / size) ** len(where) < 0.01


def _global(e: Evidence) -> list[Cause]:
    """Every score moved: the space, the metric, the norms or the analyzer is another one."""
    old, new = _scores(e.base), _scores(e.cand)
    text = f"overlap {e.strict:.2f}; scores {_range(old)} before, {_range(new)} now"
    common = e.noise.pairs / max(1, sum(len(h) for h in e.base.hits.values()))
    lexical = _lexical(e)
    by_document = _by_document(e)
    before, after = ({h.id for hits in run.hits.values() for h in hits} for run in (e.base, e.cand))
    hubs = len(after) / max(1, len(before))
    found: list[tuple[float, str, str]] = []
    if lexical:
        found.append((0.9, "analyzer-changed", f"a lexical index with other terms: {text}"))
    elif e.worded:
        found.append((0.25, "analyzer-changed", f"every answer shares a word with its query: {text}"))
    if e.noise.rescaled:
        found.append((0.7, "wrong-metric", f"scores are of another kind: {text}"))
    else:
        found.append((0.3, "wrong-metric", f"another metric on vectors of unequal length: {text}"))
    found.append(
        (
            0.96 if hubs < 0.6 else 0.8 if by_document > 0.6 else 0.4,
            "unnormalised-vectors",
            f"{by_document:.0%} of the change goes with the document, {len(after)} documents answer where {len(before)} did; {text}",
        )
    )
    if not e.noise.rescaled:
        blurred = 0.6 if common > 0.3 else 0.35
        found.append((blurred, "dimensions-truncated", f"every score is blurred: {text}"))
    found.append(
        (
            0.95 if common < 0.3 else 0.2,
            "foreign-vectors",
            f"queries and documents are not of one space: {text}",
        )
    )
    if not e.noise.informative:
        # Ranks alone tell neither scores that moved along nor misses.
        found.append((0.45, "ann-recall", f"other answers, and no scores to tell why: {text}"))
        found.append((0.4, "ids-shuffled", f"other answers, and no scores to tell why: {text}"))
    if e.gone.gone > 1 and e.gone.chance < 0.02:
        found.append(
            (
                0.1 if e.noise.informative else 0.97,
                "documents-missing",
                f"{e.gone.gone} documents are found by no query any more",
            )
        )
    return [Cause(name, False, evidence) for _, name, evidence in sorted(found, reverse=True)]


def _by_document(e: Evidence) -> float:
    """The share of the scores' change that is the same for a document at every query: a length is, a blur is not."""
    changes: dict[str, list[float]] = {}
    for qid, hits in e.base.hits.items():
        other = {h.id: h.score for h in e.cand.hits[qid]}
        for h in hits:
            new = other.get(h.id)
            if new is not None and math.isfinite(new) and h.score:
                changes.setdefault(h.id, []).append(new / h.score)
    many = [c for c in changes.values() if len(c) >= 2]
    if len(many) < 5:
        return 0.0
    total = pvariance([x for c in many for x in c])
    inside = fmean([pvariance(c) for c in many])
    return max(0.0, 1 - inside / total) if total > 0 else 0.0


def _scores(run: Run) -> list[float]:
    return [h.score for hits in run.hits.values() for h in hits if math.isfinite(h.score)]


def _range(scores: list[float]) -> str:
    return f"{min(scores):.3g} to {max(scores):.3g} (median {median(scores):.3g})" if scores else "none"
