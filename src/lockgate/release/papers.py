"""The papers that a protected environment asks for before anything is applied: approvals, a backup that is whole, a rehearsal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from lockgate.config import Settings
from lockgate.errors import Refused
from lockgate.migrations.contract import Prepared
from lockgate.migrations.limits import Limits
from lockgate.migrations.plan import Plan
from lockgate.postgres.backups import read_backups
from lockgate.postgres.releases import read_broken, read_rehearsed
from lockgate.postgres.settings import Facts
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict
from lockgate.release.approval import Decision
from lockgate.release.approve import decide
from lockgate.release.backup_judge import BackupDecision, judge_backup
from lockgate.release.backups import Backups, wanted_of

if TYPE_CHECKING:
    from lockgate.rehearsal.proof import Proof


class Papers(msgspec.Struct, frozen=True):
    """What was found. None stands for what this environment does not ask for."""

    approvals: Decision | None = None
    backup: BackupDecision | None = None
    rehearsal: "Proof | None" = None
    notes: tuple[str, ...] = ()


def gather_papers(
    wire: Wire,
    plan: Plan,
    prepared: Sequence[Prepared],
    settings: Settings,
    target: Target,
    operator: str,
    facts: Facts,
    limits: Limits,
    break_glass: str = "",
) -> Papers:
    """Read approvals and backups for ``plan``, right before it is applied. Nothing is asked of an unprotected target."""
    if not target.protected or not plan.pending:
        return Papers()
    # A job or child of a release knows nothing of its call; the journal does.
    break_glass = break_glass or read_broken(wire, plan.hash)
    approvals = decide(wire, plan, prepared, settings, target, operator, break_glass)
    rehearsal, notes = look_for_rehearsal(
        wire, plan, settings, target, facts, broken=bool(approvals and approvals.break_glass)
    )
    own = settings.of(target.environment)
    if not settings.env[target.environment].require_backup:
        told = f"NO BACKUP: env.{target.environment}.require_backup is false"
        return Papers(approvals, None, rehearsal, (told, *notes))
    decision = judge_backup(read_backups(wire), wanted_of(facts, own))
    if decision.backup is not None:
        wrong = Backups(target, settings, limits).wrong(decision.backup, whole=False)
        if wrong:
            decision = BackupDecision(
                Verdict.FAIL, "BACKUP_UNVERIFIED", f"backup {decision.backup.backup_id}: {wrong}"
            )
    return Papers(approvals, decision, rehearsal, notes)


def look_for_rehearsal(
    wire: Wire, plan: Plan, settings: Settings, target: Target, facts: Facts, *, broken: bool
) -> tuple["Proof | None", tuple[str, ...]]:
    """The rehearsal of ``plan``: None where none is asked for, and what is to be shouted then.

    It counts from ``rehearsal.json``, or, where this process runs far from the artifacts, from the journal of the release
    that is under way with this plan and looked at it. ``broken`` glass stands for it.
    """
    from lockgate.rehearsal.proof import Proof, fresh

    if not settings.env[target.environment].require_rehearsal:
        return None, (f"NOT REHEARSED: env.{target.environment}.require_rehearsal is false",)
    found = fresh(
        settings,
        plan.hash,
        now=datetime.now(UTC),
        server_version=facts.version,
        releases=settings.env[target.environment].require_queries,
    )
    if found.answer is Verdict.PASS:
        return found, ()
    journalled = read_rehearsed(wire, plan.hash)
    if journalled:
        return Proof(Verdict.PASS, journalled), ()
    return (None, (f"NOT REHEARSED, GLASS BROKEN: {found.details}",)) if broken else (found, ())


def refuse_papers(plan: Plan, target: Target, papers: Papers | None) -> tuple[str, ...]:
    """Raise ``Refused`` unless ``papers`` let ``plan`` be applied to a protected target; returns what they rest on."""
    if not target.protected or not plan.pending:
        return ()
    details: dict[str, object] = {"planHash": plan.hash}
    if papers is None or papers.approvals is None:
        raise Refused(
            f"{target.environment} is protected and nobody looked for approvals of this plan",
            "APPROVAL_MISSING",
            details=details,
        )
    a = papers.approvals
    if a.answer is not Verdict.PASS:
        details["passedOver"] = list(a.passed_over)
        raise Refused(
            a.message,
            a.code,
            next=f"By another person than the one who releases: lockgate approve --env {target.environment} --plan-hash {plan.hash} {a.wanted}",
            details=details,
        )
    told = tuple(f"approved by {one.approver} as {one.role} ({one.approval_id})" for one in a.used)
    if a.break_glass:
        told = (f"GLASS BROKEN: {a.break_glass}", *told)
    if papers.backup is not None:
        if papers.backup.answer is not Verdict.PASS or papers.backup.backup is None:
            raise Refused(
                papers.backup.message,
                papers.backup.code,
                next=f"lockgate backup take --env {target.environment}",
                details=details,
            )
        told = (*told, f"backup {papers.backup.backup.backup_id} at LSN {papers.backup.backup.lsn}")
    if papers.rehearsal is not None:
        if papers.rehearsal.answer is not Verdict.PASS:
            raise Refused(
                papers.rehearsal.details,
                papers.rehearsal.reason_code,
                next=papers.rehearsal.next(target.environment),
                exit=Exit.HOLD if papers.rehearsal.answer is Verdict.HOLD else Exit.REFUSED,
                details=details,
            )
        told = (*told, papers.rehearsal.details)
    return (*told, *papers.notes)
