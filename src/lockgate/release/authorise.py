"""The one place that says who may apply what: it looks at the plan, the target and the live instances, and gives a permit."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from lockgate.errors import Refused
from lockgate.migrations.permit import Permit
from lockgate.migrations.plan import Plan
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.words import agree, counted
from lockgate.release.moving import Moves, first_waiting, next_of, refuse_frozen

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared
    from lockgate.policy.finding import Finding
    from lockgate.release.judged import Judged
    from lockgate.release.papers import Papers

_SHOWN = 20
"""How many findings a refusal tells in words; its details hold all of them."""


class Instance(msgspec.Struct, frozen=True, rename="camel"):
    """A running service with the schema window of its image."""

    instance_id: str
    service: str
    release_id: str
    schema_max: str


_LIVE = """
SELECT instance_id, service, release_id, schema_max FROM lockgate.instance
 WHERE heartbeat_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => ttl_seconds::double precision) ORDER BY service, instance_id
"""


def refuse_application_role(environ: Mapping[str, str] | None = None) -> None:
    """Raise ``ROLE_REFUSED`` when this process is an application: the schema is never changed at application start."""
    environ = os.environ if environ is None else environ
    if environ.get("LOCKGATE_ROLE", "").strip().lower() == "app":
        raise Refused("LOCKGATE_ROLE=app: an application does not change the schema", "ROLE_REFUSED")


def read_live_instances(wire: Wire) -> tuple[Instance, ...]:
    """The instances whose heartbeat has not expired."""
    return tuple(Instance(r[0] or "", r[1] or "", r[2] or "", r[3] or "") for r in wire.one(_LIVE).rows)


def blocking(plan: Plan, judged: "Judged") -> list["Finding"]:
    """The findings that keep ``plan`` from being applied: what blocks, in files that did not begin under an earlier permit."""
    wanted = {revision for revision, _ in plan.pending}
    return [found for found in judged.blocking if found.file[:13] in wanted - judged.begun]


def refuse_findings(plan: Plan, judged: "Judged") -> None:
    """Raise ``POLICY_REFUSED`` when a file that ``plan`` would apply holds what blocks, or was not judged.

    A file that stopped half way was permitted when it began. Refusing its rest would only leave it half done.
    """
    wanted = {revision for revision, _ in plan.pending}
    if not wanted <= judged.revisions:
        missing = ", ".join(sorted(wanted - judged.revisions)[:5])
        raise Refused(f"the policy has not judged {missing}", "PLAN_STALE")
    findings = blocking(plan, judged)
    if not findings:
        return
    shown = "".join(
        f"\n  {found.file}:{found.line}: {found.id}: {found.message}\n    fix: {found.fix}"
        for found in findings[:_SHOWN]
    )
    more = f"\n  and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    raise Refused(
        f"{len(findings)} finding{'s' if len(findings) > 1 else ''} of the policy in pending files:{shown}{more}",
        "POLICY_REFUSED",
        details={"findings": [msgspec.to_builtins(found) for found in findings], "profile": judged.profile},
    )


def authorise(
    plan: Plan,
    prepared: "Mapping[str, Prepared]",
    target: Target,
    operator: str,
    instances: tuple[Instance, ...],
    judged: "Judged",
    papers: "Papers | None" = None,
    moves: Moves = Moves(),  # noqa: B008 - an immutable value
) -> Permit:
    """Give the permit for ``plan`` on ``target``, or raise ``Refused``.

    A contract-phase file is held while a live instance's window ends below it; what stands before it may be applied.
    A protected environment needs approvals and a backup, which ``papers`` hold; without them it is refused: unknown is
    never pass. A file that changes a table in a running move is refused, one that waits for a move is held.
    """
    refuse_application_role()
    refuse_findings(plan, judged)
    waits = first_waiting(plan, prepared, moves)
    refuse_frozen(moves, waits.revision)
    if plan.obstacles:
        first = plan.obstacles[0]
        raise Refused(
            first.message, first.code, details={"obstacles": [msgspec.to_builtins(o) for o in plan.obstacles]}
        )
    granted: tuple[str, ...] = ()
    if target.protected:
        from lockgate.release.papers import refuse_papers

        granted = refuse_papers(plan, target, papers)
    evidence = [
        f"{counted(len(instances), 'live instance')}",
        f"{counted(len(plan.pending), 'pending file')} on top of {plan.base or 'nothing'}",
        f"policy, profile {judged.profile}: nothing blocks, {judged.warnings} warnings",
        *granted,
        *(
            f"{prepared[revision].migration.file} runs if the move {move.name} has nothing to move when its turn comes"
            for revision, looks in waits.provided.items()
            for move in looks
        ),
    ]
    until, code, because, then = "", "", "", ""
    for revision, _checksum in plan.pending:
        if revision == waits.revision:
            until, code, because = revision, "MOVE_WAITED_FOR", waits.because
            then = next_of(waits.move)
            break
        if prepared[revision].directives.phase != "contract":
            continue
        because = too_early(prepared[revision], instances)
        if because:
            until, code = revision, "CONTRACT_TOO_EARLY"
            break
    return Permit(
        plan.hash, target.environment, operator, until, code, because, then, waits.provided, tuple(evidence)
    )


def too_early(file: "Prepared", instances: tuple[Instance, ...]) -> str:
    """Why a file of the contract phase has to wait: who still needs what it removes; "" when nobody does."""
    needing = [i for i in instances if i.schema_max < file.migration.revision]  # no window is no promise
    if not needing:
        return ""
    who = ", ".join(
        f"{i.service} {i.instance_id} (release {i.release_id or 'unknown'}, up to {i.schema_max})"
        for i in needing[:5]
    )
    return f"{file.migration.file} is of the contract phase, and {counted(len(needing), 'live instance')} still {agree(len(needing), 'needs', 'need')} what it removes: {who}"
