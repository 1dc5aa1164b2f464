"""How a release that failed is left: what its errors mean, whether the workers may go on, and what stands now."""

import msgspec

from lockgate.config import seconds
from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.postgres import releases
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.breaking import fails_to_validate, rows_in_the_way
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.wire import Cancelled
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict
from lockgate.release import stages_after, under_way
from lockgate.release.budget import Budget
from lockgate.release.course import Course
from lockgate.release.outlook import HARMLESS, HELD, Outlook
from lockgate.release.workers import provider_of
from lockgate.release.workers_judge import Footing, may_resume


def of_server(error: ServerError) -> LockgateError:
    """What the server's refusal of our own question means."""
    if error.sqlstate == "42501":
        return Refused(f"the role lacks a privilege of the release: {error.message}", "PRIVILEGE")
    code = reason_of(error.sqlstate)
    return RunFailed(
        f"the release could not read the database: {error.message}",
        "MIGRATION_EXECUTION_QUERY_ERROR" if code == "MIGRATION_EXECUTION_FAILED" else code,
        details={"sqlstate": error.sqlstate},
    )


def state_after(failure: LockgateError | None) -> str:
    """The state in which a release ends that failed so, or did not (None)."""
    if failure is None:
        return "succeeded"
    if failure.code == "CANCELLED":
        return "cancelled"
    return "held" if failure.exit == Exit.HOLD else "failed"


def free_workers(course: Course, failure: LockgateError) -> None:
    """Resume the workers where they fit what stands now; else hold them, and say so. The failure tells which."""
    lease = course.lease
    if lease is None or failure.code == "FENCED":
        return
    try:
        pause = lease.write(releases.read_pause)
        if pause is None or pause.state not in ("pausing", "paused"):
            return
        provider = provider_of(course.settings.workers, course.root, course.connect)
        resumption = may_resume(stages_after.footing_of(course, under_way.PATIENCE))
        before = str(pause.detail.get("before", ""))
        if resumption.answer is Verdict.PASS and provider is not None:
            # No alarm: after a signal, too, the workers are let go; only time bounds it.
            alarm, course.alarm = course.alarm, Alarm()
            try:
                provider.resume(Budget("resume", 60.0, None, course.limits.clock), before)
            finally:
                course.alarm.close()
                course.alarm = alarm
            lease.write(
                lambda w: releases.set_pause(w, lease.token, "resumed", detail={"why": resumption.why})
            )
            course.notes.append(f"workers resumed on the way out: {resumption.why}")
            failure.details["workers"] = "resumed"
            return
        why = resumption.why if provider is not None else "no [workers] are configured any more"
        lease.write(
            lambda w: releases.set_pause(
                w, lease.token, "held", reason=why, seconds=seconds(course.settings.workers.lease)
            )
        )
    except (LockgateError, ServerError, Cancelled) as error:
        why = f"it could not be told whether they may go on, or they could not be resumed: {error}"
    course.notes.append(f"{HELD} {why}")
    failure.details["workers"] = f"held: {why}"


def outlook(course: Course, failure: LockgateError) -> Outlook:
    """What stands now, read from the history where the release came far enough to have changed it."""
    steps = {name: msgspec.to_builtins(row) for name, row in course.prior.items()}
    steps |= {told["name"]: told for told in course.told}
    at = str(course.told[-1]["name"]) if course.told else ""
    wanted = course.evidence_of("candidate").get("wanted") or []
    moved = at not in HARMLESS or "migrate" in steps
    footing = stages_after.footing_of(course) if at and moved else Footing(True)
    return Outlook(
        course.place, course.sha, at, tuple(steps.values()), len(wanted), footing.applied, footing.partial, footing.known,
        course.target.protected, tuple(course.notes), finds_rows(course, failure),
        course.settings.release.rehearsal or bool(course.environment and course.target.protected and course.environment.require_rehearsal),
    )  # fmt: skip


def finds_rows(course: Course, failure: LockgateError) -> str:
    """The query for the rows on which a VALIDATE failed; "" where it cannot be told."""
    statement, sqlstate = failure.details.get("statement"), failure.details.get("sqlstate")
    if not fails_to_validate(statement, sqlstate):
        return ""
    try:
        wire = course.connect()
        try:
            return rows_in_the_way(wire, statement, sqlstate)
        finally:
            wire.close()
    except (LockgateError, ServerError, Cancelled):
        return ""
