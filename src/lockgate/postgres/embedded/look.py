"""Look whether the server of a home runs: two locks, one file and the process table, no connection."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH208

import contextlib
import os
from typing import NamedTuple

from lockgate.postgres.embedded import locks
from lockgate.postgres.embedded.place import Place, identify, is_private, locate, read_json
from lockgate.postgres.embedded.postmaster import is_server, read_pidfile


class Seen(NamedTuple):
    """A server that runs and is this home's: where, which process, born when, with its socket in ``sockets``."""

    place: Place
    pid: int
    born: int
    sockets: str


def look(home: str, version: int) -> Seen | None:
    """The running server of ``home``, a real path; None when it does not run, or there is any doubt whose it is."""
    place = locate(home, version)
    record = read_json(place.record)
    try:
        if not record or not is_private(place.base) or not locks.is_held(place.alive):
            return None
        identity = identify(home)
    except OSError:  # deleted just now, or not what it should be
        return None
    if identity.path != record.get("home") or not identity.is_here(record):
        return None
    pid, born, sockets = record.get("pid"), record.get("born"), record.get("sockets")
    if not (isinstance(pid, int) and isinstance(born, int) and isinstance(sockets, str)):
        return None
    seen = read_pidfile(place.data)
    if not seen or not seen.ready or seen.pid != pid or not is_server(pid, born, place.data):
        return None
    return Seen(place, pid, born, sockets)


def look_and_use(home: str, version: int, *, kept: bool) -> Seen | None:
    """The same for somebody who is about to connect: the keeper will not stop it as idle just now.

    ``kept`` asks for a server with a living keeper that nobody is starting or stopping.
    """
    try:
        lock = os.open(locate(home, version).lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if kept and not locks.share(lock):
            return None
        seen = look(home, version)
        if seen and (not kept or locks.is_held(seen.place.keeper)):
            with contextlib.suppress(PermissionError):  # another account's lock: its connections will tell
                os.utime(lock)
            return seen
        return None
    finally:
        os.close(lock)


def versions(home: str) -> list[int]:
    """The major versions that ``home`` has had a server of, the newest first."""
    try:
        names = os.listdir(home)
    except OSError:
        return []
    numbers = [name[2:-5] for name in names if name.startswith("pg") and name.endswith(".lock")]
    return sorted((int(number) for number in numbers if number.isdigit()), reverse=True)
