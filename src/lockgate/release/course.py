"""What the steps of one release share: its inputs, what was read so far, and the journal that they write."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lockgate.config import Settings, seconds
from lockgate.migrations.contract import Prepared
from lockgate.migrations.history import History
from lockgate.migrations.limits import Limits
from lockgate.migrations.plan import Plan, resolve
from lockgate.migrations.progress import Log
from lockgate.postgres import releases
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.backups import BackupRow
from lockgate.postgres.releases import StepRow
from lockgate.postgres.settings import Facts
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.points import point
from lockgate.record.redact import redact, redact_value
from lockgate.release.candidate import Options
from lockgate.release.impact import Impact, impact_of
from lockgate.release.lease import Lease
from lockgate.release.look import connect_patiently, look
from lockgate.release.papers import Papers
from lockgate.release.project import Files, prepare_files, refuse_problems
from lockgate.release.report import RunReport
from lockgate.release.steps import Ended, Step
from lockgate.release.verify import Check
from lockgate.release.watch_judge import window_of

if TYPE_CHECKING:
    from lockgate.release.job import Polled
    from lockgate.release.smoke import Smoked
    from lockgate.release.watch import Watched


class Course:
    """One release under way. The steps read and write it; nothing of it outlives the process but what the journal holds."""

    def __init__(
        self, sha: str, target: Target, settings: Settings, limits: Limits, alarm: Alarm, options: Options, operator: str, release_key: str, files: Files, log: Log, steps_log: Log, lock_wait: float
    ) -> None:  # fmt: skip
        self.sha = sha
        self.target = target
        self.settings = settings.of(target.environment)
        self.limits = limits
        self.alarm = alarm
        self.options = options
        self.operator = operator
        self.release_key = release_key
        self.files = files
        self.log = log
        self.steps_log = steps_log
        self.lock_wait = lock_wait
        self.environment = settings.env.get(target.environment)
        self.root: Path = settings.root
        self.lease: Lease | None = None
        self.prior: dict[str, StepRow] = {}
        self.told: list[dict[str, Any]] = []
        self.resumed = False
        self.again = ""
        self.facts: Facts | None = None
        self.history = History()
        self.plan = Plan((), ())
        self.prepared: dict[str, Prepared] = {}
        self.impact: tuple[Impact, str] = (Impact.NONE, "nothing to apply")
        self.report = RunReport("", operator=operator)
        self.papers: Papers | None = None
        self.backup: BackupRow | None = None
        self.checks: list[Check] = []
        self.more_checks: list[Check] = []
        self.polled: Polled | None = None
        self.smoked: Smoked | None = None
        self.watched: Watched | None = None
        self.handed_off = False
        self.rolled_out = False
        self.notes: list[str] = []

    # -- reading ----------------------------------------------------------------------------------

    def read_plan(self) -> None:
        """Read the database and make the plan anew, with its files split and its impact weighed."""
        looked = look(self.target, self.limits, alarm=self.alarm)
        self.facts, self.history = looked.facts, looked.history
        self.plan = resolve(self.files.migrations, looked.history)
        wanted = {revision for revision, _ in self.plan.pending} - self.prepared.keys()
        if wanted:
            prepared, problems = prepare_files(
                tuple(m for m in self.files.migrations if m.revision in wanted), self.settings
            )
            refuse_problems(problems)
            self.prepared.update(prepared)
        self.impact = impact_of(self.pending_files())

    def pending_files(self) -> list[Prepared]:
        """The files that the plan would apply."""
        return [self.prepared[r] for r, _ in self.plan.pending if r in self.prepared]

    def connect(self, name: str = "release step") -> Wire:
        """A connection for a step."""
        return connect_patiently(self.target, name, self.limits, self.alarm)

    @property
    def unchanged(self) -> bool:
        """True when there is nothing to apply."""
        return not self.plan.pending

    @property
    def place(self) -> str:
        """The environment's name, or "" for a target without one."""
        return self.target.environment

    def values(self) -> dict[str, str]:
        """What commands may name in braces."""
        return {
            "sha": self.sha,
            "release": self.release_key,
            "env": self.target.environment,
            "image": self.options.image,
            "rollback_image": self.options.rollback_image,
        }

    def limit_of(self, step: Step) -> float:
        """Seconds that a step may take."""
        s = self.settings
        usual = seconds(s.release.step_timeout)
        return {
            "backup": seconds(s.backup.timeout),
            "pause": max(usual, seconds(s.workers.timeout)),
            "migrate": (
                seconds(s.job.timeout) if s.job.provider != "in-process" else self.limits.run_timeout.seconds
            )
            + 60.0,
            "rollout": seconds(s.release.rollout_timeout),
            "watch": self.watch_window() + 60.0,
            "indexes": seconds(s.release.index_timeout),
            "index-watch": sum(
                (seconds(one.watch) if one.watch else 1800.0) + 60.0 for one in s.index.values()
            )
            or usual,
        }.get(step.name, usual)

    def watch_window(self) -> float:
        """Seconds of the watch, by ``watch_judge.window_of``."""
        return window_of(seconds(self.settings.watch.window), self.target.protected, self.impact[0])

    # -- the journal ------------------------------------------------------------------------------

    def begin(self, step: Step) -> None:
        """Write that a step has begun, before anything of it is done."""
        limit = self.limit_of(step)
        self.told = [t for t in self.told if t["name"] != step.name]
        self.told.append(
            {
                "number": step.number, "name": step.name, "state": "running", "attempts": 1, "limitSeconds": limit, "startedAt": utc(),
                "finishedAt": "", "seconds": 0.0, "reasonCode": "", "message": "", "evidence": {}, "begun": self.limits.clock(),
            }
        )  # fmt: skip
        if self.lease is not None:
            token, key = self.lease.token, self.release_key
            self.lease.write(
                lambda wire: releases.begin_step(wire, token, key, step.number, step.name, limit)
            )
            row = self.prior.get(step.name)
            self.told[-1]["attempts"] = (row.attempts if row else 0) + 1
        point(f"release:{step.name}:begun")

    def note(self, step: str, **evidence: Any) -> None:
        """Keep evidence of a running step at once: what a resume has to know even if we die now."""
        from lockgate.release.steps import NUMBERS

        plain = _plain(evidence)
        self._told(step)["evidence"].update(plain)
        if self.lease is not None:
            token, key, number = self.lease.token, self.release_key, NUMBERS[step]
            self.lease.write(lambda wire: releases.note_step(wire, token, key, number, plain))

    def end(self, step: Step, ended: Ended) -> None:
        """Write how a step ended."""
        point(f"release:{step.name}:acted")
        self._finish(step, ended.state, "", ended.message, ended.evidence)
        point(f"release:{step.name}:ended")
        if ended.state == "done":
            self.steps_log.tell(f"step {step.name}", ended.message)

    def fail(self, step: Step, state: str, code: str, message: str, evidence: Mapping[str, Any]) -> None:
        """Write that a step failed or is held."""
        first = message.partition("\n")[0]  # the whole of it comes at the end, and stands in the journal
        self.steps_log.tell(f"step {step.name}", f"{code}: {first}")
        self._finish(step, state, code, message, evidence)

    def _finish(self, step: Step, state: str, code: str, message: str, evidence: Mapping[str, Any]) -> None:
        told, plain = self._told(step.name), _plain(evidence)
        told.update(
            state=state, reasonCode=code, message=redact(message), finishedAt=utc(), seconds=round(self.limits.clock() - told["begun"], 3)
        )  # fmt: skip
        told["evidence"].update(plain)
        if self.lease is not None:
            token, key = self.lease.token, self.release_key
            self.lease.write(
                lambda wire: releases.end_step(
                    wire, token, key, step.number, state, code, redact(message), plain
                )
            )

    def _told(self, name: str) -> dict[str, Any]:
        return next(t for t in self.told if t["name"] == name)

    def evidence_of(self, step: str) -> Mapping[str, Any]:
        """What the journal holds of a step: of this run, else of the run before."""
        for told in self.told:
            if told["name"] == step and told["evidence"]:
                found: Mapping[str, Any] = told["evidence"]
                return found
        row = self.prior.get(step)
        return row.evidence if row else {}


def _plain(evidence: Mapping[str, Any]) -> dict[str, Any]:
    plain = redact_value(msgspec.to_builtins(dict(evidence), str_keys=True, enc_hook=str))
    assert isinstance(plain, dict)
    return plain


def utc() -> str:
    """Now, as every artifact writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
