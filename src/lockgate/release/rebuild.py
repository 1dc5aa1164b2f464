"""An artifact made again from the database: the runs of a release, their timelines, and what the history got from them."""

from typing import Any

import msgspec

from lockgate.errors import ConfigError
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import AppliedFile
from lockgate.postgres import home, releases
from lockgate.postgres.releases import ReleaseRow
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import REASONS
from lockgate.release.artifact import document
from lockgate.release.look import connect_patiently
from lockgate.release.report import RunReport

_RUN = """
SELECT run_id, state, reason_code, message, operator, epoch::text, COALESCE(plan_hash, ''),
       COALESCE((SELECT f.before_rev FROM lockgate.run f WHERE f.release_id = $1 AND f.before_rev IS NOT NULL ORDER BY f.started_at LIMIT 1), ''), COALESCE(after_rev, ''),
       pg_catalog.round(extract(epoch FROM COALESCE(finished_at, heartbeat_at) - started_at), 3)::text, details::text,
       to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
       to_char(COALESCE(finished_at, heartbeat_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
  FROM lockgate.run WHERE release_id = $1 ORDER BY started_at DESC LIMIT 1
"""
_FILES = """
SELECT h.revision_id, h.name, h.state, h.duration_ms::text FROM lockgate.migration_history h
 WHERE h.release_id = $1 ORDER BY h.ordinal
"""


def rebuild(target: Target, sha: str, limits: Limits) -> dict[str, Any]:
    """The content of ``migration.json`` of release ``sha``, from the tables. Raises ``ConfigError`` for an unknown one."""
    wire = connect_patiently(target, "rebuild", limits, None)
    try:
        if not home.exists(wire):
            raise ConfigError("this database has no schema lockgate", "USAGE")
        runs = wire.one(_RUN, sha).rows
        known_release = _pipeline(wire, sha)
        if not runs and known_release:
            return _without_run(sha, limits, known_release)
        if not runs:
            raise ConfigError(
                f"this database knows no run of release {sha}",
                "USAGE",
                next="A release with nothing to apply leaves no run; look at the artifact of the one before.",
            )
        files = wire.one(_FILES, sha).rows
    finally:
        wire.close()
    run_id, state, code, message, operator, epoch, plan, before, after, seconds, details, started, ended = (
        c or "" for c in runs[0]
    )
    kept = msgspec.json.decode(details)
    known: dict[str, Any] = kept.get("report", {})
    telling = {f["revision"]: f for f in known.get("applied", [])}
    applied = [
        AppliedFile(
            r[0] or "", r[1] or "", r[2] or "", int(r[3] or 0),
            telling.get(r[0], {}).get("attempts", 1), telling.get(r[0], {}).get("note", ""),
        )
        for r in files
    ]  # fmt: skip
    report = RunReport(
        run_id, status={"succeeded": "pass", "held": "hold"}.get(state, "fail"), plan_hash=plan, before=before, after=after, epoch=int(epoch),
        operator=operator, elapsed_seconds=float(seconds or 0), timeline=known.get("timeline", []), applied=applied,
        pending=known.get("pending", []), database_identity=known.get("databaseIdentity", {}), notes=known.get("notes", []),
    )  # fmt: skip
    content = document(sha, report, [], None, timeout_seconds=round(limits.run_timeout.seconds))
    row = REASONS.get(code)
    return {
        **content,
        "reasonCode": code,
        "reason": message,
        "state": row.state if row else "",
        "next": row.next if row else "",
        "executionSummary": {"status": report.status, "startTime": started, "endTime": ended},
        "failure": kept.get("failure", {}),
        "logsSource": "rebuilt from the database",
        **{key: known_release[key] for key in _OF_PIPELINE if key in known_release},
    }


_OF_PIPELINE = ("imageDigest", "rollbackDigest", "approvals", "backup")


def _pipeline(wire: Wire, sha: str) -> dict[str, Any]:
    """What the journal of the newest release of ``sha`` knows; empty where there is none."""
    rows = releases.read_releases(wire, "sha = $1", sha, most=1)
    if not rows:
        return {}
    row = rows[0]
    evidence = {s.name: s.evidence for s in releases.read_steps(wire, row.release_key)}
    backup = evidence.get("backup", {})
    return {
        "imageDigest": row.image_digest,
        "rollbackDigest": row.rollback_digest,
        "approvals": list(evidence.get("approvals", {}).get("used", [])),
        "backup": dict(backup) if "backupId" in backup else {},
        "row": row,
    }


def _without_run(sha: str, limits: Limits, known: dict[str, Any]) -> dict[str, Any]:
    """The artifact of a release that had nothing to apply, or that ended before its run."""
    row: ReleaseRow = known["row"]
    status = {"succeeded": "pass", "handed-off": "pass", "held": "hold"}.get(row.state, "fail")
    report = RunReport(
        row.release_key,
        status=status,
        plan_hash=row.plan_hash,
        before=row.base,
        after=row.base,
        operator=row.operator,
    )
    reason = REASONS.get(row.reason_code)
    return {
        **document(sha, report, [], None, timeout_seconds=round(limits.run_timeout.seconds)),
        "reasonCode": row.reason_code,
        "reason": row.message,
        "state": reason.state if reason else "",
        "next": reason.next if reason else "",
        "executionSummary": {
            "status": status,
            "startTime": row.started_at,
            "endTime": row.finished_at or row.started_at,
        },
        "logsSource": "rebuilt from the database",
        **{key: known[key] for key in _OF_PIPELINE},
    }
