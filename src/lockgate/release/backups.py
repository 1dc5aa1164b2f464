"""Backups: taken through a provider, sealed, verified and recorded. What is not verified does not count.

pg_dump         the database, in pg_dump's directory format, with counts and digests of the same snapshot
pg_basebackup   the cluster, with its log
restore-point   a name in an archived log, for a restore to that point
command         somebody else's snapshot: a program that prints one JSON object
"""

import json
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import Settings, seconds
from lockgate.errors import ConfigError, LockgateError, Refused, RunFailed
from lockgate.migrations.limits import Limits
from lockgate.postgres import dump, physical
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.backups import (
    BackupRow,
    begin_backup,
    end_backup,
    mark_verified,
    read_backups,
)
from lockgate.postgres.child import run
from lockgate.postgres.digests import read_digests, steady
from lockgate.postgres.settings import FACTS, Facts, read_facts
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled, Wire
from lockgate.record.artifact import write_atomically
from lockgate.record.points import point
from lockgate.release.backup_files import DATA, broken_seal, folder_of, seal
from lockgate.release.backup_judge import Wanted
from lockgate.release.look import connect_patiently


class Backups:
    """The backups of one target: where they lie, how they are taken, and the rows that tell of them."""

    def __init__(
        self, target: Target, settings: Settings, limits: Limits, alarm: Alarm | None = None
    ) -> None:
        self.target = target
        self.settings = settings.of(target.environment)
        self.limits = limits
        self.alarm = alarm
        self.directory = self.settings.path(self.settings.backup.directory)

    # -- taking ---------------------------------------------------------------------------------

    def take(self, provider: str = "", release_key: str = "") -> BackupRow:
        """Take a backup, verify it and record both. Raises ``RunFailed`` (``BACKUP_FAILED``); the row tells of it too."""
        provider = provider or self.settings.backup.provider
        if not provider:
            raise ConfigError(
                "no backup provider is configured", next='Set [backup] provider = "pg_dump" in lockgate.toml.'
            )
        if provider == "command" and not self.settings.backup.command:
            raise ConfigError(
                "the provider command needs backup.command", next="Set [backup] command in lockgate.toml."
            )
        backup_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        wire = connect_patiently(self.target, "backup", self.limits, self.alarm)
        try:
            facts = read_facts(wire.one(FACTS))
            if provider == "pg_basebackup":
                physical.refuse_tablespaces(wire)
            location = "" if provider in ("restore-point", "command") else str(self._folder(backup_id))
            begin_backup(wire, backup_id, self.target.environment, provider, location, release_key)
            point("backup:begun")
            try:
                taking = {
                    "pg_dump": self._dump,
                    "pg_basebackup": self._base,
                    "restore-point": self._restore_point,
                    "command": self._command,
                }[provider]
                ended = taking(wire, facts, backup_id)
            except (LockgateError, ServerError, Cancelled, OSError) as error:
                failure = error if isinstance(error, LockgateError) else _failed(error)
                if location:
                    dump.remove(self._folder(backup_id))
                self._record(wire, backup_id, "failed", {"message": failure.message})
                raise failure from None
            point("backup:taken")
            state = ended.pop("state")
            self._record(wire, backup_id, state, ended)
            point("backup:recorded")
            if state == "failed":
                raise RunFailed(f"backup {backup_id} is not whole: {ended['message']}", "BACKUP_FAILED")
            return self.one(backup_id)
        finally:
            wire.close()

    def _record(self, wire: Wire, backup_id: str, state: str, fields: dict[str, Any]) -> None:
        """Write how it ended, through a new connection when the old one is gone."""
        if wire.alive:
            try:
                end_backup(wire, backup_id, state, **fields)
                return
            except (LockgateError, ServerError, Cancelled):
                if wire.alive:
                    raise
        again = connect_patiently(self.target, "backup", self.limits, None)
        try:
            end_backup(again, backup_id, state, **fields)
        finally:
            again.close()

    def _dump(self, wire: Wire, facts: Facts, backup_id: str) -> dict[str, Any]:
        b, folder = self.settings.backup, self._make(backup_id)
        begun = self.limits.clock()
        taken = dump.take_dump(
            wire, self.target, folder / DATA, version=facts.version // 10000, jobs=b.jobs, seconds=seconds(b.timeout),
            max_megabytes=b.digest_max_mb, alarm=self.alarm, clock=self.limits.clock,
        )  # fmt: skip
        sha256, size = seal(folder)
        wrong = dump.list_dump(folder / DATA, facts.version // 10000) or broken_seal(
            folder, sha256, whole=True
        )
        detail = {
            "digests": msgspec.to_builtins(taken.digests),
            "roles": taken.roles,
            "program": taken.program,
            "serverVersion": facts.version,
            "seconds": round(self.limits.clock() - begun, 3),
        }
        ended = _ended(facts, "failed" if wrong else "verified", taken.lsn, size, sha256, wrong, detail)
        ended["verified_by"] = "pg_restore --list and sums"
        self._describe(folder, backup_id, ended)
        return ended

    def _base(self, wire: Wire, facts: Facts, backup_id: str) -> dict[str, Any]:
        folder, limit = self._make(backup_id), seconds(self.settings.backup.timeout)
        version, megabytes = facts.version // 10000, self.settings.backup.digest_max_mb
        before = read_digests(wire, megabytes, self.limits.clock() + limit)
        lsn = physical.take_base_backup(
            self.target, folder / DATA, version=version, seconds=limit, alarm=self.alarm
        )
        # The copy is of no one moment that SQL could read: what is the same before and behind it has to be in it.
        same, moved = steady(before, read_digests(wire, megabytes, self.limits.clock() + limit))
        sha256, size = seal(folder)
        wrong = physical.verify_base_backup(folder / DATA, version, limit)
        detail = {
            "digests": msgspec.to_builtins(same),
            "moved": moved,
            "role": facts.session_user,
            "serverVersion": facts.version,
        }
        ended = _ended(facts, "failed" if wrong else "verified", lsn, size, sha256, wrong, detail)
        ended["verified_by"] = "its manifest and sums"
        self._describe(folder, backup_id, ended)
        return ended

    def _restore_point(self, wire: Wire, facts: Facts, backup_id: str) -> dict[str, Any]:
        name = f"lockgate-{backup_id}"
        lsn, segment = physical.make_restore_point(wire, name)
        limit = min(seconds(self.settings.backup.timeout), 300.0)
        wrong = physical.wait_until_archived(wire, segment, limit, self._sleep, self.limits.clock)
        detail = {"restorePoint": name, "segment": segment, "serverVersion": facts.version}
        ended = _ended(facts, "taken" if wrong else "verified", lsn, 0, "", wrong, detail)
        ended["verified_by"] = "" if wrong else "the archiver"
        ended["location"] = f"restore point {name}"
        return ended

    def _command(self, wire: Wire, facts: Facts, backup_id: str) -> dict[str, Any]:
        said = self._ask(self.settings.backup.command, backup_id)
        missing = [key for key in ("id", "status") if not isinstance(said.get(key), str) or not said[key]]
        if missing:
            raise RunFailed(f"the backup command's JSON lacks {', '.join(missing)}", "BACKUP_FAILED")
        if said["status"].lower() not in ("succeeded", "completed", "available", "ok", "done", "success"):
            raise RunFailed(f"the backup command says {said['status']!r}", "BACKUP_FAILED")
        stated = str(said.get("systemIdentifier") or facts.system_identifier)
        if stated != facts.system_identifier:
            raise RunFailed(
                f"the backup command backed up system {stated}, not {facts.system_identifier}",
                "BACKUP_FAILED",
            )
        detail = {"said": said, "serverVersion": facts.version}
        wrong = self._verify_command(str(said["id"]))
        lsn = str(said.get("lsn") or "")
        ended = _ended(
            facts, "taken" if wrong else "verified", lsn, int(said.get("size") or 0), str(said.get("sha256") or ""), wrong, detail,
        )  # fmt: skip
        ended["verified_by"] = "" if wrong else "verify_command"
        ended["location"] = str(said["id"])
        return ended

    def _verify_command(self, name: str) -> str:
        if not self.settings.backup.verify_command:
            return "backup.verify_command is not configured, so nobody looked at it"
        done = run(
            [*self.settings.backup.verify_command, name],
            seconds=seconds(self.settings.backup.timeout),
            alarm=self.alarm,
        )
        return "" if done.ok else f"verify_command ended with {done.code}: {done.told()}"

    def _ask(self, command: tuple[str, ...], backup_id: str) -> dict[str, Any]:
        environ = {
            "LOCKGATE_BACKUP_ID": backup_id,
            "LOCKGATE_ENVIRONMENT": self.target.environment,
        }
        done = run(command, seconds=seconds(self.settings.backup.timeout), environ=environ, alarm=self.alarm)
        dump.refuse_failure(done, command[0])
        try:
            said = json.loads(done.out)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise RunFailed(f"{command[0]} did not print one JSON object", "BACKUP_FAILED")
        return said

    # -- looking --------------------------------------------------------------------------------

    def list(self) -> list[BackupRow]:
        """The newest 200, newest first."""
        wire = connect_patiently(self.target, "backup", self.limits, self.alarm)
        try:
            return read_backups(wire)
        finally:
            wire.close()

    def one(self, backup_id: str) -> BackupRow:
        """The backup of that id, or the newest for ``latest``. Raises ``Refused`` (``BACKUP_MISSING``)."""
        wire = connect_patiently(self.target, "backup", self.limits, self.alarm)
        try:
            rows = read_backups(wire, "" if backup_id == "latest" else backup_id)
        finally:
            wire.close()
        if not rows:
            raise Refused(f"there is no backup {backup_id}", "BACKUP_MISSING", next="lockgate backup list")
        return rows[0]

    def verify(self, backup_id: str) -> BackupRow:
        """Look at the files again, all of them, and record what was found. Raises ``Refused`` (``BACKUP_UNVERIFIED``)."""
        row = self.one(backup_id)
        if row.state == "running":
            raise Refused(f"backup {row.backup_id} is not finished", "BACKUP_UNVERIFIED")
        if row.provider == "restore-point":
            return self._verify_restore_point(row)
        wrong = (
            self._verify_command(row.location) if row.provider == "command" else self.wrong(row, whole=True)
        )
        how = {"pg_dump": "pg_restore --list and sums", "pg_basebackup": "its manifest and sums"}
        wire = connect_patiently(self.target, "backup", self.limits, self.alarm)
        try:
            mark_verified(wire, row.backup_id, how.get(row.provider, "verify_command"), wrong)
        finally:
            wire.close()
        if wrong:
            raise Refused(f"backup {row.backup_id}: {wrong}", "BACKUP_UNVERIFIED")
        return self.one(row.backup_id)

    def _verify_restore_point(self, row: BackupRow) -> BackupRow:
        wire = connect_patiently(self.target, "backup", self.limits, self.alarm)
        try:
            wrong = physical.wait_until_archived(
                wire, str(row.detail.get("segment", "")), 0.0, self._sleep, self.limits.clock
            )
            if not wrong:
                mark_verified(wire, row.backup_id, "the archiver", "")
        finally:
            wire.close()
        if wrong:
            raise Refused(f"backup {row.backup_id}: {wrong}", "BACKUP_UNVERIFIED")
        return self.one(row.backup_id)

    def wrong(self, row: BackupRow, *, whole: bool) -> str:
        """What is wrong with the files of a backup, "" when nothing is. Backups without files here are not looked at."""
        if row.provider not in ("pg_dump", "pg_basebackup"):
            return ""
        try:
            folder = folder_of(self.directory, row.backup_id)
        except ValueError as error:
            return str(error)
        if not folder.is_dir():
            folder = Path(row.location)  # taken with another [backup] directory
        wrong = broken_seal(folder, row.sha256, whole=whole)
        if wrong or not whole:
            return wrong
        version = int(row.detail.get("serverVersion", 0)) // 10000
        if row.provider == "pg_dump":
            return dump.list_dump(folder / DATA, version)
        return physical.verify_base_backup(folder / DATA, version, seconds(self.settings.backup.timeout))

    def folder(self, row: BackupRow) -> Path:
        """Where the files of ``row`` lie."""
        folder = self._folder(row.backup_id)
        return folder if folder.is_dir() else Path(row.location)

    # -- parts ----------------------------------------------------------------------------------

    def _folder(self, backup_id: str) -> Path:
        try:
            return folder_of(self.directory, backup_id)
        except ValueError as error:
            raise ConfigError(str(error), "USAGE") from None

    def _make(self, backup_id: str) -> Path:
        folder = self._folder(backup_id)
        self.directory.mkdir(parents=True, exist_ok=True)
        # A dump holds all rows of the database: nobody else on this machine may read it.
        folder.mkdir(mode=0o700)
        return folder

    def _describe(self, folder: Path, backup_id: str, ended: dict[str, Any]) -> None:
        """``backup.json`` beside the data: what the database knows, for the day the database is gone."""
        content = {"schemaVersion": "1", "backupId": backup_id, **msgspec.to_builtins(ended)}
        write_atomically(folder / "backup.json", json.dumps(content, indent=2).encode() + b"\n", mode=0o600)

    def _sleep(self, pause: float) -> None:
        (self.alarm.sleep if self.alarm is not None else time.sleep)(pause)


def wanted_of(facts: Facts, settings: Settings) -> Wanted:
    """What ``[backup]`` demands of a backup of this server."""
    b = settings.backup
    return Wanted(
        facts.system_identifier, facts.timeline, facts.database, seconds(b.max_age), seconds(b.drill_max_age)
    )


def _ended(
    facts: Facts, state: str, lsn: str, size: int, sha256: str, message: str, detail: dict[str, Any]
) -> dict[str, Any]:
    return {
        "state": state, "lsn": lsn, "timeline": facts.timeline, "system_identifier": facts.system_identifier, "database": facts.database,
        "size": size, "sha256": sha256, "message": message, "detail": detail,
    }  # fmt: skip


def _failed(error: Exception) -> LockgateError:
    if isinstance(error, Cancelled):
        return RunFailed(error.cause.message, error.cause.code)
    told = error.message if isinstance(error, ServerError) else str(error)
    return RunFailed(f"the backup failed: {told}", "BACKUP_FAILED")
