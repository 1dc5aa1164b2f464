"""``migration.json``: what the release did, for the operator at three in the morning and for programs."""

import hashlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from lockgate.errors import ConfigError, LockgateError
from lockgate.record.artifact import SHA_PATTERN, contained, write_atomically
from lockgate.record.redact import redact_value
from lockgate.release.report import RunReport
from lockgate.release.verify import Check

SCHEMA_VERSION = "2"


def folder(root: Path, sha: str) -> Path:
    """The artifact folder of one release. Raises ``ConfigError`` for a sha that is none or would leave the root."""
    if not SHA_PATTERN.match(sha):
        raise ConfigError(
            f"{sha[:80]!r} is not a git sha (7 to 64 hex digits)",
            "USAGE",
            next="lockgate release --sha $(git rev-parse HEAD)",
        )
    try:
        return contained(root, "deploy", sha)
    except ValueError as error:
        raise ConfigError(str(error), "USAGE") from None


def document(
    sha: str,
    report: RunReport,
    checks: list[Check],
    error: LockgateError | None,
    *,
    timeout_seconds: int,
    poll_interval_ms: int = 0,
    previous: str = "",
) -> dict[str, Any]:
    """The artifact's content. The field names of the sources are kept; those beyond them come after."""
    status = report.status if error is None else ("hold" if error.exit == 5 else "fail")
    now = datetime.now(UTC)
    started = now - timedelta(seconds=report.elapsed_seconds)
    applied = [
        {
            "revision": f.revision,
            "name": f.name,
            "state": f.state,
            "durationMs": f.duration_ms,
            "attempts": f.attempts,
            "note": f.note,
        }
        for f in report.applied
    ]
    return {
        "schemaVersion": SCHEMA_VERSION,
        "generatedAt": _utc(now),
        "headSha": sha,
        "status": status,
        "reasonCode": "" if error is None else error.code,
        "reason": "" if error is None else error.message,
        "state": "" if error is None else error.state,
        "next": "" if error is None else error.next,
        "jobName": "lockgate up",
        "executionName": report.run_id,
        "executionStatus": {"pass": "succeeded", "fail": "failed", "hold": "unknown"}[status],
        "executionSummary": {"status": status, "startTime": _utc(started), "endTime": _utc(now)},
        "timeoutSeconds": timeout_seconds,
        "pollIntervalMs": poll_interval_ms,
        "elapsedSeconds": report.elapsed_seconds,
        "statusTimeline": report.timeline,
        "logs": [f"{e['at']} {e['status']}: {e['detail']}" for e in report.timeline][-300:],
        "logsSource": "in-process",
        "runId": report.run_id,
        "planHash": report.plan_hash,
        "imageDigest": "",
        "rollbackDigest": "",
        "approvals": [],
        "backup": {},
        "operator": report.operator,
        "epoch": report.epoch,
        "databaseIdentity": report.database_identity,
        "before": report.before,
        "after": report.after,
        "migrations": applied
        + [
            {"revision": r, "name": "", "state": "pending", "durationMs": 0, "attempts": 0, "note": ""}
            for r in report.pending
        ],
        "checks": [
            {"id": c.id, "pass": c.passed, "answer": str(c.answer), "details": c.details} for c in checks
        ],
        "failure": {} if error is None else {k: v for k, v in error.details.items() if k != "report"},
        "notes": report.notes,
        "previousArtifactHash": previous,
    }


def probe(root: Path, sha: str) -> None:
    """Make the folder of a release and a file in it, and take the file away. Raises ``OSError``."""
    directory = folder(root, sha)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory):
        pass


def write(root: Path, sha: str, name: str, content: dict[str, Any]) -> Path:
    """Write one artifact atomically, redacted. Raises ``OSError`` (then the release has failed) and ``ConfigError``."""
    plain = redact_value(msgspec.to_builtins(content, str_keys=True))
    return _write(root, sha, name, msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")


def write_text(root: Path, sha: str, name: str, text: str) -> Path:
    """The same for a text whose maker has redacted what it is made of."""
    return _write(root, sha, name, text.encode("utf-8"))


def _write(root: Path, sha: str, name: str, data: bytes) -> Path:
    directory = folder(root, sha)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    if path.is_file():
        # What an earlier run of this sha left stays beside the new one, under the hash that the new one names.
        kept = _kept(root, sha, name)
        kept.unlink(missing_ok=True)
        kept.hardlink_to(path)
    write_atomically(path, data)
    return path


def retire(root: Path, sha: str, name: str) -> None:
    """Move an artifact of an earlier run away that this run does not replace: it stays under its hash. Raises ``OSError``."""
    path = folder(root, sha) / name
    if path.is_file():
        path.replace(_kept(root, sha, name))


def _kept(root: Path, sha: str, name: str) -> Path:
    path = folder(root, sha) / name
    return path.with_name(f"{path.stem}.{hash_of(root, sha, name)[:12]}{path.suffix}")


def hash_of(root: Path, sha: str, name: str) -> str:
    """sha256 of the artifact that is there now; "" when there is none."""
    path = folder(root, sha) / name
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _utc(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
