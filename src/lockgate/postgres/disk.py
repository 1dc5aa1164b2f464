"""Free disk: of a folder here, and of the server where its own folder can be seen from here. SQL tells no role how much is free."""

import os
from pathlib import Path

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.wire import Wire


class Volume(msgspec.Struct, frozen=True, rename="camel"):
    """One volume: bytes that are free for ordinary users, and all."""

    free: int
    total: int


class Disk(msgspec.Struct, frozen=True, rename="camel"):
    """Bytes of the database and of the cluster (None: the role may not know), and the volume of the server (None: not seen)."""

    database: int
    cluster: int | None
    server: Volume | None
    why: str
    """Why the server's volume is not known; "" when it is."""


def read_disk(wire: Wire, system_identifier: str) -> Disk:
    """Read the sizes, and the volume when the server keeps its data on this machine: shown by the identifier in ``pg_control``."""
    row = wire.one(query("disk")).rows[0]
    server, why = _server(row[2], system_identifier)
    return Disk(int(row[0] or 0), None if row[1] is None else int(row[1]), server, why)


def volume_of(folder: Path) -> Volume | None:
    """The volume of ``folder``, or of the nearest folder above it that is there; None where it cannot be asked."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        said = os.statvfs(folder)
    except OSError:
        return None
    return Volume(said.f_bavail * said.f_frsize, said.f_blocks * said.f_frsize)


def _server(data_directory: str | None, system_identifier: str) -> tuple[Volume | None, str]:
    if not data_directory:
        return None, "the role may not read data_directory (pg_read_all_settings lets it)"
    folder = Path(data_directory)
    try:
        seen = int.from_bytes((folder / "global" / "pg_control").read_bytes()[:8], "little")
    except OSError:
        return None, "its data is not on this machine, or not ours to look at"
    if str(seen) != system_identifier:
        return None, f"{folder} on this machine is that of another server"
    found = [v for v in (volume_of(folder), volume_of((folder / "pg_wal").resolve())) if v is not None]
    if not found:
        return None, f"the volume of {folder} cannot be asked"
    return min(found, key=lambda v: v.free), ""
