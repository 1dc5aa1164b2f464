"""``baseline``, ``repair`` and ``down``: one short run under the guard each, recorded like every other run."""

from collections.abc import Callable, Container

import msgspec

from lockgate.config import Settings
from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.migrations import amend, drift
from lockgate.migrations.amend import Amendment
from lockgate.migrations.contract import Prepared
from lockgate.migrations.failure import interrupted
from lockgate.migrations.history import History, read_history
from lockgate.migrations.limits import Limits
from lockgate.migrations.plan import Plan, resolve
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.guard import Guard
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.target import Target
from lockgate.postgres.warden import Warden
from lockgate.postgres.wire import Call, Cancelled, Wire
from lockgate.record.redact import redact
from lockgate.record.verdict import Verdict
from lockgate.record.words import counted
from lockgate.release.authorise import refuse_application_role
from lockgate.release.operator import new_identity
from lockgate.release.project import Files, prepare_files, refuse_problems
from lockgate.release.roles import home_grants

_END = "UPDATE lockgate.run SET state = $2, reason_code = $3, message = $4, finished_at = pg_catalog.clock_timestamp(), after_rev = (SELECT pg_catalog.max(revision_id) FROM lockgate.migration_history) WHERE run_id = $1"


_ROLLED_BACK = "What was under way was rolled back; the history is as it was."


class Desk:
    """Where a person changes the history: files, target and limits, and the guard for the time of one change."""

    def __init__(
        self,
        target: Target,
        files: Files,
        settings: Settings,
        limits: Limits,
        who: Amendment,
        *,
        lock_wait: float = 60.0,
    ) -> None:
        self.target = target
        self.files = files
        self.settings = settings
        self.limits = limits
        self.who = who
        self.lock_wait = lock_wait
        self.notes: list[str] = []
        self._apart: dict[str, tuple[str, str]] = {}

    def baseline(self, until: str) -> list[str]:
        """Adopt every pending file up to revision ``until``; returns their revisions."""

        def act(guard: Guard, history: History) -> list[str]:
            plan = self._plan(history)
            wanted = [revision for revision, _ in plan.pending if revision <= until]
            if not wanted or wanted[-1] != until:
                raise Refused(
                    f"{until} is not a pending revision", "USAGE", next="lockgate status lists them"
                )
            amend.adopt(guard, [self._prepared(revision) for revision in wanted], self.who)
            return wanted

        return self._under_guard("baseline", act)

    def accept_file(self, revision: str) -> list[str]:
        """Let the edited file of ``revision`` stand as what was applied."""

        def act(guard: Guard, history: History) -> list[str]:
            row = next((r for r in history.rows if r.revision == revision), None)
            if row is None:
                raise Refused(f"{revision} is not in the history", "USAGE", next="lockgate status --all")
            item = self._prepared(revision)
            if item.migration.checksum == row.checksum:
                raise Refused(
                    f"{item.migration.file} is what was applied; there is nothing to repair", "USAGE"
                )
            amend.accept_file(guard, item, row, self.who)
            return [revision]

        return self._under_guard("repair", act)

    def forget(self, revision: str) -> list[str]:
        """Take ``revision`` out of the history; it must be the newest."""

        def act(guard: Guard, history: History) -> list[str]:
            if not history.rows or history.newest != revision:
                raise Refused(
                    f"only the newest revision can be forgotten, that is {history.newest or 'none'}", "USAGE"
                )
            amend.forget(guard, history.rows[-1], self.who)
            return [revision]

        return self._under_guard("repair", act, schema=True)

    def accept_chain(self) -> list[str]:
        """Make the hash chain anew over the rows as they stand."""

        def act(guard: Guard, history: History) -> list[str]:
            if not history.broken:
                raise Refused("the chain holds; there is nothing to repair", "USAGE")
            amend.accept_chain(guard, history, self.who)
            return [row.revision for row in history.rows]

        return self._under_guard("repair", act, tampered=True)

    def accept_schema(self, kind: str = "repair", only: Container[str] | None = None) -> list[str]:
        """Let the live schema stand, although it is not the one that the history left. ``kind``: ``move`` after a data move's switch.

        ``only`` names the objects (``"kind identity"``) that may: what else differs stays drift, and where none of them
        differs nothing is recorded.
        """

        def act(guard: Guard, history: History) -> list[str]:
            seen = drift.compare(guard.work, guard.identity.run_id)
            if seen.verdict is Verdict.PASS:
                raise Refused(
                    "the live schema is the one that the history left; there is nothing to repair", "USAGE"
                )
            if not history.rows:
                raise Refused(seen.note, "USAGE", next="lockgate up, or lockgate baseline")
            taken = seen.changes
            if only is not None:
                if seen.verdict is not Verdict.FAIL or not seen.changes:
                    raise Refused(seen.note, "SCHEMA_DRIFT")  # not known object by object
                taken = tuple(change for change in seen.changes if change.identity in only)
                self._apart = {i: pair for i, pair in seen.apart.items() if i not in only}
            if only is not None and not taken:
                return []
            after = {"digest": seen.digest, "changes": [msgspec.to_builtins(change) for change in taken]}
            if self._apart:
                after["drift"] = sorted(self._apart)
            amend.accept_schema(guard, history.newest, self.who, {"digest": seen.expected}, after, kind)
            return [history.newest]

        return self._under_guard("repair", act, schema=True)

    def discard_journal(self, revision: str) -> list[str]:
        """Drop the journal of a half-done file."""

        def act(guard: Guard, history: History) -> list[str]:
            amend.discard_journal(guard, revision, self.who)
            return [revision]

        return self._under_guard("repair", act)

    def down(self, steps: int) -> list[str]:
        """Undo the newest ``steps`` files, newest first. Refused in a protected environment."""
        if self.target.protected:
            raise Refused(
                f"{self.target.environment} is protected: production goes forward", "PROTECTED_ENVIRONMENT"
            )

        def act(guard: Guard, history: History) -> list[str]:
            rows = list(history.rows[-steps:])[::-1]
            if len(rows) < steps:
                raise Refused(f"the history has {counted(len(history.rows), 'file')}, not {steps}", "USAGE")
            plan = self._plan(history)
            if any(o.revision in {r.revision for r in rows} for o in plan.obstacles):
                raise Refused(plan.obstacles[0].message, plan.obstacles[0].code)
            items = [self._prepared(row.revision) for row in rows]
            for item in items:
                if not item.down:
                    raise Refused(
                        f"{item.migration.file} has no `-- lockgate: down` section",
                        "USAGE",
                        next="Write a new migration that goes forward.",
                    )
            undone: list[str] = []
            for item, row in zip(items, rows, strict=True):
                done = f"{', '.join(undone)} undone" if undone else "nothing is undone"
                try:
                    amend.down(guard, item, row, self.who, self.limits)
                except RunFailed as failure:
                    failure.state = f"{row.revision} is still applied; {done}. {failure.state}"
                    failure.next = "Mend the down section or the database, then lockgate down again"
                    failure.details["undone"] = undone
                    raise
                except Cancelled as stop:
                    cut = interrupted(stop.cause.message, guard.alarm.signal)
                    cut.state = (
                        f"{row.revision} is still applied; {done}; what it ran outside a transaction stays."
                    )
                    cut.next = "lockgate status, and count anew how many steps are left"
                    cut.details["undone"] = undone
                    raise cut from None
                except LockgateError as error:
                    error.state = (
                        f"{done}; whether {row.revision} is undone too was not heard, lockgate status tells."
                    )
                    error.next = "lockgate status, before anything is run again"
                    error.details["undone"] = undone
                    raise
                undone.append(row.revision)
            return [row.revision for row in rows]

        return self._under_guard("down", act)

    # -- the run around a change ----------------------------------------------------------------------

    def _under_guard(
        self,
        kind: str,
        act: Callable[[Guard, History], list[str]],
        *,
        tampered: bool = False,
        schema: bool = False,
    ) -> list[str]:
        """``tampered``: also where the history was; ``schema``: the live schema is what counts from now on."""
        refuse_application_role()
        if kind != "repair":
            refuse_problems(self.files.problems)
        identity = new_identity(kind)
        with (
            Alarm() as alarm,
            Guard(
                self.target, identity, self.limits.session(), alarm=alarm, clock=self.limits.clock
            ) as guard,
        ):
            failure: LockgateError | None = None
            try:
                guard.acquire(self.lock_wait, grants=lambda: home_grants(self.settings.roles))
                history = read_history(guard.work)
                if history.broken and not tampered:
                    raise Refused(
                        history.broken,
                        "HISTORY_TAMPERED",
                        next="Look at it first; lockgate repair --accept-chain --reason TEXT --actor WHO takes the rows as they stand.",
                    )
                return self._watched(guard, history, act, schema or kind != "repair")
            except LockgateError as error:
                failure = error
                raise
            except ServerError as error:
                code = reason_of(error.sqlstate)
                failure = RunFailed(f"the server refused it: {error.message}", code, state=_ROLLED_BACK)
                raise failure from None
            except Cancelled as stop:
                failure = interrupted(stop.cause.message, alarm.signal)
                failure.state, failure.next = _ROLLED_BACK, "Run the same command again."
                raise failure from None
            finally:
                if guard.epoch:
                    self._end(guard.guard, identity.run_id, failure)

    def _watched(
        self, guard: Guard, history: History, act: Callable[[Guard, History], list[str]], schema: bool
    ) -> list[str]:
        """Do it under a warden, whose heartbeat keeps the guard's session alive, and record the ``schema`` that it leaves.

        Where only rows were changed, the schema that was recorded before is still the right one: what somebody changed by
        hand must not pass for ours because of a repair. A first baseline has none yet.
        """
        warden = Warden(guard, self.limits.max_lock_victims, clock=self.limits.clock)
        warden.start()
        try:
            return act(guard, history)
        finally:
            warden.stop()
            # What was refused changed nothing, so what somebody changed by hand must not pass for ours after it.
            if guard.work.alive and guard.work.idle and self._changed(guard, history):
                if schema or not history.schema_head:
                    self._remember(guard, fresh=True)
                elif history.schema_head == history.head:
                    self._remember(guard, fresh=False)

    def _changed(self, guard: Guard, history: History) -> bool:
        """True when the amendment came so far as to write its event; the event's own head is that of before."""
        try:
            found = guard.work.value(
                "SELECT EXISTS (SELECT FROM lockgate.history_event WHERE run_id = $1)", guard.identity.run_id
            )
        except (LockgateError, ServerError, Cancelled):
            return False
        return found == "t"

    def _remember(self, guard: Guard, *, fresh: bool) -> None:
        """Record the schema as it now is. What was changed is committed already, so a failure here is only noted."""
        newest = (
            guard.work.value(
                "SELECT COALESCE(pg_catalog.max(revision_id), '') FROM lockgate.migration_history"
            )
            or ""
        )
        if newest:
            try:
                if fresh:
                    drift.remember(guard.work, guard.epoch, newest, self._apart)
                else:
                    drift.carry(guard.work, guard.epoch)
            except (LockgateError, ServerError, Cancelled) as error:
                self.notes.append(
                    f"the schema's digest could not be recorded: {error}; the next lockgate up does it"
                )

    def _end(self, wire: Wire, run_id: str, failure: LockgateError | None) -> None:
        if not wire.alive:
            return
        state = "succeeded" if failure is None else "cancelled" if failure.code == "CANCELLED" else "failed"
        values = (run_id, state, failure.code if failure else "", redact(failure.message) if failure else "")
        try:
            wire.batch(
                [Call(_END, values)], uncancellable=True, deadline=self.limits.clock() + 10, label="finish"
            )
        except (LockgateError, ServerError) as error:
            self.notes.append(f"the end of the run could not be recorded: {error}")

    def _plan(self, history: History) -> Plan:
        return resolve(self.files.migrations, history)

    def _prepared(self, revision: str) -> Prepared:
        migration = next((m for m in self.files.migrations if m.revision == revision), None)
        if migration is None:
            raise Refused(f"there is no file of revision {revision}", "MIGRATION_MISSING")
        prepared, problems = prepare_files((migration,), self.settings)
        refuse_problems(problems)
        return prepared[revision]
