"""Before a contract-phase file: the floor is announced, instances that were away get time to read it, then they are counted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lockgate.migrations.plan import Plan
from lockgate.migrations.progress import Log
from lockgate.postgres.floor import announce
from lockgate.postgres.guard import Guard
from lockgate.release.authorise import Instance, read_live_instances

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared

LONGEST = 60.0
"""Seconds that a run waits at most for instances that were away."""


def settle_instances(
    guard: Guard, plan: Plan, prepared: "Mapping[str, Prepared]", run_id: str, log: Log
) -> tuple[Instance, ...]:
    """The live instances, read when no more can come that would need what ``plan`` removes.

    Announces the newest contract-phase revision of the plan first. Raises what the connection raises.
    """
    removing = [revision for revision, _ in plan.pending if prepared[revision].directives.phase == "contract"]
    if removing:
        seconds = min(announce(guard.work, removing[-1], run_id), LONGEST)
        if seconds:
            log.tell("announced", f"floor {removing[-1]}; {seconds:.0f} s for instances that were away")
            deadline = guard.clock() + seconds
            while guard.clock() < deadline and not guard.alarm.signal:
                guard.alarm.sleep(min(5.0, max(0.0, deadline - guard.clock())))
                guard.guard.value("SELECT 1")  # both sessions must not look idle to the server meanwhile
                guard.work.value("SELECT 1")
    return read_live_instances(guard.work)
