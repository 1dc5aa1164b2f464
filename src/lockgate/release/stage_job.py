"""The step ``migrate`` where the migration runs apart from this process: in a child of it, or as a job on a platform.

What either says of itself is never the verdict alone: the history has the last word.
"""

import secrets
import sys

from lockgate.config import seconds
from lockgate.errors import LockgateError, RunFailed
from lockgate.migrations.progress import AppliedFile
from lockgate.postgres import releases
from lockgate.postgres.programs import address
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.points import point
from lockgate.record.reasons import REASONS, Exit
from lockgate.record.redact import redact
from lockgate.record.verdict import Verdict
from lockgate.record.words import counted
from lockgate.release.budget import Budget
from lockgate.release.course import Course, utc
from lockgate.release.job import Platform, Polled, fill
from lockgate.release.job_verdict import Said, judge_job
from lockgate.release.lifeline import lifeline
from lockgate.release.look import look
from lockgate.release.outlook import CAME
from lockgate.release.steps import Ended, done

SHA_VARIABLE = "LOCKGATE_RELEASE_SHA"
"""Names the release to the run of a child, so that the record of both is one."""


def apart(course: Course, budget: Budget) -> Ended:
    """Run the migration apart, and judge it by what the history then holds."""
    job = course.settings.job
    course.report.plan_hash, course.report.before = course.plan.hash, course.plan.base
    wanted = [revision for revision, _ in course.plan.pending]
    polled = (_in_a_child if job.provider == "child" else _on_platform)(course, budget)
    return _judged(course, polled, wanted)


def _in_a_child(course: Course, budget: Budget) -> Polled:
    """``job.start`` in a process group of its own, else ``lockgate up`` of this very program; one that outlives its time is ended.

    SIGTERM lets ``up`` cancel its statement and write its end; what is left a few seconds later is killed. When this
    process dies before it, ``up`` does the same by itself.
    """
    job, target = course.settings.job, course.target
    environ = {SHA_VARIABLE: course.sha, "LOCKGATE_ACTOR": course.operator}
    words = [sys.executable, "-m", "lockgate", "up", "--lock-wait", f"{course.lock_wait:g}"]
    if target.environment:
        words += ["--env", target.environment]
    else:
        open_, hidden = address(target)
        environ |= {"DATABASE_URL": open_, **hidden, "PGAPPNAME": ""}
    if course.settings.file is not None:
        words += ["--config", str(course.settings.file.absolute())]
    execution = f"child-{secrets.token_hex(4)}"
    course.note("migrate", execution=execution, job=job.name)
    course.log.tell("started", f"{job.name}: {execution}")
    point("release:migrate:started")
    limit = seconds(job.timeout)
    with lifeline() as (inherited, named):
        ended = budget.run(
            fill(job.start, {**course.values(), "execution": execution}) if job.start else words,
            most=limit,
            environ=environ | named,
            folder=course.root,
            inherits=(inherited,),
        )
    over = ended.stopped == "timeout"
    said = Said.RUNNING if over else (Said.SUCCEEDED if ended.ok else Said.FAILED)
    word = f"stopped after {ended.seconds:g} s" if over else f"exit {ended.code}"
    lines = [redact(line) for line in (ended.err + ended.out).splitlines()[-300:]]
    return Polled(
        execution,
        said,
        word,
        over,
        over,
        [{"at": utc(), "status": said.value, "detail": word}],
        lines,
        "child",
    )


def _on_platform(course: Course, budget: Budget) -> Polled:
    job = course.settings.job
    platform = Platform(job, course.values(), course.root, utc)
    prior = course.prior.get("migrate")
    execution = str(prior.evidence.get("execution", "")) if prior is not None else ""
    checked: list[str] = []
    if execution and prior is not None and prior.state == "running":
        course.log.tell("resumed", f"{job.name}: {execution}")
    else:
        checked = platform.prepare(budget, course.options.image)
        execution = platform.start(budget)
        point("release:migrate:started")
        course.note("migrate", execution=execution, job=job.name, checked=checked)
        course.log.tell("started", f"{job.name}: {execution}")
    try:
        return platform.poll(execution, Budget("migrate", seconds(job.timeout), course.alarm, budget.clock))
    except LockgateError:
        platform.stop(execution)
        raise


def _judged(course: Course, polled: Polled, wanted: list[str]) -> Ended:
    """The verdict, from the last word and the history; where it failed, the run that it wrote into the database says why."""
    job, execution = course.settings.job, polled.execution
    course.polled = polled
    for event in polled.timeline:
        course.log.tell(event["status"], event["detail"])
    complete, applied = _history_says(course, wanted)
    course.report.run_id = execution
    course.report.applied = applied
    course.report.after = applied[-1].revision if applied else course.plan.base
    course.report.pending = [r for r in wanted if r not in {f.revision for f in applied}]
    outcome = judge_job(
        polled.last, polled.word, timed_out=polled.timed_out, history_complete=complete, trust_history=job.trust_history
    )  # fmt: skip
    evidence: dict[str, object] = {
        "execution": execution,
        "said": polled.word,
        "timedOut": polled.timed_out,
        "stopped": polled.stopped,
    }
    if outcome.answer is not Verdict.PASS:
        code, message = outcome.code, outcome.message
        if code == "MIGRATION_EXECUTION_FAILED":
            run = _its_run(course)
            # Without a run of its own it never came to the files: they are not what has to change.
            evidence[CAME] = run is not None
            why = "no run of it came as far as the database: its logs tell why"
            if run is not None:
                code, why, evidence["sqlstate"] = run
            message = f"{message}: {why}"
        raise RunFailed(
            message,
            code,
            next=None
            if evidence.get(CAME, True)
            else "Mend the job by its logs in migration.json, then lockgate release resume",
            exit=Exit.HOLD if outcome.answer is Verdict.HOLD else Exit.FAILED,
            details=evidence,
        )
    if outcome.note:
        course.notes.append(outcome.note)
    return done(
        f"{execution}: {polled.word}; the history has {counted(len(applied), 'more revision')}", **evidence
    )


def _its_run(course: Course) -> tuple[str, str, str] | None:
    """(reason code, message, SQLSTATE) of the newest ``up`` that failed since this step began; None where there is none, or it cannot be read."""
    try:
        wire = course.connect("job's run")
        try:
            found = releases.read_failed_run(wire, course.release_key)
        finally:
            wire.close()
    except (LockgateError, ServerError):
        return None
    return found if found is not None and found[0] in REASONS else None


def _history_says(course: Course, wanted: list[str]) -> tuple[bool | None, list[AppliedFile]]:
    try:
        looked = look(course.target, course.limits)
    except LockgateError:
        return None, []
    rows = {r.revision: r for r in looked.history.rows}
    applied = [AppliedFile(r, rows[r].name, rows[r].state, rows[r].duration_ms) for r in wanted if r in rows]
    whole = len(applied) == len(wanted) and not looked.history.broken and not looked.history.partial
    return whole, applied
