"""Files that must be whole or not there: temporary file, fsync, rename, fsync of the folder."""

import os
import re
import tempfile
from pathlib import Path

from lockgate.record.points import point

SHA_PATTERN = re.compile(r"[0-9a-f]{7,64}\Z")
"""A git sha (or another hex name) of a release; nothing that could leave the artifact folder."""


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, also after a crash.

    Raises ``OSError``; then nothing is left behind.
    """
    point(f"file:{path.name}:open")
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        point(f"file:{path.name}:rename")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    point(f"file:{path.name}:done")


def contained(root: Path, *parts: str) -> Path:
    """``root/parts`` when that stays inside ``root``, with links resolved. Raises ``ValueError`` otherwise."""
    base = root.resolve()
    path = base.joinpath(*parts).resolve()
    if path != base and base not in path.parents:
        raise ValueError(f"{'/'.join(parts)!r} leaves the folder {root}")
    return path
