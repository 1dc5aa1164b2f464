"""A URL → the store behind it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from lockgate.errors import ConfigError
from lockgate.stores.store import Store

SCHEMES = "postgresql://, mysql://, mariadb://, sqlite:///PATH"


def open_store(url: str, name: str, option: str) -> Store:
    """Open the store that ``url`` names: PostgreSQL (also as a libpq connection string), MariaDB, MySQL, or a file of SQLite.

    ``name`` shows in the server's list of sessions, ``option`` in errors. Raises ``ConfigError`` and what the store raises.
    """
    scheme = url.partition(":")[0].lower() if ":/" in url else ""
    if scheme in ("mysql", "mariadb"):
        from lockgate.stores.mysql import MysqlStore

        return MysqlStore(url, option)
    if scheme == "sqlite":
        from lockgate.stores.sqlite import SqliteStore

        return SqliteStore(sqlite_path(url))
    if scheme not in ("", "postgres", "postgresql"):
        raise ConfigError(f"{option}: there is no store for {scheme}://", next=f"One of {SCHEMES}")
    from lockgate.postgres.target import Target
    from lockgate.stores.postgres import PostgresStore

    return PostgresStore(Target(url, source=option), name)


def sqlite_path(url: str) -> str:
    """The file that ``sqlite:///PATH`` names; ``sqlite:////PATH`` is absolute."""
    from urllib.parse import unquote

    path = unquote(url.partition(":")[2].partition("?")[0])
    return path.removeprefix("//").removeprefix("/") if path.startswith("///") else path


@contextmanager
def open_pair(source: str, target: str) -> Iterator[tuple[Store, Store]]:
    """Both stores, opened at once and closed at the end."""
    opened: list[Store] = []
    try:
        with ThreadPoolExecutor(2) as pool:
            futures = [
                pool.submit(open_store, url, f"verify {side}", f"--{side}")
                for url, side in ((source, "source"), (target, "target"))
            ]
            error: BaseException | None = None
            for future in futures:
                try:
                    opened.append(future.result())
                except BaseException as failed:
                    error = error or failed
        if error is not None:
            raise error
        yield opened[0], opened[1]
    finally:
        for store in opened:
            store.close()
