"""Restores: always into a new place, compared with what was backed up; and the drill that shows a backup to be worth its name."""

import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import seconds
from lockgate.errors import ConfigError, LockgateError, Refused, RunFailed
from lockgate.postgres import dump, physical_copy
from lockgate.postgres.backups import BackupRow, mark_drilled
from lockgate.postgres.child import run
from lockgate.postgres.digests import TableDigest, differences, read_digests
from lockgate.postgres.programs import program
from lockgate.postgres.quoting import identifier
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.release.backup_files import DATA, broken_seal
from lockgate.release.backups import Backups
from lockgate.release.drill_place import drill_place
from lockgate.release.look import connect_patiently

MAINTENANCE = "postgres"
"""The database that CREATE DATABASE is sent from."""


class Restored(msgspec.Struct, frozen=True, rename="camel"):
    """What a restore or a drill made: the place, what was compared, and how it differs from the backup (nothing: equal)."""

    backup_id: str
    into: str
    tables: int
    rows: int
    differences: list[str]
    seconds: float
    dropped: bool = False
    notes: list[str] = []

    @property
    def equal(self) -> bool:
        """True when every table holds the rows that were backed up."""
        return not self.differences


def restore(backups: Backups, backup_id: str, into: str) -> Restored:
    """Restore a verified backup into the new database (or, for pg_basebackup, the new folder) ``into``.

    A pg_dump is compared table by table afterwards; when rows differ the database is left for a look and the error names it.
    Raises ``Refused`` (``BACKUP_UNVERIFIED``, ``RESTORE_TARGET_EXISTS``), ``RunFailed`` (``RESTORE_FAILED``).
    """
    row = whole(backups, backup_id)
    if row.provider == "pg_basebackup":
        return _copy(backups, row, Path(into))
    if row.provider == "command":
        return _restore_command(backups, row, into)
    if row.provider == "restore-point":
        raise Refused(
            f"{row.backup_id} is a point in the archived log, not a copy",
            "RESTORE_FAILED",
            state="Nothing was changed.",
            next=f"Restore the newest base backup before it with recovery_target_name = '{row.detail.get('restorePoint')}' (restore_command of your archive).",
        )
    if not into or "\0" in into or len(into.encode()) > 63:
        raise ConfigError(f"--into {into!r} is not a database name of 1 to 63 bytes", "USAGE")
    begun = backups.limits.clock()
    wire = connect_patiently(backups.target.sibling(MAINTENANCE), "restore", backups.limits, backups.alarm)
    try:
        wire.patience = None
        dump.create_database(wire, into)
        try:
            _restore_dump(backups, row, backups.target, into, owners=True)
        except BaseException:
            if wire.alive:
                dump.drop_database(wire, into)
            raise
    finally:
        wire.close()
    compared = _compare(backups, row, backups.target.sibling(into))
    restored = Restored(row.backup_id, into, *compared, round(backups.limits.clock() - begun, 3))
    if not restored.equal:
        raise RunFailed(
            f"the restored database {into} differs from the backup: {'; '.join(restored.differences[:10])}",
            "RESTORE_FAILED",
            state=f"The database {into} is there for a look; drop it when you are done.",
            details={"restored": msgspec.to_builtins(restored)},
        )
    return restored


def drill(backups: Backups, backup_id: str, scratch: Path) -> Restored:
    """Restore a backup on a throw-away server in ``scratch``, compare rows and digests, and record the outcome.

    The throw-away server is of the backup's own major version; what drills left that were killed is removed first. Raises what a restore raises; that is recorded too.
    """
    row = whole(backups, backup_id)
    acting = {"pg_dump": _drill_dump, "pg_basebackup": _drill_base}.get(row.provider)
    if acting is None:
        raise Refused(
            f"{row.backup_id} is of {row.provider}: its data lies elsewhere, so nothing can be drilled on this machine",
            "BACKUP_UNVERIFIED",
            next="Restore it where it belongs, and compare there.",
        )
    begun = backups.limits.clock()
    failure: LockgateError | None = None
    restored = Restored(row.backup_id, "a throw-away server", 0, 0, [], 0.0, dropped=True)
    with drill_place(scratch) as home:
        try:
            compared, notes = acting(backups, row, home)
            restored = Restored(
                row.backup_id,
                "a throw-away server",
                *compared,
                round(backups.limits.clock() - begun, 3),
                True,
                notes,
            )
        except LockgateError as error:
            failure = error
    outcome: Mapping[str, Any] = {
        **msgspec.to_builtins(restored),
        "equal": failure is None and restored.equal,
        "failure": failure.message if failure else "",
    }
    wire = connect_patiently(backups.target, "backup", backups.limits, None)
    try:
        mark_drilled(wire, row.backup_id, outcome)
    finally:
        wire.close()
    if failure is not None:
        raise failure
    if not restored.equal:
        raise RunFailed(
            f"what came out of backup {row.backup_id} differs: {'; '.join(restored.differences[:10])}",
            "RESTORE_FAILED",
            details={"restored": msgspec.to_builtins(restored)},
        )
    return restored


def _drill_dump(backups: Backups, row: BackupRow, home: Path) -> tuple[tuple[int, int, list[str]], list[str]]:
    """What ``_compare`` says of the dump, restored on a new server in ``home``."""
    from lockgate.postgres.embedded import Embedded

    server = Embedded.ensure(home, binaries=server_binaries(version_of(row)), idle_seconds=60)
    try:
        target = Target(server.url("postgres"), source="drill")
        wire = Wire(target, "drill", alarm=backups.alarm)
        try:
            wire.patience = None
            name = f"drill_{secrets.token_hex(4)}"
            dump.create_database(wire, name)
            for role in row.detail.get("roles", []):
                if not wire.value("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", role):
                    wire.one(f"CREATE ROLE {identifier(role)}")
        finally:
            wire.close()
        _restore_dump(backups, row, target, name, owners=False)
        return _compare(backups, row, target.sibling(name)), []
    finally:
        server.stop("immediate")
        shutil.rmtree(server.data.parent, ignore_errors=True)


def _drill_base(backups: Backups, row: BackupRow, home: Path) -> tuple[tuple[int, int, list[str]], list[str]]:
    """What ``_compare`` says of the database of the call, on a new server in ``home`` that is a copy of the whole cluster."""
    if "digests" not in row.detail:
        raise Refused(
            f"{row.backup_id} was taken without digests, so there is nothing to compare it with",
            "BACKUP_UNVERIFIED",
            next="lockgate backup take",
        )
    server = physical_copy.start(
        backups.folder(row) / DATA,
        home,
        binaries=server_binaries(version_of(row)),
        seconds=seconds(backups.settings.backup.timeout),
    )
    try:
        target = physical_copy.target_of(server, row.database, str(row.detail.get("role", "postgres")))
        moved = tuple(row.detail.get("moved", ()))
        compared = _compare(backups, row, target, moved)
        notes = ["the whole cluster was started; other databases of it were not compared"]
        if moved:
            notes.append(f"{', '.join(moved)} changed while the copy was made: read whole and not compared")
        return compared, notes
    finally:
        server.stop("immediate")
        shutil.rmtree(server.data.parent, ignore_errors=True)


def version_of(row: BackupRow) -> int:
    """The major version of the server that was backed up."""
    return int(row.detail.get("serverVersion", 0)) // 10000


def whole(backups: Backups, backup_id: str) -> BackupRow:
    """The backup of that id, looked at again, every byte: what was truncated, edited or swapped is refused here."""
    row = backups.one(backup_id)
    if row.state not in ("verified", "taken"):
        raise Refused(f"backup {row.backup_id} is {row.state}: {row.message}", "BACKUP_UNVERIFIED")
    wrong = backups.wrong(row, whole=True)
    if wrong:
        raise Refused(f"backup {row.backup_id}: {wrong}", "BACKUP_UNVERIFIED")
    return row


def server_binaries(version: int) -> Any:
    """The server programs of exactly that major version. Raises ``LockgateError`` (``PROGRAM_MISSING``)."""
    from lockgate.postgres.embedded import Binaries, machine_binaries

    found = program("postgres", version)
    for binaries in machine_binaries():
        if binaries.version == version:
            return binaries
    if version in (16, 18):
        return Binaries(version, found.parent)
    raise LockgateError(f"no server programs of PostgreSQL {version} for a drill", "PROGRAM_MISSING")


def _restore_dump(backups: Backups, row: BackupRow, target: Target, into: str, *, owners: bool) -> None:
    b = backups.settings.backup
    dump.restore_dump(
        backups.folder(row) / DATA, target, into, version=version_of(row),
        jobs=b.jobs, seconds=seconds(b.timeout), owners=owners, alarm=backups.alarm,
    )  # fmt: skip


def _compare(
    backups: Backups, row: BackupRow, target: Target, moved: Sequence[str] = ()
) -> tuple[int, int, list[str]]:
    """(tables, rows, differences) of the database ``target``; every table is read, those that ``moved`` are not compared."""
    expected = [TableDigest(d["name"], d["rows"], d["digest"]) for d in row.detail.get("digests", [])]
    wire = connect_patiently(target, "compare", backups.limits, backups.alarm)
    try:
        limit = seconds(backups.settings.backup.timeout)
        seen = read_digests(wire, backups.settings.backup.digest_max_mb, backups.limits.clock() + limit)
    finally:
        wire.close()
    compared = [table for table in seen if table.name not in moved]
    return len(seen), sum(t.rows for t in seen), differences(expected, compared)


def _copy(backups: Backups, row: BackupRow, into: Path) -> Restored:
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Refused(f"{into} is there already", "RESTORE_TARGET_EXISTS")
    begun = backups.limits.clock()
    folder = backups.folder(row)
    try:
        physical_copy.refuse_tablespaces(folder / DATA)
        shutil.copytree(folder / DATA, into, dirs_exist_ok=True)
        into.chmod(0o700)
        wrong = broken_seal(folder, row.sha256, whole=True, copy=into)
    except OSError as error:
        raise RunFailed(f"{into}: {error.strerror or error}", "RESTORE_FAILED") from None
    if wrong:
        raise RunFailed(
            f"the copy in {into} is not the backup: {wrong}",
            "RESTORE_FAILED",
            state=f"{into} is there for a look; delete it when you are done.",
        )
    note = f"pg_ctl -D {into} start makes it a server; with recovery.signal and restore_command it goes on to a later point"
    same = "every file of the copy is the backup's, byte for byte; lockgate backup drill starts a copy and compares its rows"
    return Restored(
        row.backup_id, str(into), 0, 0, [], round(backups.limits.clock() - begun, 3), notes=[same, note]
    )


def _restore_command(backups: Backups, row: BackupRow, into: str) -> Restored:
    command = backups.settings.backup.restore_command
    if not command:
        raise ConfigError(
            "backup.restore_command is not configured",
            next=f"Restore {row.location} with your provider's own command.",
        )
    done = run(
        [*command, row.location, into], seconds=seconds(backups.settings.backup.timeout), alarm=backups.alarm
    )
    dump.refuse_failure(done, command[0], "RESTORE_FAILED")
    return Restored(
        row.backup_id,
        into,
        0,
        0,
        [],
        done.seconds,
        notes=["restored by restore_command; nothing was compared"],
    )
