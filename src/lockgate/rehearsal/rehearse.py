"""The whole rehearsal, step by step, on scratch databases of one server. The verdict is at its end, never in its way."""

import copy
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import msgspec

from lockgate import __version__
from lockgate.config import Roles
from lockgate.errors import Interrupted, RunFailed
from lockgate.migrations.failure import interrupted
from lockgate.migrations.plan import Plan
from lockgate.migrations.progress import AppliedFile, Event, Log
from lockgate.policy.model.schema import Schema
from lockgate.policy.subject import Options
from lockgate.postgres.breaking import Breakable, fails_to_validate
from lockgate.postgres.observing import Observation
from lockgate.postgres.scratch import Ground
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.tables import read_tables
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled, Wire
from lockgate.record.verdict import Verdict
from lockgate.record.words import agree, counted
from lockgate.rehearsal import checks as look
from lockgate.rehearsal.bases import Bases
from lockgate.rehearsal.compatibility import BREAKS, HOLD, RECONNECT, Compatibility
from lockgate.rehearsal.course import Course
from lockgate.rehearsal.downs import prove_downs
from lockgate.rehearsal.filling import Filled, Filling
from lockgate.rehearsal.impact import Estimate, Impact
from lockgate.rehearsal.likeness import likenesses_of
from lockgate.rehearsal.load import Load, Work, under_load, work_of
from lockgate.rehearsal.pgbench import Pgbench, Stuck, sweep, under_pgbench
from lockgate.rehearsal.probing import Probe, unnamed
from lockgate.rehearsal.queries import QuerySet
from lockgate.rehearsal.replay import Stage, replay, validates_next
from lockgate.rehearsal.report import Rehearsal, Server
from lockgate.rehearsal.scaling import Scaling, measure
from lockgate.rehearsal.trace import MigrationTrace, lock_seconds, tally, trace_of
from lockgate.rehearsal.verdict import Check, failed, held, passed, verdict_of

if TYPE_CHECKING:
    from lockgate.rehearsal.claims import Claims


class Wish(msgspec.Struct, frozen=True):
    """What is to be rehearsed. ``plan`` has the base as applied and the rest as pending."""

    stage: Stage
    plan: Plan
    options: Options
    roles: Roles
    today: date
    releases: tuple[QuerySet, ...] = ()
    rows: int = 20
    seed: int = 1
    judge_after: str = ""
    scaling: Scaling | None = None
    clients: int = 0
    pgbench: Pgbench | None = None
    where: str = "embedded"


class Rehearsing:
    """One rehearsal on one ground; ``run`` gives its report."""

    def __init__(self, ground: Ground, wish: Wish, listener: Callable[[Event], None] | None = None) -> None:
        self.ground = ground
        self.wish = wish
        self.stage = wish.stage
        self.pending = [revision for revision, _ in wish.plan.pending]
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self.digest = ""
        self.promised: dict[str, tuple[str, ...]] = {}
        """Table → the checks that files bring and validate: what production's rows satisfy by then."""
        self.bases = Bases(ground, self.stage, wish.plan, self.tell)
        self._listener = listener
        self._claims: Claims | None = None
        self._started = time.monotonic()

    def run(self) -> Rehearsal:
        """Rehearse. Raises ``LockgateError`` only when nothing could be proven at all: no server, a base that cannot be replayed."""
        try:
            return self._run()
        except ServerError as error:
            code = reason_of(error.sqlstate)
            raise RunFailed(
                f"the scratch server refused what lockgate itself asked: {error.sqlstate}: {error.message}",
                "BUG" if code == "MIGRATION_EXECUTION_FAILED" else code,
                state="The rehearsal stopped; the target was not touched.",
                details={"sqlstate": error.sqlstate},
            ) from None
        except Cancelled as stop:
            raise interrupted(stop.cause.message, self.stage.alarm.signal) from None

    def _run(self) -> Rehearsal:
        wish = self.wish
        sweep()
        self.tell(
            "rehearsing", f"{counted(len(self.pending), 'file')} on top of {wish.plan.base or 'nothing'}"
        )
        if wish.plan.applied:
            self._judge()  # what the first file works on has to be known before there are rows
        target = self.ground.at(self.bases.make())
        wire = Wire(target, "rehearsal")
        wire.patience = 600.0
        filling = Filling(wire, rows=wish.rows, seed=wish.seed)
        like = None if wish.scaling is None else likenesses_of(wish.scaling.snapshot)
        probe = Probe(target, wish.releases, seed=wish.seed, like=like)
        course = Course(self.bases, target, wire, filling, probe, self._judge)
        second = ""
        try:
            owners = look.read_owners(wire)
            whole = course.run(asked=bool(wish.releases))
            self.checks += course.checks
            if whole:
                self.tell("proving", "second apply, status, indexes, owners")
                second = self._prove(target, wire, owners)
        finally:
            probe.close()
            wire.close()
        if whole:
            self.checks.append(self.bases.compare_with_nothing(self.after))
            self._downs(course)
        compatibility = probe.answers(whole=whole)
        self.checks += [_check_of(name, found) for name, found in compatibility.items()]
        claims = self._judge()
        traces = self._traces(course.observed, claims, course.files)
        self.promised = _promised(course.proven)
        impact = self._impact(claims) if whole and wish.scaling is not None else None
        self.notes += [*course.notes, *self.bases.notes, *unnamed(wish.releases)]
        self.notes += [f"{table} holds no rows: {why}" for table, why in sorted(filling.empty.items())]
        load = self._load() if whole and wish.clients else None
        self.bases.keep()
        verdict, code, reason = verdict_of(self.checks)
        return Rehearsal(
            str(verdict), code, reason, wish.plan.hash, wish.plan.base, wish.plan.goal,
            datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            round(time.monotonic() - self._started, 3), __version__, Server(self.ground.version, wish.where),
            tuple(self.checks), traces, compatibility, second, self.digest, tally(traces), claims.findings,
            Filled(dict(sorted(filling.rows.items())), dict(sorted(filling.empty.items()))), impact, load, tuple(self.notes),
        )  # fmt: skip

    def tell(self, status: str, detail: str) -> None:
        """Say how far it is."""
        if self._listener is not None:
            self._listener(Event(datetime.now(UTC).isoformat(), status, detail))

    # -- policy -------------------------------------------------------------------------------------

    def _judge(self) -> "Claims":
        """What the policy says, asked once: on an empty history while the server makes the tables of lockgate."""
        if self._claims is not None:
            return self._claims
        from lockgate.rehearsal.claims import Claims, claims_of

        known = {m.revision: m for m in self.stage.migrations}
        base = [known[revision] for revision, _ in self.wish.plan.applied]
        claims = claims_of(
            base,
            [self.stage.prepared[r] for r in self.pending],
            self.wish.options,
            today=self.wish.today,
            schema=self._known_schema(),
        )
        kept = tuple(f for f in claims.findings if f.file[:13] > self.wish.judge_after)
        claims = Claims(kept, claims.facts)
        errors = [f for f in kept if f.severity == "error"]
        if errors:
            told = "; ".join(f"{f.file}:{f.line} {f.id}" for f in errors[:10])
            more = f" and {len(errors) - 10} more" if len(errors) > 10 else ""
            self.checks.append(failed("policy", f"{told}{more}", "POLICY_FAILED"))
        else:
            self.checks.append(passed("policy", f"{counted(len(kept), 'finding')}, none of them an error"))
        self._claims = claims
        return claims

    def _known_schema(self) -> Schema | None:
        """The schema in the snapshot, where that was taken at the base; the judge changes it, so it is a copy."""
        scaling = self.wish.scaling
        if scaling is None or scaling.snapshot.schema_rev != self.wish.plan.base:
            return None
        return copy.deepcopy(scaling.snapshot.schema)

    # -- proof --------------------------------------------------------------------------------------

    def _prove(self, target: Target, wire: Wire, owners: set[tuple[str, str, str]]) -> str:
        again, self.after = look.second_apply(wire, target, self.stage)
        self.checks += [
            again,
            look.status_clean(wire, self.stage),
            look.no_invalid_index(wire),
            look.owners(wire, owners, self.wish.roles),
        ]
        self.digest = self.after.digest
        return "noop" if again.answer is Verdict.PASS else "changed"

    def _downs(self, course: Course) -> None:
        if course.before:
            self.tell("undoing", counted(len(course.before), "down section"))
            base = self.bases.make()
            self.checks.append(prove_downs(self.ground, base, self.stage, self.pending, course.before))

    def _impact(self, claims: "Claims") -> Impact | None:
        """What it costs at production size, and whether the estimates of the files hold."""
        assert self.wish.scaling is not None
        found, why, refused = measure(
            self.ground, self.bases.make, self.stage, self.pending, claims.facts,
            msgspec.structs.replace(self.wish.scaling, promised=self.promised),
            lambda observed, files: self._traces(observed, claims, files),
            lambda event: self.tell(event.status, event.detail),
        )  # fmt: skip
        for revision, told in refused.items():
            known = f"{revision} fails in production, where the snapshot has NULLs: {told}"
            self.checks.append(failed(f"rows:{revision}", known, reason_of("23502")))
        if found is None:
            self.notes.append(why)
            return None
        for one in found.statements:
            if one.estimate is not None:
                told = f"the file says {_said(one.estimate)}; {counted(one.production_rows, 'row')}, {one.seconds.low:.1f} to {one.seconds.high:.1f} s are expected"
                name = f"estimate:{one.revision}"
                right = one.estimate.answer == str(Verdict.PASS)
                self.checks.append(passed(name, told) if right else failed(name, told, "ESTIMATE_EXCEEDED"))
        return found

    def _load(self) -> Load | None:
        """The files once more, unobserved, on a fresh copy of the base while clients are at work."""
        wish = self.wish
        target = self.ground.at(self.bases.make())
        wire = Wire(target, "filling")
        wire.patience = None
        filling = Filling(
            wire,
            rows=max(wish.rows, 1),
            seed=wish.seed,
            wanted={} if wish.scaling is None else wish.scaling.wanted(),
            like=None if wish.scaling is None else likenesses_of(wish.scaling.snapshot),
            promised=self.promised,
        )
        probe = Probe(target, wish.releases, seed=wish.seed)
        try:
            filling.fill()
            probe.look(wish.plan.base)
            work = probe.work() or work_of(read_tables(wire), filling.rows)
        except BaseException:
            wire.close()
            raise
        finally:
            probe.close()
        try:
            return self._loaded(target, work, filling)
        finally:
            wire.close()

    def _loaded(self, target: Target, work: list[Work], filling: Filling) -> Load | None:
        """The files while ``work`` is done."""
        wish = self.wish
        own = wish.pgbench is not None and bool(wish.pgbench.scripts)
        if not work and not own:
            self.notes.append("no load: at the base there is no table with rows; give --from")
            return None
        told = "the scripts of --load" if own else f"{counted(len(work), 'query')}"
        self.tell("loading", f"{wish.clients} clients{' of pgbench' if wish.pgbench else ''}, {told}")

        def apply() -> None:
            # Statements of a file travel with the COMMIT of the one before, so what has to be done between two takes a replay of its own.
            for revision in self.pending:
                if validates_next(self.stage, self.pending, revision):
                    replay(target, self.stage, Log(), until=revision)
                    filling.satisfy()
            replay(target, self.stage, Log())

        try:
            if wish.pgbench is not None:
                return under_pgbench(target, wish.pgbench, work, wish.clients, apply)
            return under_load(target, work, wish.clients, apply)
        except Stuck as error:
            self.checks.append(held("load", f"no figures of the load: {error.message}", error.code))
            return None
        except RunFailed as error:
            if isinstance(error, Interrupted):
                raise
            if fails_to_validate(error.details.get("statement"), error.details.get("sqlstate")):
                # That the file applies to rows as they are by then is proven; nothing could be made to satisfy it here.
                self.notes.append(f"no figures of the load: {error.message}")
                return None
            self.checks.append(
                failed("load", f"the files do not apply under load: {error.message}", error.code)
            )
            return None

    def _traces(
        self,
        observed: dict[tuple[str, int], Observation],
        claims: "Claims",
        files: dict[str, AppliedFile],
    ) -> tuple[MigrationTrace, ...]:
        traces = []
        for revision in self.pending:
            item = self.stage.prepared[revision]
            statements = []
            for number, statement in enumerate(item.statements, 1):
                seen, claim = observed.get((revision, number)), claims.facts.get((revision, number))
                if seen is not None:
                    kind = claim.kind if claim else statement.kind
                    statements.append(trace_of(seen, claim, claim.line if claim else statement.line, kind))
            file = files.get(revision)
            if statements or file:
                seconds = file.duration_ms / 1000 if file else sum(s.seconds for s in statements)
                traces.append(
                    MigrationTrace(
                        revision, item.migration.name, round(seconds, 6), lock_seconds(statements), tuple(statements)
                    )
                )  # fmt: skip
        return tuple(traces)


def _check_of(name: str, found: Compatibility) -> Check:
    if found.answer == BREAKS:
        first = found.breaks[0]
        told = f"{counted(len(found.breaks), 'query')} {agree(len(found.breaks), 'breaks', 'break')}; at {first.revision}: {' '.join(first.query.split())[:80]}: {first.message}"
        return failed(f"compatibility:{name}", told, "QUERIES_BREAK")
    if found.answer == HOLD:
        never = [p for p in found.queries if p.base is None]
        why = (
            never[0].outcomes[-1].message
            if never and never[0].outcomes
            else "not every file could be applied"
        )
        unsure = [(o.revision, p, o) for p in found.queries for o in p.outcomes if o.answer == HOLD]
        if unsure and not never:
            revision, proof, outcome = unsure[0]
            told = f"at {revision}: {' '.join(proof.query.split())[:80]}: {outcome.message}"
            return held(f"compatibility:{name}", told)
        first_text = " ".join(never[0].query.split())[:80] if never else ""
        return held(
            f"compatibility:{name}",
            f"{counted(len(never), 'query')} never worked; {first_text}: {why}" if never else why,
        )
    note = "; connections have to be opened anew" if found.answer == RECONNECT else ""
    return passed(
        f"compatibility:{name}", f"all {counted(len(found.queries), 'query')} work at every revision{note}"
    )


def _promised(proven: list[Breakable]) -> dict[str, tuple[str, ...]]:
    """Table → the expressions of its checks among these constraints."""
    found: dict[str, tuple[str, ...]] = {}
    for one in proven:
        if one.check:
            found[one.table] = (*found.get(one.table, ()), one.check)
    return found


def _said(estimate: Estimate) -> str:
    said = [f"{estimate.rows:g} rows"] if estimate.rows is not None else []
    return ", ".join(said + ([f"{estimate.seconds:g} s"] if estimate.seconds is not None else []))
