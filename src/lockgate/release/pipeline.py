"""``release``: check → plan → up → verify, and the artifact, on failure too. A release without its artifact has failed."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from lockgate.config import Settings
from lockgate.errors import LockgateError, RunFailed
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Event, Log
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict
from lockgate.release import artifact
from lockgate.release.authorise import refuse_application_role
from lockgate.release.operator import new_identity
from lockgate.release.project import Files, prepare_files, read_files, refuse_problems
from lockgate.release.report import RunReport
from lockgate.release.up import Run
from lockgate.release.verify import Check, verify


class Released(msgspec.Struct, frozen=True):
    """What a release left: its report, the checks of its verification, and where the artifact is."""

    report: RunReport
    checks: list[Check]
    path: Path


class Release:
    """One release of one sha to one target."""

    def __init__(
        self,
        sha: str,
        target: Target,
        settings: Settings,
        limits: Limits,
        listener: Callable[[Event], None] | None = None,
        *,
        lock_wait: float = 60.0,
    ) -> None:
        self.sha = sha
        self.target = target
        self.settings = settings
        self.limits = limits
        self.lock_wait = lock_wait
        self.log = Log(listener)
        self.root = settings.path(settings.artifacts.directory)
        artifact.folder(self.root, sha)  # a wrong sha is refused before anything starts
        self._checks: list[Check] = []
        self._report: RunReport | None = None

    def run(self, alarm: Alarm) -> Released:
        """Run all steps and write ``migration.json``. Raises what failed, after the artifact was written."""
        refuse_application_role()
        previous = artifact.hash_of(self.root, self.sha, "migration.json")
        identity = new_identity("release", self.sha)
        self._report = RunReport(identity.run_id, operator=identity.operator)
        started = self.limits.clock()
        failure: LockgateError | None = None
        try:
            self.log.tell("checking", "files and ledger")
            files = read_files(self.settings)
            refuse_problems(files.problems)
            _, problems = prepare_files(files.migrations, self.settings)
            refuse_problems(problems)
            run = Run(
                self.target,
                files,
                self.settings,
                self.limits,
                identity,
                self.log,
                alarm,
                lock_wait=self.lock_wait,
            )
            self._report = run.report
            run.up()
            self._verify(files, alarm)
        except LockgateError as error:
            failure = error
        except (ServerError, Cancelled) as error:
            failure = RunFailed(
                f"verification could not read the database: {error}", "MIGRATION_EXECUTION_QUERY_ERROR"
            )
        except Exception as error:  # a bug must not cost the operator the artifact
            failure = LockgateError(f"{type(error).__name__}: {error}", "BUG")
        report = self._report
        report.timeline = [msgspec.to_builtins(e) for e in self.log.events]
        report.elapsed_seconds = round(self.limits.clock() - started, 3)
        path = self._write(report, failure, previous)
        if failure is not None:
            failure.details["report"] = report
            failure.details["artifact"] = str(path)
            raise failure
        return Released(report, self._checks, path)

    def _verify(self, files: Files, alarm: Alarm) -> None:
        self.log.tell("verifying", "history, indexes, schema, second apply")
        self._checks = verify(self.target, files.migrations, self.limits)
        second = Run(
            self.target,
            files,
            self.settings,
            self.limits,
            new_identity("verify", self.sha),
            Log(),
            alarm,
            lock_wait=self.lock_wait,
        ).up()
        told = (
            f"applied again: {', '.join(f.revision for f in second.applied)}"
            if second.applied
            else "up ran again and found nothing to do"
        )
        self._checks.append(
            Check("second-apply-is-noop", Verdict.FAIL if second.applied else Verdict.PASS, told)
        )
        bad = [c for c in self._checks if not c.passed]
        if bad:
            failing = [c.id for c in bad if c.answer is Verdict.FAIL]
            raise RunFailed(
                "; ".join(f"{c.id}: {c.details}" for c in bad),
                _code(failing),
                state="The migrations are applied; the release may not go on.",
                exit=Exit.FAILED if failing else Exit.HOLD,
            )
        self.log.tell("verified", f"{len(self._checks)} checks passed")

    def _write(self, report: RunReport, failure: LockgateError | None, previous: str) -> Path:
        content = artifact.document(
            self.sha,
            report,
            self._checks,
            failure,
            timeout_seconds=round(self.limits.run_timeout.seconds),
            previous=previous,
        )
        try:
            return artifact.write(self.root, self.sha, "migration.json", content)
        except OSError as error:
            told = f" (and before that: {failure.code}: {failure.message})" if failure else ""
            raise RunFailed(
                f"{self.root}/deploy/{self.sha}/migration.json cannot be written: {error.strerror or error}{told}",
                "ARTIFACT_FAILED",
            ) from None


def _code(failing: list[str]) -> str:
    """The reason code of a verification: its own where one check failed alone, hold where none failed but one is open."""
    if not failing:
        return "VERIFY_HELD"
    named = {"schema-drift": "SCHEMA_DRIFT", "history-equals-plan": "STATUS_DISAGREES"}
    return named.get(failing[0], "VERIFY_FAILED") if len(failing) == 1 else "VERIFY_FAILED"
