"""From a settled place to a running server: find it running, recover it, or make it."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH102, PTH112, PTH123

import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from lockgate.postgres.embedded import cluster, leftovers, locks, signals
from lockgate.postgres.embedded.failure import LaunchError
from lockgate.postgres.embedded.place import Identity, Place, read_json, write_json
from lockgate.postgres.embedded.postmaster import birth, find_server
from lockgate.postgres.embedded.settle import Settled

SOCKET_LIMIT = 103  # bytes of a unix socket's path: 107 on Linux, 103 on macOS
ORPHAN_SECONDS = 1.0
FORMER_SECONDS = 60.0


class Server(NamedTuple):
    """A running server: its process, when that was born, where its socket is, and whether this launch started it."""

    pid: int
    born: int
    sockets: str
    started: bool


def launch(settled: Settled, settings: Mapping[str, str]) -> Server:
    """Return the running server of ``settled``, started with ``settings`` if need be. Raises LaunchError."""
    place, identity = settled.place, settled.identity
    configuration = cluster.configuration(settings)
    record = read_json(place.record)
    _refuse_torn_copy(place, identity, record)
    alive = locks.open_lock(place.alive)
    moved = record.get("home") not in (None, identity.path)
    running = _former_server(place, alive, moved=moved)
    if running:
        os.close(alive)
        _write_record(place, identity, running, record)
        return running
    if not os.path.isdir(place.data):
        cluster.initialise(place, settled.bindir, settings, [alive])
    _check_version(place)
    leftovers.clear(place, str(record.get("sockets", "")))
    cluster.configure(place, configuration)
    sockets = _make_sockets(place)
    log, log_start = cluster.open_log(place)
    pid = cluster.start_server(place, settled.bindir, sockets, log, [alive])
    os.close(alive)  # from here on the lock is the server's alone
    os.close(log)
    server = Server(pid, birth(pid), sockets, started=True)
    _write_record(place, identity, server, record)
    try:
        cluster.wait_until_ready(place, pid, log_start)
    except LaunchError:
        leftovers.remove_sockets(sockets)
        raise
    return server


def _former_server(place: Place, alive: int, *, moved: bool) -> Server | None:
    """The server that runs here already; None when none does, and then the lock ``alive`` is ours.

    A server that starts or ends is waited for, so is the initdb of a killed keeper. One whose home was moved
    while it ran is stopped, because its paths are the old ones. Raises LaunchError after FORMER_SECONDS.
    """
    begin = time.monotonic()
    asked = False
    while not locks.acquire(alive, 0.0):
        waited = time.monotonic() - begin
        found = find_server(place.data)
        if found:
            seen, born = found
            if not moved and seen.ready:
                return Server(seen.pid, born, seen.sockets, started=False)
            asked = asked or (moved and signals.send(seen.pid, born, "fast"))
        elif waited > ORPHAN_SECONDS and os.path.isdir(place.data):
            signals.quit_orphans(place.data)
        if waited > FORMER_SECONDS:
            state = "is starting or stopping" if found else "has left processes that hold its data"
            raise LaunchError(
                f"For {waited:.0f} s now the former server of {place.home} {state}.",
                log=place.log,
                tail=cluster.tail(place.log),
                advice=f"Try again in a while; or see who they are: fuser -v {place.alive}",
            )
        time.sleep(0.005)
    return None


def _write_record(place: Place, identity: Identity, server: Server, before: Mapping[str, Any]) -> None:
    record = {
        "schemaVersion": "1",
        "home": identity.path,
        "device": identity.device,
        "inode": identity.inode,
        "pid": server.pid,
        "born": server.born,
        "sockets": server.sockets,
    }
    if record != before:
        write_json(place.record, record)


def _refuse_torn_copy(place: Place, identity: Identity, record: Mapping[str, Any]) -> None:
    """Raise LaunchError when these files are a copy of another home's, made while its server ran.

    Files copied while they are written to may be torn, and no recovery would notice. A copy of a stopped server
    is fine. Device numbers change when a machine or a container starts anew, so the same path and inode is the
    same directory.
    """
    same = identity.inode == record.get("inode") and (
        identity.is_here(record) or identity.path == record.get("home")
    )
    if record and not same and os.path.lexists(f"{place.data}/postmaster.pid"):
        raise LaunchError(
            f"{place.base} is a copy of the server of {record.get('home')}, made while that one ran: "
            "its data may be torn.",
            advice=f"Start anew: rm -r {place.base}; or stop the server there and copy again.",
        )


def _check_version(place: Place) -> None:
    with open(f"{place.data}/PG_VERSION", encoding="utf-8") as file:
        version = file.read().strip()
    if version != str(place.version):
        raise LaunchError(
            f"{place.data} is of PostgreSQL {version}, not {place.version}.", advice=f"ls {place.base}"
        )


def _make_sockets(place: Place) -> str:
    """A new directory for the socket: in the base, or a short one in /tmp where clients could not name that path.

    Its name is new at every start, so a server that dies late never removes the socket of the next one.
    """
    sockets = f"{place.base}/run-{os.urandom(4).hex()}"
    # A comma parts a list of hosts, even percent-encoded.
    if len(os.fsencode(f"{sockets}/.s.PGSQL.5432")) > SOCKET_LIMIT or "," in sockets:
        sockets = f"/tmp/lockgate-{os.urandom(8).hex()}"  # noqa: S108 - mkdir fails on whatever is there
    os.mkdir(sockets, 0o700)
    return sockets
