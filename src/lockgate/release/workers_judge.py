"""Whether paused workers may go on after a release stopped half way: a function of what the history holds."""

import msgspec

from lockgate.record.verdict import Verdict
from lockgate.record.words import agree, counted


class Footing(msgspec.Struct, frozen=True):
    """What the workers would stand on. ``applied`` and ``contract`` are revisions of this plan that the history has now."""

    known: bool
    applied: tuple[str, ...] = ()
    contract: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    rolled_out: bool = False
    """Whether the release's own workers may be running already: they fit the schema when the whole plan is there."""
    complete: bool = False
    migrating: str = ""
    """Who runs a migration in this database still; what it will leave, nobody knows."""


class Resumption(msgspec.Struct, frozen=True):
    """Pass: resume them. Anything else: they stay stopped, and somebody is told loudly."""

    answer: Verdict
    why: str


def may_resume(footing: Footing) -> Resumption:
    """Old workers fit the old schema and every expand-phase change of it; after a contract-phase file they do not."""
    if not footing.known:
        return Resumption(
            Verdict.HOLD, "the history cannot be read, so nobody knows which schema they would meet"
        )
    if footing.migrating:
        return Resumption(Verdict.HOLD, f"a migration runs still: {footing.migrating}")
    if footing.partial:
        return Resumption(
            Verdict.FAIL, f"{', '.join(footing.partial)} stopped half way: the schema is neither old nor new"
        )
    if footing.complete and footing.rolled_out:
        return Resumption(Verdict.PASS, "the plan is applied whole and the new release is rolled out")
    if footing.contract:
        return Resumption(
            Verdict.FAIL,
            f"{', '.join(footing.contract)} of the contract phase took away what the old workers need",
        )
    if footing.applied:
        return Resumption(
            Verdict.PASS,
            f"{counted(len(footing.applied), 'expand-phase file')} {agree(len(footing.applied), 'is', 'are')} applied, which the old workers fit",
        )
    return Resumption(Verdict.PASS, "nothing of the plan is applied")
