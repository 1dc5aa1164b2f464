"""``up``: take over, plan, authorise, apply; and again after a lost connection, as often as is right.

Every round starts from what the database says, so a round that was cut off anywhere is simply followed by another. A
``RunReport`` comes back (or rides on the error) and tells the same as the tables.
"""

import difflib
import getpass
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from lockgate.config import Settings
from lockgate.errors import LockgateError, Refused, RunFailed, Unreachable
from lockgate.migrations.failure import interrupted, to_fields
from lockgate.migrations.history import History, read_history, read_source
from lockgate.migrations.ledger import differs_in_line_ends_only
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.plan import Obstacle, Plan, resolve
from lockgate.migrations.progress import AppliedFile, Log
from lockgate.postgres import home
from lockgate.postgres.alarm import Alarm, Cause
from lockgate.postgres.guard import Guard, RunIdentity, refuse_read_only, settle_abandoned
from lockgate.postgres.outcome import Outcome, outcome_of
from lockgate.postgres.settings import FACTS, Facts, prepare_session, read_facts
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Cancelled, ConnectionLost, Wire
from lockgate.record.redact import redact, redact_value
from lockgate.record.verdict import Verdict
from lockgate.release.authorise import authorise, read_live_instances, refuse_application_role
from lockgate.release.project import Files, prepare_files, refuse_problems

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared
    from lockgate.migrations.journal import StepRow

T = TypeVar("T")
ROUNDS = 4
"""How often a run takes over again after a lost connection before it gives up."""


class RunReport(msgspec.Struct, rename="camel"):
    """What a run did: the same facts for the terminal, for JSON and for the artifact."""

    run_id: str
    status: str = "pass"
    reason_code: str = ""
    reason: str = ""
    plan_hash: str = ""
    before: str = ""
    after: str = ""
    epoch: int = 0
    operator: str = ""
    elapsed_seconds: float = 0.0
    applied: list[AppliedFile] = []
    pending: list[str] = []
    held_because: str = ""
    database_identity: dict[str, str] = {}
    notes: list[str] = []
    timeline: list[dict[str, str]] = []


class Looked(msgspec.Struct, frozen=True):
    """One look at a database on one connection: its facts and its history (empty where lockgate was never run)."""

    facts: Facts
    history: History
    format: int


def look(target: Target, limits: Limits, *, alarm: Alarm | None = None, writable: bool = False) -> Looked:
    """Read facts and history on one connection. ``writable`` refuses a standby. Raises ``Unreachable``, ``Refused``."""
    wire = connect_patiently(target, "look", limits, alarm)
    try:
        facts = (
            prepare_session(wire, limits.session(), guard=False, local=target.local)
            if writable
            else read_facts(wire.one(FACTS, deadline=limits.clock() + 30))
        )
        if writable:
            refuse_read_only(facts, target)
        if not facts.home:
            return Looked(facts, History(), 0)
        found = home.read_format(wire)
        home.refuse_newer(found)
        return Looked(facts, read_history(wire), found)
    except ServerError as error:
        if error.sqlstate == "42501":
            raise Refused(f"this role may not read the history: {error.message}", "PRIVILEGE") from None
        raise
    finally:
        wire.close()


def read_journals(target: Target, looked: Looked, limits: Limits) -> "dict[str, list[StepRow]]":
    """The journals of the files that stopped half way, by revision."""
    from lockgate.migrations.journal import read_steps

    if not looked.history.partial:
        return {}
    wire = connect_patiently(target, "look", limits, None)
    try:
        return {revision: read_steps(wire, revision) for revision in looked.history.partial}
    finally:
        wire.close()


def connect_patiently(
    target: Target, name: str, limits: Limits, alarm: Alarm | None, seconds: float = 5.0
) -> Wire:
    """Connect, with bounded backoff while the server has no free connection or is starting."""
    return patiently(lambda: Wire(target, name, alarm=alarm, clock=limits.clock), limits, alarm, seconds)


def patiently(connect: Callable[[], T], limits: Limits, alarm: Alarm | None, seconds: float = 5.0) -> T:
    """Call ``connect``, and again with growing pauses for ``seconds`` while the server has no room for it."""
    deadline, pause = limits.clock() + seconds, 0.1
    while True:
        try:
            return connect()
        except Unreachable as error:
            if error.code != "TOO_MANY_CONNECTIONS" or limits.clock() >= deadline:
                raise
        (alarm.sleep if alarm is not None else time.sleep)(pause)
        pause = min(pause * 2, 1.0)


def _of_lockgate_itself(error: ServerError) -> RunFailed:
    """The server refused what no file asked for: a full disk has its own reason, what has none is a bug."""
    code = reason_of(error.sqlstate)
    return RunFailed(
        f"the server refused what lockgate itself asked: {error.message}",
        "BUG" if code == "MIGRATION_EXECUTION_FAILED" else code,
        details={"sqlstate": error.sqlstate},
    )


def new_identity(kind: str, release_id: str | None = None) -> RunIdentity:
    """The identity of a new run by the current user."""
    return RunIdentity(secrets.token_hex(8), kind, operator_name(), release_id)


def operator_name() -> str:
    """Who runs this: the login name, or the number of a user that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password file
        import os

        return f"uid {os.getuid()}"


class Run:
    """One ``up``: its inputs, its report, and the rounds that it takes."""

    def __init__(
        self,
        target: Target,
        files: Files,
        settings: Settings,
        limits: Limits,
        identity: RunIdentity,
        log: Log,
        alarm: Alarm,
        *,
        lock_wait: float = 60.0,
    ) -> None:
        self.target = target
        self.files = files
        self.settings = settings
        self.limits = limits
        self.identity = identity
        self.log = log
        self.alarm = alarm
        self.lock_wait = lock_wait
        self.report = RunReport(identity.run_id, operator=identity.operator)
        self._prepared: dict[str, Prepared] = {}
        self._facts: Facts | None = None
        self._cut = False
        self._started = limits.clock()
        run_limit = limits.run_timeout
        self._deadline = Deadline(
            self._started + run_limit.seconds, Cause("RUN_TIMEOUT", f"the run took longer than {run_limit}")
        )

    def up(self) -> RunReport:
        """Apply what is pending. Returns the report; an error carries it as ``details['report']``."""
        try:
            refuse_application_role()
            self._rounds()
        except LockgateError as error:
            if isinstance(error, RunFailed) and error.code in ("CONNECTION_LOST", "IN_DOUBT"):
                self._finish_anew(error)
            self._close_report(error)
            error.details["report"] = self.report
            raise
        except Cancelled as stop:
            stopped = (
                interrupted(stop.cause.message, self.alarm.signal)
                if stop.cause.code == "CANCELLED"
                else RunFailed(stop.cause.message, stop.cause.code)
            )
            self._close_report(stopped)
            stopped.details["report"] = self.report
            raise stopped from None
        except ServerError as error:
            refused = _of_lockgate_itself(error)
            self._close_report(refused)
            refused.details["report"] = self.report
            raise refused from None
        self._close_report(None)
        return self.report

    # -- rounds -------------------------------------------------------------------------------------

    def _rounds(self) -> None:
        refuse_problems(self.files.problems)
        looked = look(self.target, self.limits, alarm=self.alarm, writable=True)
        plan = self._plan(looked.history)
        self.report.before = self.report.after = plan.base
        self._identify(looked.facts)
        self._refuse_obstacles(plan)
        if not plan.pending:
            self.report.plan_hash = plan.hash
            self.log.tell("up to date", f"{len(plan.applied)} applied, nothing to do")
            if looked.history.running:
                self._settle()
            return
        self._prepare(plan)
        lost_on: dict[str, int] = {}
        for number in range(1, ROUNDS + 1):
            try:
                self._round(number)
            except ConnectionLost as lost:
                revision = self.log.in_flight
                lost_on[revision] = lost_on.get(revision, 0) + 1
                self.log.tell("connection lost", lost.message)
                self._resolve(lost)
                if lost_on[revision] >= 2 or number == ROUNDS or self.alarm.signal:
                    raise RunFailed(
                        f"the connection was lost {'again ' if lost_on[revision] > 1 else ''}while {revision or 'nothing'} was under way: {lost.message}",
                        "CONNECTION_LOST",
                    ) from None
                self._wait_for_server()
                continue
            return

    def _round(self, number: int) -> None:
        with self._connect_guard() as guard:
            self.report.notes += guard.notes
            if self._facts is not None and number > 1:
                self._refuse_failover(guard.facts)
            self._facts = guard.facts
            guard.acquire(
                self.lock_wait if number == 1 else self.limits.reconnect_seconds, self._tell_waiting
            )
            self.report.epoch = guard.epoch
            self._grant(guard)
            for run_id in guard.abandoned:
                self.log.tell("took over", f"run {run_id} was abandoned")
            failure: LockgateError | None = None
            try:
                self._under_guard(guard)
            except ConnectionLost:
                self._cut = True  # the outcome is looked up first; the next round, or the end, writes it down
                raise
            except LockgateError as error:
                failure = error
                raise
            except ServerError as error:
                failure = _of_lockgate_itself(error)
                raise failure from None
            except Cancelled as stop:
                failure = interrupted(stop.cause.message, self.alarm.signal)
                raise failure from None
            except Exception as error:
                failure = LockgateError(f"{type(error).__name__}: {error}")
                raise
            finally:
                if (
                    not self._cut
                    and not self._finish(guard.guard, failure)
                    and not self._finish(guard.work, failure)
                ):
                    self.report.notes.append(
                        "the end of the run could not be recorded; the next run marks it"
                    )
                self._cut = False

    def _connect_guard(self) -> Guard:
        """Both connections of a round, with bounded backoff while the server has no room for them."""
        session = self.limits.session()
        return patiently(
            lambda: Guard(
                self.target,
                self.identity,
                session,
                alarm=self.alarm,
                clock=self.limits.clock,
                rng=self.limits.rng,
            ),
            self.limits,
            self.alarm,
        )

    def _settle(self) -> None:
        """Nothing is pending, yet a run is shown as running: close it when it is dead."""
        wire = connect_patiently(self.target, "look", self.limits, self.alarm)
        try:
            for run_id in settle_abandoned(wire):
                self.log.tell("took over", f"run {run_id} was abandoned")
        finally:
            wire.close()

    def _under_guard(self, guard: Guard) -> None:
        from lockgate.migrations.apply import apply

        history = read_history(guard.work)
        plan = self._plan(history)
        if not self.report.plan_hash:
            self.report.plan_hash = plan.hash
        self._refuse_obstacles(plan)
        self._prepare(plan)
        self._preflight(guard, plan)
        self._look_for_drift(guard, history)
        permit = authorise(
            plan, self._prepared, self.target, self.identity.operator, read_live_instances(guard.work)
        )
        guard.guard.one(
            "UPDATE lockgate.run SET plan_hash = $2, before_rev = COALESCE(before_rev, $3) WHERE run_id = $1",
            self.identity.run_id,
            plan.hash,
            plan.base,
        )
        if plan.pending:
            self.log.tell(
                "applying",
                f"{len(plan.pending)} files, from {plan.base or 'an empty history'} to {plan.goal}",
            )
        done = len(self.log.applied)
        try:
            apply(guard, plan, permit, self._prepared, self.limits, self._deadline, self.log)
        finally:
            self._remember_schema(guard, changed=len(self.log.applied) > done)
        if permit.until:
            self.report.held_because = permit.held_because
            raise Refused(permit.held_because, permit.held_code)

    def _remember_schema(self, guard: Guard, *, changed: bool) -> None:
        from lockgate.migrations import drift

        if changed and guard.work.alive and guard.work.idle and not self.alarm.signal:
            try:
                drift.remember(guard.work, guard.epoch, self.log.applied[-1].revision)
            except (LockgateError, ServerError, Cancelled) as error:
                self.report.notes.append(f"the schema's digest could not be recorded: {error}")

    def _finish(self, wire: Wire, failure: LockgateError | None) -> bool:
        """Write how the run ended into ``run``: whether that was possible. If not, the next runner marks it abandoned."""
        if not self.report.epoch:
            return True
        if not wire.alive:
            return False
        state = (
            "succeeded"
            if failure is None
            else {"CANCELLED": "cancelled", "IN_DOUBT": "held"}.get(failure.code, "failed")
        )
        calls = [
            Call(
                "UPDATE lockgate.run SET state = $2, reason_code = $3, message = $4, finished_at = clock_timestamp(), after_rev = (SELECT max(revision_id) FROM lockgate.migration_history), details = $5::jsonb WHERE run_id = $1",
                (
                    self.identity.run_id,
                    state,
                    failure.code if failure else "",
                    redact(failure.message) if failure else "",
                    self._details(failure),
                ),
            )
        ]
        if failure is not None:
            fields = msgspec.json.encode(
                to_fields(failure) if isinstance(failure, RunFailed) else {"message": failure.message},
                enc_hook=str,
            ).decode()
            calls.append(
                Call(
                    "INSERT INTO lockgate.run_step (run_id, revision_id, step, outcome, reason_code, details) VALUES ($1, $2, 'apply', $3, $4, $5::jsonb)",
                    (self.identity.run_id, self.log.in_flight or None, state, failure.code, fields),
                )
            )
        try:
            if wire.in_transaction:
                wire.batch(
                    [Call("ROLLBACK")],
                    uncancellable=True,
                    deadline=self.limits.clock() + 10,
                    label="rollback",
                )
            wire.batch(calls, uncancellable=True, deadline=self.limits.clock() + 10, label="finish")
        except (LockgateError, ServerError):
            return False
        return True

    def _finish_anew(self, failure: RunFailed) -> None:
        """Write the end of a run whose connections are gone through a new one, when there is one to be had."""
        try:
            wire = Wire(self.target, "finish", clock=self.limits.clock, connect_timeout=3)
        except LockgateError:
            return
        try:
            self._finish(wire, failure)
        finally:
            wire.close()

    def _details(self, failure: LockgateError | None) -> str:
        """What the artifact of this run can be made from again; what the history holds itself is left out."""
        self._close_report(failure)
        r = self.report
        telling = [f for f in r.applied if f.attempts > 1 or f.note]
        short = msgspec.structs.replace(r, applied=telling, timeline=r.timeline[-200:])
        fields = {k: v for k, v in (failure.details if failure else {}).items() if k != "report"}
        return msgspec.json.encode(
            redact_value(msgspec.to_builtins({"report": short, "failure": fields}, str_keys=True))
        ).decode()

    # -- parts of a round ---------------------------------------------------------------------------

    def _plan(self, history: History) -> Plan:
        return resolve(self.files.migrations, history)

    def _prepare(self, plan: Plan) -> None:
        """Split and judge every pending file before the first one runs."""
        wanted = {revision for revision, _ in plan.pending} - self._prepared.keys()
        if wanted:
            prepared, problems = prepare_files(
                tuple(m for m in self.files.migrations if m.revision in wanted), self.settings
            )
            refuse_problems(problems)
            self._prepared.update(prepared)

    def _grant(self, guard: Guard) -> None:
        """Let the roles of lockgate.toml at the tables that were just made; roles that do not exist get nothing."""
        if guard.format_before < home.FORMAT:
            from lockgate.release.roles import home_grants

            guard.guard.alone(home_grants(self.settings.roles))

    def _look_for_drift(self, guard: Guard, history: History) -> None:
        """Say loudly, before anything is applied on top of it, that somebody changed the schema by hand."""
        from lockgate.migrations import drift

        if not history.rows:
            return
        seen = drift.compare(guard.work)
        if seen.verdict is Verdict.FAIL:
            named = ", ".join(str(change) for change in seen.changes[:10])
            self.report.notes.append(f"SCHEMA_DRIFT before this run: {seen.note}: {named}")
            self.log.tell("drift", f"{seen.note}: {named}")

    def _preflight(self, guard: Guard, plan: Plan) -> None:
        """Refuse what the role cannot do anyway, with the grant that it lacks, before the first statement runs."""
        from lockgate.postgres.preflight import find_lacks

        statements = (s for revision, _ in plan.pending for s in self._prepared[revision].statements)
        lacks = find_lacks(guard.work, statements)
        if lacks:
            told = "".join(f"\n  {lack.message}\n    fix: {lack.fix}" for lack in lacks)
            raise Refused(
                f"the role {guard.facts.user} cannot run these files:{told}",
                lacks[0].code,
                next=lacks[0].fix,
                details={"lacks": [msgspec.to_builtins(lack) for lack in lacks]},
            )

    def _refuse_obstacles(self, plan: Plan) -> None:
        if not plan.obstacles:
            return
        first = plan.obstacles[0]
        if first.code == "CHECKSUM_MISMATCH":
            first, diff = self.explain_mismatch(first)
        else:
            diff = ""
        more = "".join(f"\n  {o.code}: {o.message}" for o in plan.obstacles[1:20])
        raise Refused(
            first.message + diff + more,
            first.code,
            details={"obstacles": [msgspec.to_builtins(o) for o in plan.obstacles], "diff": diff},
        )

    def explain_mismatch(self, obstacle: Obstacle) -> tuple[Obstacle, str]:
        """Tell a line-end difference from an edit, and show an edit as a diff against what was applied."""
        migration = next(m for m in self.files.migrations if m.revision == obstacle.revision)
        wire = connect_patiently(self.target, "look", self.limits, self.alarm)
        try:
            applied = read_source(wire, obstacle.revision)
            checksum = (
                wire.value(
                    "SELECT checksum FROM lockgate.migration_history WHERE revision_id = $1",
                    obstacle.revision,
                )
                or ""
            )
        finally:
            wire.close()
        if differs_in_line_ends_only(migration.text, checksum):
            return Obstacle(
                "EOL_ONLY",
                obstacle.revision,
                f"{migration.file} differs from what was applied in line ends only",
            ), ""
        lines = list(
            difflib.unified_diff(
                applied.splitlines(), migration.text.splitlines(), "applied", migration.file, lineterm="", n=2
            )
        )
        return obstacle, "\n" + "\n".join(f"    {line}" for line in lines[:60]) if lines else ""

    def _tell_waiting(self, holder: dict[str, str]) -> None:
        who = (
            f"pid {holder['pid']}, {holder['application']}, connected for {holder['age']} s"
            if holder
            else "just ended"
        )
        self.log.tell("waiting", f"another runner holds the lock ({who}); waiting up to {self.lock_wait:g} s")

    # -- after a lost connection --------------------------------------------------------------------

    def _resolve(self, lost: ConnectionLost) -> None:
        from lockgate.migrations.transactional import InDoubt

        if not isinstance(lost, InDoubt) or self._facts is None:
            return
        outcome = outcome_of(
            self.target,
            self._facts,
            lost.xid,
            lost.prepared.revision,
            alarm=self.alarm,
            seconds=self.limits.reconnect_seconds,
            clock=self.limits.clock,
        )
        file = lost.prepared.migration.file
        if outcome is Outcome.COMMITTED:
            m = lost.prepared.migration
            self.log.in_flight = ""
            self.log.done(AppliedFile(m.revision, m.name, "applied", 0, note="COMMITTED_AFTER_DISCONNECT"))
            return
        if outcome is Outcome.ABORTED:
            self.log.tell("rolled back", f"{file}: its COMMIT did not reach the server; it runs again")
            return
        told = {
            Outcome.ELSEWHERE: "another server or timeline answers now: there was a failover",
            Outcome.UNREACHABLE: "the server cannot be reached",
            Outcome.IN_PROGRESS: "the old session is still busy with it",
            Outcome.UNKNOWN: "the server does not know the transaction any more",
        }[outcome]
        raise RunFailed(
            f"{file}: the answer to COMMIT was lost, and {told}",
            "IN_DOUBT",
            details={"revision": lost.prepared.revision, "xid": lost.xid, "outcome": str(outcome)},
        )

    def _refuse_failover(self, now: Facts) -> None:
        before = self._facts
        assert before is not None
        if (now.system_identifier, now.timeline, now.database_oid) != (
            before.system_identifier,
            before.timeline,
            before.database_oid,
        ):
            raise RunFailed(
                "another server or timeline answers than the one this run began on: there was a failover",
                "CONNECTION_LOST",
                next="lockgate plan against the new primary, then lockgate up",
            )

    def _wait_for_server(self) -> None:
        deadline, pause = self.limits.clock() + self.limits.reconnect_seconds, 0.1
        while True:
            try:
                Wire(self.target, "reconnect", clock=self.limits.clock).close()
            except Unreachable as error:
                if self.limits.clock() >= deadline or self.alarm.signal:
                    raise RunFailed(
                        f"the connection was lost and the server did not come back: {error.message}",
                        "CONNECTION_LOST",
                    ) from None
            else:
                return
            self.alarm.sleep(pause)
            pause = min(pause * 2, 2.0)

    # -- the report ---------------------------------------------------------------------------------

    def _identify(self, facts: Facts) -> None:
        self.report.database_identity = {
            "target": str(self.target), "database": facts.database, "systemIdentifier": facts.system_identifier,
            "timeline": facts.timeline, "serverVersion": str(facts.version), "user": facts.user,
        }  # fmt: skip

    def _close_report(self, error: LockgateError | None) -> None:
        r = self.report
        r.applied = list(self.log.applied)
        if r.applied:
            r.after = r.applied[-1].revision
        known = {f.revision for f in r.applied}
        r.pending = (
            []
            if error is None
            else [
                m.revision for m in self.files.migrations if m.revision > r.after and m.revision not in known
            ]
        )
        r.elapsed_seconds = round(self.limits.clock() - self._started, 3)
        r.timeline = [msgspec.to_builtins(e) for e in self.log.events]
        if error is not None:
            r.status = "hold" if error.exit == 5 else "fail"
            r.reason_code, r.reason = error.code, error.message
