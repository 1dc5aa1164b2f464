"""The figures of one database, read from its tables: a process that was killed loses none of them."""

import json
import time
from collections.abc import Mapping

import msgspec

from lockgate.errors import LockgateError
from lockgate.postgres import home
from lockgate.postgres.queries import query
from lockgate.postgres.quoting import literal
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled, Wire


class Figure(msgspec.Struct, frozen=True):
    """One value of a name with its labels, before the labels of the environment."""

    name: str
    labels: Mapping[str, str]
    value: float


class Figures(msgspec.Struct, frozen=True):
    """All figures of one database. ``reached`` is False when it could not be read; ``why`` then says so."""

    reached: bool
    rows: tuple[Figure, ...] = ()
    applied: tuple[str, ...] = ()
    why: str = ""


def read_figures(target: Target, *, timeout: float = 5.0) -> Figures:
    """Read the figures. Never raises for what the database does."""
    try:
        wire = Wire(target, "metrics", connect_timeout=timeout)
    except LockgateError as error:
        return Figures(False, why=error.message)
    deadline = time.monotonic() + timeout
    try:
        found = home.read_format(wire)
        if not found:
            return Figures(True)
        rows = wire.one(query("metrics"), deadline=deadline).rows
        if found >= 2:
            rows += wire.one(query("metrics_2"), deadline=deadline).rows
        if found >= 3:
            rows += wire.one(query("metrics_3"), deadline=deadline).rows
            rows += _lags_of_sides(wire, deadline)
        applied = wire.one(
            "SELECT revision_id FROM lockgate.migration_history ORDER BY 1", deadline=deadline
        ).rows
    except (ServerError, LockgateError, Cancelled) as error:
        return Figures(False, why=str(error))
    finally:
        wire.close()
    return Figures(
        True, tuple(Figure(r[0] or "", json.loads(r[1] or "{}"), float(r[2] or 0)) for r in rows), tuple(r[0] or "" for r in applied)
    )  # fmt: skip


def _lags_of_sides(wire: Wire, deadline: float) -> list[tuple[str | None, ...]]:
    """The lag of moves that the application writes, whichever database has their ledger: a side that serves has their outbox beside its table."""
    sides: dict[str, list[str]] = {}
    for move, oldest in wire.one(query("metrics_sides"), deadline=deadline).rows:
        sides.setdefault(move or "", []).append(oldest or "")
    if not sides:
        return []
    lags = ", ".join(f"({literal(move)}, LEAST({', '.join(oldest)}))" for move, oldest in sides.items())
    sql = query("metrics_lags").replace("$1", lags)
    try:
        return list(wire.one(sql, deadline=deadline).rows)
    except ServerError as error:
        if error.sqlstate != "42P01":  # the move has ended since
            raise
        return []
