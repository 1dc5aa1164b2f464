"""Which database a connection leads to. Two URLs that lead to one place are a slip: then one region was forgotten."""

from lockgate.errors import LockgateError
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled, ConnectionLost, Wire

WHO = (
    "SELECT pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::text || ' ' || d.oid::text"
    " FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"
)
"""The start of the server to the microsecond, and the database's number: any role may ask, and a copy or a standby is another."""


def identity(wire: Wire) -> str:
    """What only connections to the same database of the same running server have in common."""
    return wire.value(WHO) or ""


def identity_of(target: Target, *, timeout: float = 10.0) -> str:
    """The same for a target; "" when it cannot be asked. ``timeout`` in seconds."""
    try:
        wire = Wire(target, "identity", connect_timeout=timeout)
    except LockgateError:
        return ""
    try:
        return identity(wire)
    except (ConnectionLost, Cancelled, ServerError):
        return ""
    finally:
        wire.close()
