"""What a gate asks the database: one connection, one query, and every way in which there is no answer told apart."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import NamedTuple

from lockgate.errors import LockgateError, Refused, Unreachable
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Cancelled, ConnectionLost, Reply, Wire

FLOOR_KEY = int.from_bytes(hashlib.sha256(b"lockgate:gate:floor:1").digest()[:8], "big", signed=True)
"""The advisory lock that orders heartbeats (shared) and the announcement of a floor (exclusive); 002_gate.sql has its number."""

_READ = "SELECT lockgate.gate_v1($1::jsonb)::text"
_READ_FORMAT_1 = "SELECT lockgate.gate_v1()::text"
_BEAT = "SELECT lockgate.gate_beat_v1($1::jsonb, $2::jsonb)::text"
_UNKNOWN_FUNCTION = "42883"
_NO_SCHEMA = frozenset({"3F000", "42P01"})


class Seen(NamedTuple):
    """One look: ``kind`` is ``seen``, ``absent`` (no schema lockgate), ``unreachable`` or ``doubt``.

    ``state`` is the document of ``lockgate.gate_v1``, empty unless ``seen``; ``why`` and ``next`` are for people.
    """

    kind: str
    state: Mapping[str, object] = {}
    why: str = ""
    next: str = ""


def look(target: Target, contract: Mapping[str, object], *, timeout: float = 5.0) -> Seen:
    """Read what ``contract`` needs to be judged. Never raises for what the database does; ``timeout`` is in seconds."""
    return _ask(target, _READ, (json.dumps(contract),), timeout)


def beat(
    target: Target, contract: Mapping[str, object], instance: Mapping[str, object], *, timeout: float = 5.0
) -> Seen:
    """Look and register (or renew) the heartbeat of ``instance`` in one step; ``state['registered']`` tells.

    In a database of format 1 nothing is registered.
    """
    return _ask(target, _BEAT, (json.dumps(contract), json.dumps(instance)), timeout)


def sign_off(target: Target, instance_id: str, *, timeout: float = 5.0) -> bool:
    """Remove the heartbeat of an instance that ends. False when that could not be done; it expires by itself."""
    return _run(target, "DELETE FROM lockgate.instance WHERE instance_id = $1", (instance_id,), timeout)


def count_attempt(
    target: Target, service: str, outcome: str, reason: str, seconds: float, *, timeout: float = 5.0
) -> bool:
    """Count how a start ended (``ready``, ``refused``, ``unknown``). False when it could not be written."""
    return _run(
        target,
        "SELECT lockgate.gate_attempt_v1($1, $2, $3, $4::double precision)",
        (service, outcome, reason, f"{seconds:.3f}"),
        timeout,
    )


def ask(target: Target, sql: str, *, timeout: float) -> Reply:
    """Run one statement of a probe, read-only, under a server-side time limit. Raises ``ServerError`` and the errors of a connection."""
    wire = _connect(target, "probe", timeout)
    try:
        calls = [
            Call("BEGIN READ ONLY"),
            Call(f"SET LOCAL statement_timeout = {max(1, round(timeout * 1000))}"),
            Call(sql),
            Call("ROLLBACK"),
        ]
        return wire.batch(calls, deadline=time.monotonic() + timeout)[2]
    finally:
        wire.close()


def _connect(target: Target, name: str, timeout: float) -> Wire:
    return Wire(target, name, connect_timeout=timeout)


def _ask(target: Target, sql: str, parameters: tuple[str, ...], timeout: float) -> Seen:
    try:
        wire = _connect(target, "gate", timeout)
    except Unreachable as error:
        return Seen("unreachable", why=error.message, next=error.next)
    except Refused as error:
        return Seen("doubt", why=error.message, next=error.next)
    try:
        return _read(wire, sql, parameters, time.monotonic() + timeout)
    except (ConnectionLost, Cancelled) as error:
        return Seen("unreachable", why=str(error), next="Check the server, then try again.")
    except ServerError as error:
        if error.sqlstate in _NO_SCHEMA:
            return Seen("absent", why="there is no schema lockgate in this database")
        if error.sqlstate == "42501":
            return Seen(
                "doubt",
                why=f"the role may not read the schema lockgate: {error.message}",
                next="lockgate roles prints the SQL that grants it.",
            )
        return Seen(
            "doubt", why=f"the server answered {error.sqlstate}: {error.message}", next="lockgate doctor"
        )
    except ValueError as error:
        return Seen("doubt", why=f"lockgate.gate_v1 gave what is not JSON: {error}", next="lockgate doctor")
    finally:
        wire.close()


def _read(wire: Wire, sql: str, parameters: tuple[str, ...], deadline: float) -> Seen:
    try:
        text = wire.one(sql, *parameters, deadline=deadline).rows[0][0]
    except ServerError as error:
        if error.sqlstate != _UNKNOWN_FUNCTION:
            raise
        # The database is of format 1: written by an older lockgate, and not yet touched by a newer one.
        text = wire.one(_READ_FORMAT_1, deadline=deadline).rows[0][0]
    if text is None:
        return Seen("doubt", why="the fence row of the schema lockgate is gone", next="lockgate doctor")
    state = json.loads(text)
    if not isinstance(state, dict):
        return Seen("doubt", why="lockgate.gate_v1 gave no object", next="lockgate doctor")
    return Seen("seen", state)


def _run(target: Target, sql: str, parameters: tuple[str, ...], timeout: float) -> bool:
    try:
        wire = _connect(target, "gate", timeout)
    except LockgateError:
        return False
    try:
        wire.one(sql, *parameters, deadline=time.monotonic() + timeout)
    except (LockgateError, ServerError, Cancelled):
        return False
    else:
        return True
    finally:
        wire.close()
