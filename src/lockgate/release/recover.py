"""The way back from a release that failed: a decision over what the tables hold, and the exact commands with their ids."""

import shlex

import msgspec

from lockgate.config import Settings
from lockgate.errors import ConfigError
from lockgate.migrations.history import read_history
from lockgate.migrations.limits import Limits
from lockgate.postgres import releases
from lockgate.postgres.backups import BackupRow, read_backups
from lockgate.postgres.releases import PauseRow, ReleaseRow, StepRow
from lockgate.postgres.target import Target
from lockgate.release.look import connect_patiently


class Situation(msgspec.Struct, frozen=True):
    """What is known: the failed release and its steps, the one before it, the backup, and what of the plan is applied."""

    release: ReleaseRow
    steps: tuple[StepRow, ...]
    previous: ReleaseRow | None
    backup: BackupRow | None
    applied: tuple[str, ...]
    contract: tuple[str, ...]
    partial: tuple[str, ...]
    pause: PauseRow | None
    protected: bool
    wal_bytes: int | None
    configured_workers: bool
    rollout: bool


class Way(msgspec.Struct, frozen=True, rename="camel"):
    """One way: whether it can be taken, why (not), and what to type, in order."""

    id: str
    title: str
    possible: bool
    why: str
    commands: list[str] = []


class Recovery(msgspec.Struct, frozen=True, rename="camel"):
    """All ways, the one to take first, and what each costs."""

    release_key: str
    sha: str
    state: str
    reason_code: str
    recommended: str
    ways: list[Way]
    writes_lost: str
    workers: str


def ways_back(s: Situation) -> Recovery:
    """Forward where nothing is broken, else the previous image, else ``down`` where that is allowed, else the backup."""
    env = f" --env {s.release.environment}" if s.release.environment else ""
    first = _stop_workers(s)
    ways = [_resume(s, env), _previous_image(s, env, first), _down(s, env, first), _restore(s, env, first)]
    recommended = next((w.id for w in ways if w.possible), "call")
    lost = "nothing: the database stays"
    if s.backup is not None:
        size = f", {s.wal_bytes} bytes of log" if s.wal_bytes is not None else ""
        lost = f"a restore loses what was written since LSN {s.backup.lsn} ({s.backup.finished_at}){size}"
    workers = (
        f"{s.pause.state} since {s.pause.paused_at}: {s.pause.reason}"
        if s.pause
        else "they were never paused"
    )
    if s.pause is not None and s.pause.overdue:
        workers += f"; OVERDUE since {s.pause.expires_at}"
    return Recovery(
        s.release.release_key,
        s.release.sha,
        s.release.state,
        s.release.reason_code,
        recommended,
        ways,
        lost,
        workers,
    )


def _stop_workers(s: Situation) -> list[str]:
    if not s.configured_workers or (s.pause is not None and s.pause.state in ("paused", "held")):
        return []
    return ["# pause the workers first, and see that none runs"]


def _resume(s: Situation, env: str) -> Way:
    harmless = not s.applied and not s.partial
    blocked = s.release.reason_code in (
        "WATCH_FAILED",
        "API_SMOKE_ASSERTION_FAILED",
        "ROLLOUT_FAILED",
        "VERIFY_FAILED",
        "WORKERS_HELD",
    )
    possible = not blocked
    why = (
        f"{s.release.reason_code} says that what was released is wrong: mend it, or go back"
        if blocked
        else ("nothing of the plan is applied" if harmless else f"{len(s.applied)} files are applied and stand; the rest is still to do")
    )  # fmt: skip
    return Way(
        "resume", "Mend the cause and go on", possible, why, [f"lockgate release resume {s.release.sha}{env}"]
    )


def _previous_image(s: Situation, env: str, first: list[str]) -> Way:
    title = "Redeploy the previous image; the schema stays"
    if s.previous is None:
        return Way("previous-image", title, False, "no release succeeded here before")
    if s.contract:
        return Way(
            "previous-image",
            title,
            False,
            f"{', '.join(s.contract)} of the contract phase took away what it needs",
        )
    if s.partial:
        return Way("previous-image", title, False, f"{', '.join(s.partial)} stopped half way")
    image = s.release.rollback_digest or s.previous.image_digest
    command = f"lockgate release replay {s.previous.sha}{env} --reason {shlex.quote('back from ' + s.release.sha[:12])}"
    if image:
        command += f" --image {image}"
    told = "every applied file is of the expand phase, which the previous image fits"
    if not s.rollout:
        command = (
            f"# deploy {image or 'the image of ' + s.previous.sha} with your own deployer, then: {command}"
        )
    return Way("previous-image", title, True, told, [*first, command])


def _down(s: Situation, env: str, first: list[str]) -> Way:
    title = "Undo the applied files with their down sections"
    if s.protected:
        return Way("down", title, False, "the environment is protected: forward, or the backup")
    if not s.applied:
        return Way("down", title, False, "nothing of the plan is applied")
    return Way(
        "down", title, True, f"{len(s.applied)} files, newest first; each needs a down section", [*first, *[f"lockgate down{env}" for _ in s.applied]]
    )  # fmt: skip


def _restore(s: Situation, env: str, first: list[str]) -> Way:
    title = "Restore the backup into a new database, then apply again under control"
    b = s.backup
    if b is None:
        return Way("restore", title, False, "no verified backup is recorded for this release")
    into = f"restored_{b.backup_id[:15].lower()}"
    lines = [*first, f"lockgate backup verify {b.backup_id}{env}"]
    if b.provider == "restore-point":
        lines += [
            f"# restore the newest base backup before LSN {b.lsn} to a new server with:",
            f"#   recovery_target_name = '{b.detail.get('restorePoint', '')}'    (or recovery_target_time = '{b.finished_at}')",
            "#   recovery_target_action = 'pause'",
        ]
    else:
        lines.append(f"lockgate backup restore {b.backup_id} --into {into}{env}")
        if b.provider == "pg_basebackup":
            lines.append(
                f"#   for a later point: recovery.signal, restore_command, recovery_target_time = '{b.finished_at}' or later"
            )
    lines += [
        "# point the environment's URL at the restored database",
        f"lockgate status{env}",
        f"lockgate verify{env}",
        f"lockgate release --sha {s.release.sha}{env}    # again, when the cause is mended",
    ]
    return Way(
        "restore", title, True, f"{b.provider} {b.backup_id}, LSN {b.lsn}, verified by {b.verified_by}", lines
    )


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
            tuple(steps.values()),
            next((r for r in rows if r.state == "succeeded" and r.sequence < release.sequence), None),
            backups[0] if backups else None,
            applied,
            tuple(r for r in applied if phases[r] == "contract"),
            history.partial,
            releases.read_pause(wire),
            target.protected,
            int(behind) if behind is not None else None,
            bool(own.workers.provider or own.workers.preset),
            bool(own.release.rollout),
        )
    finally:
        wire.close()


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
