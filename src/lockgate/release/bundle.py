"""The audit bundle: everything that an auditor asks for in one archive, with the sum of every file, signed where a key is given."""

import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import Settings
from lockgate.errors import ConfigError
from lockgate.migrations.limits import Limits
from lockgate.postgres import releases
from lockgate.postgres.target import Target
from lockgate.record.artifact import write_atomically
from lockgate.record.redact import redact_value
from lockgate.release.artifact import folder
from lockgate.release.look import connect_patiently

RESULT = "https://in-toto.io/attestation/test-result/v0.1"
STATEMENT = "https://in-toto.io/Statement/v1"


def statement(release: dict[str, Any], sums: dict[str, str]) -> dict[str, Any]:
    """The in-toto statement of a release: its subjects are the evidence and the image, its predicate the outcome."""
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(sums.items())]
    image = str(release.get("imageDigest", ""))
    if "@sha256:" in image:
        name, _, digest = image.partition("@sha256:")
        subjects.append({"name": name, "digest": {"sha256": digest}})
    steps = release["steps"]
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": RESULT,
        "predicate": {
            "result": {"pass": "PASSED", "hold": "WARNED"}.get(release["status"], "FAILED"),
            "configuration": [{"name": "lockgate.toml", "digest": {"sha256": sums.get("lockgate.toml", "")}}],
            "warnings": release["warnings"],
            "passedTests": [s["name"] for s in steps if s["state"] == "done"],
            "warnedTests": [s["name"] for s in steps if s["state"] == "held"],
            "failedTests": [s["name"] for s in steps if s["state"] == "failed"],
        },
    }


def make_bundle(
    root: Path, sha: str, settings: Settings, out: Path, *, target: Target | None, key: Path | None = None
) -> dict[str, str]:
    """Write the archive ``out``; returns the sum of every file in it. Raises ``ConfigError`` where there is no release.

    It holds the artifacts (also those that later runs replaced), the rehearsal of the plan, the configuration, the migration files with
    their ledger, signed approvals, the declared assertions, and, with a ``target``, what the database says of releases, steps, approvals,
    backups, workers, runs, choices and changes by people.
    """
    place = folder(root, sha)
    if not (place / "release.json").is_file():
        raise ConfigError(
            f"{place}/release.json is not there", "NO_RELEASE", next=f"lockgate release --sha {sha}"
        )
    release = json.loads((place / "release.json").read_bytes())
    directory = settings.path(settings.migrations.directory)
    folders = {
        "artifacts": place.iterdir(),
        "migrations": [*directory.glob("*.sql"), directory / "checksums.json"],
        "rehearsal": (root / "rehearsal" / (release["planHash"] or "none")).glob("*"),
        "approvals": settings.path(settings.release.approvals_directory).glob("*"),
        "verify": settings.path(settings.release.verify_directory).glob("*.sql"),
    }
    content = {
        f"{name}/{path.name}": path.read_bytes()
        for name, paths in folders.items()
        for path in sorted(paths)
        if path.is_file()
    }
    if settings.file is not None:
        content["lockgate.toml"] = settings.file.read_bytes()
    if target is not None:
        tables = json.dumps(redact_value(_tables(target, Limits.of(settings.migrations))), indent=2).encode()
        content["database.json"] = tables + b"\n"
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    said = statement(release, sums)
    if key is not None:
        from lockgate.release.signing import STATEMENT_TYPE, canonical, read_private, sign

        envelope = sign(canonical(said), STATEMENT_TYPE, read_private(key))
        content["statement.dsse.json"] = json.dumps(envelope, indent=2).encode() + b"\n"
    content["statement.json"] = json.dumps(said, indent=2).encode() + b"\n"
    content["SHA256SUMS"] = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(content.items())
    ).encode()
    _write(out, content)
    return {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def _write(out: Path, content: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in sorted(content.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            entry.mtime = int(datetime.now(UTC).timestamp())
            archive.addfile(entry, io.BytesIO(data))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, buffer.getvalue())


_TABLES = {
    "release": "SELECT to_jsonb(t)::text FROM lockgate.release t ORDER BY sequence",
    "release_step": "SELECT to_jsonb(t)::text FROM lockgate.release_step t ORDER BY release_key, number",
    "release_event": "SELECT to_jsonb(t)::text FROM lockgate.release_event t ORDER BY id",
    "approval": "SELECT to_jsonb(t)::text FROM lockgate.approval t ORDER BY approved_at",
    "backup": "SELECT (to_jsonb(t) - 'detail')::text FROM lockgate.backup t ORDER BY started_at",
    "history": "SELECT (to_jsonb(t) - 'source_text')::text FROM lockgate.migration_history t ORDER BY ordinal",
    "worker_pause": "SELECT to_jsonb(t)::text FROM lockgate.worker_pause t",
    "history_event": "SELECT to_jsonb(t)::text FROM lockgate.history_event t ORDER BY id",
    "run": "SELECT (to_jsonb(t) - 'details')::text FROM lockgate.run t ORDER BY started_at",
}


def _tables(target: Target, limits: Limits) -> dict[str, list[Any]]:
    wire = connect_patiently(target, "bundle", limits, None)
    try:
        if not releases.exists(wire):
            return {}
        return {
            name: [msgspec.json.decode(row[0] or "{}") for row in wire.one(sql).rows]
            for name, sql in _TABLES.items()
        }
    finally:
        wire.close()
