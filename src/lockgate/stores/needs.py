"""What a move asks of a store before it begins: room for its sessions, privileges, a target without rows. Everything here only looks."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.postgres.link import Link
from lockgate.postgres.queries import query
from lockgate.stores.speaking import Locked, MysqlSpeaker, PostgresSpeaker, Speaker, SqliteSpeaker

READS = ("SELECT",)
WRITES = ("SELECT", "INSERT", "UPDATE", "DELETE")
MAKES = ("CREATE", "DROP", "INDEX", *WRITES)
"""What the side tables of a move want in a database of MariaDB or MySQL."""


class Lack(NamedTuple):
    """What stands in the way, and what mends it."""

    what: str
    fix: str


class Told(NamedTuple):
    """What was found: problems, and what nobody could tell."""

    lacks: list[Lack]
    unknown: list[str]


def server_of(speaker: Speaker) -> str:
    """Which server this is: equal for two databases of one."""
    if isinstance(speaker, PostgresSpeaker):
        return server_of_link(speaker.link)
    if isinstance(speaker, MysqlSpeaker):
        return f"mysql {speaker.ask('SELECT @@hostname, @@port, @@datadir')[0]}"
    return speaker.identity()


def server_of_link(link: Link) -> str:
    """The same of a session of PostgreSQL. A promoted copy has the identifier of its origin, and started at another moment."""
    return str(link.value("SELECT s.system_identifier::text || ' ' || pg_catalog.pg_postmaster_start_time()::text FROM pg_catalog.pg_control_system() s"))  # fmt: skip


def free_sessions(speaker: Speaker) -> int | None:
    """How many more sessions this account may open; None where nothing counts them."""
    if isinstance(speaker, PostgresSpeaker):
        return int(speaker.link.value(query("moves/free")))
    if not isinstance(speaker, MysqlSpeaker):
        return None
    most, own = (int(n) for n in speaker.ask("SELECT @@max_connections, @@max_user_connections")[0])
    used = int(speaker.ask("SHOW GLOBAL STATUS LIKE 'Threads_connected'")[0][1])
    free = most - used
    if own:
        mine = "user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"
        free = min(free, own - int(speaker.ask(f"SELECT count(*) FROM information_schema.processlist WHERE {mine}")[0][0]))  # fmt: skip
    return free


def privileges(speaker: Speaker, side: str, table: str, key: Sequence[str], *, there: bool, written: bool) -> Told:  # fmt: skip
    """What this account lacks for the rows of ``table`` and for the side tables of the move. ``there``: the table exists, else it is made; ``written``: the move writes it."""
    wanted = WRITES if written else READS
    if isinstance(speaker, PostgresSpeaker):
        return _of_postgres(speaker, side, table, wanted, there=there)
    if isinstance(speaker, MysqlSpeaker):
        return _of_mysql(speaker, side, table, key, wanted, there=there)
    assert isinstance(speaker, SqliteSpeaker)
    return Told(_of_sqlite(speaker, side), [])


def holds_rows(speaker: Speaker, table: str) -> bool:
    """True when a row is in ``table``, as far as this account may see."""
    try:
        return bool(speaker.ask(f"SELECT 1 FROM {speaker.name(table)} LIMIT 1"))
    except LockgateError:
        return False  # a privilege that is missing is a problem of its own


def _of_postgres(
    speaker: PostgresSpeaker, side: str, table: str, wanted: Sequence[str], *, there: bool
) -> Told:
    link, sql = speaker.link, speaker.name(table)
    found: list[Lack] = []
    role = link.value("SELECT current_user")
    if there:
        lacks = [p for p in wanted if not link.value("SELECT pg_catalog.has_table_privilege($1::regclass, $2)", sql, p)]  # fmt: skip
        if lacks:
            found.append(Lack(f"the role {role} may not {', '.join(lacks)} on the {side} {table}", f"GRANT {', '.join(lacks)} ON {sql} TO {role};"))  # fmt: skip
        if link.value("SELECT pg_catalog.row_security_active($1::regclass)", sql):
            found.append(Lack(f"row security of the {side} {table} holds for the role {role}: rows would be hidden from the move", "Run as its owner, without FORCE, or as a role with BYPASSRLS."))  # fmt: skip
    else:
        schema = table.rpartition(".")[0] or link.value("SELECT current_schema()") or ""
        may = link.value("SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = $1", schema)  # fmt: skip
        if may is None:
            found.append(Lack(f"there is no schema {schema} for {table}", "CREATE SCHEMA by a migration first."))  # fmt: skip
        elif not may:
            found.append(Lack(f"the role {role} may not make tables in the schema {schema}", f"GRANT CREATE ON SCHEMA {speaker.name(schema)} TO {role};"))  # fmt: skip
    return Told([*found, *schema_lacks(link, "lockgate", role)], [])


def schema_lacks(link: Link, schema: str, role: str) -> list[Lack]:
    """What ``role`` lacks to make tables in ``schema``, or the schema itself where it is not there."""
    may = link.value("SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = $1", schema)  # fmt: skip
    if may is None and not link.value("SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"):  # fmt: skip
        return [Lack(f"the role {role} may not make the schema {schema} in {link.target}", f"GRANT CREATE ON DATABASE {link.value('SELECT pg_catalog.quote_ident(pg_catalog.current_database())')} TO {role};")]  # fmt: skip
    if may is False:
        return [Lack(f"the role {role} may not make tables in the schema {schema} of {link.target}", f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};")]  # fmt: skip
    return []


_GRANT = re.compile(
    r"(?P<verb>GRANT|REVOKE) (?P<what>.+?) ON (?:TABLE )?(?P<on>`(?:[^`]|``)*`\.\S+|\*\.\*) (?:TO|FROM) ",
    re.IGNORECASE,
)
_ALL = re.compile(r"\bALL( PRIVILEGES)?\b", re.IGNORECASE)


def granted(lines: Sequence[str], database: str) -> tuple[set[str], bool]:
    """(privileges on all tables of ``database`` that the lines of SHOW GRANTS give, whether roles may give more). Pure.

    Names of databases are patterns there: ``%`` and ``_`` stand for others, unless a backslash takes that away.
    """
    found: set[str] = set()
    taken: set[str] = set()
    roles = False
    for line in lines:
        said = _GRANT.match(line)
        if said is None:
            roles = roles or bool(re.match(r"GRANT [`'\"]", line))
            continue
        on, _, rest = said["on"].rpartition(".")
        if rest.strip() != "*":
            continue
        if on not in ("*", "`*`") and not _like(on.strip("`").replace("``", "`"), database):
            continue
        listed = {p.strip().upper() for p in re.sub(r"\([^)]*\)", "", said["what"]).split(",")}
        if _ALL.search(said["what"]):
            listed = set(MAKES)
        (found if said["verb"].upper() == "GRANT" else taken).update(listed)
    return found - taken, roles


def _like(pattern: str, text: str) -> bool:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    regex = "".join(".*" if p == "%" else "." if p == "_" else re.escape(p[-1]) for p in parts)
    return re.fullmatch(regex, text, re.IGNORECASE | re.DOTALL) is not None


def _of_mysql(
    speaker: MysqlSpeaker, side: str, table: str, key: Sequence[str], wanted: Sequence[str], *, there: bool
) -> Told:
    who, database = speaker.ask("SELECT CURRENT_USER(), DATABASE()")[0]
    has, roles = granted([str(row[0]) for row in speaker.ask("SHOW GRANTS")], str(database))
    lacks = [p for p in MAKES if p not in has]
    found = Told([], [])
    if lacks and roles:
        found.unknown.append(
            f"whether the roles of {who} let it {', '.join(lacks)} in {database} is not known"
        )
    elif lacks:
        name = speaker.name(str(database))
        found.lacks.append(Lack(f"{who} may not {', '.join(lacks)} in {database} of the {side}, where the side tables of the move stand", f"GRANT {', '.join(lacks)} ON {name}.* TO the account of the move."))  # fmt: skip
    if there:
        missing = [p for p in wanted if not _may(speaker, p, speaker.name(table), speaker.name(key[0]) if key else "")]  # fmt: skip
        if missing and not found.lacks:
            found.lacks.append(Lack(f"{who} may not {', '.join(missing)} on the {side} {table}", f"GRANT {', '.join(missing)} ON {speaker.name(table)} TO the account of the move."))  # fmt: skip
    return found


def _may(speaker: MysqlSpeaker, privilege: str, table: str, column: str) -> bool:
    """Whether the server would plan such a statement for this account: it asks for the privileges of the statement, and changes nothing."""
    statement = {
        "SELECT": f"SELECT 1 FROM {table}",
        "INSERT": f"INSERT INTO {table} ({column}) SELECT {column} FROM {table} WHERE 1 = 0",
        "UPDATE": f"UPDATE {table} SET {column} = {column} WHERE 1 = 0",
        "DELETE": f"DELETE FROM {table} WHERE 1 = 0",
    }[privilege]
    try:
        speaker.ask(f"EXPLAIN {statement}")
    except LockgateError as error:
        return not re.search(r"command denied|Access denied", error.message)
    return True


def _of_sqlite(speaker: SqliteSpeaker, side: str) -> list[Lack]:
    folder = Path(speaker.where).resolve().parent
    if not os.access(folder, os.W_OK):
        return [Lack(f"the folder of the {side}, {folder}, cannot be written: SQLite makes its journal there", "Give it to the account of the move.")]  # fmt: skip
    try:
        # BEGIN IMMEDIATE alone is no question: it opens a file that may only be read, too. What it writes is what is there, and undone.
        speaker.ask("BEGIN IMMEDIATE")
        speaker.ask(f"PRAGMA user_version = {speaker.ask('PRAGMA user_version')[0][0]}")
    except Locked:
        return []  # somebody else writes it, so it can be written
    except LockgateError as error:
        return [Lack(f"the file of the {side} cannot be written: {error.message}", "Give it to the account of the move.")]  # fmt: skip
    finally:
        speaker.rollback()
    return []
