"""What became of each query at each migration, and the answer that follows for its release. Pure."""

from collections.abc import Iterable

import msgspec

COMPATIBLE, RECONNECT, BREAKS, HOLD = "compatible", "reconnect", "breaks", "hold"
_WORST = (BREAKS, HOLD, RECONNECT, COMPATIBLE)


class Break(msgspec.Struct, frozen=True):
    """A query that worked and fails: at which revision, with what."""

    revision: str
    query: str
    sqlstate: str
    message: str


class Outcome(msgspec.Struct, frozen=True, rename="camel"):
    """One query at one revision. ``answer`` is "" while it never worked yet.

    ``planned`` is how it was planned: generic_plan, force_generic_plan, "" for not at all; ``planned_why`` why not the first.
    """

    revision: str
    answer: str
    sqlstate: str = ""
    message: str = ""
    note: str = ""
    planned: str = ""
    planned_why: str = ""


class QueryProof(msgspec.Struct, frozen=True, rename="camel"):
    """One query over the whole rehearsal. ``base`` is the revision at which it first worked, None when it never did."""

    query: str
    line: int
    kind: str
    answer: str
    base: str | None
    outcomes: tuple[Outcome, ...]


class Step(msgspec.Struct, frozen=True):
    """The answer of a release at one revision."""

    revision: str
    answer: str


class Compatibility(msgspec.Struct, frozen=True, rename="camel"):
    """What a release may expect of the new schema."""

    answer: str
    breaks: tuple[Break, ...]
    migrations: tuple[Step, ...]
    queries: tuple[QueryProof, ...]


def proof_of(query: str, line: int, kind: str, outcomes: Iterable[Outcome], *, whole: bool) -> QueryProof:
    """The proof of one query. ``whole`` False: not every file could be applied, so what did not break is not known."""
    listed = tuple(outcomes)
    lived = [o for o in listed if o.answer]
    answers = [o.answer for o in lived]
    if BREAKS in answers:
        answer = BREAKS
    elif not lived or not whole:
        answer = HOLD
    else:
        answer = worst(answers)
    return QueryProof(query, line, kind, answer, lived[0].revision if lived else None, listed)


def answer_of(proofs: Iterable[QueryProof]) -> Compatibility:
    """The answer of a release: the worst of its queries. A query that stays broken is named once, where it broke."""
    listed = tuple(proofs)
    breaks = [found for proof in listed for found in _breaks(proof)]
    revisions = dict.fromkeys(o.revision for proof in listed for o in proof.outcomes)
    steps = []
    for revision in revisions:
        answers = [o.answer for p in listed for o in p.outcomes if o.revision == revision and o.answer]
        if answers:
            steps.append(Step(revision, worst(answers)))
    return Compatibility(
        worst([p.answer for p in listed]), tuple(sorted(breaks, key=lambda b: b.revision)), tuple(steps), listed
    )  # fmt: skip


def worst(answers: Iterable[str]) -> str:
    """The worst of some answers; of none it is hold."""
    return min(answers, key=_WORST.index, default=HOLD)


def _breaks(proof: QueryProof) -> list[Break]:
    found, broken = [], False
    for outcome in proof.outcomes:
        now = outcome.answer == BREAKS
        if now and not broken:
            found.append(Break(outcome.revision, proof.query, outcome.sqlstate, outcome.message))
        broken = now if outcome.answer else broken
    return found
