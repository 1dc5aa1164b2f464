"""What ``release recover`` decides on, read from the tables; and the choice of a person, written there."""

import msgspec

from lockgate.config import Settings
from lockgate.errors import ConfigError
from lockgate.migrations.history import read_history
from lockgate.migrations.limits import Limits
from lockgate.postgres import releases
from lockgate.postgres.backups import read_backups
from lockgate.postgres.breaking import rows_in_the_way
from lockgate.postgres.guard import RELEASE_KEY, Guard
from lockgate.postgres.releases import ReleaseRow, StepRow
from lockgate.postgres.remains import lives, read_remains
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.release.look import connect_patiently
from lockgate.release.recover import Recovery, Situation
from lockgate.release.under_way import migration_under_way


def read_situation(target: Target, settings: Settings, limits: Limits, sha: str = "") -> Situation:
    """Read what ``ways_back`` decides on. Raises ``ConfigError`` (``NO_RELEASE``)."""
    own = settings.of(target.environment)
    wire = connect_patiently(target, "recover", limits, None)
    try:
        rows = [r for r in releases.read_releases(wire, most=200) if r.environment == target.environment]
        ours = [r for r in rows if r.sha.startswith(sha)]
        if not ours:
            raise ConfigError(f"this database knows no release{' of ' + sha if sha else ''}", "NO_RELEASE")
        release = ours[0]
        steps = {s.name: s for s in releases.read_steps(wire, release.release_key)}
        history = read_history(wire)
        wanted = (
            [str(r) for r in steps["candidate"].evidence.get("wanted", [])] if "candidate" in steps else []
        )
        phases = {row.revision: row.phase for row in history.rows}
        backup_id = str(steps["backup"].evidence.get("backupId", "")) if "backup" in steps else ""
        backups = [b for b in read_backups(wire, backup_id) if b.state == "verified"] if backup_id else []
        behind = None
        if backups and backups[0].lsn:
            behind = wire.value(
                "SELECT (pg_catalog.pg_current_wal_lsn() - $1::pg_lsn)::bigint::text", backups[0].lsn
            )
        applied = tuple(r for r in wanted if r in phases)
        return Situation(
            release,
            steps,
            next((r for r in rows if _goes_back(r, release)), None),
            backups[0] if backups else None,
            applied,
            tuple(r for r in applied if phases[r] == "contract"),
            history.partial,
            releases.read_pause(wire),
            target.protected,
            int(behind) if behind is not None else None,
            bool(own.workers.provider or own.workers.preset),
            bool(own.release.rollout),
            _live(wire),
            settings.env[target.environment].url_env if target.environment else "",
            _without_down(settings, applied),
            _finds(wire, steps),
            own.release.rehearsal
            or (target.protected and settings.env[target.environment].require_rehearsal),
            read_remains(wire, release.release_key, ()).last
            if release.state == "running" and not lives(wire, release)
            else "",
            migration_under_way(wire),
            len(applied) < len(wanted),
        )
    finally:
        wire.close()


def _finds(wire: Wire, steps: dict[str, StepRow]) -> str:
    evidence = steps["migrate"].evidence if "migrate" in steps else {}
    return rows_in_the_way(wire, evidence.get("statement"), evidence.get("sqlstate"))


def _goes_back(row: ReleaseRow, release: ReleaseRow) -> bool:
    """Whether ``row`` is a release to go back to: one that succeeded before, of another sha than the one that failed."""
    return row.state == "succeeded" and row.sequence < release.sequence and row.sha != release.sha


def newest_release(target: Target, limits: Limits) -> tuple[ReleaseRow | None, str]:
    """The newest release of the target's environment, by sequence; None where there was none. One that changed nothing is told, too.

    Beside it the last sign of life of one that is shown as running and that nobody runs, else "".
    """
    wire = connect_patiently(target, "look", limits, None)
    try:
        found = releases.read_releases(wire, "environment = $1", target.environment, most=1)
        dead = bool(found) and found[0].state == "running" and not lives(wire, found[0])
        last = read_remains(wire, found[0].release_key, ()).last if dead else ""
    except ServerError as error:
        if error.sqlstate == "42501":
            return None, ""  # a role that may read the history only
        raise
    finally:
        wire.close()
    return (found[0] if found else None), last


def _without_down(settings: Settings, applied: tuple[str, ...]) -> tuple[str, ...]:
    """The applied files that cannot be undone: they have no down section, or are not here."""
    from lockgate.release.project import read_files

    undoable = {m.revision for m in read_files(settings).migrations if m.down is not None}
    return tuple(revision for revision in applied if revision not in undoable)


def _live(wire: Wire) -> str:
    """Who holds the lease's session lock now; "" when nobody does. The row alone could be that of a dead one."""
    session = Guard.holder(wire, RELEASE_KEY)
    if not session:
        return ""
    told = releases.read_holder(wire)
    return f"{told.get('holder', 'somebody')}, since {told.get('since', '?')}, server process {session.get('pid', '?')}"


def choose(target: Target, limits: Limits, recovery: Recovery, way: str, actor: str) -> None:
    """Record what a person chose. Raises ``ConfigError`` for a way that cannot be taken."""
    chosen = next((w for w in recovery.ways if w.id == way), None)
    if chosen is None or not chosen.possible:
        known = ", ".join(w.id for w in recovery.ways if w.possible) or "none"
        raise ConfigError(f"{way!r} is not a way that can be taken (those that can: {known})", "USAGE")
    wire = connect_patiently(target, "recover", limits, None)
    try:
        releases.add_event(wire, recovery.release_key, f"recover:{way}", actor, msgspec.to_builtins(chosen))
    finally:
        wire.close()
