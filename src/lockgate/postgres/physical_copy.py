"""A throw-away server made of a base backup's files: nothing that the original was configured to do is done again.

A copy that started with the original's own settings would archive its log over the original's, fetch from the publishers of
its subscriptions, and let in whom the original lets in. So all of its configuration is that of a fresh server.
"""

import os
import re
import shutil
from pathlib import Path

from psycopg import conninfo

from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.postgres.child import run
from lockgate.postgres.embedded import Binaries, Embedded
from lockgate.postgres.target import Target

IDLE_SECONDS = 60.0
"""A copy of production that nobody reads stops after this time: a drill that was killed leaves no server behind."""
_SETTINGS = {
    "fsync": "off",
    "archive_mode": "off",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "default_transaction_read_only": "on",
}
_AS_LARGE = {
    "max_connections": ("max_connections", 20),
    "max_worker_processes": ("max_worker_processes", 8),
    "max_wal_senders": ("max_wal_senders", 10),
    "max_prepared_xacts": ("max_prepared_transactions", 0),
    "max_locks_per_xact": ("max_locks_per_transaction", 64),
}
"""What a server must be no smaller in than the one whose log it recovers: name in pg_controldata → (setting, our least)."""
_CONTROL = re.compile(r"^(\w+) setting:\s*(\d+)\s*$", re.M)
_OURS = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf")
_SIGNALS = ("recovery.signal", "standby.signal")


def refuse_tablespaces(data: Path) -> None:
    """Raise ``Refused`` (``RESTORE_FAILED``) where files of the cluster lie outside of its data directory.

    The links name the places of the original: a copy that followed them would write into a live server's files.
    """
    if any((data / "pg_tblspc").iterdir()):
        raise Refused(
            "the cluster has tablespaces outside of its data directory, which lockgate does not restore",
            "RESTORE_FAILED",
            next="Restore it with pg_basebackup's own --tablespace-mapping, and compare there.",
        )


def start(data: Path, home: Path, *, binaries: Binaries, seconds: float) -> Embedded:
    """A server in ``home`` that recovered from a copy of the base backup ``data``, within ``seconds``. The caller stops it.

    Raises ``RunFailed`` (``RESTORE_FAILED``) with the end of the server's log where it does not start: a locale or an
    extension's library that this machine has not, for example.
    """
    refuse_tablespaces(data)
    # initdb's own directory gives the account, the place and the configuration; its data is exchanged for the backup's.
    server = Embedded.ensure(home, binaries=binaries, idle_seconds=IDLE_SECONDS, settings=_SETTINGS)
    server.stop("immediate")
    ours = {name: (server.data / name).read_bytes() for name in _OURS}
    owner = server.data.stat()
    try:
        shutil.rmtree(server.data)
        shutil.copytree(data, server.data)
        for name in _SIGNALS:
            (server.data / name).unlink(missing_ok=True)
        for name, content in ours.items():
            (server.data / name).write_bytes(content)
        _give(server.data, owner.st_uid, owner.st_gid)
        server.data.chmod(0o700)
        settings = {**_SETTINGS, **_as_large(data, binaries)}
        return Embedded.ensure(
            home, binaries=binaries, idle_seconds=IDLE_SECONDS, settings=settings, launch_seconds=seconds
        )
    except (OSError, LockgateError) as error:
        shutil.rmtree(server.data.parent, ignore_errors=True)
        told = error.message if isinstance(error, LockgateError) else f"{error.filename}: {error.strerror}"
        raise RunFailed(
            f"the copy of the cluster does not start: {told}",
            "RESTORE_FAILED",
            state="The backup is as it was; the copy is gone.",
            next="Read the log above: a locale, or an extension of shared_preload_libraries, may be missing here.",
        ) from None


def _as_large(data: Path, binaries: Binaries) -> dict[str, str]:
    """The settings with which the original ran, where a smaller server could not recover: prepared transactions and their locks."""
    # What it cannot read it says in words of its own, and so does the server that does not start then.
    said = run(
        [str(binaries.bindir / "pg_controldata"), "-D", str(data)], seconds=60, environ={"LC_ALL": "C"}
    )
    seen = {name: int(value) for name, value in _CONTROL.findall(said.out)}
    return {setting: str(max(least, seen.get(name, 0))) for name, (setting, least) in _AS_LARGE.items()}


def target_of(server: Embedded, database: str, role: str) -> Target:
    """``database`` on that server, as the role that took the backup: it could read all of it."""
    open_ = conninfo.make_conninfo("", host=str(server.sockets), port=5432, dbname=database, user=role)
    return Target(open_, source="drill")


def _give(tree: Path, user: int, group: int) -> None:
    """Let the server's account own the tree, where we are root and it is another one."""
    if os.geteuid() != 0:
        return
    for folder, folders, files in os.walk(tree):
        for name in (".", *folders, *files):
            os.chown(Path(folder, name), user, group, follow_symlinks=False)
