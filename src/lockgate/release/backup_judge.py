"""Whether there is a backup that this release may rest on: a function of the records and of what the server says it is."""

from collections.abc import Sequence

import msgspec

from lockgate.postgres.backups import BackupRow
from lockgate.record.verdict import Verdict
from lockgate.record.words import lasting

SKEW = 300.0
"""Seconds that a backup may seem to lie in the future before its time is not believed."""


class Wanted(msgspec.Struct, frozen=True):
    """What is demanded: of this server and database, at most ``max_age`` seconds old; a drill at most ``drill_max_age`` old, 0 for none."""

    system_identifier: str
    timeline: str
    database: str
    max_age: float
    drill_max_age: float = 0.0


class BackupDecision(msgspec.Struct, frozen=True, rename="camel"):
    """The answer: ``code`` is "" when there is one, and ``backup`` is it."""

    answer: Verdict
    code: str = ""
    message: str = ""
    backup: BackupRow | None = None


def judge_backup(records: Sequence[BackupRow], wanted: Wanted) -> BackupDecision:
    """The newest verified backup of this very server that is young enough. BACKUP_MISSING, BACKUP_STALE, BACKUP_UNVERIFIED."""
    living = [r for r in records if r.state != "pruned"]
    if not living:
        return _no("BACKUP_MISSING", "there is no backup of this database")
    cluster_wide = ("pg_basebackup", "restore-point", "command")
    ours = [
        r
        for r in living
        if r.system_identifier == wanted.system_identifier
        and (r.database == wanted.database or r.provider in cluster_wide)
    ]
    unfinished = [r for r in living if r.state in ("running", "failed", "taken") and not r.system_identifier]
    if not ours and not unfinished:
        other = living[0]
        return _no(
            "BACKUP_MISSING",
            f"backup {other.backup_id} is of another server or database ({other.database or 'unknown'} on system {other.system_identifier or 'unknown'})",
        )
    verified = [r for r in ours if r.state == "verified"]
    if not verified:
        newest = (ours or unfinished)[0]
        return _no(
            "BACKUP_UNVERIFIED",
            f"backup {newest.backup_id} is {_told(newest)}",
        )
    newest = verified[0]
    if newest.age_seconds < -SKEW:
        return _no(
            "BACKUP_STALE",
            f"backup {newest.backup_id} seems to lie {lasting(-newest.age_seconds)} in the future: its time is not believed",
        )
    if newest.age_seconds > wanted.max_age:
        return _no(
            "BACKUP_STALE",
            f"the newest verified backup {newest.backup_id} is {lasting(newest.age_seconds)} old; the limit is {lasting(wanted.max_age)}",
        )
    if newest.timeline and wanted.timeline and newest.timeline != wanted.timeline:
        return _no(
            "BACKUP_STALE",
            f"backup {newest.backup_id} is of timeline {newest.timeline}; the server failed over to timeline {wanted.timeline} since",
        )
    if wanted.drill_max_age:
        passed = [
            r.drill_age_seconds for r in ours if r.drill_age_seconds is not None and r.drill.get("equal")
        ]
        if not passed or min(passed) > wanted.drill_max_age:
            age = f"{lasting(min(passed))} ago" if passed else "never"
            return _no(
                "BACKUP_UNVERIFIED",
                f"the last restore drill that passed was {age}; the limit is {lasting(wanted.drill_max_age)}",
            )
    return BackupDecision(Verdict.PASS, backup=newest)


def _told(row: BackupRow) -> str:
    states = {
        "running": "not finished",
        "failed": f"failed: {row.message}",
        "taken": f"not verified{': ' + row.message if row.message else ''}",
    }
    return states.get(row.state, row.state)


def _no(code: str, message: str) -> BackupDecision:
    return BackupDecision(Verdict.FAIL, code, message)
