"""One session of a store that takes SQL, spoken to alike whatever the engine: asked, written to, committed.

Parameters stand as ``P`` in the text, names are quoted by ``name``. What an engine refuses comes out as one of four errors.
"""

import hashlib
import random
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lockgate.errors import Busy, ConfigError, LockgateError, Unreachable
from lockgate.postgres.link import Link
from lockgate.postgres.queries import query
from lockgate.postgres.quoting import identifier
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.record.redact import redact
from lockgate.stores.rendering import text_of

P = "\x01"
"""Where a parameter stands in a statement."""


GONE_TABLE = "gone"
"""The shape of a table that is not there."""


class Rejected(LockgateError):
    """The store refuses the data of some row: a constraint, a type, a length."""

    default_reason = "MOVE_QUARANTINE"


class Locked(Busy):
    """Somebody else holds a lock, or a deadlock was broken: the same again may succeed."""

    default_reason = "MOVE_LOCK"


class NoTable(LockgateError):
    """A table that the statement names is not there."""

    default_reason = "TABLE_MISSING"


class Gone(Unreachable):
    """The session is lost; what it had begun is rolled back by the store."""


class Speaker(Protocol):
    """One session. ``begin`` opens a transaction that writes, or one that sees a single moment (``read``)."""

    engine: str
    where: str

    def ask(self, sql: str, *parameters: object, binary: bool = False) -> list[tuple[Any, ...]]:
        """The rows of a query. ``binary``: PostgreSQL gives bytes as they are, and not as their hex."""
        ...

    def do(self, sql: str, *parameters: object) -> int:
        """Run a statement; the number of rows that it matched."""
        ...

    def begin(self, *, read: bool = False) -> None:
        """Open a transaction."""
        ...

    def commit(self) -> None:
        """Make it durable."""
        ...

    def rollback(self) -> None:
        """Undo what is open, if anything is."""
        ...

    def patience(self, milliseconds: int) -> None:
        """Wait so long for a lock at most."""
        ...

    def name(self, text: str) -> str:
        """A name as SQL takes it; dots separate schema and table."""
        ...

    def shape(self, table: str) -> str:
        """A digest of what the columns of ``table``, named as a declaration names it, are, whether they may be NULL or not; ``GONE_TABLE`` where it is not there."""
        ...

    def identity(self) -> str:
        """Which database this is, whatever the URL says: equal for two sessions of one, and for no others."""
        ...

    def close(self) -> None:
        """Let go of the session."""
        ...


class PostgresSpeaker:
    """PostgreSQL, with the pinned settings of every data session."""

    engine = "postgres"

    def __init__(self, target: Target, name: str, link: Link | None = None) -> None:
        self.where = str(target)
        self.link = link or Link(target, name)

    def ask(self, sql: str, *parameters: object, binary: bool = False) -> list[tuple[Any, ...]]:
        """See ``Speaker``."""
        try:
            return self.link.rows(_numbered(sql), *parameters, binary=binary)
        except ServerError as error:
            raise self.translated(error) from None

    def do(self, sql: str, *parameters: object) -> int:
        """See ``Speaker``."""
        try:
            return self.link.run(_numbered(sql), *parameters)
        except ServerError as error:
            raise self.translated(error) from None

    def begin(self, *, read: bool = False) -> None:
        """See ``Speaker``."""
        self.link.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if read else "BEGIN")

    def commit(self) -> None:
        """See ``Speaker``."""
        self.do("COMMIT")

    def rollback(self) -> None:
        """See ``Speaker``."""
        self.link.rollback()

    def patience(self, milliseconds: int) -> None:
        """See ``Speaker``."""
        self.link.run(f"SET lock_timeout = '{milliseconds}ms'")

    def name(self, text: str) -> str:
        """See ``Speaker``."""
        return ".".join(identifier(part) for part in text.split("."))

    def shape(self, table: str) -> str:
        """See ``Speaker``. Partitions count, too."""
        oid = self.ask(f"SELECT pg_catalog.to_regclass({P})::oid", table)[0][0]
        return GONE_TABLE if oid is None else str(self.link.value(query("moves/columns"), oid))

    def identity(self) -> str:
        """See ``Speaker``. A promoted copy of a server has its identifier, and started at another moment."""
        rows = self.ask("SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()), pg_catalog.pg_postmaster_start_time()::text, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())")  # fmt: skip
        return f"postgres {rows[0]}"

    def close(self) -> None:
        """See ``Speaker``."""
        self.link.close()

    def translated(self, error: ServerError) -> LockgateError:
        """What the server said, as one of the four errors of this page, or as a failed query."""
        words = f"{self.where}: {error.message}"
        if error.sqlstate[:2] in ("22", "23"):
            return Rejected(words)
        if error.sqlstate in ("55P03", "40P01", "40001"):
            return Locked(words)
        if error.sqlstate == "42P01":
            return NoTable(words)
        return LockgateError(words, "MOVE_QUERY_FAILED")


def _numbered(sql: str) -> str:
    parts = sql.split(P)
    return parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))


class MysqlSpeaker:
    """MariaDB or MySQL, in UTC, strict, READ COMMITTED; statements tell how many rows they matched."""

    engine = "mysql"
    _REJECTED = frozenset({1048, 1062, 1264, 1265, 1292, 1364, 1366, 1406, 1451, 1452, 3140, 3819, 4025})

    def __init__(self, url: str, option: str) -> None:
        from lockgate.stores.mysql import MysqlStore

        store = MysqlStore(url, option)
        store.close()
        self._driver: Any = store._driver
        self.where = store.where
        try:
            self._connection = self._driver.connect(
                **store._arguments, database=store.database, charset="utf8mb4", connect_timeout=10, autocommit=True,
                client_flag=self._driver.constants.CLIENT.FOUND_ROWS,
                init_command="SET time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
            )  # fmt: skip
            with self._connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        except self._driver.err.MySQLError as error:
            raise self._translated(error) from None

    def ask(self, sql: str, *parameters: object, binary: bool = False) -> list[tuple[Any, ...]]:
        """See ``Speaker``."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(_percent(sql), parameters)
                return list(cursor.fetchall())
        except self._driver.err.MySQLError as error:
            raise self._translated(error) from None

    def named(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query whose columns differ between versions, by their names."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except self._driver.err.MySQLError as error:
            raise self._translated(error) from None

    @property
    def alive(self) -> bool:
        """False when the session is lost."""
        return bool(self._connection.open)

    def do(self, sql: str, *parameters: object) -> int:
        """See ``Speaker``."""
        try:
            with self._connection.cursor() as cursor:
                return int(cursor.execute(_percent(sql), parameters))
        except self._driver.err.MySQLError as error:
            raise self._translated(error) from None

    def begin(self, *, read: bool = False) -> None:
        """See ``Speaker``."""
        if read:
            self.do("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self.do("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        else:
            self.do("START TRANSACTION")

    def commit(self) -> None:
        """See ``Speaker``."""
        self.do("COMMIT")

    def rollback(self) -> None:
        """See ``Speaker``."""
        if self._connection.open:
            try:
                self.do("ROLLBACK")
            except LockgateError:
                self._connection.close()

    def patience(self, milliseconds: int) -> None:
        """See ``Speaker``. The engine counts in whole seconds."""
        self.do(f"SET SESSION innodb_lock_wait_timeout = {max(1, round(milliseconds / 1000))}")

    def name(self, text: str) -> str:
        """See ``Speaker``."""
        return ".".join("`" + part.replace("`", "``") + "`" for part in text.split("."))

    def shape(self, table: str) -> str:
        """See ``Speaker``."""
        columns = "ordinal_position, column_name, column_type, collation_name, extra, generation_expression"
        rows = self.ask(f"SELECT {columns} FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = {P} ORDER BY ordinal_position", table.strip('`"').rpartition(".")[2])  # fmt: skip
        return _digest(rows)

    def identity(self) -> str:
        """See ``Speaker``. Every server has a folder of its own on its host."""
        rows = self.ask("SELECT @@hostname, @@port, @@datadir, IF(@@lower_case_table_names = 0, DATABASE(), LOWER(DATABASE()))")  # fmt: skip
        return f"mysql {rows[0]}"

    def close(self) -> None:
        """See ``Speaker``."""
        if self._connection.open:
            self._connection.close()

    def _translated(self, error: Any) -> LockgateError:
        number = error.args[0] if error.args else 0
        words = f"{self.where}: {redact(str(error.args[-1] if error.args else error))}"
        if number in self._REJECTED or isinstance(number, str):  # the driver itself, such as for NaN
            return Rejected(words)
        if number in (1205, 1213):
            return Locked(words)
        if number == 1146:
            return NoTable(words)
        if number in (0, 2003, 2006, 2013, 2055, 1053, 1927):
            return Gone(words)
        return LockgateError(words, "MOVE_QUERY_FAILED")


def _percent(sql: str) -> str:
    return sql.replace("%", "%%").replace(P, "%s")


class SqliteSpeaker:
    """A file of SQLite. A transaction that writes takes the whole file at its beginning.

    The engine's own waiting asks every 100 ms in the end, and a writer that takes the file again at once starves everybody
    else. So the file is asked for often, at odd moments, and who saw that others want it lets it go for a moment.
    """

    engine = "sqlite"
    _ASKS = 0.003
    """Seconds between two questions for the file, at most."""
    _POLITE = 1.0
    """Seconds that a session which had to wait goes on letting others in before it takes the file again."""

    def __init__(self, path: str) -> None:
        self.where = path
        self._patience = 30_000
        self._wanted = float("-inf")
        if not Path(path).is_file():
            from lockgate.stores.sqlite import no_file

            raise no_file(path)
        try:
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=30.0
            )
            self._connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise Unreachable(f"{path} cannot be read as SQLite: {error}") from None

    def ask(self, sql: str, *parameters: object, binary: bool = False) -> list[tuple[Any, ...]]:
        """See ``Speaker``."""
        try:
            return self._connection.execute(sql.replace(P, "?"), parameters).fetchall()
        except sqlite3.OperationalError as error:
            if "Could not decode to UTF-8" not in str(error):
                raise self._translated(error) from None
        except sqlite3.Error as error:
            raise self._translated(error) from None
        # Some row holds text that is none: from here on each is looked at, which takes longer.
        self._connection.text_factory = text_of
        return self.ask(sql, *parameters)

    def do(self, sql: str, *parameters: object) -> int:
        """See ``Speaker``."""
        try:
            return max(0, self._connection.execute(sql.replace(P, "?"), parameters).rowcount)
        except sqlite3.Error as error:
            raise self._translated(error) from None

    def begin(self, *, read: bool = False) -> None:
        """See ``Speaker``."""
        if read:
            self.do("BEGIN")
            return
        begin = time.monotonic()
        if begin - self._wanted < self._POLITE:
            time.sleep(random.uniform(0, self._ASKS))  # noqa: S311 - no secret
        self.do("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self.do("BEGIN IMMEDIATE")
                    return
                except Locked:
                    self._wanted = time.monotonic()
                    if (self._wanted - begin) * 1000 >= self._patience:
                        raise
                    time.sleep(random.uniform(0, self._ASKS))  # noqa: S311 - no secret
        finally:
            self.do(f"PRAGMA busy_timeout = {self._patience}")

    def commit(self) -> None:
        """See ``Speaker``."""
        self.do("COMMIT")

    def rollback(self) -> None:
        """See ``Speaker``."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def patience(self, milliseconds: int) -> None:
        """See ``Speaker``."""
        self._patience = milliseconds
        self.do(f"PRAGMA busy_timeout = {milliseconds}")

    def name(self, text: str) -> str:
        """See ``Speaker``."""
        return identifier(text)

    def shape(self, table: str) -> str:
        """See ``Speaker``."""
        bare = table[1:-1].replace('""', '"') if table.startswith('"') else table
        return _digest(self.ask(f"SELECT name, type, pk, hidden FROM pragma_table_xinfo({P})", bare))

    def identity(self) -> str:
        """See ``Speaker``."""
        found = Path(self.where).stat()
        return f"sqlite {found.st_dev} {found.st_ino}"

    def close(self) -> None:
        """See ``Speaker``."""
        self._connection.close()

    def _translated(self, error: sqlite3.Error) -> LockgateError:
        words = f"{self.where}: {error}"
        if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError)):
            return Rejected(words)
        if "locked" in str(error) or "busy" in str(error):
            return Locked(words)
        if "no such table" in str(error):
            return NoTable(words)
        return LockgateError(words, "MOVE_QUERY_FAILED")


def _digest(columns: Sequence[tuple[Any, ...]]) -> str:
    return hashlib.sha256(repr(columns).encode()).hexdigest()[:32] if columns else GONE_TABLE


def speak(url: str, name: str, option: str) -> Speaker:
    """Open a session of the store that ``url`` names. Raises ``ConfigError`` and what the store raises."""
    scheme = url.partition(":")[0].lower() if ":/" in url else ""
    if scheme in ("mysql", "mariadb"):
        return MysqlSpeaker(url, option)
    if scheme == "sqlite":
        from lockgate.stores.open import sqlite_path

        return SqliteSpeaker(sqlite_path(url))
    if scheme not in ("", "postgres", "postgresql"):
        raise ConfigError(f"{option}: there is no store for {scheme}://")
    return PostgresSpeaker(Target(url, source=option), name)


def in_list(speaker: Speaker, columns: Sequence[str], marks: Sequence[str], count: int) -> str:
    """A condition that the quoted ``columns`` are one of ``count`` rows of parameters."""
    if len(columns) == 1:
        return f"{columns[0]} IN ({', '.join([marks[0]] * count)})"
    each = f"({', '.join(marks)})"
    word = "" if speaker.engine == "mysql" else "VALUES "
    return f"({', '.join(columns)}) IN ({word}{', '.join([each] * count)})"
