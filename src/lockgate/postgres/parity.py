"""The compact fingerprint of one region: what was applied, what the schema is, what is live. One connection, read-only."""

import json
from collections.abc import Mapping

import msgspec

from lockgate.errors import LockgateError, Unreachable
from lockgate.postgres import home
from lockgate.postgres.fingerprint import read_fingerprint
from lockgate.postgres.identity import identity
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Cancelled, ConnectionLost, Wire

_STATE = "SELECT lockgate.gate_v1()::text, lockgate.history_digest_v1('')"
_PARTS = "SELECT name, spec_hash, COALESCE(details->>'content_root', ''), COALESCE(details->>'records', '') FROM lockgate.live_index ORDER BY name"
"""What an index hash is made of. A role that may only ask the gate cannot read it, and then the hash alone is compared."""


class Sight(msgspec.Struct, frozen=True, rename="camel"):
    """What a region showed. ``kind`` is ``seen``, ``unreachable`` or ``doubt``; ``why`` says the last two in words.

    ``basis`` tells which schema digests can be compared: format of the fingerprint and major version of the server.
    Specifications, contents and counts of indexes are None where the role may not read them.
    """

    kind: str
    why: str = ""
    revision: str = ""
    history_digest: str = ""
    schema_digest: str = ""
    basis: str = ""
    compat_floor: str = ""
    index_hashes: Mapping[str, str] = {}
    index_specs: Mapping[str, str] | None = None
    index_contents: Mapping[str, str] | None = None
    index_counts: Mapping[str, str] | None = None
    secrets: tuple[str, ...] = ()
    standby: bool = False
    # What only two names of the same database have in common.
    identity: str = ""


def read_region(target: Target, *, timeout: float = 10.0) -> Sight:
    """Read one region. Never raises for what its database does."""
    try:
        wire = Wire(target, "parity", connect_timeout=timeout)
    except Unreachable as error:
        return Sight("unreachable", error.message)
    except LockgateError as error:
        return Sight("doubt", error.message)
    try:
        return _read(wire)
    except (ConnectionLost, Cancelled) as error:
        return Sight("unreachable", str(error))
    except ServerError as error:
        return Sight("doubt", f"the server answered {error.sqlstate}: {error.message}")
    finally:
        wire.close()


def _read(wire: Wire) -> Sight:
    who = identity(wire)
    live = read_fingerprint(wire)
    try:
        text, digest = wire.batch([Call(_STATE)], label="parity")[0].rows[0]
    except ServerError as error:
        if error.sqlstate in ("3F000", "42P01") or not home.exists(wire):
            return Sight(
                "seen",
                "lockgate was never run here",
                schema_digest=live.digest,
                basis=live.basis,
                identity=who,
            )
        if error.sqlstate == "42883":
            return Sight(
                "doubt", "the schema lockgate is of an older format; lockgate up brings it up to date"
            )
        raise
    state = json.loads(text or "null")
    if not isinstance(state, dict):
        return Sight("doubt", "the fence row of the schema lockgate is gone")
    parts = _parts(wire) if state["indexes"] else []
    specs, contents, counts = (
        None if parts is None else {str(row[0]): str(row[place] or "") for row in parts}
        for place in (1, 2, 3)
    )
    return Sight(
        "seen", "", str(state["revision"]), digest or "", live.digest, live.basis, str(state["compat_floor"]),
        {name: one["index_hash"] if one["valid"] else f"invalid {one['index_hash']}" for name, one in state["indexes"].items()},
        specs, contents, counts, tuple(state["secrets"]), bool(state["standby"]), who,
    )  # fmt: skip


def _parts(wire: Wire) -> list[tuple[str | None, ...]] | None:
    try:
        return wire.batch([Call(_PARTS)], label="parity")[0].rows
    except ServerError as error:
        if error.sqlstate == "42501":
            return None
        raise
