"""Approvals as they are given and read: rows of the database, and signed files beside the migrations."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import Settings, seconds
from lockgate.migrations.contract import Prepared
from lockgate.migrations.plan import Plan
from lockgate.postgres.approvals import read_approvals, read_now
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
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
    known = gather(wire, settings, target.environment)
    return judge_approvals(known, demand, plan, moment(read_now(wire)))


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


def gather(wire: Wire, settings: Settings, environment: str) -> list[Approval]:
    """The approvals of the table and those of signed files whose signature holds."""
    rows = [
        Approval(
            r.approval_id, r.environment, r.plan_hash, r.approver, r.role, moment(r.approved_at), moment(r.expires_at),
            r.break_glass, r.reason, False, r.revoked,
        )
        for r in read_approvals(wire, environment)
    ]  # fmt: skip
    revoked = {a.approval_id for a in rows if a.revoked}
    return rows + [a for a in read_files(settings) if a.approval_id not in revoked]


def read_files(settings: Settings) -> list[Approval]:
    """The approvals in ``release.approvals_directory`` that are signed with the key configured for their approver."""
    from lockgate.release.signing import APPROVAL_TYPE, opened

    directory = settings.path(settings.release.approvals_directory)
    found = []
    for path in sorted(directory.glob("*.json")) if directory.is_dir() else []:
        try:
            envelope: Any = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        for name, approver in settings.approvers.items():
            payload = opened(envelope, APPROVAL_TYPE, approver.key) if approver.key else None
            approval = _read(payload) if payload is not None else None
            if approval is not None and approval.approver == name:
                found.append(msgspec.structs.replace(approval, signed=True))
                break
    return found


def _read(payload: bytes) -> Approval | None:
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
