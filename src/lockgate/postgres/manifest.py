"""A base backup read against its own manifest, for machines whose pg_verifybackup does not run (some wheels' does not)."""

import hashlib
import json
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
_FREE = (
    "backup_manifest",
    "backup_label.old",
    "tablespace_map.old",
    "postgresql.auto.conf",
    "recovery.signal",
    "standby.signal",
)
"""What pg_verifybackup does not look at either: written after the manifest, or on purpose changed by who restores."""


def check_manifest(folder: Path) -> str:
    """Compare every file of ``folder`` with ``backup_manifest``, and the manifest with its own sum: "" when all is right."""
    path = folder / "backup_manifest"
    try:
        raw = path.read_bytes()
        content: Any = json.loads(raw)
        files = {f["Path"]: f for f in content["Files"] if "Path" in f}
        stated = content["Manifest-Checksum"]
    except OSError as error:
        return f"{path}: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        return f"{path} is not a backup manifest"
    # The sum is over everything before the line that holds it.
    body = raw[: raw.rindex(b'"Manifest-Checksum"')]
    if hashlib.sha256(body).hexdigest() != stated:
        return f"{path} was changed: its own sum differs"
    seen = {
        p.relative_to(folder).as_posix(): p
        for p in folder.rglob("*")
        if p.is_file() and not p.relative_to(folder).as_posix().startswith("pg_wal/")
    }
    for name, entry in files.items():
        if name not in seen:
            return f"{name} is missing"
        if seen[name].stat().st_size != entry["Size"]:
            return f"{name} has {seen[name].stat().st_size} bytes, not {entry['Size']}"
        if entry.get("Checksum-Algorithm") != "SHA256":
            return f"{name} has no SHA256 in the manifest"
        if _sum(seen[name]) != entry["Checksum"]:
            return f"{name} was changed"
    added = sorted(name for name in seen.keys() - files.keys() if name not in _FREE)
    if added:
        return f"{added[0]} is not in the manifest"
    return _missing_log(folder, content)


def _missing_log(folder: Path, content: Any) -> str:
    """Whether every segment of the log that the copy needs is there. What stands in them is not parsed here."""
    label = (folder / "backup_label").read_text("utf-8")
    first = label.split("file ", 1)[1][:24] if "file " in label else ""
    if not content.get("WAL-Ranges") or not first:
        return "the manifest names no range of the log"
    if not (folder / "pg_wal" / first).is_file():
        return f"pg_wal/{first} is missing"
    size = (folder / "pg_wal" / first).stat().st_size
    per_id = 0x1_0000_0000 // size
    for wal in content["WAL-Ranges"]:
        high, low = (int(part, 16) for part in wal["Start-LSN"].split("/"))
        end_high, end_low = (int(part, 16) for part in wal["End-LSN"].split("/"))
        segment, last = ((high << 32) + low) // size, (((end_high << 32) + end_low) - 1) // size
        for number in range(segment, last + 1):
            name = f"{wal['Timeline']:08X}{number // per_id:08X}{number % per_id:08X}"
            if not (folder / "pg_wal" / name).is_file():
                return f"pg_wal/{name} is missing"
    return ""


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
