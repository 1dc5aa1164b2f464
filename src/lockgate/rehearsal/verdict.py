"""The checks of a rehearsal and the one verdict over them. Pure."""

from collections.abc import Iterable

import msgspec

from lockgate.record.verdict import Verdict


class Check(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that was to be proven: its answer, the reason code when it is not pass, and the evidence."""

    id: str
    answer: Verdict
    details: str
    reason_code: str = ""


def passed(name: str, details: str) -> Check:
    """A check that holds."""
    return Check(name, Verdict.PASS, details)


def failed(name: str, details: str, code: str) -> Check:
    """A check that does not hold; ``code`` is a reason code."""
    return Check(name, Verdict.FAIL, details, code)


def held(name: str, details: str, code: str = "REHEARSAL_HELD") -> Check:
    """A check that gave no answer."""
    return Check(name, Verdict.HOLD, details, code)


# What is told first when several checks fail: the cause before its consequences.
_ORDER = ("applies", "compatibility", "policy")


def verdict_of(checks: Iterable[Check]) -> tuple[Verdict, str, str]:
    """The verdict, its reason code ("" on pass) and its reason in words, which names every check that did not pass."""
    listed = list(checks)
    verdict = Verdict.all_of([check.answer for check in listed])
    if verdict is Verdict.PASS:
        return verdict, "", ""
    wrong = [check for check in listed if check.answer is not Verdict.PASS]
    told = "; ".join(f"{check.id}: {check.details}" for check in wrong)
    first = min((check for check in wrong if check.answer is verdict), key=_rank, default=None)
    return verdict, first.reason_code if first else "REHEARSAL_HELD", told or "nothing was proven"


def _rank(check: Check) -> int:
    head = check.id.partition(":")[0]
    return _ORDER.index(head) if head in _ORDER else len(_ORDER)
