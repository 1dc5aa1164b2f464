"""What applications asked a server, as pg_stat_statements counted it."""

from typing import NamedTuple

from lockgate.errors import Refused
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Wire


class Captured(NamedTuple):
    """One query with its parameters as $1, how often it ran, and how long it took on average (milliseconds)."""

    text: str
    calls: int
    mean_ms: float


def read_captured(wire: Wire, *, role: str = "", least: int = 1) -> list[Captured]:
    """The queries of this database, most called first; ``role`` keeps those of one role, ``least`` those called that often.

    Raises ``Refused`` (``EXTENSION_MISSING``) without pg_stat_statements, ``ServerError`` where it is not preloaded.
    """
    place = wire.value(
        "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'"
    )
    if not place:
        raise Refused(
            "extension pg_stat_statements is not installed in this database",
            "EXTENSION_MISSING",
            next="shared_preload_libraries = 'pg_stat_statements', then CREATE EXTENSION pg_stat_statements;",
        )
    try:
        rows = wire.one(query("rehearsal/captured").replace("/*SCHEMA*/", f"{place}."), role, str(least)).rows
    except ServerError as error:
        raise Refused(
            f"pg_stat_statements cannot be read: {error.message}",
            "EXTENSION_MISSING",
            next="shared_preload_libraries = 'pg_stat_statements', then restart the server.",
        ) from None
    return [Captured(r[0] or "", int(r[1] or 0), float(r[2] or 0)) for r in rows]
