"""Approvals as they are given and read: rows of the database, and signed files beside the migrations."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import Settings, seconds
from lockgate.errors import ConfigError
from lockgate.migrations.contract import Prepared
from lockgate.migrations.plan import Plan
from lockgate.postgres.approvals import read_approvals, read_now
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.verdict import Verdict
from lockgate.release.approval import Approval, Decision, Demand, judge_approvals
from lockgate.release.impact import Impact, impact_of


def decide(
    wire: Wire,
    plan: Plan,
    prepared: Sequence[Prepared],
    settings: Settings,
    target: Target,
    operator: str,
    break_glass: str = "",
) -> Decision | None:
    """The decision on ``plan`` for a protected target; None where nothing is protected or nothing is pending."""
    if not target.protected or not plan.pending:
        return None
    demand = demand_of(settings, target.environment, operator, impact_of(prepared)[0], break_glass)
    known, ignored = gather(wire, settings, target.environment)
    decision = judge_approvals(known, demand, plan, moment(read_now(wire)))
    return decision if decision.answer is Verdict.PASS else with_ignored(decision, ignored)


def demand_of(
    settings: Settings, environment: str, operator: str, impact: Impact, break_glass: str = ""
) -> Demand:
    """What ``[env.NAME.approvals]`` demands of a plan of this impact."""
    a = settings.env[environment].approvals
    count = max(a.count, a.high_impact_count) if impact is Impact.HIGH else a.count
    return Demand(
        environment,
        operator,
        count,
        a.roles,
        seconds(a.max_age),
        a.signed,
        break_glass,
        tuple(settings.approvers.items()),
    )


class Ignored(msgspec.Struct, frozen=True, rename="camel"):
    """A file of the approvals folder that does not count, and why: somebody believes to have approved with it."""

    file: str
    why: str


def with_ignored(decision: Decision, ignored: Sequence[Ignored]) -> Decision:
    """``decision``, which is a refusal, with the files that were meant to be approvals named in it."""
    told = tuple(f"{one.file}: {one.why}" for one in ignored)
    if not told:
        return decision
    return msgspec.structs.replace(
        decision,
        message=f"{decision.message}; ignored: {'; '.join(told[:5])}",
        passed_over=(*decision.passed_over, *told),
    )


def gather(wire: Wire, settings: Settings, environment: str) -> tuple[list[Approval], list[Ignored]]:
    """The approvals of the table and those of signed files whose signature holds; then the files that do not count."""
    rows = [
        Approval(
            r.approval_id, r.environment, r.plan_hash, r.approver, r.role, moment(r.approved_at), moment(r.expires_at),
            r.break_glass, r.reason, False, r.revoked,
        )
        for r in read_approvals(wire, environment)
    ]  # fmt: skip
    revoked = {a.approval_id for a in rows if a.revoked}
    signed, ignored = read_files(settings)
    return rows + [a for a in signed if a.approval_id not in revoked], ignored


def read_files(settings: Settings) -> tuple[list[Approval], list[Ignored]]:
    """The approvals in ``release.approvals_directory`` that are signed with the key configured for their approver, and the other files there."""
    from lockgate.release.signing import APPROVAL_TYPE, claimed, opened

    directory = settings.path(settings.release.approvals_directory)
    found, ignored = [], []
    for path in sorted(directory.glob("*.json")) if directory.is_dir() else []:
        try:
            envelope: Any = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            ignored.append(Ignored(path.name, "it cannot be read as JSON"))
            continue
        for name, approver in settings.approvers.items():
            payload = opened(envelope, APPROVAL_TYPE, approver.key) if approver.key else None
            approval = _read(payload)
            if approval is not None and approval.approver == name:
                found.append(msgspec.structs.replace(approval, signed=True))
                break
        else:
            ignored.append(
                Ignored(path.name, _why_ignored(_read(claimed(envelope, APPROVAL_TYPE)), settings))
            )
    return found, ignored


def _why_ignored(claim: Approval | None, settings: Settings) -> str:
    """Why no configured key opens a file; ``claim`` is what it says of itself."""
    if claim is None:
        return "it is no signed approval"
    person = settings.approvers.get(claim.approver)
    if person is None:
        return f"{claim.approver} is not among [approvers]"
    if not person.key:
        return f"no key is configured for {claim.approver}, so nothing shows that it is theirs"
    return f"its signature is not that of the key configured for {claim.approver}: another key, or edited after it was signed"


def check_key(settings: Settings, who: str, key: Path) -> str:
    """Whether what ``who`` signs with ``key`` will count: "" when it will, else what is missing for it.

    Raises ``ConfigError`` for a key that is not the one configured for them: such a file would be ignored.
    """
    from lockgate.release.signing import public_text, read_private

    public = public_text(read_private(key))
    person = settings.approvers.get(who)
    if person is None or not person.key:
        return f'it will not count until lockgate.toml has [approvers.{who}] key = "{public}"'
    if person.key != public:
        raise ConfigError(
            f"{key} is not the key configured for {who}: what it signs would be ignored",
            next=f'Sign with the right key, or change [approvers.{who}] key to "{public}" by review.',
        )
    return ""


def _read(payload: bytes | None) -> Approval | None:
    if payload is None:
        return None
    try:
        return msgspec.json.decode(payload, type=Approval)
    except msgspec.DecodeError:
        return None


def write_file(approval: Approval, key: Path, path: Path) -> None:
    """Write a signed approval to ``path``. Raises ``ConfigError`` for a wrong key, ``OSError`` for a path."""
    from lockgate.record.artifact import write_atomically
    from lockgate.release.signing import APPROVAL_TYPE, canonical, read_private, sign

    payload = canonical(msgspec.to_builtins(msgspec.structs.replace(approval, signed=False)))
    envelope = sign(payload, APPROVAL_TYPE, read_private(key))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(envelope, indent=2).encode() + b"\n")


def moment(text: str) -> datetime:
    """An ISO 8601 time with zone; one without is refused, it would mean another moment on every machine."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return value.astimezone(UTC)
