"""What releases that died or failed left behind, for ``doctor``: paused workers, releases without an end, backups never finished."""

from lockgate.postgres import releases
from lockgate.postgres.backups import read_backups
from lockgate.postgres.doctor import Finding
from lockgate.postgres.guard import RELEASE_KEY, Guard
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Wire
from lockgate.record.words import lasting

ABANDONED = 86_400.0
"""Seconds after which a backup that is still shown as running was surely given up."""


def leftovers(wire: Wire) -> list[Finding]:
    """The findings. Reads only; where the role may not read the tables nothing is known, and that is one finding."""
    try:
        if not releases.exists(wire):
            return []
        return [*_pause(wire), *_releases(wire), *_backups(wire)]
    except ServerError as error:
        return [
            Finding(
                "releases-unreadable", "warning", f"the tables of releases cannot be read: {error.message}", error.sqlstate,
                "lockgate roles prints the SQL that grants it",
            )
        ]  # fmt: skip


def _pause(wire: Wire) -> list[Finding]:
    pause = releases.read_pause(wire)
    if pause is None or pause.state == "resumed":
        return []
    told = (
        f"the workers are {pause.state} since {pause.paused_at}, asked for by {pause.owner} ({pause.reason})"
    )
    where = f"release {pause.release_key}, until {pause.expires_at}"
    if pause.state == "held" or pause.overdue:
        overdue = ", and that time is over" if pause.overdue else ""
        return [Finding("workers-held", "error", told + overdue, where, "lockgate release recover")]
    if Guard.holder(wire, RELEASE_KEY):
        return [Finding("workers-paused", "info", told, where, "Look again when that release has ended.")]
    died = releases.read_releases(wire, "release_key = $1", pause.release_key)
    then = (
        f"lockgate release resume {died[0].sha}" if died else "lockgate release workers resume --reason TEXT"
    )
    return [Finding("workers-paused", "warning", f"{told}, and nobody releases now", where, then)]


def _releases(wire: Wire) -> list[Finding]:
    if Guard.holder(wire, RELEASE_KEY):
        return []
    return [
        Finding(
            "release-abandoned", "warning", f"release {r.release_key} of {r.sha[:12]} by {r.operator} is shown as {r.state}, but nobody holds its lease: it died",
            f"started {r.started_at}", f"lockgate release resume {r.sha}",
        )
        for r in releases.read_releases(wire, "state = 'running'")
    ]  # fmt: skip


def _backups(wire: Wire) -> list[Finding]:
    return [
        Finding(
            "backup-abandoned", "warning", f"backup {b.backup_id} began {lasting(b.age_seconds)} ago and never ended",
            b.location, f"Delete {b.location or 'what it left'}; it counts for nothing.",
        )
        for b in read_backups(wire)
        if b.state == "running" and b.age_seconds > ABANDONED
    ]  # fmt: skip
