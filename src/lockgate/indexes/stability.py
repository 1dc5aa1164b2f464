"""Lambda: does a gold query answer the same way over seeds and paraphrases? The operational definition, ours.

For each gold query the candidate is compared with the baseline in every run: over the seeds (the repeated runs that were
given) and its phrasings (itself and its paraphrases). A run has d, the change of delta-S, and o, the settled overlap@k.

- **convergent**: every run has d <= 0.02 and o >= 0.8, and the seeds agree (pairwise overlap >= 0.8).
- **recursive** (split): runs disagree, but none has d > 0.02 and none has o < 0.5.
- **divergent**: some run has d in (0.02, 0.04] or o < 0.5.
- **chaotic**: some run has d > 0.04, or the relevant documents that the baseline answered with are lost from every run.

A run in which every difference is a near tie counts as unchanged. Taken literally, the sources call an unchanged query
"recursive", and a perfect copy would fail.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

STEP, JUMP = 0.02, 0.04
AGREE, APART = 0.8, 0.5


class State(StrEnum):
    """The state of one gold query."""

    CONVERGENT = "convergent"
    RECURSIVE = "recursive"
    DIVERGENT = "divergent"
    CHAOTIC = "chaotic"


class Observation(NamedTuple):
    """One run of one phrasing: the change of delta-S, the settled overlap, and whether all relevant answers were lost."""

    d: float
    overlap: float
    lost: bool


def observe(runs: Sequence[Observation], agreement: float, *, same_model: bool) -> State:
    """The state of one gold query.

    ``agreement`` is the lowest pairwise overlap of the candidate's seeds (1 with one seed). With another model the lists
    may differ, so overlap is not looked at.
    """
    moved = [r for r in runs if not (same_model and r.overlap >= 1.0)]
    if runs and all(r.lost for r in runs):
        return State.CHAOTIC
    if any(r.d > JUMP for r in moved):
        return State.CHAOTIC
    if any(r.d > STEP for r in moved) or (same_model and any(r.overlap < APART for r in moved)):
        return State.DIVERGENT
    settled = all(not same_model or r.overlap >= AGREE for r in moved) and agreement >= AGREE
    return State.CONVERGENT if settled else State.RECURSIVE
