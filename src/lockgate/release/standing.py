"""How things stand at the target, looked at under the guard, before the permit: moves, papers, privileges, drift."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from lockgate.config import Roles, Settings
from lockgate.errors import Refused
from lockgate.migrations.files import Migration
from lockgate.migrations.history import History
from lockgate.migrations.plan import Plan
from lockgate.postgres.guard import Guard
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict
from lockgate.release.moving import Moves, read_waits, under_way

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared


def look_for_moves(
    guard: Guard,
    plan: Plan,
    history: History,
    migrations: tuple[Migration, ...],
    settings: Settings,
    fills: Target | None = None,
) -> Moves:
    """The moves of this database, those that pending files name and that have nothing to move, and, while one is under way,
    what the pending files change. Where ``fills`` names the database, few rows that the run itself writes are filled in within it."""
    moving = under_way(guard.work)
    unmoved, passed = read_waits(guard.work, moving, *texts_of(plan, history, migrations), settings, fills)
    if all(move.over for move in moving):
        return Moves(moving, (), unmoved, passed)
    from lockgate.release.judging import changes_in

    wanted = frozenset(revision for revision, _ in plan.pending)
    changes = changes_in(migrations, wanted, settings, server=guard.facts.version // 10000)
    return Moves(moving, changes, unmoved, passed)


def texts_of(plan: Plan, history: History, migrations: tuple[Migration, ...]) -> tuple[list[str], list[str]]:
    """The texts of the files that are pending, and of those that ran here, wholly or half: adopted ones never did."""
    pending = {revision for revision, _ in plan.pending}
    ran = {row.revision for row in history.rows if row.state == "applied"} | set(history.partial)
    return [m.up for m in migrations if m.revision in pending], [
        m.up for m in migrations if m.revision in ran
    ]


def look_for_drift(
    guard: Guard, history: History, *, refuse: bool, tell: Callable[[str], None]
) -> Mapping[str, tuple[str, str]]:
    """Say loudly, before anything is applied on top of it, that somebody changed the schema by hand.

    Comes back with what is apart, as ``Drift.apart`` has it. Raises ``Refused`` (``SCHEMA_DRIFT``) where ``refuse``; else ``tell`` hears it.
    """
    from lockgate.migrations import drift

    if not history.rows:
        return {}
    seen = drift.compare(guard.work, guard.identity.run_id)
    if seen.verdict is not Verdict.FAIL:
        return {}
    named = f"{seen.note}: {', '.join(str(change) for change in seen.changes[:10])}"
    if refuse:
        raise Refused(
            named,
            "SCHEMA_DRIFT",
            next="Undo it, or let it stand: lockgate repair --accept-schema --reason TEXT --actor WHO",
            exit=Exit.REFUSED,
            details={"changes": [str(change) for change in seen.changes]},
        )
    tell(f"{named}. It stays drift until it is undone or lockgate repair --accept-schema lets it stand")
    return seen.apart


def refuse_lacks(wire: Wire, user: str, plan: Plan, prepared: "Mapping[str, Prepared]", roles: Roles) -> None:
    """Refuse what the role cannot do anyway, with the grant that it lacks, before the first statement runs.

    Where it is a schema that ``roles`` does not list, the setting comes next: without it no later table has its grants.
    """
    from lockgate.postgres.preflight import find_lacks

    lacks = find_lacks(wire, (prepared[revision].statements for revision, _ in plan.pending))
    if lacks:
        told = "".join(f"\n  {lack.message}\n    fix: {lack.fix}" for lack in lacks)
        unlisted = sorted({lack.schema for lack in lacks if lack.schema} - set(roles.schemas))
        setting = f"{roles.with_schemas(unlisted)} in lockgate.toml, then lockgate roles prints the SQL that grants it."
        raise Refused(
            f"the role {user} cannot run these files:{told}",
            lacks[0].code,
            next=setting if lacks[0].schema in unlisted else lacks[0].fix,
            details={"lacks": [msgspec.to_builtins(lack) for lack in lacks]},
        )
