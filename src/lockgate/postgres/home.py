"""The one owner of the schema ``lockgate``: its formats, and how one becomes the next.

The tables of ``ROOMS`` are made when their room is first used. Half of all tables are theirs, and most databases never need
them: a new database (one of a thousand tenants, or of one test) is set up in about half the time. Until then views without rows
stand in their place, so that whoever reads sees nothing there, and no error.
"""

import contextlib
import re
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

from lockgate.errors import LockgateError, Refused
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire

_FOLDER = Path(__file__).parent / "sql" / "home"
FORMAT = 4
"""The newest format that this lockgate knows; ``sql/home/001.sql`` and on lead there."""
ROOMS = {"indexes": "index_generation", "moves": "move", "release": "release_step"}
"""The rooms whose tables are made at their first use, each with one of its tables: it is a view as long as the room is empty.
The files of a room carry its name: ``002_moves.sql``, and ``empty/moves.sql`` for the views."""


@cache
def steps() -> tuple[tuple[int, str], ...]:
    """(number, SQL) of every format, oldest first, with all rooms. A format may stand in several files, one for each room that owns tables."""
    numbers = sorted({number for number, _, _ in parts()})
    return tuple((n, "\n".join(sql for number, _, sql in parts() if number == n)) for n in numbers)


@cache
def parts() -> tuple[tuple[int, str, str], ...]:
    """(number of the format, room or "", SQL) of every file, in the order in which they run."""
    return tuple(
        (int(path.stem[:3]), room if (room := path.stem[4:]) in ROOMS else "", path.read_text("utf-8"))
        for path in sorted(_FOLDER.glob("[0-9][0-9][0-9]*.sql"))
    )


@cache
def empty(room: str) -> str:
    """The views that stand in the place of the tables of ``room``."""
    return (_FOLDER / "empty" / f"{room}.sql").read_text("utf-8")


def read_format(wire: Wire) -> int:
    """The format in this database; 0 where there is none."""
    if not exists(wire):
        return 0
    return int(wire.value("SELECT pg_catalog.max(number) FROM lockgate.format") or 0)


THERE = """EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'lockgate' AND c.relname = 'fence')"""
"""True where lockgate was set up. ``to_regclass`` would fail for a role without USAGE on the schema."""


def exists(wire: Wire) -> bool:
    """True when this database has the tables of lockgate, readable or not."""
    return wire.value(f"SELECT {THERE}") == "t"


def lacking(wire: Wire, found: int, rooms: Collection[str]) -> tuple[str, ...]:
    """Which of ``rooms`` have no tables yet in a database of the format ``found``."""
    if found < FORMAT or not rooms:
        return tuple(rooms) if found < 2 else ()
    tables = {ROOMS[room]: room for room in rooms}
    rows = wire.one(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'lockgate' AND c.relkind = 'v' AND c.relname = ANY ($1::text[]) ORDER BY 1",
        "{" + ",".join(tables) + "}",
    ).rows
    return tuple(tables[row[0] or ""] for row in rows)


def ready(wire: Wire, rooms: Collection[str]) -> bool:
    """True where the schema has this lockgate's format and the tables of ``rooms``. Raises ``FORMAT_NEWER``."""
    found = read_format(wire)
    refuse_newer(found)
    return found >= FORMAT and not lacking(wire, found, rooms)


def refuse_newer(found: int) -> None:
    """Raise ``FORMAT_NEWER`` when the database was written by a lockgate that this one does not understand."""
    if found > FORMAT:
        raise Refused(
            f"the schema lockgate has format {found}; this lockgate knows {FORMAT}",
            "FORMAT_NEWER",
            details={"format": found, "known": FORMAT},
        )


def bring_up(
    wire: Wire,
    grants: Callable[[], str] | None = None,
    meanwhile: Callable[[], None] | None = None,
    rooms: Collection[str] = (),
) -> int:
    """Bring the schema ``lockgate`` to ``FORMAT``, with the tables of ``rooms``, and return the format found before. Call it under the guard only.

    ``meanwhile`` is what the caller has to be sure of first: it is called once, beside the server's work, and nothing of
    that is kept when it raises.

    ``grants`` gives a statement that lets others at new tables. It runs in the transaction that makes them: a run that is
    killed here leaves no table without its grants.
    """
    found = read_format(wire)
    refuse_newer(found)
    wanted = lacking(wire, found, rooms)
    text = _growth(found, wanted)
    if not text:
        if meanwhile is not None:
            meanwhile()
        return found
    let_in = f"{grants()};\n" if grants is not None else ""
    try:
        # One simple query, in one transaction of the server's own.
        wire.alone(
            f"BEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\n{text}\n{let_in}", meanwhile=meanwhile
        )
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


def _growth(found: int, wanted: Collection[str]) -> str:
    """The SQL from the format ``found`` to ``FORMAT`` that makes the tables of ``wanted``; "" where there is nothing to do."""
    text = []
    if found >= FORMAT:
        for room in wanted:
            text += [_gone(room), *(sql for _, owner, sql in parts() if owner == room)]
        return "\n".join(text)
    # Before format 2 there was no room; from there to format 3 all of them had their tables.
    later = [room for room in ROOMS if room not in wanted] if found < 2 else []
    for number in range(found + 1, FORMAT + 1):
        for _, room, sql in (part for part in parts() if part[0] == number):
            if room not in later:
                text.append(sql)
            elif number == _first(room):
                text.append(empty(room))
        text.append(f"INSERT INTO lockgate.format (number) VALUES ({number});")  # noqa: S608 - a number of ours
    return "\n".join(text)


@cache
def _first(room: str) -> int:
    return min(number for number, owner, _ in parts() if owner == room)


def _gone(room: str) -> str:
    names = re.findall(r"^CREATE VIEW (lockgate\.\w+) AS", empty(room), re.MULTILINE)
    return f"DROP VIEW {', '.join(names)};"
