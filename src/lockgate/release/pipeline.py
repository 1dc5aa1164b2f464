"""``release``: one guarded path to production, as a journal of steps. A release without its artifact has failed.

Every step is written down before it begins and after it ended, under a lease with a fence; whoever comes after a death
reads the journal and goes on. On every way out the workers are let go where that is safe, and it is said loudly where not.
"""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import Settings, seconds
from lockgate.errors import Busy, ConfigError, LockgateError, Refused, RunFailed
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Event, Log
from lockgate.postgres import releases
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.breaking import fails_to_validate, rows_in_the_way
from lockgate.postgres.releases import ReleaseRow
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled
from lockgate.record.points import point
from lockgate.record.reasons import Exit, reason
from lockgate.record.tracing import span
from lockgate.record.verdict import Verdict
from lockgate.release import artifact, record, stage_proof, stages_after, stages_before, under_way
from lockgate.release.authorise import refuse_application_role
from lockgate.release.budget import Budget
from lockgate.release.calls import whole
from lockgate.release.candidate import Options
from lockgate.release.course import Course
from lockgate.release.desk import ensure_home
from lockgate.release.lease import Lease
from lockgate.release.look import connect_patiently
from lockgate.release.notify import notify
from lockgate.release.operator import operator_name
from lockgate.release.outlook import HARMLESS, HELD, Outlook, next_of, state_of
from lockgate.release.project import prepare_files, read_files, refuse_problems
from lockgate.release.report import RunReport
from lockgate.release.steps import STEPS, Ended, Step, due, skipped
from lockgate.release.verify import Check
from lockgate.release.workers import provider_of
from lockgate.release.workers_judge import Footing, may_resume


def _about_indexes(name: str) -> Callable[[Course, Budget], Ended]:
    """A step of ``stages_indexes``, which is loaded only where an index is declared: most releases have none."""

    def act(course: Course, budget: Budget) -> Ended:
        if not course.settings.index:
            return skipped("no [index.NAME] is configured")
        from lockgate.release import stages_indexes

        acts = {"indexes": stages_indexes.indexes, "index-watch": stages_indexes.watch_indexes}
        return acts[name](course, budget)

    return act


ACTS: dict[str, Callable[[Course, Budget], Ended]] = {
    "window": stages_before.window,
    "candidate": stages_before.judge_candidate,
    "proof": stage_proof.prove,
    "approvals": stages_before.approvals,
    "backup": stages_before.backup,
    "pause": stages_before.pause,
    "migrate": stages_after.migrate,
    "verify": stages_after.check,
    "indexes": _about_indexes("indexes"),
    "rollout": stages_after.rollout,
    "smoke": stages_after.smoke,
    "watch": stages_after.watch,
    "resume": stages_after.resume,
    "index-watch": _about_indexes("index-watch"),
}


class Released(msgspec.Struct, frozen=True):
    """What a release left: its report, the checks of its verification, where the artifact is, and the told steps."""

    report: RunReport
    checks: list[Check]
    path: Path
    release_key: str = ""
    steps: list[dict[str, Any]] = []
    handed_off: bool = False


class Release:
    """One release of one sha to one target. ``prior`` is the unfinished release that a resume goes on with."""

    def __init__(
        self,
        sha: str,
        target: Target,
        settings: Settings,
        limits: Limits,
        listener: Callable[[Event], None] | None = None,
        *,
        lock_wait: float = 60.0,
        options: Options | None = None,
        prior: ReleaseRow | None = None,
    ) -> None:
        self.sha = sha
        self.target = target
        self.settings = settings
        self.limits = limits
        self.lock_wait = lock_wait
        self.listener = listener
        self.options = options or Options()
        self.prior = prior
        self.log = Log(listener)
        self.steps_log = Log(listener)
        self.root = settings.path(settings.artifacts.directory)
        artifact.folder(self.root, sha)  # a wrong sha is refused before anything starts
        self.key = prior.release_key if prior is not None else secrets.token_hex(8)
        self.course: Course | None = None

    def run(self, alarm: Alarm) -> Released:
        """Run the steps and write the artifacts. Raises what failed, after they were written."""
        refuse_application_role()
        self._refuse_unwritable()
        previous = artifact.hash_of(self.root, self.sha, "migration.json")
        started = self.limits.clock()
        failure: LockgateError | None = None
        lease: Lease | None = None
        try:
            course = self._prepare(alarm)
            ensure_home(self.target, self.settings, self.limits, alarm, lock_wait=self.lock_wait)
            lease = self._take_lease(course, alarm)
            course.lease = lease
            with span(
                "lockgate release",
                {"lockgate.release.sha": self.sha, "lockgate.release.resumed": course.resumed},
            ):
                self._walk(course)
        except LockgateError as error:
            failure = error
        except ServerError as error:
            failure = _refused(error)
        except Cancelled as stop:
            failure = _interrupted(stop, alarm)
        except Exception as error:  # a bug must not cost the operator the artifact
            failure = LockgateError(f"{type(error).__name__}: {error}", "BUG")
        try:
            if self.course is not None and failure is not None:
                self._free_workers(self.course, failure)
            try:
                released = self._finish(failure, previous, round(self.limits.clock() - started, 3))
            except LockgateError as final:
                self._end(final)
                raise
            self._end(None)
            return released
        finally:
            if lease is not None:
                lease.close()

    # -- the way in -------------------------------------------------------------------------------

    def _refuse_unwritable(self) -> None:
        """A release that could not leave its artifacts at its end is refused at its begin."""
        try:
            artifact.probe(self.root, self.sha)
        except OSError as error:
            raise RunFailed(
                f"{artifact.folder(self.root, self.sha)} cannot be written: {error.strerror or error}",
                "ARTIFACT_FAILED",
                state="Nothing was changed.",
                next=f"Make the folder writable, then lockgate release --sha {self.sha}",
            ) from None

    def _prepare(self, alarm: Alarm) -> Course:
        self.log.tell("checking", "files and ledger")
        files = read_files(self.settings)
        refuse_problems(files.problems)
        _, problems = prepare_files(files.migrations, self.settings)
        refuse_problems(problems)
        self.course = Course(
            self.sha, self.target, self.settings, self.limits, alarm, self.options, operator_name(), self.key,
            files, self.log, self.steps_log, self.lock_wait,
        )  # fmt: skip
        return self.course

    def _take_lease(self, course: Course, alarm: Alarm) -> Lease:
        host = socket.gethostname()
        lease = Lease(self.target, self.key, f"{course.operator} on {host}", self.limits, alarm)
        lease.acquire(
            self.lock_wait,
            lambda holder: self.steps_log.tell(
                "waiting", f"another release is under way: {holder.get('holder', '')}"
            ),
        )
        try:
            if self.prior is not None:
                self._await_migration(course, lease, alarm)
            lease.write(
                lambda w: releases.begin_release(
                    w, lease.token, self.key, self.sha, course.place, course.operator, host,
                    msgspec.to_builtins(self.options), self.options.replay_reason,
                )
            )  # fmt: skip
            if self.prior is not None:
                course.resumed = True
                course.prior = {s.name: s for s in lease.write(lambda w: releases.read_steps(w, self.key))}
        except BaseException:
            lease.close()
            raise
        point("release:leased")
        return lease

    def _await_migration(self, course: Course, lease: Lease, alarm: Alarm) -> None:
        """A release that died may have left its migration running; what is gone on with is what that leaves. Raises ``Busy``.

        A job on a platform that ran when the release died is not waited for here: the step goes on to ask after it.
        """
        steps = lease.write(lambda w: releases.read_steps(w, self.key))
        running = any(s.name == "migrate" and s.state == "running" for s in steps)
        if running and course.settings.job.provider not in ("in-process", "child"):
            return
        wire = course.connect("resume")  # not the lease's: that one has to beat meanwhile
        try:
            holder = under_way.wait_for_migration(
                wire, self.lock_wait, self.limits.clock, alarm.sleep,
                lambda who: self.steps_log.tell("waiting", f"a migration runs still: {who}"),
            )  # fmt: skip
        finally:
            wire.close()
        if holder:
            raise Busy(f"a migration runs still: {holder}", next=f"Wait for it, or end it; then lockgate release resume {self.sha}", details={"holder": holder})  # fmt: skip

    # -- the walk ---------------------------------------------------------------------------------

    def _walk(self, course: Course) -> None:
        course.read_plan()
        self._notify(course, "resumed" if course.resumed else "planned")
        for step in STEPS:
            if not due(step, course.prior, pending=bool(course.plan.pending)):
                row = course.prior[step.name]
                course.told.append(
                    {**msgspec.to_builtins(row), "message": f"before the resume: {row.message}"}
                )
                continue
            with span(f"step {step.name}", {"lockgate.release.step": step.name}):
                self._step(course, step)

    def _step(self, course: Course, step: Step) -> None:
        course.begin(step)
        if step.name == "migrate" and course.plan.pending:
            self._notify(course, "started")
        budget = Budget(step.name, course.limit_of(step), course.alarm, self.limits.clock)
        try:
            budget.hear()
            ended = ACTS[step.name](course, budget)
        except LockgateError as error:
            state = "held" if error.exit == Exit.HOLD else "failed"
            self._journal_failure(course, step, state, error.code, error.message, error.details)
            raise
        except Cancelled as stop:
            failure = _interrupted(stop, course.alarm)
            self._journal_failure(course, step, "failed", failure.code, failure.message, {})
            raise failure from None
        except ServerError as error:
            self._journal_failure(
                course, step, "failed", "MIGRATION_EXECUTION_QUERY_ERROR", error.message, {}
            )
            raise
        except Exception as error:
            self._journal_failure(course, step, "failed", "BUG", str(error), {})
            raise
        course.end(step, ended)

    @staticmethod
    def _journal_failure(
        course: Course, step: Step, state: str, code: str, message: str, details: dict[str, object]
    ) -> None:
        evidence = {k: v for k, v in details.items() if k != "report"}
        try:
            course.fail(step, state, code, message, evidence)
        except (LockgateError, ServerError, Cancelled) as error:
            course.notes.append(f"the failure of {step.name} could not be journalled: {error}")

    # -- every way out ----------------------------------------------------------------------------

    def _end(self, failure: LockgateError | None) -> None:
        """Write the end, after the artifacts: a release that died before them goes on with a resume. Then tell people."""
        course = self.course
        if course is None:
            return
        state = "handed-off" if failure is None and course.handed_off else _state_of(failure)
        if course.lease is not None:
            lease, code = course.lease, failure.code if failure else ""
            message = record.short(failure.message) if failure else ""
            details = {
                "notes": [record.short(note) for note in course.notes],
                "state": failure.state if failure else "",
                "next": failure.next if failure else "",
            }
            try:
                lease.write(
                    lambda w: releases.end_release(w, lease.token, self.key, state, code, message, details)
                )
            except (LockgateError, ServerError, Cancelled) as error:
                self.steps_log.tell("unrecorded", f"the end of the release could not be recorded: {error}")
        self._notify(
            course,
            {"succeeded": "finished", "handed-off": "handed off", "held": "held"}.get(state, "failed"),
            failure,
        )

    def _free_workers(self, course: Course, failure: LockgateError) -> None:
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
                    provider.resume(Budget("resume", 60.0, None, self.limits.clock), before)
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

    def _notify(self, course: Course, event: str, failure: LockgateError | None = None) -> None:
        n = course.settings.notify
        if not (n.command or n.webhook_env):
            return
        fields: dict[str, object] = {
            "environment": course.place, "sha": self.sha, "releaseKey": self.key, "operator": course.operator,
            "pending": len(course.plan.pending), "impact": course.impact[0].word, "estimateSeconds": record.estimate(course),
        }  # fmt: skip
        if failure is not None:
            fields |= {
                "reasonCode": failure.code,
                "reason": failure.message,
                "state": failure.state,
                "next": failure.next,
            }
        for problem in notify(n, event, fields):
            course.notes.append(f"not told ({event}): {problem}")

    # -- the record -------------------------------------------------------------------------------

    def _finish(self, failure: LockgateError | None, previous: str, elapsed: float) -> Released:
        course = self.course
        report = course.report if course is not None else RunReport("", operator=operator_name())
        report.operator = report.operator or operator_name()
        report.run_id = report.run_id or self.key
        report.timeline = [msgspec.to_builtins(e) for e in self.log.events]
        report.elapsed_seconds = elapsed
        if course is not None:
            if failure is not None:
                stand = self._outlook(course, failure)
                failure.state = state_of(failure.code, failure.state, stand)
                failure.next = next_of(
                    failure.code, failure.next, stand, str(failure.details.get("sqlstate", ""))
                ).replace("in api-smoke.json", f"in {artifact.folder(self.root, self.sha)}/api-smoke.json")
            record.fill_report(course, report, failure)
        path = self._write(course, report, failure, previous)
        steps = [record.told_step(t) for t in course.told] if course is not None else []
        if failure is not None:
            failure.details["report"] = report
            failure.details["artifact"] = str(path)
            if course is not None:
                failure.details |= record.where_to_look(course, path)
            failure.details["releaseKey"] = self.key
            failure.details["steps"] = steps
            raise failure
        checks = course.checks if course is not None else []
        return Released(report, checks, path, self.key, steps, bool(course and course.handed_off))

    @staticmethod
    def _outlook(course: Course, failure: LockgateError) -> Outlook:
        """What stands now, read from the history where the release came far enough to have changed it."""
        steps = {name: msgspec.to_builtins(row) for name, row in course.prior.items()}
        steps |= {told["name"]: told for told in course.told}
        at = str(course.told[-1]["name"]) if course.told else ""
        wanted = course.evidence_of("candidate").get("wanted") or []
        moved = at not in HARMLESS or "migrate" in steps
        footing = stages_after.footing_of(course) if at and moved else Footing(True)
        return Outlook(
            course.place, course.sha, at, tuple(steps.values()), len(wanted), footing.applied, footing.partial, footing.known,
            course.target.protected, tuple(course.notes), _finds(course, failure),
            course.settings.release.rehearsal or bool(course.environment and course.target.protected and course.environment.require_rehearsal),
        )  # fmt: skip

    def _write(
        self, course: Course | None, report: RunReport, failure: LockgateError | None, previous: str
    ) -> Path:
        content = artifact.document(
            self.sha,
            report,
            course.checks if course is not None else [],
            failure,
            timeout_seconds=round(self.limits.run_timeout.seconds),
            previous=previous,
        )
        if course is not None:
            content |= record.of_course(course)
        content = record.pasteable(content, self.target)
        try:
            if course is not None:
                record.write_all(self.root, course, report, failure, content)
            return artifact.write(self.root, self.sha, "migration.json", content)
        except OSError as error:
            told = f" (and before that: {failure.code}: {failure.message})" if failure else ""
            raise RunFailed(
                f"{self.root}/deploy/{self.sha}/migration.json cannot be written: {error.strerror or error}{told}",
                "ARTIFACT_FAILED",
                next=whole(reason("ARTIFACT_FAILED").next, self.target.environment, self.sha),
            ) from None


def unfinished(target: Target, limits: Limits, sha: str = "") -> ReleaseRow:
    """The newest release, of ``sha`` where one is given, that did not succeed. Raises ``ConfigError`` (``NO_RELEASE``)."""
    wire = connect_patiently(target, "resume", limits, None)
    try:
        rows = releases.read_releases(wire, "sha LIKE $1 || '%'" if sha else "", *([sha] if sha else []))
    finally:
        wire.close()
    ours = [r for r in rows if r.environment == target.environment]
    if not ours:
        raise ConfigError(f"this database knows no release{' of ' + sha if sha else ''}", "NO_RELEASE")
    if ours[0].state == "succeeded":
        raise ConfigError(
            f"release {ours[0].release_key} of {ours[0].sha[:12]} succeeded; there is nothing to go on with",
            "NO_RELEASE",
        )
    return ours[0]


def _finds(course: Course, failure: LockgateError) -> str:
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


def _refused(error: ServerError) -> LockgateError:
    """What the server's refusal of our own question means."""
    if error.sqlstate == "42501":
        return Refused(f"the role lacks a privilege of the release: {error.message}", "PRIVILEGE")
    code = reason_of(error.sqlstate)
    return RunFailed(
        f"the release could not read the database: {error.message}",
        "MIGRATION_EXECUTION_QUERY_ERROR" if code == "MIGRATION_EXECUTION_FAILED" else code,
        details={"sqlstate": error.sqlstate},
    )


def _state_of(failure: LockgateError | None) -> str:
    if failure is None:
        return "succeeded"
    if failure.code == "CANCELLED":
        return "cancelled"
    return "held" if failure.exit == Exit.HOLD else "failed"


def _interrupted(stop: Cancelled, alarm: Alarm) -> LockgateError:
    from lockgate.migrations.failure import interrupted

    if stop.cause.code == "CANCELLED":
        return interrupted(stop.cause.message, alarm.signal)
    return RunFailed(stop.cause.message, stop.cause.code)
