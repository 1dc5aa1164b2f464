"""What an operator looks at first in one database: revision, runs, releases, workers, instances, moves, indexes, backups."""

import json
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from lockgate.errors import LockgateError
from lockgate.postgres import home
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Cancelled, Wire


class Overview(msgspec.Struct, frozen=True):
    """Kind → things of that kind, newest first, each with its facts; ages are seconds by the server's clock.

    ``why`` says what kept it from being read; a database of format 1, or without lockgate's tables, has nothing to show.
    """

    things: Mapping[str, list[dict[str, Any]]] = {}
    why: str = ""

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Every thing of that kind."""
        return self.things.get(kind, [])

    def first(self, kind: str) -> dict[str, Any] | None:
        """The newest of that kind, None where there is none."""
        return next(iter(self.all(kind)), None)


def read_overview(target: Target, *, timeout: float = 5.0) -> Overview:
    """Read it with one query. Never raises for what the database does."""
    try:
        wire = Wire(target, "overview", connect_timeout=timeout)
    except LockgateError as error:
        return Overview(why=error.message)
    try:
        if home.read_format(wire) < 2:
            return Overview()
        rows = wire.one(query("overview"), deadline=time.monotonic() + timeout).rows
    except (ServerError, LockgateError, Cancelled) as error:
        return Overview(why=str(error))
    finally:
        wire.close()
    things: dict[str, list[dict[str, Any]]] = {}
    for kind, facts in rows:
        things.setdefault(kind or "", []).append(json.loads(facts or "{}"))
    return Overview(things)
