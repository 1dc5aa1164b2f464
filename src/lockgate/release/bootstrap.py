"""`bootstrap`: a whole environment from its declared graph, as one journalled run that goes on where it stopped.

Each step has a deadline that holds while it hangs, and is tried again by itself while what it needs is only unreachable. No
step waits for another service to be ready: that is how environments wait for each other for ever.
"""

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from lockgate.config import Settings, seconds
from lockgate.config.bootstrap import BootstrapStep, order
from lockgate.errors import Busy, LockgateError, RunFailed, Unreachable
from lockgate.gate.checking import check
from lockgate.gate.contract import Contract
from lockgate.gate.judge import Own
from lockgate.gate.probe import Probe
from lockgate.gate.probing import ask_probes
from lockgate.gate.regions import parity
from lockgate.gate.secrets_revision import parse, read, revision_of
from lockgate.migrations.failure import interrupted
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Log
from lockgate.postgres import child
from lockgate.postgres.alarm import Alarm, Cause
from lockgate.postgres.bootstrap import Owner, database_name, make_extensions, run_script
from lockgate.postgres.gate import look
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.record.redact import redact
from lockgate.record.words import agree, counted
from lockgate.release.operator import new_identity
from lockgate.release.project import read_files
from lockgate.release.roles import roles_sql
from lockgate.release.up import Run

if TYPE_CHECKING:
    from collections.abc import Callable as Told

ONCE = "command"
"""The one kind that a run does once: the others look, or make only what is missing, and what they rest on may have changed since."""
_TRANSIENT = (Unreachable, Busy)
BEAT = 2.0
"""Seconds between two heartbeats of a step that runs."""
LOOK = 0.2
"""Seconds after which a signal is heard at the latest while a step runs."""
ENDING = child.GRACE + 5
"""Seconds in which a step that was told to end can: a migration rolls back, a command and what it started are ended."""


class StepReport(msgspec.Struct, frozen=True, rename="camel"):
    """How one step ended: ``outcome`` is done, skipped (done before), failed, or not tried."""

    outcome: str
    kind: str
    evidence: str = ""
    reason_code: str = ""
    seconds: float = 0.0


class BootstrapReport(msgspec.Struct, frozen=True, rename="camel"):
    """What a bootstrap did. ``environment_digest`` is that of the sealed environment revision, "" when it did not end well."""

    run_id: str
    resumed: bool
    steps: Mapping[str, StepReport]
    environment_digest: str = ""


def default_steps(settings: Settings, environment: str) -> dict[str, BootstrapStep]:
    """The graph where none is declared: roles, migrations, the image's contract if it lies there, parity if there are regions."""
    steps = {"roles": BootstrapStep("roles"), "migrations": BootstrapStep("migrations", ("roles",))}
    if settings.path("lockgate.contract.json").is_file():
        steps["gate"] = BootstrapStep("gate", ("migrations",), contract="lockgate.contract.json")
    if settings.env[environment].regions:
        steps["parity"] = BootstrapStep("parity", ("migrations",))
    return steps


class Bootstrap:
    """One bootstrap of ``environment``. ``regions`` are its other databases; ``tell(step, word)`` hears what happens.

    A signal that ``alarm`` hears ends the step that is under way; the next call goes on with it.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings,
        environment: str,
        *,
        regions: Mapping[str, Target],
        tell: "Told[[str, str], None]",
        alarm: Alarm,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.target = target
        self.settings = settings
        self.environment = environment
        self.regions = regions
        self.steps = dict(settings.bootstrap) or default_steps(settings, environment)
        self._tell = tell
        self._clock = clock
        self._outer = alarm
        self._alarm = alarm
        """Heard by the step under way; each has its own, because a deadline ends one step only."""
        self._secrets = ""
        self._release = ""
        self._beat: Callable[[], None] = lambda: None
        self._probes = {
            name: tuple(Probe.from_document(dict(p), where=f"bootstrap.{name}.probes") for p in step.probes)
            for name, step in self.steps.items()
        }

    def run(self) -> BootstrapReport:
        """Bring the environment up. Raises ``RunFailed`` with the report in its details, ``Busy``, ``Unreachable``, ``Refused``."""
        with Owner(self.target) as owner:
            run_id, done = owner.unfinished() if owner.journalled() else ("", {})
            resumed = bool(run_id)
            run_id = run_id or new_identity("bootstrap").run_id
            reports: dict[str, StepReport] = {}
            for name in order(self.steps):
                step = self.steps[name]
                if step.kind == ONCE and done.get(name, "").endswith(_call(step)):
                    reports[name] = StepReport("skipped", step.kind, "done by this run before")
                    continue
                self._tell(name, "running")
                if owner.journalled():
                    owner.note(run_id, name, "running")
                self._beat = lambda name=name: owner.beat(run_id, name)  # type: ignore[misc]
                reports[name] = self._step(name, step)
                self._journal(owner, run_id, reports)
                self._tell(name, f"{reports[name].outcome}: {reports[name].evidence}")
                if reports[name].outcome == "failed":
                    raise self._stopped(name, run_id, resumed, reports)
            digest = (
                owner.seal(self.environment, run_id, self._release, self._secrets)
                if owner.journalled()
                else ""
            )
            return BootstrapReport(run_id, resumed, reports, digest)

    def _stopped(
        self, name: str, run_id: str, resumed: bool, reports: Mapping[str, StepReport]
    ) -> LockgateError:
        rest = {n: StepReport("not tried", s.kind) for n, s in self.steps.items() if n not in reports}
        details = msgspec.to_builtins(BootstrapReport(run_id, resumed, {**reports, **rest}), str_keys=True)
        failed = RunFailed(
            f"bootstrap stopped at {name}: {reports[name].evidence}", "BOOTSTRAP_FAILED", details=details
        )
        if not self._heard():
            return failed
        error = interrupted(failed.message, self._heard(), details)
        error.state, error.next = failed.state, "lockgate bootstrap again: it goes on there."
        return error

    def _journal(self, owner: Owner, run_id: str, reports: Mapping[str, StepReport]) -> None:
        """Write every ended step: those before the tables were there come with the first one after."""
        if owner.journalled():
            for name, report in reports.items():
                if report.outcome in ("done", "failed"):
                    owner.note(run_id, name, report.outcome, report.reason_code, report.evidence)

    def _step(self, name: str, step: BootstrapStep) -> StepReport:
        begun, deadline, pause = self._clock(), self._clock() + seconds(step.deadline), 0.2
        while True:
            evidence, error = self._within(name, step, deadline)
            took = round(self._clock() - begun, 3)
            if error is None:
                return StepReport("done", step.kind, redact(evidence), seconds=took)
            if self._heard():
                return StepReport("failed", step.kind, redact(f"{error}"), "CANCELLED", took)
            if not isinstance(error, _TRANSIENT) or self._clock() + pause >= deadline:
                code = error.code if isinstance(error, LockgateError) else "BUG"
                return StepReport("failed", step.kind, redact(f"{error}"), code, took)
            self._tell(name, f"again in {pause:.1f} s: {redact(str(error))}")
            self._outer.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _within(self, name: str, step: BootstrapStep, deadline: float) -> tuple[str, Exception | None]:
        """Run the step in a thread, so that its deadline and a signal are heard also while it hangs."""
        if self._heard():
            return "", self._by_signal()
        result: list[tuple[str, Exception | None]] = []
        alarm = self._alarm = Alarm()

        def work() -> None:
            try:
                result.append((_KINDS[step.kind](self, step, deadline), None))
            except Exception as error:
                result.append(("", error))
            finally:
                alarm.close()

        thread = threading.Thread(target=work, name=f"lockgate-bootstrap-{name}", daemon=True)
        thread.start()
        beaten = self._clock()
        while thread.is_alive() and not self._heard() and (left := deadline - self._clock()) > 0:
            thread.join(min(LOOK, left))
            if self._clock() - beaten >= BEAT:
                beaten = self._clock()
                with suppress(LockgateError, ServerError):  # what a lost connection means the next note tells
                    self._beat()
        if not thread.is_alive():
            return result[0]
        alarm.signal = self._heard()
        alarm.ring(Cause("RUN_TIMEOUT", f"{name} ran longer than its deadline of {step.deadline}"))
        thread.join(ENDING)  # what does not end by then is left behind
        evidence, error = result[0] if result else ("", None)
        by_us = isinstance(error, LockgateError) and error.code == "RUN_TIMEOUT"
        if result and not by_us and not (error and self._heard()):
            return evidence, error  # late, but its own answer
        if self._heard():
            return "", self._by_signal()
        why = f": {error}" if error is not None else ""
        return "", RunFailed(f"it hangs: no end within {step.deadline}{why}", "BOOTSTRAP_STALLED")

    def _heard(self) -> int:
        """The signal that asks for the end; 0 while there was none. It can come at any moment."""
        return self._outer.signal

    def _by_signal(self) -> LockgateError:
        return interrupted(f"stopped by {signal.Signals(self._heard()).name}", self._heard())

    # -- kinds --------------------------------------------------------------------------------------

    def _kind_secrets(self, step: BootstrapStep, deadline: float) -> str:
        limit = max(0.1, deadline - self._clock())
        values = read(tuple(parse(text, timeout=limit) for text in step.secrets))
        self._secrets = revision_of(values, self.environment)
        return f"{len(values)} secrets, revision {self._secrets[:12]}"

    def _kind_roles(self, step: BootstrapStep, deadline: float) -> str:
        run_script(self.target, roles_sql(self.settings.roles, database_name(self.target)))
        return "the roles of lockgate.toml are there with their grants"

    def _kind_extensions(self, step: BootstrapStep, deadline: float) -> str:
        made = make_extensions(self.target, step.extensions)
        return ", ".join(f"{name} {version}" for name, version in made.items())

    def _kind_migrations(self, step: BootstrapStep, deadline: float) -> str:
        run = Run(
            self.target, read_files(self.settings), self.settings, Limits.of(self.settings.migrations), new_identity("bootstrap"),
            Log(), self._alarm, lock_wait=max(0.0, deadline - self._clock()),
        )  # fmt: skip
        report = run.up()
        return f"{len(report.applied)} applied, now at {report.after}"

    def _kind_indexes(self, step: BootstrapStep, deadline: float) -> str:
        seen = look(self.target, {}, timeout=5.0)
        if seen.kind == "unreachable":
            raise Unreachable(seen.why)
        found = seen.state.get("indexes")
        live = found if isinstance(found, dict) else {}
        lacking = [
            name
            for name in step.indexes
            if not (live.get(name) or {}).get("index_hash") or not live[name]["valid"]
        ]
        if seen.kind != "seen" or lacking:
            raise RunFailed(
                seen.why or f"no sealed and valid generation is live: {', '.join(lacking)}", "GATE_CLOSED",
                next=f"lockgate index build {lacking[0] if lacking else 'NAME'}, then lockgate bootstrap again",
            )  # fmt: skip
        return ", ".join(f"{name} {live[name]['index_hash'][:12]}" for name in step.indexes)

    def _kind_probes(self, step: BootstrapStep, deadline: float) -> str:
        probes = next(p for name, p in self._probes.items() if self.steps[name] is step)
        found = ask_probes(probes, self.target)
        down = [f"{c.id}: {c.evidence}" for c in found if c.answer != "pass"]
        if down:
            raise Unreachable("; ".join(down), "PROBE_DOWN")
        return f"{counted(len(found), 'probe')} {agree(len(found), 'answers', 'answer')}"

    def _kind_gate(self, step: BootstrapStep, deadline: float) -> str:
        contract = Contract.from_file(self.settings.path(step.contract))
        self._release = contract.release_id
        report = check(contract, self.target, own=Own(self._secrets) if self._secrets else None, signed=True)
        if not report.ready:
            why = "; ".join(f"{c.id}: {c.evidence}" for c in report.conditions if c.answer != "pass")
            if report.exit_code == 69:
                raise Unreachable(f"{report.answer}: {why}")
            raise RunFailed(f"{report.answer}: {why}", "GATE_CLOSED")
        return f"{report.answer}: {counted(len(report.conditions), 'condition')}"

    def _kind_parity(self, step: BootstrapStep, deadline: float) -> str:
        found = parity(self.regions)
        if not found.equal:
            why = "; ".join(
                f"{name} {region.answer}: {region.detail}"
                for name, region in found.regions.items()
                if region.answer != "equal"
            )
            if found.exit_code == 69:
                raise Unreachable(why, "REGION_UNREACHABLE")
            raise RunFailed(why or "there is no region", "PARITY_MISMATCH")
        return f"{counted(len(found.regions), 'region')} {agree(len(found.regions), 'is', 'are')} equal"

    def _kind_command(self, step: BootstrapStep, deadline: float) -> str:
        try:
            done = child.run(
                step.command, seconds=max(0.1, deadline - self._clock()), alarm=self._alarm, clock=self._clock
            )
        except LockgateError as error:
            raise RunFailed(error.message, "BOOTSTRAP_FAILED") from None
        if done.stopped:
            raise RunFailed(f"{step.command[0]} did not end within {step.deadline}", "BOOTSTRAP_STALLED")
        if done.code:
            raise RunFailed(f"{step.command[0]} ended with {done.code}: {done.told(300)}", "BOOTSTRAP_FAILED")
        return f"{step.command[0]} ended with 0{_call(step)}"


def _call(step: BootstrapStep) -> str:
    """What tells a command from another one: a call that was changed since it was done is not done."""
    return f", call {hashlib.sha256(msgspec.json.encode(step.command)).hexdigest()[:12]}"


_KINDS: dict[str, Callable[[Bootstrap, BootstrapStep, float], str]] = {
    "secrets": Bootstrap._kind_secrets,
    "roles": Bootstrap._kind_roles,
    "extensions": Bootstrap._kind_extensions,
    "migrations": Bootstrap._kind_migrations,
    "indexes": Bootstrap._kind_indexes,
    "probes": Bootstrap._kind_probes,
    "gate": Bootstrap._kind_gate,
    "parity": Bootstrap._kind_parity,
    "command": Bootstrap._kind_command,
}
