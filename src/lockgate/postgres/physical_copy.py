"""A throw-away server made of a base backup's files: nothing that the original was configured to do is done again.

A copy that started with the original's own settings would archive its log over the original's, fetch from the publishers of
its subscriptions, and let in whom the original lets in. So all of its configuration is that of a fresh server.
"""

import os
import shutil
from pathlib import Path

from psycopg import conninfo

from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.postgres.embedded import Binaries, Embedded
from lockgate.postgres.target import Target

_SETTINGS = {
    "fsync": "off",
    "archive_mode": "off",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "default_transaction_read_only": "on",
}
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
    server = Embedded.ensure(home, binaries=binaries, idle_seconds=60, settings=_SETTINGS)
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
        return Embedded.ensure(
            home, binaries=binaries, idle_seconds=seconds, settings=_SETTINGS, launch_seconds=seconds
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
