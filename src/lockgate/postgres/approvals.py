"""The rows of ``lockgate.approval``: written once, revoked, never changed."""

from collections.abc import Mapping

import msgspec

from lockgate.postgres.wire import Wire


class ApprovalRow(msgspec.Struct, frozen=True):
    """One row as text, with times as ISO 8601 in UTC."""

    approval_id: str
    environment: str
    plan_hash: str
    approver: str
    role: str
    approved_at: str
    expires_at: str
    break_glass: bool
    reason: str
    revoked: bool


_UTC = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
NOW = "SELECT " + _UTC.format("pg_catalog.clock_timestamp()")
"""The server's clock: the one that says whether an approval still holds."""
_READ = f"""
SELECT approval_id, environment, plan_hash, approver, role, {_UTC.format("approved_at")}, {_UTC.format("expires_at")},
       break_glass, reason, revoked_at IS NOT NULL
  FROM lockgate.approval WHERE environment = $1 ORDER BY approved_at DESC LIMIT 1000
"""  # noqa: S608 - built from constants
_INSERT = f"""
INSERT INTO lockgate.approval (approval_id, environment, plan_hash, approver, role, expires_at, break_glass, reason, detail)
VALUES ($1, $2, $3, $4, $5, pg_catalog.now() + pg_catalog.make_interval(secs => $6::double precision), $7::boolean, $8, $9::jsonb)
RETURNING {_UTC.format("expires_at")}
"""  # noqa: S608 - built from constants


def read_approvals(wire: Wire, environment: str) -> list[ApprovalRow]:
    """The newest approvals of an environment, and none where the table does not exist yet."""
    if wire.value("SELECT pg_catalog.to_regclass('lockgate.approval') IS NOT NULL") != "t":
        return []
    return [
        ApprovalRow(
            r[0] or "", r[1] or "", r[2] or "", r[3] or "", r[4] or "", r[5] or "", r[6] or "", r[7] == "t", r[8] or "", r[9] == "t"
        )
        for r in wire.one(_READ, environment).rows
    ]  # fmt: skip


def read_now(wire: Wire) -> str:
    """The server's clock, ISO 8601 in UTC."""
    return wire.value(NOW) or ""


def write_approval(
    wire: Wire,
    approval_id: str,
    environment: str,
    plan_hash: str,
    approver: str,
    role: str,
    seconds: float,
    *,
    break_glass: bool,
    reason: str,
    detail: Mapping[str, object],
) -> str:
    """Write one approval that ends ``seconds`` from the server's now; returns its end."""
    return (
        wire.value(
            _INSERT,
            approval_id,
            environment,
            plan_hash,
            approver,
            role,
            str(seconds),
            "true" if break_glass else "false",
            reason,
            msgspec.json.encode(dict(detail)).decode(),
        )
        or ""
    )


def revoke_approval(wire: Wire, approval_id: str) -> bool:
    """Take an approval back; whether there was one that still held."""
    return bool(
        wire.one(
            "UPDATE lockgate.approval SET revoked_at = clock_timestamp() WHERE approval_id = $1 AND revoked_at IS NULL RETURNING 1",
            approval_id,
        ).rows
    )
