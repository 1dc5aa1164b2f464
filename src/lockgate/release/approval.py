"""Whether a plan is approved: a function of the approvals that there are, what is demanded, and the server's clock.

An approval names a person, a role, an environment, a plan and an end. It counts for the plan that it names and for what is left of
that very plan after a part of it was applied; for nothing else.
"""

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import permutations

import msgspec

from lockgate.config.release import Approver
from lockgate.migrations.plan import Plan, plan_hash
from lockgate.record.verdict import Verdict

SKEW = timedelta(minutes=5)
"""How far in the future a signed approval may lie before its clock is not believed."""


class Approval(msgspec.Struct, frozen=True, rename="camel"):
    """One approval as it was given. ``signed`` is true only after its signature was checked against the configured key."""

    approval_id: str
    environment: str
    plan_hash: str
    approver: str
    role: str
    approved_at: datetime
    expires_at: datetime
    break_glass: bool = False
    reason: str = ""
    signed: bool = False
    revoked: bool = False


class Demand(msgspec.Struct, frozen=True):
    """What an environment demands: how many people, which roles, for how long an approval holds (seconds), and who asks.

    ``break_glass`` is the reason that the operator gave for going without the full number; "" when nobody did.
    """

    environment: str
    operator: str
    count: int = 1
    roles: tuple[str, ...] = ()
    max_age: float = 7 * 86400.0
    signed: bool = False
    break_glass: str = ""
    approvers: tuple[tuple[str, Approver], ...] = ()


class Decision(msgspec.Struct, frozen=True, rename="camel"):
    """The answer: ``code`` is "" when approved; ``used`` are the approvals it rests on, ``passed_over`` says why others do not count."""

    answer: Verdict
    code: str = ""
    message: str = ""
    used: tuple[Approval, ...] = ()
    passed_over: tuple[str, ...] = ()
    break_glass: str = ""
    wanted: str = ""
    """The options of the ``lockgate approve`` that is missing; "" when it was approved."""


def covered_hashes(plan: Plan, newest_runs: int = 500) -> frozenset[str]:
    """The hash of ``plan`` and of every plan that it is the rest of: same content, with its first files already applied."""
    content = (*plan.applied, *plan.pending)
    hashes = {plan.hash}
    for taken in range(1, min(len(plan.applied), newest_runs) + 1):
        cut = len(plan.applied) - taken
        hashes.add(plan_hash(content[:cut], content[cut:]))
    return frozenset(hashes)


def judge_approvals(
    approvals: Sequence[Approval], demand: Demand, plan: Plan, now: datetime, exact: bool = False
) -> Decision:
    """Whether ``plan`` is approved at ``now`` (the server's clock).

    ``exact`` leaves out plans that this one is the rest of. Codes: APPROVAL_MISSING, APPROVAL_EXPIRED, APPROVAL_STALE.
    """
    ours = [a for a in approvals if a.environment == demand.environment and not a.revoked]
    matching = [a for a in ours if a.plan_hash == plan.hash]
    if not exact and len(matching) < len(ours):
        covered = covered_hashes(plan)
        matching = [a for a in ours if a.plan_hash in covered]
    passed_over: list[str] = []
    valid: list[Approval] = []
    expired: list[Approval] = []
    for approval in matching:
        why = _why_not(approval, demand, now)
        if why:
            passed_over.append(f"{approval.approver} ({approval.role}): {why}")
        elif now >= _ends(approval, demand):
            expired.append(approval)
            passed_over.append(f"{approval.approver} ({approval.role}): expired at {approval.expires_at}")
        else:
            valid.append(approval)
    ask = _ask(valid, demand)
    if demand.break_glass:
        broken = [a for a in valid if a.break_glass and a.reason.strip()]
        if broken:
            return Decision(
                Verdict.PASS,
                used=(broken[0],),
                passed_over=tuple(passed_over),
                break_glass=demand.break_glass,
            )
        return _refused(
            "APPROVAL_MISSING",
            f"breaking the glass on {demand.environment} needs a second person: lockgate approve --break-glass --reason TEXT by somebody other than {demand.operator}",
            passed_over,
            ask,
        )
    used = _enough(valid, demand)
    if used is not None:
        return Decision(Verdict.PASS, used=used, passed_over=tuple(passed_over))
    have = f"{len({_who(a) for a in valid})} of {_wanted(demand)}"
    if expired and _enough([*valid, *expired], demand) is not None:
        return _refused(
            "APPROVAL_EXPIRED",
            f"the approvals of this plan for {demand.environment} have expired",
            passed_over,
            ask,
        )
    if ours and not matching:
        newest = max(ours, key=lambda a: a.approved_at)
        return _refused(
            "APPROVAL_STALE",
            f"{newest.approver} approved plan {newest.plan_hash[:12]} for {demand.environment}; this is plan {plan.hash[:12]}: the files or the database changed since",
            passed_over,
            ask,
        )
    return _refused(
        "APPROVAL_MISSING",
        f"plan {plan.hash[:12]} for {demand.environment} has {have}" + "".join(f"; {p}" for p in passed_over),
        passed_over,
        ask,
    )


def _refused(code: str, message: str, passed_over: list[str], wanted: str) -> Decision:
    return Decision(Verdict.FAIL, code, message, passed_over=tuple(passed_over), wanted=wanted)


def _ask(valid: Sequence[Approval], demand: Demand) -> str:
    """What the next approval has to be given with, so that it counts."""
    role = shlex.quote(_role(valid, demand) or "approver")
    return f"--role {role} --break-glass --reason TEXT" if demand.break_glass else f"--role {role}"


def _role(valid: Sequence[Approval], demand: Demand) -> str:
    """The first demanded role that nobody gave; else one that another person may give; "" where any does."""
    given, people = {a.role for a in valid}, {_who(a) for a in valid} | {demand.operator.strip().casefold()}
    held = [
        role
        for who, person in demand.approvers
        if who.strip().casefold() not in people
        for role in person.roles
    ]
    return next((role for role in (*demand.roles, *held) if role not in given), "") or next(
        iter((*held, *demand.roles)), ""
    )


def _wanted(demand: Demand) -> str:
    number = max(demand.count, len(demand.roles))
    roles = f" (roles: {', '.join(demand.roles)})" if demand.roles else ""
    return f"{number} approval{'s' if number != 1 else ''}{roles}"


def _who(approval: Approval) -> str:
    return approval.approver.strip().casefold()


def _ends(approval: Approval, demand: Demand) -> datetime:
    return min(approval.expires_at, approval.approved_at + timedelta(seconds=demand.max_age))


def _why_not(approval: Approval, demand: Demand, now: datetime) -> str:
    """Why this approval can never count, whatever the time; "" when it can."""
    if _who(approval) == demand.operator.strip().casefold():
        return "nobody approves their own release"
    if demand.signed and not approval.signed:
        return "not signed, and this environment counts signed approvals only"
    if approval.approved_at > now + SKEW:
        return f"given in the future ({approval.approved_at}): its clock is not believed"
    known = dict(demand.approvers)
    if known:
        person = known.get(approval.approver)
        if person is None:
            return "not among [approvers]"
        if approval.role not in person.roles:
            return f"may not approve as {approval.role}"
    return ""


def _enough(valid: Iterable[Approval], demand: Demand) -> tuple[Approval, ...] | None:
    """The approvals that together are enough: different people, one for each role; None when they are not."""
    by_person: dict[str, list[Approval]] = {}
    for approval in valid:
        by_person.setdefault(_who(approval), []).append(approval)
    if len(by_person) < max(demand.count, len(demand.roles)):
        return None
    chosen = _fill(demand.roles, by_person)
    if chosen is None:
        return None
    rest = [approvals[0] for who, approvals in by_person.items() if who not in {_who(a) for a in chosen}]
    return (*chosen, *rest)[: max(demand.count, len(demand.roles))]


def _fill(roles: tuple[str, ...], by_person: dict[str, list[Approval]]) -> tuple[Approval, ...] | None:
    """One person for each role, nobody twice. The numbers are small, so every order is tried."""
    fitting = [who for who, given in by_person.items() if any(a.role in roles for a in given)]
    for order in permutations(fitting, len(roles)):
        found = [
            next((a for a in by_person[who] if a.role == role), None)
            for role, who in zip(roles, order, strict=True)
        ]
        if all(found):
            return tuple(a for a in found if a is not None)
    return None
