"""Whether the time of a contract-phase file has come: full cutover, a stable while after it, and nobody alive who needs what it removes."""

from collections.abc import Sequence

import msgspec

from lockgate.record.verdict import Verdict
from lockgate.record.words import agree, counted
from lockgate.release.authorise import Instance


class Cutover(msgspec.Struct, frozen=True):
    """What the journal holds of the releases before: the newest that succeeded with its age in seconds (None: there was none),
    and one after it that began its rollout and did not end well ("" when there is none)."""

    succeeded: str = ""
    age: float | None = None
    unfinished: str = ""


class Timing(msgspec.Struct, frozen=True):
    """The answer. ``waits`` is True where only time is missing: a broken glass may go through that, and through nothing else."""

    answer: Verdict
    told: str
    waits: bool = False


def judge_contract(
    revisions: Sequence[str], *, fresh: bool, cutover: Cutover, stable: float, instances: Sequence[Instance]
) -> Timing:
    """Whether the contract-phase files ``revisions`` may run now. ``fresh``: nothing was ever applied, so nothing is in use."""
    if not revisions:
        return Timing(Verdict.PASS, "no contract-phase file")
    if fresh:
        return Timing(Verdict.PASS, "the database is fresh: nobody uses what they remove")
    names = ", ".join(revisions)
    needing = [i for i in instances if i.schema_max < revisions[-1]]
    if needing:
        who = ", ".join(
            f"{i.service} {i.instance_id} (release {i.release_id or 'unknown'}, up to {i.schema_max})"
            for i in needing[:5]
        )
        return Timing(
            Verdict.FAIL,
            f"{names}: {counted(len(needing), 'live instance')} still {agree(len(needing), 'needs', 'need')} what is removed: {who}",
        )
    if cutover.unfinished:
        return Timing(Verdict.FAIL, f"{names}: no full cutover: {cutover.unfinished}")
    if stable > 0 and cutover.age is None:
        return Timing(
            Verdict.FAIL,
            f"{names}: no release succeeded here yet, so nothing shows that all have moved on",
            waits=True,
        )
    if cutover.age is not None and cutover.age < stable:
        return Timing(
            Verdict.FAIL,
            f"{names}: {cutover.succeeded[:12]} is live for {_words(cutover.age)}, and the stability period is {_words(stable)}",
            waits=True,
        )
    lived = f"; {cutover.succeeded[:12]} is live for {_words(cutover.age)}" if cutover.age is not None else ""
    return Timing(Verdict.PASS, f"{names}: no live instance needs what they remove{lived}")


def _words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
