"""SQLite as a store: one file, read in one transaction."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lockgate.errors import ConfigError, LockgateError, Unreachable
from lockgate.postgres.quoting import identifier
from lockgate.stores.reading import ReadingStore
from lockgate.stores.rendering import text_of
from lockgate.stores.table import ANY, Column, Table


def no_file(path: str) -> Unreachable:
    """The error for a file that is not there: SQLite would make one without a word, and rows would go into it."""
    return Unreachable(
        f"there is no file {path}",
        next="Check the path: sqlite:///PATH is seen from where the command runs, sqlite:////PATH is absolute.",
    )


class SqliteStore(ReadingStore):
    """A database file of SQLite, opened read-only."""

    def __init__(self, path: str) -> None:
        self.path = path
        if not Path(path).is_file():
            raise no_file(path)
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("SELECT count(*) FROM sqlite_master")
            self._connection.text_factory = text_of
        except sqlite3.Error as error:
            raise Unreachable(f"{path} cannot be read as SQLite: {error}") from None

    def describe(self, name: str) -> Table:
        """See ``Store``."""
        bare = name[1:-1].replace('""', '"') if name.startswith('"') else name
        found = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE",
            (bare,),
        ).fetchone()
        if found is None:
            raise ConfigError(f"{self.path} has no table {name}", "TABLE_MISSING")
        table = found[0]
        columns, key = [], []
        for _, column, declared, not_null, _, place, hidden in self._connection.execute(
            "SELECT * FROM pragma_table_xinfo(?)", (table,)
        ):
            if hidden == 1:
                continue
            # A column of SQLite holds whatever each row holds: what it is read as, the other side says.
            columns.append(
                Column(
                    column,
                    declared or "any",
                    (declared or "any").lower(),
                    ANY,
                    False,
                    bool(not_null),
                    hidden > 1,
                )
            )
            if place:
                key.append((place, column))
        unique = [tuple(c for _, c in sorted(key))] if key else []
        rows = self._connection.execute(f"SELECT count(*) FROM {identifier(table)}").fetchone()[0]
        self.table = Table(table, tuple(columns), tuple(unique), rows, "sqlite", 3, "")
        return self.table

    def snapshot(self, like: object = None) -> None:
        """See ``Store``."""
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def stream(self, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """See ``ReadingStore``."""
        try:
            yield from self._connection.execute(
                f"SELECT {', '.join(map(identifier, columns))} FROM {identifier(self._described().name)}"
            )
        except sqlite3.Error as error:
            raise LockgateError(f"reading {self.path}: {error}", "MOVE_QUERY_FAILED") from None

    def close(self) -> None:
        """See ``Store``."""
        self._connection.close()
