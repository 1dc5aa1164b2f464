"""``up``: take over, plan, authorise, apply; and again after a lost connection, as often as is right.

Every round starts from what the database says, so a round that was cut off anywhere is simply followed by another. A
``RunReport`` comes back (or rides on the error) and tells the same as the tables.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import msgspec

from lockgate.config import Settings
from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.migrations.failure import interrupted
from lockgate.migrations.history import History, read_history
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.plan import Obstacle, Plan, resolve
from lockgate.migrations.progress import Log
from lockgate.postgres import home
from lockgate.postgres.alarm import Alarm, Cause
from lockgate.postgres.guard import Guard, RunIdentity, settle_abandoned
from lockgate.postgres.settings import Facts
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled, ConnectionLost
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict
from lockgate.release.aftermath import refuse_failover, settle_in_doubt, wait_for_server
from lockgate.release.authorise import (
    authorise,
    refuse_application_role,
    refuse_findings,
)
from lockgate.release.beside import Beside, worth_it
from lockgate.release.ending import write_end, write_end_anew
from lockgate.release.floor import settle_instances
from lockgate.release.judged import Judged
from lockgate.release.look import connect_patiently, look, patiently
from lockgate.release.mismatch import explain
from lockgate.release.moving import Moves, end_in_place, under_way
from lockgate.release.project import Files, prepare_files, refuse_problems
from lockgate.release.report import RunReport

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared
    from lockgate.release.papers import Papers

ROUNDS = 4
"""How often a run takes over again after a lost connection before it gives up."""


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
        self._prepared: dict[str, Prepared] = {}
        self._judged: Judged | None = None
        self._judging: Beside[Judged] | None = None
        self._vet: Callable[[], None] | None = None
        self.break_glass = break_glass
        self.papers: Papers | None = None
        self._facts: Facts | None = None
        self._moves = Moves()
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
                self._close_report(error)
                write_end_anew(self.target, self.report, self.log, error, self.limits.clock)
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
        finally:
            if self._judging is not None:
                self._judging.close()
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
        # An older format of our own tables is brought up too: gates and people rely on what a newer one holds.
        if not plan.pending and not _unsealed(looked.history) and looked.format in (0, home.FORMAT):
            self.report.plan_hash = plan.hash
            self.log.tell("up to date", f"{len(plan.applied)} applied, nothing to do")
            if looked.history.running:
                self._settle()
            return
        if worth_it(len(plan.pending)):
            # Many files take their time. They are judged in a copy of this process, and prepared here, while the server
            # lets us in; what is wrong with them is told before anything is kept.
            self._judging = Beside(lambda: self._ask(plan, looked.history, looked.facts), Judged)
            self._vet = lambda: self._vet_files(plan, looked.history, looked.facts)
        else:
            self._vet_files(plan, looked.history, looked.facts)
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

    def _write_end(self, guard: Guard, failure: LockgateError | None) -> None:
        self._close_report(failure)
        for wire in (guard.guard, guard.work):
            if write_end(wire, self.report, self.log, failure, self.limits.clock() + 10):
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
        judged = self._of_the_rest(guard, history, self._judge(plan, history, guard.facts))
        self._preflight(guard, plan)
        self._look_for_drift(guard, history)
        permit = authorise(
            plan,
            self._prepared,
            self.target,
            self.identity.operator,
            settle_instances(guard, plan, self._prepared, self.identity.run_id, self.log),
            judged,
            self._gather_papers(guard, plan),
            self._look_for_moves(guard, plan),
        )
        for paper in permit.evidence[3:]:
            self.log.tell("authorised", paper)
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
            if len(self.log.applied) > done or _unsealed(history):
                self._remember_schema(guard, self.log.applied[-1].revision if self.log.applied else plan.base)
                self._end_moves(guard)
        if permit.until:
            self.report.held_because = permit.held_because
            held = Refused(permit.held_because, permit.held_code)
            if self.log.applied:
                held.state = f"{len(self.log.applied)} files were applied, up to {self.log.applied[-1].revision}; what comes after is held."
            raise held

    def _remember_schema(self, guard: Guard, revision: str) -> None:
        from lockgate.migrations import drift

        if revision and guard.work.alive and guard.work.idle and not self.alarm.signal:
            try:
                drift.remember(guard.work, guard.epoch, revision)
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

    def _vet_files(self, plan: Plan, history: History, facts: Facts) -> None:
        """Refuse what is wrong with the pending files themselves: the file contract, then the policy."""
        self._prepare(plan)
        refuse_findings(plan, self._judge(plan, history, facts))

    def _prepare(self, plan: Plan) -> None:
        """Split and judge every pending file before the first one runs."""
        wanted = {revision for revision, _ in plan.pending} - self._prepared.keys()
        if wanted:
            prepared, problems = prepare_files(
                tuple(m for m in self.files.migrations if m.revision in wanted), self.settings
            )
            refuse_problems(problems)
            self._prepared.update(prepared)

    def _judge(self, plan: Plan, history: History, facts: Facts) -> Judged:
        """Ask the policy about every pending file; what was asked before the lock is not asked again."""
        wanted = frozenset(revision for revision, _ in plan.pending)
        if self._judging is not None:
            self._judged = self._judging.result()
            self._judging = None
            self._tell_policy()
        if self._judged is None or not wanted <= self._judged.revisions:
            self._judged = self._ask(plan, history, facts)
            self._tell_policy()
        return self._judged

    @staticmethod
    def _of_the_rest(guard: Guard, history: History, judged: Judged) -> Judged:
        """Half-done files were permitted when they began; what is done of them stands, what is still to run is judged as it is now."""
        if not history.partial:
            return judged
        rows = guard.work.one(
            "SELECT revision_id, pg_catalog.count(*)::text FROM lockgate.migration_step WHERE state = 'done' GROUP BY 1"
        ).rows
        done = {row[0]: int(row[1] or 0) for row in rows}
        rest = tuple(
            found
            for found in judged.findings
            if found.file[:13] not in judged.begun or found.statement >= done.get(found.file[:13], 0)
        )
        return msgspec.structs.replace(judged, findings=rest, begun=frozenset())

    def _ask(self, plan: Plan, history: History, facts: Facts) -> Judged:
        from lockgate.release.judging import judge_pending

        return judge_pending(
            self.files.migrations,
            frozenset(revision for revision, _ in plan.pending),
            self.settings,
            server=facts.version // 10000,
            configured=bool(self.target.environment),
            fresh=not plan.base,
            today=self.today,
            begun=frozenset(history.partial),
        )

    def _tell_policy(self) -> None:
        for note in self._judged.notes if self._judged is not None else ():
            self.report.notes.append(note)
            self.log.tell("policy", note)

    def _look_for_moves(self, guard: Guard, plan: Plan) -> Moves:
        """The moves of this database, and, while one is under way, what the pending files change."""
        moving = under_way(guard.work)
        self._moves = Moves(moving)
        if all(move.over for move in moving):
            return self._moves
        from lockgate.release.judging import changes_in

        wanted = frozenset(revision for revision, _ in plan.pending)
        return Moves(
            moving,
            changes_in(self.files.migrations, wanted, self.settings, server=guard.facts.version // 10000),
        )

    def _gather_papers(self, guard: Guard, plan: Plan) -> "Papers | None":
        """Approvals and backup of a protected target, read under the guard: right before they are relied on."""
        if not self.target.protected:
            return None
        from lockgate.release.papers import gather_papers

        prepared = [self._prepared[revision] for revision, _ in plan.pending]
        self.papers = gather_papers(
            guard.work, plan, prepared, self.settings, self.target, self.identity.operator, guard.facts, self.limits, self.break_glass
        )  # fmt: skip
        return self.papers

    def _grants(self) -> str:
        """What lets the roles of lockgate.toml at the tables of lockgate; roles that do not exist get nothing."""
        from lockgate.release.roles import home_grants

        return home_grants(self.settings.roles)

    def _look_for_drift(self, guard: Guard, history: History) -> None:
        """Say loudly, before anything is applied on top of it, that somebody changed the schema by hand."""
        from lockgate.migrations import drift

        if not history.rows:
            return
        seen = drift.compare(guard.work, self.identity.run_id)
        if seen.verdict is Verdict.FAIL:
            named = ", ".join(str(change) for change in seen.changes[:10])
            if self.identity.kind == "release":
                raise Refused(
                    f"{seen.note}: {named}",
                    "SCHEMA_DRIFT",
                    next="Undo it, or let it stand: lockgate repair --accept-schema --reason ... --actor ...",
                    exit=Exit.REFUSED,
                    details={"changes": [str(change) for change in seen.changes]},
                )
            self.report.notes.append(f"SCHEMA_DRIFT before this run: {seen.note}: {named}")
            self.log.tell("drift", f"{seen.note}: {named}")

    def _preflight(self, guard: Guard, plan: Plan) -> None:
        """Refuse what the role cannot do anyway, with the grant that it lacks, before the first statement runs."""
        from lockgate.postgres.preflight import find_lacks

        files = (self._prepared[revision].statements for revision, _ in plan.pending)
        lacks = find_lacks(guard.work, files)
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
            first, diff = self._explain(first)
        else:
            diff = ""
        more = "".join(f"\n  {o.code}: {o.message}" for o in plan.obstacles[1:20])
        raise Refused(
            first.message + diff + more,
            first.code,
            exit=Exit.REFUSED,
            details={"obstacles": [msgspec.to_builtins(o) for o in plan.obstacles], "diff": diff},
        )

    def _explain(self, obstacle: Obstacle) -> tuple[Obstacle, str]:
        migration = next(m for m in self.files.migrations if m.revision == obstacle.revision)
        wire = connect_patiently(self.target, "look", self.limits, self.alarm)
        try:
            return explain(wire, migration, obstacle)
        finally:
            wire.close()

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
