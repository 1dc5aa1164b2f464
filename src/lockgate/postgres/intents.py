"""Queued writes: placing one, listing them, and the statements of a drain, which runs on the application's own connection."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from lockgate.errors import Refused
from lockgate.postgres import home
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire

INTENT_KEY = int.from_bytes(hashlib.sha256(b"lockgate:intents:1").digest()[:8], "big", signed=True)
"""The advisory lock between placing a write (shared) and what must see all placed ones (exclusive); 003_gate.sql has its number."""
ALL_PLACED = f"SELECT pg_catalog.pg_advisory_xact_lock({INTENT_KEY})"
"""In a transaction: from here on no write is being placed that a later statement would not see."""

# What a drain says on a DB-API connection, where parameters are `%s`.
TAKE = """
SELECT i.id, i.principal, i.idempotency_key, i.order_key, i.kind, i.payload::text, i.attempts, i.queued_at::text,
       pg_catalog.pg_current_xact_id()::text
  FROM lockgate.write_intent i
 WHERE i.state = 'queued' AND i.order_key <> ALL (%s)
   AND NOT EXISTS (SELECT FROM lockgate.write_intent o WHERE o.state IN ('queued', 'held') AND o.order_key = i.order_key AND o.id < i.id)
   AND NOT EXISTS (SELECT FROM lockgate.read_only_mode)
 ORDER BY i.id LIMIT 1 FOR UPDATE OF i SKIP LOCKED
"""
"""The oldest write that no other of its key stands before; it stays locked until the transaction ends."""
TRANSACTION = "SELECT pg_catalog.pg_current_xact_id()::text"
DONE = """
UPDATE lockgate.write_intent SET state = 'done', attempts = attempts + 1, last_error = '', ended_at = pg_catalog.clock_timestamp()
 WHERE id = %s AND state = 'queued'
"""
FAILED = "UPDATE lockgate.write_intent SET attempts = attempts + 1, last_error = %s WHERE id = %s AND state = 'queued'"
HELD = "UPDATE lockgate.write_intent SET state = 'held', attempts = attempts + 1, last_error = %s WHERE id = %s AND state = 'queued'"
WAITING = "SELECT count(*) FROM lockgate.write_intent WHERE state IN ('queued', 'held')"
FORGET = "DELETE FROM lockgate.write_intent WHERE state IN ('done', 'discarded') AND ended_at < pg_catalog.clock_timestamp() - interval '1 day'"
MODE = "SELECT reason FROM lockgate.read_only_mode"

_PLACE = "SELECT lockgate.intent_queue_v1($1::jsonb, $2::integer)::text"
_LIST = """
SELECT i.id::text, i.principal, i.idempotency_key, i.order_key, i.kind, i.state, i.attempts::text, i.last_error, i.queued_at::text
  FROM lockgate.write_intent i WHERE i.state IN ('queued', 'held') ORDER BY i.id LIMIT 1000
"""
_DECIDE = """
UPDATE lockgate.write_intent SET state = $2, actor = $3, reason = $4, ended_at = CASE WHEN $2 = 'discarded' THEN pg_catalog.clock_timestamp() END
 WHERE id = $1::bigint AND state IN ('queued', 'held') RETURNING id::text
"""


class Placed(NamedTuple):
    """Where a write went: ``state`` is queued, done, held or discarded (with ``id``), or open, full, conflict."""

    state: str
    id: int = 0
    new: bool = False


class Waiting(msgspec.Struct, frozen=True, rename="camel"):
    """One write that waits. ``state`` is queued, or held when a person has to decide."""

    id: int
    principal: str
    idempotency_key: str
    order_key: str
    kind: str
    state: str
    attempts: int
    last_error: str
    queued_at: str


def place(target: Target, intent: Mapping[str, object], *, most: int, timeout: float) -> Placed:
    """Place one write. Raises ``LockgateError``, ``ServerError``, ``Cancelled``; then nothing was placed, or its repeat finds it."""
    wire = Wire(target, "intent", connect_timeout=timeout)
    try:
        found = wire.value(_PLACE, json.dumps(intent), str(most), deadline=time.monotonic() + timeout)
    finally:
        wire.close()
    answer = json.loads(found or "{}")
    return Placed(answer["state"], int(answer.get("id", 0)), bool(answer.get("new")))


def read_waiting(target: Target) -> tuple[Waiting, ...]:
    """What waits, the oldest first; a thousand at most."""
    rows = _run(target, Call(_LIST))
    return tuple(
        Waiting(int(r[0] or 0), r[1] or "", r[2] or "", r[3] or "", r[4] or "", r[5] or "", int(r[6] or 0), r[7] or "", r[8] or "")
        for r in rows
    )  # fmt: skip


def decide(target: Target, id: int, state: str, actor: str, reason: str) -> None:
    """A person's word on a write that waits: ``discarded``, or ``queued`` again. Raises ``Refused`` when none such waits."""
    if not _run(target, Call(_DECIDE, (str(id), state, actor, reason))):
        raise Refused(
            f"no write {id} waits here",
            "INTENT_FAILED",
            state="Nothing was changed.",
            next="lockgate readonly intents lists those that wait.",
        )


def _run(target: Target, call: Call) -> list[tuple[str | None, ...]]:
    wire = Wire(target, "intents")
    try:
        if home.read_format(wire) < 3:
            raise Refused("the schema lockgate is missing or of an older format", "HOME_OLDER")
        return wire.batch([call])[0].rows
    except ServerError as error:
        if error.sqlstate == "42501":
            raise Refused(f"the role may not do this: {error.message}", "PRIVILEGE") from None
        raise
    finally:
        wire.close()
