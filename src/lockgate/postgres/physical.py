"""Backups of the whole cluster: pg_basebackup with its manifest, and named restore points for continuous archiving."""

import time
from collections.abc import Callable
from pathlib import Path

from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.child import run
from lockgate.postgres.dump import refuse_failure
from lockgate.postgres.manifest import check_manifest
from lockgate.postgres.programs import address, program
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire

_TABLESPACES = """
SELECT spcname, pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace
 WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1
"""


def refuse_tablespaces(wire: Wire) -> None:
    """Raise ``Refused`` (``BACKUP_FAILED``) where the cluster has tablespaces of its own.

    A plain copy puts them at the same places of this machine: over the original's own files, or where nobody looks for them.
    """
    found = [f"{name} in {place}" for name, place in wire.one(_TABLESPACES).rows]
    if found:
        raise Refused(
            f"the cluster has tablespaces beside its own two ({', '.join(found)}), which a base backup of lockgate does not hold",
            "BACKUP_FAILED",
            state="Nothing was copied, and nothing was changed.",
            next='Set [backup] provider = "pg_dump" (or "command", with a snapshot of your own) in lockgate.toml, then lockgate backup take',
        )


def take_base_backup(
    target: Target, folder: Path, *, version: int, seconds: float, alarm: Alarm | None = None
) -> str:
    """Copy the cluster into ``folder`` with pg_basebackup; returns the position of the log where the copy begins.

    The role needs REPLICATION. Raises ``RunFailed`` (``BACKUP_FAILED``).
    """
    conninfo, environ = address(target)
    arguments = [
        str(program("pg_basebackup", version)), f"--pgdata={folder}", "--format=plain", "--wal-method=stream",
        "--checkpoint=fast", "--manifest-checksums=SHA256", "--no-password", "--no-sync", f"--dbname={conninfo}",
    ]  # fmt: skip
    refuse_failure(run(arguments, seconds=seconds, environ=environ, alarm=alarm), "pg_basebackup")
    label = (folder / "backup_label").read_text("utf-8")
    start = next((line for line in label.splitlines() if line.startswith("START WAL LOCATION:")), "")
    return start.removeprefix("START WAL LOCATION:").split()[0] if start else ""


def verify_base_backup(folder: Path, version: int, seconds: float) -> str:
    """Compare the copy with its manifest: "" when it is whole, else what is wrong.

    By pg_verifybackup, which reads the log too; where that program does not run, by ``check_manifest``, which does not.
    """
    try:
        verifier = str(program("pg_verifybackup", version))
    except LockgateError:
        return check_manifest(folder)
    if not run([verifier, "--version"], seconds=30).ok:
        return check_manifest(folder)
    done = run([verifier, str(folder)], seconds=seconds)
    return "" if done.ok else f"pg_verifybackup: {done.told()}"


_ARCHIVER = """
SELECT current_setting('archive_mode'), COALESCE(a.last_archived_wal, ''), COALESCE(a.last_failed_wal, ''),
       COALESCE(a.last_failed_time > a.last_archived_time, a.last_failed_time IS NOT NULL)
  FROM pg_catalog.pg_stat_archiver a
"""


def make_restore_point(wire: Wire, name: str) -> tuple[str, str]:
    """Write the named restore point and switch the log; returns (its LSN, the log file that holds it).

    Raises ``RunFailed`` (``BACKUP_FAILED``) where the log is not archived: a name in a log that nobody keeps restores nothing.
    """
    try:
        mode = wire.one(_ARCHIVER).rows[0]
        if mode[0] == "off":
            raise RunFailed(
                "archive_mode is off: a restore point could never be reached",
                "BACKUP_FAILED",
                next="Archive the log, or configure another [backup] provider.",
            )
        row = wire.one(
            "SELECT l::text, pg_catalog.pg_walfile_name(l) FROM pg_catalog.pg_create_restore_point($1) l",
            name,
        ).rows[0]
        wire.one("SELECT pg_catalog.pg_switch_wal()")
    except ServerError as error:
        raise RunFailed(
            f"the restore point could not be made: {error.message}",
            "BACKUP_FAILED",
            next="GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO the migrator;",
        ) from None
    return row[0] or "", row[1] or ""


def wait_until_archived(
    wire: Wire,
    segment: str,
    seconds: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Wait until the log file ``segment`` is archived: "" then, else why it is not."""
    deadline = clock() + seconds
    while True:
        mode, archived, failed, failing = wire.one(_ARCHIVER).rows[0]
        # File names order as positions do, within one timeline.
        if (archived or "")[:24] >= segment and (archived or "")[:8] == segment[:8]:
            return ""
        if clock() >= deadline:
            why = f"; the archiver failed on {failed}" if failing == "t" else ""
            return f"{segment} was not archived in {seconds:.0f} s (archive_mode {mode}, newest {archived or 'none'}{why})"
        sleep(0.2)
