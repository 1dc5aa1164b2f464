"""``up``: take over, plan, authorise, apply; and again after a lost connection, as often as is right.

Every round starts from what the database says, so a round that was cut off anywhere is simply followed by another. A
``RunReport`` comes back (or rides on the error) and tells the same as the tables.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import msgspec

from lockgate.config import Settings
from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.migrations.failure import interrupted, stopped
from lockgate.migrations.history import History, read_history
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.plan import Plan, resolve
from lockgate.migrations.progress import Log
from lockgate.postgres import home
from lockgate.postgres.alarm import Alarm, Cause
from lockgate.postgres.guard import First, Guard, RunIdentity, settle_abandoned
from lockgate.postgres.settings import FACTS, Facts, read_facts
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled, ConnectionLost, Wire
from lockgate.record.tracing import Value, span
from lockgate.record.words import agree, counted
from lockgate.release.aftermath import refuse_failover, settle_committed, settle_in_doubt, wait_for_server
from lockgate.release.authorise import authorise, refuse_application_role
from lockgate.release.ending import connected, write_end
from lockgate.release.floor import settle_instances
from lockgate.release.look import connect_patiently, look_first, patiently
from lockgate.release.mismatch import refuse_obstacles
from lockgate.release.moving import Moves, end_in_place, next_of
from lockgate.release.project import Files, refuse_problems
from lockgate.release.report import RunReport
from lockgate.release.standing import look_for_drift, look_for_moves, refuse_lacks
from lockgate.release.vetting import Vetted, Vetting, of_the_rest

if TYPE_CHECKING:
    from lockgate.release.papers import Papers

ROUNDS = 4
"""How often a run takes over again after a lost connection before it gives up."""
LAST_WORD = 10.0
"""Seconds that the server has to take down how the run ended."""


def _of_lockgate_itself(error: ServerError) -> RunFailed:
    """The server refused what no file asked for: a full disk has its own reason, what has none is a bug."""
    code = reason_of(error.sqlstate)
    return RunFailed(
        f"the server refused what lockgate itself asked: {error.message}",
        "BUG" if code == "MIGRATION_EXECUTION_FAILED" else code,
        details={"sqlstate": error.sqlstate},
    )


def _unsealed(history: History) -> bool:
    """True when the newest row has no recorded schema: an earlier run died between its last commit and that."""
    return bool(history.rows) and history.schema_head != history.head


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
        today: date | None = None,
        break_glass: str = "",
        vetted: Vetted | None = None,
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
        self.today = today or datetime.now(UTC).date()
        self._vetting = Vetting(
            files, settings, target, self.today, lambda note: self._note("policy", note), vetted
        )
        self._vet: Callable[[], None] | None = None
        self._first: First | None = None
        self.break_glass = break_glass
        self.papers: Papers | None = None
        self._facts: Facts | None = None
        self._moves = Moves()
        self._apart: dict[str, tuple[str, str]] = {}
        self._cut = False
        self._written = False
        self._started = limits.clock()
        run_limit = limits.run_timeout
        self._deadline = Deadline(
            self._started + run_limit.seconds, Cause("RUN_TIMEOUT", f"the run took longer than {run_limit}")
        )

    def up(self) -> RunReport:
        """Apply what is pending. Returns the report; an error carries it as ``details['report']``."""
        with span(f"lockgate {self.identity.kind}", self._told()) as mine:
            report = self._up()
            if mine is not None:
                mine.set_attribute("lockgate.schema.revision", report.after)
                mine.set_attribute("lockgate.applied", len(report.applied))
            return report

    def _told(self) -> dict[str, Value]:
        return {
            "db.system.name": "postgresql", "db.namespace": self.target.parameters().get("dbname", ""), "lockgate.run.id": self.identity.run_id,
            "deployment.environment.name": self.target.environment or "default",
        }  # fmt: skip

    def _up(self) -> RunReport:
        try:
            refuse_application_role()
            self._rounds()
        except LockgateError as error:
            self._leave(error)
            raise
        except Cancelled as stop:
            ended = stopped(stop.cause, self.alarm.signal)
            self._leave(ended)
            raise ended from None
        except ServerError as error:
            refused = _of_lockgate_itself(error)
            self._leave(refused)
            raise refused from None
        finally:
            self._vetting.close()
            self._drop_first()
        self._close_report(None)
        return self.report

    # -- rounds -------------------------------------------------------------------------------------

    def _rounds(self) -> None:
        refuse_problems(self.files.problems)
        looked, self._first = look_first(self.target, self.limits, self.alarm)
        plan = self._plan(looked.history)
        self.report.before = self.report.after = plan.base
        self._identify(looked.facts)
        refuse_obstacles(plan, self.files.migrations, self._look)
        # An older format of our own tables is brought up too: gates and people rely on what a newer one holds.
        if not plan.pending and not _unsealed(looked.history) and looked.format in (0, home.FORMAT):
            self.report.plan_hash = plan.hash
            self.log.tell("up to date", f"{len(plan.applied)} applied, nothing to do")
            self._drop_first()
            if looked.history.running:
                self._settle()
            return
        if self._vetting.forks(plan):
            self._drop_first()  # a copy of this process would hold the session, and its lock, when we are killed
        self._vet = self._vetting.begin(plan, looked.history, looked.facts)
        lost_on: dict[str, int] = {}
        for number in range(1, ROUNDS + 1):
            try:
                self._round(number)
            except ConnectionLost as lost:
                revision = self.log.in_flight
                lost_on[revision] = lost_on.get(revision, 0) + 1
                self.log.tell("connection lost", lost.message)
                settle_in_doubt(lost, self._facts, self.target, self.limits, self.alarm, self.log)
                if lost_on[revision] >= 2 or number == ROUNDS or self.alarm.signal:
                    raise RunFailed(
                        f"the connection was lost {'again ' if lost_on[revision] > 1 else ''}while {revision or 'nothing'} was under way: {lost.message}",
                        "CONNECTION_LOST",
                    ) from None
                wait_for_server(self.target, self.limits, self.alarm)
                continue
            return

    def _round(self, number: int) -> None:
        with self._take_guard(number) as guard:
            self.report.notes += guard.notes
            if self._facts is not None and number > 1:
                refuse_failover(self._facts, guard.facts)
            self._facts = guard.facts
            wait = self.lock_wait if number == 1 else self.limits.reconnect_seconds
            wait = max(0.0, min(wait, self._deadline.at - self.limits.clock()))
            try:
                guard.acquire(wait, self._tell_waiting, self._grants, self._vet)
            except (ConnectionLost, RunFailed):
                raise
            except LockgateError as error:
                raise self._had_begun(number, error) from None
            self.report.epoch = guard.epoch
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
                if not self._cut:
                    self._write_end(guard, failure)
                self._cut = False

    def _leave(self, failure: LockgateError) -> None:
        """End with ``failure``: nothing that is committed goes untold, and the end is written down where it can be."""
        if self.report.epoch and (self.log.committed or not self._written):
            self._end_anew(failure)
        self._close_report(failure)
        failure.details["report"] = self.report

    def _end_anew(self, failure: LockgateError) -> None:
        """Look through a new connection what the run left, and write its end."""
        with connected(self.target, "finish", self.limits.clock) as wire:
            if wire is not None:
                with contextlib.suppress(LockgateError, ServerError, Cancelled):
                    if self._facts is not None:
                        refuse_failover(self._facts, read_facts(wire.one(FACTS)))
                    settle_committed(wire, self.identity.run_id, self.log)
            if self.log.committed:
                names = [file.revision for file in self.log.committed]
                failure.message += f"; the server had answered COMMIT of {', '.join(names)} and was lost before that was known to be on disk"
                failure.details["unconfirmed"] = names
            self._close_report(failure)
            if wire is not None:
                write_end(wire, self.report, self.log, failure, self.limits.clock() + LAST_WORD)

    def _write_end(self, guard: Guard, failure: LockgateError | None) -> None:
        self._close_report(failure)
        # What went wrong may have been the work session; where nothing did, that one has the table in its caches.
        for wire in (guard.work, guard.guard) if failure is None else (guard.guard, guard.work):
            if write_end(wire, self.report, self.log, failure, self.limits.clock() + LAST_WORD):
                self._written = True
                return
        self.report.notes.append("the end of the run could not be recorded; the next run marks it")

    def _take_guard(self, number: int) -> Guard:
        try:
            return self._connect_guard()
        except (ConnectionLost, RunFailed):
            raise
        except LockgateError as error:
            raise self._had_begun(number, error) from None

    @staticmethod
    def _had_begun(number: int, error: LockgateError) -> LockgateError:
        """What keeps a later round out. Not "nothing was changed": this run had begun, and its own old session may hold on."""
        if number == 1:
            return error
        return RunFailed(
            f"the connection was lost, and now {error.message}", "CONNECTION_LOST", details=error.details
        )

    def _connect_guard(self) -> Guard:
        """Both connections of a round, with bounded backoff while the server has no room for them."""

        def connect() -> Guard:
            first, self._first = self._first, None  # it serves one try: where there is no room, it makes room
            limits = self.limits
            return Guard(
                self.target, self.identity, limits.session(), alarm=self.alarm, clock=limits.clock, rng=limits.rng, first=first
            )  # fmt: skip

        return patiently(connect, self.limits, self.alarm)

    def _drop_first(self) -> None:
        if self._first is not None:
            self._first.wire.close()
            self._first = None

    @contextlib.contextmanager
    def _look(self) -> Iterator[Wire]:
        wire = connect_patiently(self.target, "look", self.limits, self.alarm)
        try:
            yield wire
        finally:
            wire.close()

    def _settle(self) -> None:
        """Nothing is pending, yet a run is shown as running: close it when it is dead."""
        with self._look() as wire:
            for run_id in settle_abandoned(wire):
                self.log.tell("took over", f"run {run_id} was abandoned")

    def _under_guard(self, guard: Guard) -> None:
        from lockgate.migrations.apply import apply

        settle_committed(guard.work, self.identity.run_id, self.log)
        history = History() if guard.made_home else read_history(guard.work)
        plan = self._plan(history)
        if not self.report.plan_hash:
            self.report.plan_hash = plan.hash
        refuse_obstacles(plan, self.files.migrations, self._look)
        self._vetting.prepare(plan)
        prepared = self._vetting.prepared
        judged = of_the_rest(guard, history, self._vetting.judge(plan, history, guard.facts))
        refuse_lacks(guard.work, guard.facts.user, plan, prepared, self.settings.roles)
        self._apart |= look_for_drift(
            guard,
            history,
            refuse=self.identity.kind == "release" or self.target.protected,
            tell=lambda told: self._note("drift", told, "SCHEMA_DRIFT before this run: "),
        )
        if self._apart:
            from lockgate.migrations.unrecorded import write_apart

            write_apart(guard.guard, self.identity.run_id, self._apart)
        self._moves = look_for_moves(
            guard,
            plan,
            history,
            self.files.migrations,
            self.settings,
            None if self.target.protected else self.target,
        )
        permit = authorise(
            plan,
            prepared,
            self.target,
            self.identity.operator,
            settle_instances(guard, plan, prepared, self.identity.run_id, self.log),
            judged,
            self._gather_papers(guard, plan),
            self._moves,
        )
        for paper in permit.evidence[3:]:
            self.log.tell("authorised", paper)
        guard.work.one(
            "UPDATE lockgate.run SET plan_hash = $2, before_rev = COALESCE(before_rev, $3) WHERE run_id = $1",
            self.identity.run_id,
            plan.hash,
            plan.base,
        )
        if plan.pending:
            self.log.tell(
                "applying",
                f"{counted(len(plan.pending), 'file')}, from {plan.base or 'an empty history'} to {plan.goal}",
            )
        done = len(self.log.applied)
        try:
            waited_for, because = apply(guard, plan, permit, prepared, self.limits, self._deadline, self.log)
        finally:
            if len(self.log.applied) > done or _unsealed(history):
                self._remember_schema(guard, self.log.applied[-1].revision if self.log.applied else plan.base)
                self._end_moves(guard)
        if permit.until or waited_for:
            held = (
                Refused(because, "MOVE_WAITED_FOR", next=next_of(waited_for))
                if waited_for
                else Refused(permit.held_because, permit.held_code, next=permit.held_next or None)
            )
            self.report.held_because = held.message
            if self.log.applied:
                held.state = f"{counted(len(self.log.applied), 'file')} {agree(len(self.log.applied), 'was', 'were')} applied, up to {self.log.applied[-1].revision}; what comes after is held."
            raise held

    def _remember_schema(self, guard: Guard, revision: str) -> None:
        from lockgate.migrations import drift

        if revision and guard.work.alive and guard.work.idle and not self.alarm.signal:
            try:
                drift.remember(guard.work, guard.epoch, revision, self._apart)
            except (LockgateError, ServerError, Cancelled) as error:
                self.report.notes.append(f"the schema's digest could not be recorded: {error}")

    def _end_moves(self, guard: Guard) -> None:
        if guard.work.alive and guard.work.idle and not self.alarm.signal:
            try:
                for name in end_in_place(guard.work, self._moves):
                    self.log.tell("move", f"{name} is finished: its contract file took the old side away")
            except (LockgateError, ServerError, Cancelled) as error:
                self.report.notes.append(
                    f"the end of a move could not be written down: {error}; lockgate move finish does it"
                )

    # -- parts of a round ---------------------------------------------------------------------------

    def _plan(self, history: History) -> Plan:
        return resolve(self.files.migrations, history)

    def _gather_papers(self, guard: Guard, plan: Plan) -> "Papers | None":
        """Approvals and backup of a protected target, read under the guard: right before they are relied on."""
        if not self.target.protected:
            return None
        from lockgate.release.papers import gather_papers

        prepared = [self._vetting.prepared[revision] for revision, _ in plan.pending]
        self.papers = gather_papers(
            guard.work, plan, prepared, self.settings, self.target, self.identity.operator, guard.facts, self.limits, self.break_glass
        )  # fmt: skip
        return self.papers

    def _note(self, status: str, told: str, before: str = "") -> None:
        """Tell it now, and in the report."""
        self.report.notes.append(before + told)
        self.log.tell(status, told)

    def _grants(self) -> str:
        """What lets the roles of lockgate.toml at the tables of lockgate; roles that do not exist get nothing."""
        from lockgate.release.roles import home_grants

        return home_grants(self.settings.roles)

    def _tell_waiting(self, holder: dict[str, str]) -> None:
        who = (
            f"pid {holder['pid']}, {holder['application']}, connected for {holder['age']} s"
            if holder
            else "just ended"
        )
        self.log.tell("waiting", f"another runner holds the lock ({who}); waiting up to {self.lock_wait:g} s")

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
        known = {f.revision for f in [*r.applied, *self.log.committed]}
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
