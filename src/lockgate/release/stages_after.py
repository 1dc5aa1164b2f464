"""The steps from the migration on: migrate, verify, rollout, smoke, watch, resume."""

import time
from datetime import UTC, datetime

import msgspec

from lockgate.config import seconds
from lockgate.errors import LockgateError, RunFailed
from lockgate.migrations.progress import Log
from lockgate.postgres import releases
from lockgate.postgres.pressure import read_pressure
from lockgate.postgres.wire import Cancelled
from lockgate.record.points import point
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict
from lockgate.record.words import agree, counted
from lockgate.release.assertions import read_assertions, run_assertions
from lockgate.release.budget import Budget
from lockgate.release.course import Course
from lockgate.release.instances import wait_for_rollout
from lockgate.release.job import fill
from lockgate.release.look import connect_patiently, look
from lockgate.release.operator import new_identity
from lockgate.release.proof import pressure_checks
from lockgate.release.steps import Ended, done, skipped
from lockgate.release.under_way import wait_for_migration
from lockgate.release.up import Run
from lockgate.release.verify import Check, verify
from lockgate.release.workers import provider_of
from lockgate.release.workers_judge import Footing, may_resume


def migrate(course: Course, budget: Budget) -> Ended:
    """The migration, here or on a platform. What it says of itself is not the verdict; the history is."""
    if course.options.replay_reason:
        return skipped(f"a replay leaves the schema as it is: {course.options.replay_reason}")
    if not course.options.migrations:
        return skipped("this release needs no migrations, and none is pending")
    job = course.settings.job
    if job.provider != "in-process" and course.plan.pending:
        from lockgate.release.stage_job import apart

        return apart(course, budget)
    run = _run(course, new_identity("release", course.sha), course.log)
    course.report = run.report
    run.report.operator = course.operator
    try:
        run.up()
    finally:
        course.papers = run.papers
    applied = len(run.report.applied)
    if not applied:
        return done("up found nothing to do", runId=run.report.run_id)
    return done(
        f"{counted(applied, 'file')} applied, now at {run.report.after}",
        runId=run.report.run_id,
        applied=applied,
    )


def _run(course: Course, identity: object, log: Log) -> Run:
    from lockgate.postgres.guard import RunIdentity

    assert isinstance(identity, RunIdentity)
    return Run(
        course.target,
        course.files,
        course.settings,
        course.limits,
        identity,
        log,
        course.alarm,
        lock_wait=course.lock_wait,
        break_glass=course.options.break_glass,
    )


def check(course: Course, budget: Budget) -> Ended:
    """History equals plan, a second run finds nothing to do, the declared assertions hold, the server is not under pressure."""
    course.log.tell("verifying", "history, indexes, schema, second apply")
    course.checks = verify(course.target, course.files.migrations, course.limits)
    if course.options.replay_reason:
        # A replay leaves files that are pending now to the release that they belong to.
        course.checks = [c for c in course.checks if c.id != "history-equals-plan" or c.passed]
    else:
        second = _run(course, new_identity("verify", course.sha), Log()).up()
        told = (
            f"applied again: {', '.join(f.revision for f in second.applied)}"
            if second.applied
            else "up ran again and found nothing to do"
        )
        course.checks.append(
            Check("second-apply-is-noop", Verdict.FAIL if second.applied else Verdict.PASS, told)
        )
    release = course.settings.release
    assertions = read_assertions(course.settings.path(release.verify_directory))
    course.more_checks = run_assertions(course.target, assertions, course.limits)
    wire = course.connect()
    try:
        pressure = read_pressure(wire)
    finally:
        wire.close()
    course.more_checks += pressure_checks(
        pressure, release.max_connections_percent, seconds(release.max_transaction_age)
    )
    every = [*course.checks, *course.more_checks]
    bad = [c for c in every if not c.passed]
    if bad:
        failing = [c.id for c in bad if c.answer is Verdict.FAIL]
        raise RunFailed(
            "; ".join(f"{c.id}: {c.details}" for c in bad),
            _code(failing),
            state="The migrations are applied; the release may not go on.",
            exit=Exit.FAILED if failing else Exit.HOLD,
        )
    course.log.tell("verified", f"{len(course.checks)} checks passed")
    return done(
        f"{len(every)} checks passed, {len(assertions)} of them declared", checks=[c.id for c in every]
    )


def _code(failing: list[str]) -> str:
    """The reason code of a verification: its own where one check failed alone, hold where none failed but one is open."""
    if not failing:
        return "VERIFY_HELD"
    named = {"schema-drift": "SCHEMA_DRIFT", "history-equals-plan": "STATUS_DISAGREES"}
    return named.get(failing[0], "VERIFY_FAILED") if len(failing) == 1 else "VERIFY_FAILED"


def rollout(course: Course, budget: Budget) -> Ended:
    """The new release goes live: by a command, or by somebody else after a hand-off that the journal knows."""
    release = course.settings.release
    if course.again:
        course.rolled_out = True
        return skipped("this sha is live already")
    if release.hand_off:
        if course.prior.get("rollout") is None or not course.evidence_of("rollout").get("handedOff"):
            course.note("rollout", handedOff=_utc())
            course.handed_off = True
            return done("handed off to another deployer; lockgate release continue goes on", handedOff=True)
        told = "rolled out by another deployer"
    elif release.rollout:
        environ = {
            "LOCKGATE_SHA": course.sha,
            "LOCKGATE_IMAGE": course.options.image,
            "LOCKGATE_RELEASE": course.release_key,
            "LOCKGATE_ENVIRONMENT": course.place,
        }
        ended = budget.run(fill(release.rollout, course.values()), environ=environ, folder=course.root)
        if not ended.ok:
            why = "ran out of time" if ended.stopped else f"ended with {ended.code}"
            raise RunFailed(
                f"{' '.join(release.rollout[:3])} {why}: {ended.told()}", "ROLLOUT_FAILED", details={"seconds": ended.seconds}
            )  # fmt: skip
        told = f"{release.rollout[0]} ended well in {ended.seconds:g} s"
    else:
        return skipped("no release.rollout is configured: the schema is released, the service is not")
    point("release:rollout:commanded")
    course.rolled_out = True
    if release.wait_for_instances:
        told += "; " + wait_for_rollout(course.connect, course.sha, budget, seconds(release.drain_timeout))
    return done(told)


def smoke(course: Course, budget: Budget) -> Ended:
    """The released service answers rightly: health, without a token, with one. Then the workers' own smoke job."""
    s = course.settings.smoke
    if course.handed_off:
        return skipped("handed off")
    if not s.base_url and not s.job:
        return skipped("no [smoke] is configured")
    told = []
    if s.base_url:
        from lockgate.release.smoke import smoke_service

        wanted = {"sha": course.sha, "image": course.options.image}.get(s.expect_release, s.expect_release)
        course.smoked = smoke_service(s, wanted, budget)
        if course.smoked.status != "pass":
            raise RunFailed(course.smoked.reason, course.smoked.code)
        told.append(
            f"{counted(len(course.smoked.assertions), 'assertion')} {agree(len(course.smoked.assertions), 'holds', 'hold')} on {s.base_url}"
        )
    if s.job:
        one = _resume_one(course, budget)
        ended = budget.run(fill(s.job, course.values()), folder=course.root)
        if not ended.ok:
            why = "ran out of time" if ended.stopped else f"ended with {ended.code}"
            raise RunFailed(f"smoke.job {why}: {ended.told()}", "API_SMOKE_ASSERTION_FAILED")
        told.append(f"smoke job passed{' with one worker' if one else ''}")
    return done("; ".join(told))


def _resume_one(course: Course, budget: Budget) -> bool:
    """One worker back, where the workers were paused and the provider can start just one."""
    provider = provider_of(course.settings.workers, course.root, course.connect)
    pause = course.lease.write(releases.read_pause) if course.lease is not None else None
    if provider is None or pause is None or pause.state not in ("pausing", "paused"):
        return False
    workers = course.settings.workers
    if workers.provider == "lease" and workers.canary and course.lease is not None:
        lease = course.lease
        lease.write(lambda w: releases.set_pause(w, lease.token, "paused", detail={"canary": workers.canary}))
        return True
    return provider.resume(budget, str(pause.detail.get("before", "")), one=True)


def watch(course: Course, budget: Budget) -> Ended:
    """Measurements stay within their limits for a while, against what they were before."""
    w, window = course.settings.watch, course.watch_window()
    if course.handed_off:
        return skipped("handed off")
    if course.again:
        return skipped("nothing changed")
    if not (w.prometheus_url and w.queries):
        return skipped("no [watch] is configured")
    if window <= 0:
        return skipped("the target is not protected and watch.window is not set")
    from lockgate.release.watch import watch_release

    one = _resume_one(course, budget)
    baseline = course.evidence_of("proof").get("baseline") or {}
    course.watched = watch_release(w, window, baseline, budget, _utc)
    verdict = course.watched.verdict
    evidence = {
        "window": window,
        "samples": len(course.watched.samples),
        "baseline": baseline,
        "last": [msgspec.to_builtins(s) for s in course.watched.samples[-len(w.queries) :]],
        "oneWorker": one,
    }
    if verdict.answer is not Verdict.PASS:
        held = verdict.answer is Verdict.HOLD
        raise RunFailed(
            "; ".join(verdict.reasons),
            "WATCH_HELD" if held else "WATCH_FAILED",
            exit=Exit.HOLD if held else Exit.FAILED,
            details=evidence,
        )
    return done(
        f"{counted(len(course.watched.samples), 'sample')} in {course.watched.seconds:g} s, all within limits",
        **evidence,
    )


def resume(course: Course, budget: Budget) -> Ended:
    """All workers back: whoever paused them, this release or one that died."""
    if course.handed_off:
        return skipped(
            "handed off: the workers stay paused until release continue, or until their lease ends"
        )
    assert course.lease is not None
    lease = course.lease
    pause = lease.write(releases.read_pause)
    if pause is not None and pause.state == "resumed" and pause.release_key == course.release_key:
        return done("workers were resumed before this run")
    if pause is None or pause.state == "resumed":
        return skipped("nothing was paused")
    provider = provider_of(course.settings.workers, course.root, course.connect)
    if provider is None:
        raise RunFailed(
            f"workers are {pause.state} since {pause.paused_at} (release {pause.release_key}), and no [workers] are configured",
            "WORKERS_HELD",
        )
    resumption = may_resume(footing_of(course, course.lock_wait))
    if resumption.answer is not Verdict.PASS:
        raise RunFailed(f"the workers stay stopped: {resumption.why}", "WORKERS_HELD")
    provider.resume(budget, str(pause.detail.get("before", "")))
    point("release:resume:asked")
    lease.write(lambda w: releases.set_pause(w, lease.token, "resumed", detail={"why": resumption.why}))
    return done(f"workers resumed: {resumption.why}")


def footing_of(course: Course, patience: float | None = None) -> Footing:
    """What workers would stand on now, read from the history; with ``patience`` a migration that runs is waited for so long, and told."""
    try:
        migrating = _migrating(course, patience) if patience is not None else ""
        looked = look(course.target, course.limits)
    except (LockgateError, Cancelled):
        return Footing(False)
    known = {r.revision: r for r in looked.history.rows}
    wanted = [revision for revision, _ in course.plan.pending]
    base = course.evidence_of("candidate").get("wanted")
    if isinstance(base, list):
        wanted = [str(revision) for revision in base]
    applied = tuple(r for r in wanted if r in known)
    contract = tuple(r for r in applied if known[r].phase == "contract")
    return Footing(
        True,
        applied,
        contract,
        looked.history.partial,
        rolled_out=course.rolled_out or _stands(course, "rollout"),
        complete=len(applied) == len(wanted),
        migrating=migrating,
    )


def _migrating(course: Course, patience: float) -> str:
    # No alarm: it is asked on the way out after a signal, too.
    wire = connect_patiently(course.target, "release step", course.limits, None)
    try:
        return wait_for_migration(wire, patience, course.limits.clock, time.sleep)
    finally:
        wire.close()


def _stands(course: Course, name: str) -> bool:
    row = course.prior.get(name)
    return row is not None and row.state == "done" and not course.handed_off


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
