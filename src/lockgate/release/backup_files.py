"""The files of a backup and their seal: a manifest of names, sizes and sums, whose own sum stands in the database."""

import hashlib
from pathlib import Path

from lockgate.record.artifact import contained, write_atomically

MANIFEST = "manifest.txt"
DATA = "data"
_CHUNK = 1 << 20


def seal(folder: Path) -> tuple[str, int]:
    """Write the manifest of ``folder/data``; returns (sha256 of the manifest, bytes of all files)."""
    lines, size = _lines(folder / DATA)
    text = "".join(lines).encode()
    write_atomically(folder / MANIFEST, text, mode=0o600)
    return hashlib.sha256(text).hexdigest(), size


def broken_seal(folder: Path, sha256: str, *, whole: bool, copy: Path | None = None) -> str:
    """What is wrong with the files, or with a ``copy`` of them elsewhere; "" when they are those that were sealed.

    Without ``whole`` only the manifest's own sum and the names and sizes of the files are looked at: quick enough to do once
    more right before a migration.
    """
    manifest = folder / MANIFEST
    try:
        text = manifest.read_bytes()
    except OSError as error:
        return f"{manifest}: {error.strerror}"
    if hashlib.sha256(text).hexdigest() != sha256:
        return f"{manifest} is not the one that was sealed: another backup, or an edited one"
    known = {}
    for line in text.decode("utf-8").splitlines():
        digest, length, name = line.split("  ", 2)
        known[name] = (digest, int(length))
    data = copy or folder / DATA
    seen = {path.relative_to(data).as_posix(): path for path in sorted(data.rglob("*")) if path.is_file()}
    if missing := sorted(known.keys() - seen.keys()):
        return f"{missing[0]} is missing"
    if added := sorted(seen.keys() - known.keys()):
        return f"{added[0]} was not there when the backup was taken"
    for name, path in seen.items():
        digest, size = known[name]
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if whole and _sum(path) != digest:
            return f"{name} was changed"
    return ""


def folder_of(directory: Path, backup_id: str) -> Path:
    """Where the backup of that id lies. Raises ``ValueError`` for an id that would leave the directory."""
    return contained(directory, backup_id)


def _lines(data: Path) -> tuple[list[str], int]:
    lines, total = [], 0
    for path in sorted(data.rglob("*")):
        if path.is_file():
            size = path.stat().st_size
            total += size
            lines.append(f"{_sum(path)}  {size}  {path.relative_to(data).as_posix()}\n")
    return lines, total


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
