"""MariaDB and MySQL as a store, through the pure Python driver PyMySQL (the extra ``mysql``)."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lockgate.errors import ConfigError, LockgateError, Refused, Unreachable
from lockgate.record.redact import redact, remember
from lockgate.stores.reading import ReadingStore
from lockgate.stores.table import Column, Table

_FAMILY = {
    "tinyint": "integer", "smallint": "integer", "mediumint": "integer", "int": "integer", "bigint": "integer", "year": "integer", "bit": "integer",
    "decimal": "decimal", "float": "float", "double": "float",
    "char": "text", "varchar": "text", "tinytext": "text", "text": "text", "mediumtext": "text", "longtext": "text", "enum": "text", "set": "text",
    "binary": "bytes", "varbinary": "bytes", "tinyblob": "bytes", "blob": "bytes", "mediumblob": "bytes", "longblob": "bytes",
    "date": "date", "time": "time", "datetime": "timestamp", "timestamp": "timestamptz", "json": "json", "uuid": "uuid",
}  # fmt: skip
_COLUMNS = """
SELECT column_name, column_type, data_type, is_nullable = 'NO', extra LIKE '%%GENERATED%%' AND extra NOT LIKE '%%DEFAULT_GENERATED%%'
  FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
_UNIQUE = """
SELECT index_name, column_name, nullable = 'YES' FROM information_schema.statistics
 WHERE table_schema = %s AND table_name = %s AND non_unique = 0 ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index
"""
_REFUSED = {1044, 1045, 1142, 1143, 1698}


def _name(text: str) -> str:
    return "`" + text.replace("`", "``") + "`"


class MysqlStore(ReadingStore):
    """One database of a MariaDB or MySQL server, one session. Values that would depend on the session are pinned to UTC."""

    def __init__(self, url: str, option: str) -> None:
        try:
            import pymysql
        except ImportError:
            raise ConfigError(
                f"{option}: mysql:// needs the extra: pip install 'lockgate[mysql]'",
                next="pip install 'lockgate[mysql]'",
            ) from None
        self._driver = pymysql
        parts = urlsplit(url)
        password = unquote(parts.password or "")
        remember(password)
        query = parse_qs(parts.query)
        self.database = unquote(parts.path.lstrip("/"))
        self.where = f"{self.database} on {parts.hostname or 'localhost'}:{parts.port or 3306}"
        if not self.database:
            raise ConfigError(f"{option} names no database", next="mysql://user@host:3306/dbname")
        try:
            self._connection = pymysql.connect(
                host=parts.hostname or "localhost", port=parts.port or 3306, user=unquote(parts.username or "root"), password=password, database=self.database,
                unix_socket=query.get("unix_socket", [None])[0], charset="utf8mb4", connect_timeout=10, autocommit=True, cursorclass=pymysql.cursors.SSCursor,
                init_command="SET time_zone = '+00:00'",
            )  # fmt: skip
        except pymysql.err.MySQLError as error:
            words = f"{self.where}: {redact(str(error.args[-1]))}"
            if error.args and error.args[0] in _REFUSED:
                raise Refused(
                    f"{self.where} refused the login: {words}", "PRIVILEGE", next="Check user and password."
                ) from None
            raise Unreachable(f"no connection to {words}") from None
        self._thread = self._connection.thread_id()
        self._arguments = {"host": parts.hostname or "localhost", "port": parts.port or 3306, "user": unquote(parts.username or "root"), "password": password, "unix_socket": query.get("unix_socket", [None])[0]}  # fmt: skip

    def describe(self, name: str) -> Table:
        """See ``Store``."""
        bare = name.strip('`"').rpartition(".")[2]
        columns = [
            Column(c, t, d, "boolean" if t == "tinyint(1)" else _FAMILY.get(d, d), False, bool(n), bool(g))
            for c, t, d, n, g in self._all(_COLUMNS, self.database, bare)
        ]
        if not columns:
            raise ConfigError(f"{self.where} has no table {name}", "TABLE_MISSING")
        keys: dict[str, list[str]] = {}
        nullable = set()
        for index, column, null in self._all(_UNIQUE, self.database, bare):
            keys.setdefault(index, []).append(column)
            if null:
                nullable.add(index)
        version = int(self._all("SELECT version()")[0][0].partition(".")[0])
        rows = self._all(
            "SELECT COALESCE(table_rows, 0) FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            self.database,
            bare,
        )[0][0]
        self.table = Table(
            bare,
            tuple(columns),
            tuple(tuple(k) for i, k in keys.items() if i not in nullable),
            int(rows),
            "mysql",
            version,
            "",
        )
        return self.table

    def snapshot(self, like: object = None) -> None:
        """See ``Store``. Tables of engines without transactions have none."""
        self._all("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._all("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def stream(self, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """See ``ReadingStore``."""
        table = self._described()
        # FLOAT prints six digits; as DOUBLE it gives the value that it has.
        items = [
            f"CAST({_name(c)} AS DOUBLE)" if table.column(c).base == "float" else _name(c) for c in columns
        ]
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join(items)} FROM {_name(self.database)}.{_name(table.name)}")
                yield from cursor
        except self._driver.err.MySQLError as error:
            raise self._refusal(error, f"reading {table.name}") from None

    def _all(self, sql: str, *parameters: object) -> list[Any]:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return list(cursor.fetchall())
        except self._driver.err.MySQLError as error:
            raise self._refusal(error, "looking at the table") from None

    def _refusal(self, error: Exception, doing: str) -> LockgateError:
        words = f"{doing} on {self.where}: {redact(str(error.args[-1]))}"
        if error.args and error.args[0] in _REFUSED:
            return Refused(words, "PRIVILEGE")
        return LockgateError(words, "MOVE_QUERY_FAILED")

    def cancel(self) -> None:
        """See ``Store``."""
        super().cancel()
        try:
            with (
                self._driver.connect(**self._arguments, connect_timeout=5) as other,
                other.cursor() as cursor,
            ):
                cursor.execute(f"KILL QUERY {int(self._thread)}")
        except self._driver.err.MySQLError:
            return

    def close(self) -> None:
        """See ``Store``."""
        try:
            self._connection.close()
        except self._driver.err.MySQLError:
            return
