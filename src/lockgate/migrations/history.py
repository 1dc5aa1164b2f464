"""The history: one row per revision, chained by hashes, read as plain values and checked before it is believed."""

import hashlib
from collections.abc import Sequence

import msgspec

from lockgate.errors import Refused
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Cancelled, Wire
from lockgate.record.words import counted

# Each field as <bytes>:<text>, so that no two different rows give the same text. The expression is sent with every
# query and uses built-in functions only: a function stored in the database could be changed by who tampers.
_FIELDS = (
    "prev_hash", "ordinal::text", "revision_id", "checksum", "name", "phase", "state", "operator", "run_id", "COALESCE(release_id, '')",
    "(extract(epoch FROM started_at) * 1000000)::bigint::text", "(extract(epoch FROM applied_at) * 1000000)::bigint::text", "duration_ms::text", "xid", "epoch::text", "tool_version", "COALESCE(schema_digest, '')",
)  # fmt: skip
CANONICAL = " || ".join(f"pg_catalog.octet_length({field})::text || ':' || {field}" for field in _FIELDS)


class Row(msgspec.Struct, frozen=True, rename="camel"):
    """One applied (or adopted) revision as the history tells it."""

    revision: str
    checksum: str
    name: str = ""
    phase: str = "expand"
    state: str = "applied"
    applied_at: str = ""
    duration_ms: int = 0
    operator: str = ""
    row_hash: str = ""


class History(msgspec.Struct, frozen=True):
    """All rows in order, the head of the chain, and where the chain breaks ("" when it holds)."""

    rows: tuple[Row, ...] = ()
    head: str = ""
    compat_floor: str = ""
    broken: str = ""
    partial: tuple[str, ...] = ()
    """Revisions with a journal and no history row: non-transactional files that stopped half way."""
    schema_head: str = ""
    schema_digest: str = ""
    running: str = ""
    """The run that is shown as running; whether it lives, its locks tell."""

    @property
    def newest(self) -> str:
        """The newest revision, or ""."""
        return self.rows[-1].revision if self.rows else ""


_ROWS = f"""
SELECT revision_id, checksum, name, phase, state, applied_at::text, duration_ms::text, operator, row_hash, prev_hash, ordinal::text, {CANONICAL}
  FROM lockgate.migration_history h ORDER BY h.ordinal
"""  # noqa: S608 - built from constants
_FENCE = """
SELECT head, ordinal::text, compat_floor, COALESCE(schema_head, ''), COALESCE(schema_digest, ''),
       COALESCE((SELECT pg_catalog.string_agg(DISTINCT s.revision_id, ',') FROM lockgate.migration_step s
                  WHERE NOT EXISTS (SELECT FROM lockgate.migration_history h WHERE h.revision_id = s.revision_id)), ''),
       COALESCE((SELECT r.run_id FROM lockgate.run r WHERE r.run_id = f.run_id AND r.state = 'running'), '')
  FROM lockgate.fence f
"""


def read_history(wire: Wire) -> History:
    """Read the whole history in one round trip and check its chain. The schema ``lockgate`` must exist.

    Rows and fence are seen at one moment: a run that commits meanwhile must not look like tampering.
    """
    try:
        _, rows, fence, _ = wire.batch(
            [
                Call("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
                Call(_ROWS),
                Call(_FENCE),
                Call("COMMIT"),
            ],
            label="history",
        )
    except (ServerError, Cancelled) as error:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
        if isinstance(error, ServerError) and error.sqlstate in _GONE:
            return History(broken=f"the schema lockgate is damaged: {error.message}")
        raise
    if not fence.rows:
        return History(broken="the fence row is gone")
    head, ordinal, floor, schema_head, schema_digest, partial, running = (
        cell or "" for cell in fence.rows[0]
    )
    return History(
        rows=tuple(
            Row(r[0] or "", r[1] or "", r[2] or "", r[3] or "", r[4] or "", r[5] or "", int(r[6] or 0), r[7] or "", r[8] or "") for r in rows.rows
        ),
        head=head, compat_floor=floor, broken=_break(rows.rows, head, int(ordinal)), partial=tuple(p for p in partial.split(",") if p),
        schema_head=schema_head, schema_digest=schema_digest, running=running,
    )  # fmt: skip


_GONE = frozenset({"42P01", "42703"})
"""A table or a column is not there."""


def _break(rows: Sequence[tuple[str | None, ...]], head: str, ordinal: int) -> str:
    previous, number, newest = "", 0, ""
    for row in rows:
        revision, row_hash, prev_hash, canonical = row[0] or "", row[8], row[9], row[11] or ""
        number += 1
        if int(row[10] or 0) != number:
            return f"row {number} is missing (the next one is revision {revision})"
        if prev_hash != previous:
            return f"revision {revision} does not follow the row before it"
        if hashlib.sha256(canonical.encode()).hexdigest() != row_hash:
            return f"the row of revision {revision} was changed"
        if revision <= newest:
            return f"revision {revision} stands after {newest}"
        previous, newest = row_hash or "", revision
    if previous != head or number != ordinal:
        return f"the fence knows {counted(ordinal, 'row')} with head {head[:12] or 'none'}, the history has {number} with head {previous[:12] or 'none'}: its last rows were changed or deleted"
    return ""


def read_source(wire: Wire, revision: str) -> str:
    """The text that was applied as ``revision``; "" when the revision is unknown.

    The chain holds the text's checksum, not the text, so that is looked at here. Raises ``Refused`` when it differs.
    """
    rows = wire.one(
        "SELECT source_text, checksum FROM lockgate.migration_history WHERE revision_id = $1", revision
    ).rows
    text, checksum = (cell or "" for cell in rows[0]) if rows else ("", "")
    if rows and hashlib.sha256(text.encode()).hexdigest() != checksum:
        raise Refused(f"the text that is kept of revision {revision} was changed", "HISTORY_TAMPERED")
    return text
