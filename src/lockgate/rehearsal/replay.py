"""Files through the real engine on a scratch database: guard, plan, permit, apply; what is observed comes back."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from lockgate.errors import ConfigError, Refused, RunFailed
from lockgate.migrations.apply import apply
from lockgate.migrations.contract import Prepared
from lockgate.migrations.files import Migration
from lockgate.migrations.history import History, read_history
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.permit import Permit
from lockgate.migrations.plan import Plan, resolve
from lockgate.migrations.progress import AppliedFile, Event, Log
from lockgate.postgres.alarm import Alarm, Cause
from lockgate.postgres.breaking import validates
from lockgate.postgres.guard import Guard, RunIdentity
from lockgate.postgres.moves.empty import Awaited, Turn
from lockgate.postgres.observing import Observation, ObservingWire
from lockgate.postgres.preflight import find_lacks
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.target import Target
from lockgate.postgres.tree.lexing import parted
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.straight import apply_straight

if TYPE_CHECKING:
    from lockgate.moves.declaration import Declaration
    from lockgate.policy.finding import StatementFacts

SCRATCH = "rehearsal"
"""The environment that a rehearsal's permits name: no database but a scratch one has it."""


class Stage(msgspec.Struct, frozen=True):
    """What every replay of one rehearsal shares."""

    migrations: tuple[Migration, ...]
    prepared: dict[str, Prepared]
    limits: Limits
    alarm: Alarm
    identity: RunIdentity
    moves: "Mapping[str, Declaration]" = {}
    """Moves in place that files wait for, by name: right before such a file, what is there is filled in as the move would have."""


class ObservingGuard(Guard):
    """A guard whose work session is observed."""

    work_wire = ObservingWire


class FileLog(Log):
    """Tells ``after`` of each file once it is committed and before the next one begins."""

    def __init__(
        self, after: Callable[[AppliedFile], None] | None = None, listener: Callable[[Event], None] | None = None
    ) -> None:  # fmt: skip
        super().__init__(listener)
        self._after = after

    def done(self, file: AppliedFile) -> None:
        """Record an applied file, then let the rehearsal look at the database."""
        super().done(file)
        if self._after is not None:
            self._after(file)


def validates_next(stage: Stage, pending: Sequence[str], revision: str) -> bool:
    """Whether the file after ``revision`` is to prove a constraint of the rows that are there. Pure."""
    following = pending[pending.index(revision) + 1 :][:1]
    return any(validates(s.text) for r in following for s in stage.prepared[r].statements)


def replay(
    target: Target,
    stage: Stage,
    log: Log,
    *,
    until: str | None = None,
    straight: bool = False,
    then: Callable[[Wire], object] | None = None,
) -> History:
    """Apply what is pending on ``target`` (up to revision ``until``) as ``up`` would; the history that was found before.

    ``straight`` sends plain files many at a time, for a database that is thrown away where that raises ``Unusual``. ``then`` looks at what is there at last, in the session that did it: a new one would have to read the catalogs anew.
    Raises what ``migrations.apply`` raises.
    """
    return _run(target, stage, log, Guard, until, None, straight=straight, then=then)[0]


def observe(
    target: Target,
    stage: Stage,
    log: Log,
    claimed: "Callable[[], dict[tuple[str, int], StatementFacts]]",
    seen: dict[tuple[str, int], Observation],
) -> None:
    """The same, every statement observed into ``seen``: (revision, number from 1) → what it did.

    ``claimed`` gives the policy's claims; it is asked while the server makes the tables of lockgate. What was observed until
    an error stands in ``seen`` too.
    """
    _run(target, stage, log, ObservingGuard, None, seen, claimed)


def _run(
    target: Target,
    stage: Stage,
    log: Log,
    kind: type[Guard],
    until: str | None,
    seen: dict[tuple[str, int], Observation] | None,
    claimed: "Callable[[], dict[tuple[str, int], StatementFacts]] | None" = None,
    straight: bool = False,
    then: Callable[[Wire], object] | None = None,
) -> tuple[History, Plan]:
    limits = stage.limits
    wanted = tuple(m for m in stage.migrations if until is None or m.revision <= until)

    def know() -> None:
        if claimed is not None:
            claimed()

    with kind(
        target, stage.identity, limits.session(), alarm=stage.alarm, clock=limits.clock, rng=limits.rng
    ) as guard:
        guard.acquire(10.0, meanwhile=know)
        history = read_history(guard.work)
        plan = resolve(wanted, history)
        if plan.obstacles:
            raise Refused(plan.obstacles[0].message, plan.obstacles[0].code)
        refuse_lacks(guard, [stage.prepared[revision] for revision, _ in plan.pending])
        if seen is not None and claimed is not None and isinstance(guard.work, ObservingWire):
            _interest(guard.work, stage, plan, claimed())
            guard.work.seen = seen
        for wire in (guard.guard, guard.work):
            wire.one("SET idle_session_timeout = 0")  # between two files the rehearsal takes its time
        run = Deadline(
            limits.clock() + limits.run_timeout.seconds,
            Cause("RUN_TIMEOUT", f"the rehearsal took longer than {limits.run_timeout}"),
        )
        if not straight or not _straight(guard, stage, plan, run):
            # What went straight through is applied, and the history knows it.
            rest = resolve(wanted, read_history(guard.work)) if straight else plan
            permit = msgspec.structs.replace(
                permit_for(rest, stage.identity), provided=_awaited(target, stage, rest)
            )
            apply(guard, rest, permit, stage.prepared, limits, run, log)
        if then is not None:
            then(guard.work)
    return history, plan


def _straight(guard: Guard, stage: Stage, plan: Plan, run: Deadline) -> bool:
    """Whether all that is pending went straight through."""
    files = [stage.prepared[revision] for revision, _ in plan.pending]
    done = apply_straight(guard, files, stage.limits, run)
    if not done:
        guard.work.one("DEALLOCATE ALL")  # the engine prepares its own
    return done


class _Replayed(NamedTuple):
    """A move that production had, for the rows that the files before ``revision`` wrote here."""

    declared: "Declaration"
    target: Target
    revision: str

    @property
    def name(self) -> str:
        """The move's name."""
        return self.declared.name

    def take_turn(self, wire: Wire) -> Turn:
        """Fill in what is there, as the move did before the file. A table that is not there has no rows."""
        from lockgate.moves.again import fill_in

        try:
            fill_in(self.declared, self.target, compared=False)
        except ConfigError as error:
            return Turn("", error.message)
        except ServerError as error:
            raise RunFailed(
                f"the move {self.name} could not fill in the rows that are there before {self.revision}: {error.sqlstate}: {error.message}",
                reason_of(error.sqlstate),
                details={"revision": self.revision, "sqlstate": error.sqlstate},
            ) from None
        return Turn("", f"rows were filled in as the move {self.name} did")


def _awaited(target: Target, stage: Stage, plan: Plan) -> dict[str, tuple[Awaited, ...]]:
    """The pending files that wait for moves in place, with these."""
    found: dict[str, tuple[Awaited, ...]] = {}
    for revision, _ in plan.pending:
        names = [after.removeprefix("move:") for after in stage.prepared[revision].directives.after]
        moves = tuple(_Replayed(stage.moves[name], target, revision) for name in names if name in stage.moves)
        if moves:
            found[revision] = moves
    return found


def permit_for(plan: Plan, identity: RunIdentity) -> Permit:
    """The permit of a scratch database. It names an environment that no target has; ``up`` never sees it."""
    return Permit(plan.hash, SCRATCH, identity.operator, evidence=("a scratch database that is thrown away",))


def refuse_lacks(guard: Guard, files: list[Prepared]) -> None:
    """Raise ``Refused`` when the server lacks an extension, or the role a right, that these files need."""
    lacks = find_lacks(guard.work, (item.statements for item in files))
    if not lacks:
        return
    missing = [lack for lack in lacks if lack.code == "EXTENSION_MISSING"]
    first = (missing or lacks)[0]
    needing = [
        item.migration.file
        for item in files
        if any(s.needs[0] == "extension" and s.needs[1] in first.message.split() for s in item.statements)
    ]
    where = f"{', '.join(needing[:5])}: " if missing and needing else ""
    raise Refused(
        where + "; ".join(lack.message for lack in (missing or lacks)),
        first.code,
        next="Rehearse where it is installed: --bindir DIR (the programs of another PostgreSQL) or --scratch-url URL."
        if missing
        else first.fix,
        details={"lacks": [msgspec.to_builtins(lack) for lack in lacks]},
    )


def _interest(
    wire: ObservingWire, stage: Stage, plan: Plan, facts: "dict[tuple[str, int], StatementFacts]"
) -> None:
    for revision, _ in plan.pending:
        for number, statement in enumerate(stage.prepared[revision].statements, 1):
            wire.wanted[id(statement.text)] = (revision, number)
            claim = facts.get((revision, number))
            if statement.alone is not None and claim is not None:
                wire.claims[revision, number] = tuple(map(quoted, claim.locks))


def quoted(key: str) -> str:
    """The SQL name of a relation that reports show as ``name`` or ``schema.name``."""
    schema, name = parted(key)
    return ".".join(['"' + part.replace('"', '""') + '"' for part in (schema or "public", name)])
