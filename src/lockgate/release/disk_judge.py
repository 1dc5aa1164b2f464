"""Whether there is room on disk for a backup and for the migration: a function of sizes. What cannot be told is said, and refuses nothing."""

import msgspec

from lockgate.postgres.disk import Disk, Volume
from lockgate.record.verdict import Verdict

GROWTH = 1.5
"""A backup may be this much larger than the one before."""
LEAST_COMPRESSED = 10
"""A first dump is taken to be at least a tenth of its database: what is less than that will not do."""


class Room(msgspec.Struct, frozen=True):
    """One answer: pass, fail, or hold for *cannot tell*, with the figures."""

    answer: Verdict
    told: str


def room_for_backup(provider: str, disk: Disk, here: Volume | None, last: int | None) -> Room:
    """Whether a backup of ``provider`` fits into the volume of the backup folder. ``last`` is the size of the newest verified one."""
    if provider not in ("pg_dump", "pg_basebackup"):
        return Room(Verdict.PASS, f"no backup is written here ({provider or 'none configured'})")
    if here is None:
        return Room(Verdict.HOLD, "cannot tell: the volume of the backup folder cannot be asked")
    size = disk.database if provider == "pg_dump" else disk.cluster
    if last is not None:
        need, from_what = int(last * GROWTH), f"{GROWTH:g} x the backup before"
    elif size is None:
        return Room(
            Verdict.HOLD,
            f"cannot tell: the role may not know the size of the cluster; {human(here.free)} free",
        )
    elif provider == "pg_dump":
        need, from_what = size // LEAST_COMPRESSED, f"a tenth of the database's {human(size)}"
    else:
        need, from_what = size, "the size of the cluster"
    told = f"{human(here.free)} free in the backup folder, {human(need)} wanted ({from_what})"
    if here.free < need:
        return Room(Verdict.FAIL, told)
    if last is None and size is not None and here.free < size:
        return Room(Verdict.HOLD, f"cannot tell: {told}, and how well a first dump compresses is not known")
    return Room(Verdict.PASS, told)


def room_on_server(disk: Disk, percent: int) -> Room:
    """Whether ``percent`` of the server's volume is free, where that can be seen."""
    if disk.server is None:
        return Room(Verdict.HOLD, f"cannot tell: {disk.why}")
    free = 100 * disk.server.free / max(1, disk.server.total)
    told = f"{human(disk.server.free)} ({free:.0f} %) free on the server's volume, {percent} % wanted"
    return Room(Verdict.PASS if free >= percent else Verdict.FAIL, told)


def human(size: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
