"""What comes after a validation that cannot tell? Pure: what was measured in, the next command out.

The same call again gives the same answer, so it is never named. A broader search helps where the search misses what an exact one
finds; where it misses nothing, the rest is the rounding of what is stored, too small a gold set, or a person's decision.
"""

import shlex

import msgspec

from lockgate.indexes.drift import Drift
from lockgate.indexes.register import Generation
from lockgate.record.verdict import Verdict

BROADEST = 1000
"""The broadest search that a store takes."""
DEFAULT_BREADTH = 40
_FIXED = ("chroma",)
"""Stores whose graph has its breadth for good."""
_REFUTED = frozenset({"documents-missing", "foreign-vectors", "zero-vectors"})
_LOOKED = ("records-equal", "content-equal", "stored-vectors")
_POINTER = "; lockgate index validate tells"


def after_hold(drift: Drift, row: Generation, against: Generation, gold: str, options: str = "") -> str:
    """The next command after a hold; "" after any other answer. ``options`` are those of the call that decide the answer, ``gold`` its gold set."""
    if drift.verdict is not Verdict.HOLD:
        return ""
    checks = {c.id: c for c in drift.checks}
    person = f"When a person has looked at the worst queries: lockgate index swap {row.name} --to {row.generation} --unvalidated"
    if "gold-size" in checks and checks["gold-size"].answer is Verdict.HOLD:
        wanted = checks["gold-size"].limit or 0
        return f"Validate with a gold set of at least {wanted:.0f} judged queries. {person}"
    recall = checks.get("ann-recall")
    breadth = checks.get("search-breadth")
    now = max(DEFAULT_BREADTH, int(breadth.value or 0) if breadth is not None else 0)
    broader = row.manifest.ann.get("type", "flat") != "flat" and row.store not in _FIXED and now < BROADEST
    if broader and recall is not None and (recall.value or 0) < 1:
        call = f"lockgate index validate {row.name} --against {against.generation} --generation {row.generation} --gold {shlex.quote(gold)}{options}"
        return f"{call} --breadth {min(BROADEST, 4 * now)}"
    mine, theirs = row.manifest.embedding, against.manifest.embedding
    if mine is not None and theirs is not None and mine.dtype != theirs.dtype:
        return f"The search misses nothing; what differs is the rounding to {mine.dtype}. Build it with --dtype {theirs.dtype}. {person}"  # fmt: skip
    return person


def after_answer(drift: Drift, row: Generation, against: Generation, serving: str, gold: str) -> str:
    """The next command after a pass or a fail; "" after a hold. ``serving`` is what the alias points to, "" where nothing serves."""
    swap = f"lockgate index swap {row.name} --to {row.generation}"
    if drift.verdict is Verdict.FAIL:
        return f"Mend what the causes name and build it anew: lockgate index build {row.name}; where a person decides otherwise: {swap} --unvalidated"
    if drift.verdict is not Verdict.PASS or serving == row.generation:
        return ""
    if serving in ("", against.generation):
        return swap
    return f"{serving} serves: lockgate index validate {row.name} --against {serving} --generation {row.generation} --gold {shlex.quote(gold)}"


def told_by_looking(drift: Drift) -> Drift:
    """The answer without the causes that looking into the index refuted, and without the advice to look there."""
    checks = {c.id: c.answer for c in drift.checks}
    same = all(checks.get(c) is Verdict.PASS for c in _LOOKED)
    left = tuple(
        msgspec.structs.replace(c, evidence=c.evidence.replace(_POINTER, ""))
        for c in drift.causes
        if c.sure or not same or c.cause not in _REFUTED
    )
    return msgspec.structs.replace(drift, causes=left)
