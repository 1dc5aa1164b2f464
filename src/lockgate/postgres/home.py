"""The one owner of the schema ``lockgate``: its formats, and how one becomes the next."""

import contextlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from lockgate.errors import LockgateError, Refused
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire

_FOLDER = Path(__file__).parent / "sql" / "home"
FORMAT = 3
"""The newest format that this lockgate knows; ``sql/home/001.sql`` and on lead there."""

_STORAGE = 160000
"""The first server that takes the storage of a column where the table is made. What is short for certain is stored plain: a table
without long columns has two files less, and a database has 34 tables of ours."""

_MAKING = """BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL check_function_bodies = off;
SET LOCAL statement_timeout = '60s';
SET LOCAL max_parallel_maintenance_workers = 0;
"""
"""Before the SQL of a format. Bodies name tables that come later in the same transaction, and are checked by the tests, not once
more in each database; whether workers would help to build an index on no rows need not be thought about either. How long a statement of
a migration may take says nothing about these."""


@cache
def steps() -> tuple[tuple[int, str], ...]:
    """(number, SQL) of every format, oldest first. A format may stand in several files, one for each room that owns tables."""
    parts: dict[int, list[str]] = {}
    for path in sorted(_FOLDER.glob("[0-9][0-9][0-9]*.sql")):
        parts.setdefault(int(path.stem[:3]), []).append(path.read_text("utf-8"))
    return tuple((number, "\n".join(texts)) for number, texts in sorted(parts.items()))


_EARLIER = re.compile(r"^-- before (\d+) \{\n.*?^-- \}\n", re.MULTILINE | re.DOTALL)
"""What a later format makes anew: only a lockgate that knows no later one made it."""


def as_wanted(sql: str, server: int) -> str:
    """The SQL of a format for a ``server`` (as in ``server_version_num``), without what a format that comes in the same transaction makes anew."""
    sql = _EARLIER.sub(lambda part: "" if int(part[1]) <= FORMAT else part[0], sql)
    return sql if server >= _STORAGE else sql.replace(" STORAGE PLAIN", "")


def read_format(wire: Wire) -> int:
    """The format in this database; 0 where there is none."""
    return known_format(wire) if exists(wire) else 0


def known_format(wire: Wire) -> int:
    """The format in this database, where the tables of lockgate are known to be there."""
    return int(wire.value("SELECT pg_catalog.max(number) FROM lockgate.format") or 0)


THERE = """EXISTS (SELECT FROM pg_catalog.pg_class c
                WHERE c.relname = 'fence' AND c.relnamespace = pg_catalog.to_regnamespace('lockgate'))"""
"""True where lockgate was set up. ``to_regclass`` would fail for a role without USAGE on the schema."""


def exists(wire: Wire) -> bool:
    """True when this database has the tables of lockgate, readable or not."""
    return wire.value(f"SELECT {THERE}") == "t"


def refuse_newer(found: int) -> None:
    """Raise ``FORMAT_NEWER`` when the database was written by a lockgate that this one does not understand."""
    if found > FORMAT:
        raise Refused(
            f"the schema lockgate has format {found}; this lockgate knows {FORMAT}",
            "FORMAT_NEWER",
            details={"format": found, "known": FORMAT},
        )


def bring_up(
    wire: Wire, grants: Callable[[], str] | None = None, meanwhile: Callable[[], None] | None = None
) -> int:
    """Bring the schema ``lockgate`` to ``FORMAT`` and return the format found before. Call it under the guard only.

    ``meanwhile`` is what the caller has to be sure of first: it is called once, beside the server's work, and nothing of
    that is kept when it raises.

    ``grants`` gives a statement that lets others at new tables. It runs in the transaction that makes them: a run that is
    killed here leaves no table without its grants.
    """
    there, server = wire.one(f"SELECT {THERE}, pg_catalog.current_setting('server_version_num')").rows[0]
    found = known_format(wire) if there == "t" else 0
    refuse_newer(found)
    missing = [(number, sql) for number, sql in steps() if number > found]
    if not missing:
        if meanwhile is not None:
            meanwhile()
        return found
    text = "\n".join(
        f"{as_wanted(sql, int(server or 0))}\nINSERT INTO lockgate.format (number) VALUES ({number});"
        for number, sql in missing
    )
    let_in = f"{grants()};\n" if grants is not None else ""
    try:
        # One simple query, in one transaction of the server's own.
        wire.alone(f"{_MAKING}{text}\n{let_in}", meanwhile=meanwhile)
        wire.batch([Call("COMMIT")], uncancellable=True, label="home")
    except LockgateError:
        if wire.alive:
            with contextlib.suppress(LockgateError, ServerError):  # the first error is the one to tell
                wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
        raise
    except ServerError as error:
        wire.batch([Call("ROLLBACK")])
        if error.sqlstate == "42501":
            role = wire.value("SELECT current_user")
            raise Refused(
                f"the role {role} may not create the schema lockgate: {error.message}", "PRIVILEGE",
                next="lockgate roles prints the SQL; at least: CREATE SCHEMA lockgate AUTHORIZATION \"" + (role or "") + "\";",
            ) from None  # fmt: skip
        raise
    return found
