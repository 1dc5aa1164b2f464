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

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared


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


def authorise(
    plan: Plan,
    prepared: "Mapping[str, Prepared]",
    target: Target,
    operator: str,
    instances: tuple[Instance, ...],
) -> Permit:
    """Give the permit for ``plan`` on ``target``, or raise ``Refused``.

    A contract-phase file is held while a live instance's window ends below it; what stands before it may be applied.
    A protected environment needs approvals and a backup, which this version cannot verify, so it is refused: unknown is
    never pass.
    """
    refuse_application_role()
    if plan.obstacles:
        first = plan.obstacles[0]
        raise Refused(
            first.message, first.code, details={"obstacles": [msgspec.to_builtins(o) for o in plan.obstacles]}
        )
    if target.protected:
        raise Refused(
            f"{target.environment} is protected and this plan has no approval that could be verified",
            "APPROVAL_MISSING",
            details={"planHash": plan.hash},
        )
    evidence = [
        f"{len(instances)} live instances",
        f"{len(plan.pending)} pending files on top of {plan.base or 'nothing'}",
    ]
    until, code, because = "", "", ""
    for revision, _checksum in plan.pending:
        if prepared[revision].directives.after:
            until, code = revision, "CONTRACT_TOO_EARLY"
            because = f"{prepared[revision].migration.file} waits for {', '.join(prepared[revision].directives.after)}, of which nothing is known here"
            break
        if prepared[revision].directives.phase != "contract":
            continue
        needing = [i for i in instances if i.schema_max and i.schema_max < revision]
        if needing:
            who = ", ".join(
                f"{i.service} {i.instance_id} (release {i.release_id or 'unknown'}, up to {i.schema_max})"
                for i in needing[:5]
            )
            until, code = revision, "CONTRACT_TOO_EARLY"
            because = f"{prepared[revision].migration.file} is of the contract phase, and {len(needing)} live instances still need what it removes: {who}"
            break
    return Permit(plan.hash, target.environment, operator, until, code, because, tuple(evidence))
