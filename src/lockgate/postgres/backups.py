"""The rows of ``lockgate.backup``."""

from collections.abc import Mapping
from typing import Any

import msgspec

from lockgate.postgres.wire import Wire

_UTC = "COALESCE(to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), '')"


class BackupRow(msgspec.Struct, frozen=True, rename="camel"):
    """One backup as the table has it; times are ISO 8601 in UTC, "" where it never came to that; ages in seconds."""

    backup_id: str
    environment: str
    provider: str
    state: str
    started_at: str
    finished_at: str
    age_seconds: float
    lsn: str
    timeline: str
    system_identifier: str
    database: str
    size_bytes: int
    sha256: str
    location: str
    verified_at: str
    verified_by: str
    drilled_at: str
    drill_age_seconds: float | None
    message: str
    detail: Mapping[str, Any] = {}
    drill: Mapping[str, Any] = {}


_COLUMNS = f"""backup_id, environment, provider, state, {_UTC.format("started_at")}, {_UTC.format("finished_at")},
 extract(epoch FROM clock_timestamp() - started_at)::text, lsn, timeline, system_identifier, database_name, size_bytes::text, sha256, location,
 {_UTC.format("verified_at")}, verified_by, {_UTC.format("drilled_at")}, extract(epoch FROM clock_timestamp() - drilled_at)::text, message, detail::text, drill::text"""


def read_backups(wire: Wire, backup_id: str = "") -> list[BackupRow]:
    """The newest 200 backups, or the one of that id; none where the table does not exist yet."""
    if wire.value("SELECT pg_catalog.to_regclass('lockgate.backup') IS NOT NULL") != "t":
        return []
    where = "WHERE backup_id = $1" if backup_id else "WHERE $1 = ''"
    sql = f"SELECT {_COLUMNS} FROM lockgate.backup {where} ORDER BY started_at DESC, backup_id LIMIT 200"  # noqa: S608
    return [_row(r) for r in wire.one(sql, backup_id).rows]


def _row(r: tuple[str | None, ...]) -> BackupRow:
    c = [v or "" for v in r]
    return BackupRow(
        c[0], c[1], c[2], c[3], c[4], c[5], float(c[6] or 0), c[7], c[8], c[9], c[10], int(c[11] or 0), c[12], c[13], c[14], c[15], c[16],
        float(c[17]) if c[17] else None, c[18], msgspec.json.decode(c[19] or "{}"), msgspec.json.decode(c[20] or "{}"),
    )  # fmt: skip


def begin_backup(
    wire: Wire, backup_id: str, environment: str, provider: str, location: str, release_key: str
) -> None:
    """Write that a backup has begun; whoever finds it so later knows that it never ended."""
    wire.one(
        "INSERT INTO lockgate.backup (backup_id, environment, provider, state, location, release_key) VALUES ($1, $2, $3, 'running', $4, NULLIF($5, ''))",
        backup_id, environment, provider, location, release_key,
    )  # fmt: skip


def end_backup(
    wire: Wire,
    backup_id: str,
    state: str,
    *,
    lsn: str = "",
    timeline: str = "",
    system_identifier: str = "",
    database: str = "",
    size: int = 0,
    sha256: str = "",
    location: str = "",
    message: str = "",
    verified_by: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Write how a backup ended."""
    wire.one(
        "UPDATE lockgate.backup SET state = $2, finished_at = clock_timestamp(), lsn = $3, timeline = $4, system_identifier = $5, database_name = $6, size_bytes = $7::bigint,"
        " sha256 = $8, location = CASE WHEN $9 = '' THEN location ELSE $9 END, message = $10, verified_by = $11,"
        " verified_at = CASE WHEN $2 = 'verified' THEN clock_timestamp() END, detail = $12::jsonb WHERE backup_id = $1",
        backup_id, state, lsn, timeline, system_identifier, database, str(size), sha256, location, message, verified_by,
        msgspec.json.encode(detail or {}).decode(),
    )  # fmt: skip


def mark_verified(wire: Wire, backup_id: str, verified_by: str, wrong: str) -> None:
    """Write what a later verification found: ``wrong`` is "" when the backup is whole."""
    state = "failed" if wrong else "verified"
    wire.one(
        "UPDATE lockgate.backup SET state = $2, verified_at = clock_timestamp(), verified_by = $3, message = $4 WHERE backup_id = $1",
        backup_id, state, verified_by, wrong,
    )  # fmt: skip


def mark_drilled(wire: Wire, backup_id: str, drill: Mapping[str, object]) -> None:
    """Write the outcome of a drill; the clock of the next one starts."""
    wire.one(
        "UPDATE lockgate.backup SET drilled_at = clock_timestamp(), drill = $2::jsonb WHERE backup_id = $1",
        backup_id,
        msgspec.json.encode(drill).decode(),
    )
