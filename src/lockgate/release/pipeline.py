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

from lockgate.config import Settings
from lockgate.errors import Busy, LockgateError, RunFailed
from lockgate.migrations.failure import stopped
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Event, Log
from lockgate.postgres import releases
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.releases import ReleaseRow
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled
from lockgate.record.points import point
from lockgate.record.reasons import Exit, reason
from lockgate.record.tracing import span
from lockgate.release import artifact, record, under_way
from lockgate.release.acts import ACTS
from lockgate.release.authorise import refuse_application_role
from lockgate.release.budget import Budget
from lockgate.release.calls import whole
from lockgate.release.candidate import Options
from lockgate.release.course import Course
from lockgate.release.desk import ensure_home
from lockgate.release.lease import Lease
from lockgate.release.notify import notify
from lockgate.release.operator import operator_name
from lockgate.release.outlook import next_of, state_of
from lockgate.release.project import prepare_files, read_files, refuse_problems
from lockgate.release.report import RunReport
from lockgate.release.steps import STEPS, Step, due
from lockgate.release.verify import Check
from lockgate.release.way_out import free_workers, of_server, outlook, state_after


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
            failure = of_server(error)
        except Cancelled as stop:
            failure = stopped(stop.cause, alarm.signal)
        except Exception as error:  # a bug must not cost the operator the artifact
            failure = LockgateError(f"{type(error).__name__}: {error}", "BUG")
        try:
            if self.course is not None and failure is not None:
                free_workers(self.course, failure)
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
            failure = stopped(stop.cause, course.alarm.signal)
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
        state = "handed-off" if failure is None and course.handed_off else state_after(failure)
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
                stand = outlook(course, failure)
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
