"""Which documents does the candidate no longer find? A document that is gone is gone from every query; a badly tuned search
misses different ones each time. Means over queries hide both, so documents are counted one by one."""

from collections.abc import Mapping
from typing import NamedTuple

from lockgate.indexes.alignment import Aligned
from lockgate.indexes.resample import poisson_tail
from lockgate.indexes.runs import Run


class Disappeared(NamedTuple):
    """What happened to the documents that the baseline answers with.

    ``lost`` are in no list of the candidate although no near tie explains any of their absences; ``misplaced`` turned up
    at queries where the baseline does not have them, and only there. Both map a document to how often it was expected.
    ``missed`` counts the other unexplained absences, ``slots`` the expected answers of documents that are still found.
    ``chance`` is the probability that search misses alone, at the rate seen or allowed, would look like this, and
    ``by_misses`` how many documents they would make look lost on average.
    """

    lost: dict[str, int]
    misplaced: dict[str, int]
    missed: int
    slots: int
    chance: float
    by_misses: float

    @property
    def gone(self) -> int:
        """How many documents are lost or misplaced."""
        return len(self.lost) + len(self.misplaced)

    @property
    def miss_rate(self) -> float:
        """The share of expected answers that were missed, over documents that other queries still find."""
        return self.missed / self.slots if self.slots else 0.0


def find_disappeared(
    aligned: Mapping[str, Aligned], candidate: Run, allowed: float, *, ranks_only: bool = False
) -> Disappeared:
    """Sort the unexplained absences by document.

    Where scores say nothing (``ranks_only``) near ties cannot be told, and they change the ends of lists: then only the
    upper half of each list counts.

    ``aligned`` are the queries' lists at full depth; ``allowed`` is the rate of misses that an approximate index may have.
    """
    expected: dict[str, int] = {}
    absences: dict[str, int] = {}
    intrusions: set[str] = set()
    for qid, one in aligned.items():
        # An absence that a near tie explains says nothing: neither that the document is found, nor that it is gone.
        kept = {h.id for h in candidate.hits[qid]}
        sure = set(one.baseline[: (len(one.baseline) + 1) // 2] if ranks_only else one.baseline)
        for doc in (d for d in one.baseline if d in sure):
            if doc in kept or doc in one.absent:
                expected[doc] = expected.get(doc, 0) + 1
        for doc in (d for d in one.absent if d in sure):
            absences[doc] = absences.get(doc, 0) + 1
        intrusions.update(one.intruders)
    found = {h.id for hits in candidate.hits.values() for h in hits}
    everywhere = {d: n for d, n in expected.items() if absences.get(d, 0) == n}
    lost = {d: n for d, n in everywhere.items() if d not in found}
    misplaced = {d: n for d, n in everywhere.items() if d in intrusions}
    gone = lost.keys() | misplaced.keys()
    slots = sum(n for d, n in expected.items() if d not in gone)
    missed = sum(n for d, n in absences.items() if d not in gone)
    chance, by_misses = _chance(expected, absences, gone, missed / max(1, slots), allowed)
    return Disappeared(lost, misplaced, missed, slots, chance, by_misses)


def _chance(
    expected: Mapping[str, int],
    absences: Mapping[str, int],
    gone: "set[str]",
    elsewhere: float,
    allowed: float,
) -> tuple[float, float]:
    """Misses that fall independently lose a document of n answers with probability rate^n. The least of a few tests, each
    over the documents with at least so many answers: few lost ones of many answers say more than many of one. With it
    comes how many documents misses would make look lost on average."""
    tails = [1.0]
    means = []
    several = {d: n for d, n in expected.items() if n >= 2}
    # What is seen of documents with one answer cannot tell a miss from a loss, so the others give the rate.
    overall = sum(absences.get(d, 0) for d in several) / max(1, sum(several.values()))
    for least in (1, 2, 4):
        rate = min(0.999, max(allowed, overall if least == 1 else elsewhere))
        pool = {d: n for d, n in expected.items() if n >= least}
        means.append(sum(rate**n for n in pool.values()))
        tails.append(poisson_tail(len(gone & pool.keys()), means[-1]))
    return min(tails), means[0]
