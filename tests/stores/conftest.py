"""Real stores for the conformance suite: a PostgreSQL, a MariaDB and a file of SQLite, with the same table in each."""

import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import servers
from support.processes import until
from support.tables import run_sql

if TYPE_CHECKING:
    from stores.hand import Hand

TABLES = {
    "postgres": "CREATE TABLE t (id bigint PRIMARY KEY, s text, b bytea, n numeric(20, 6), f double precision, ok boolean, d date, ts timestamp, j jsonb, u varchar(40))",
    "mysql": "CREATE TABLE t (id bigint PRIMARY KEY, s longtext, b longblob, n decimal(20, 6), f double, ok boolean, d date, ts datetime(6), j json, u varchar(40)) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "sqlite": "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, b BLOB, n TEXT, f REAL, ok INTEGER, d TEXT, ts TEXT, j TEXT, u TEXT)",
}
COLUMNS = ("id", "s", "b", "n", "f", "ok", "d", "ts", "j", "u")


class Place:
    """One store with its table ``t`` (or ``t_new``), written by its own driver."""

    def __init__(self, kind: str, url: str, run: Callable[..., None], table: str = "t") -> None:
        self.kind, self.url, self.run, self.table = kind, url, run, table

    def fill(self, rows: list[tuple]) -> None:
        mark = "?" if self.kind == "sqlite" else "%s"
        for row in rows:
            values = [
                str(v) if self.kind == "sqlite" and type(v).__name__ in ("Decimal", "date", "datetime") else v
                for v in row
            ]
            self.run(f"INSERT INTO t VALUES ({', '.join([mark] * len(row))})", *values)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[dict[str, object]]:
    """A MariaDB of our own, on a socket and a loopback port."""
    with running_mariadb() as server:
        yield server


@contextmanager
def running_mariadb(*options: str) -> Iterator[dict[str, object]]:
    """A MariaDB with more ``options``, on a socket and a loopback port, for as long as the block."""
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        if os.environ.get("LOCKGATE_TESTS_STRICT"):
            pytest.fail("mariadbd is not installed")
        pytest.skip("mariadbd is not installed")
    pymysql = pytest.importorskip("pymysql")
    folder = Path(
        tempfile.mkdtemp(prefix="lockgate-mariadb-", dir=servers.scratch())
    )  # each change of a table is flushed
    folder.chmod(0o755)
    data = folder / "data"
    user = ["--user=mysql"] if os.getuid() == 0 else []
    if user:
        shutil.chown(folder, "mysql")
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *user,
        ],
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={folder}/s.sock", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder}/pid",
         "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", *options, *user],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def up() -> bool:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="root").close()
        except pymysql.err.MySQLError:
            return False
        return True

    try:
        until(up, 60)
        yield {"host": "127.0.0.1", "port": port, "user": "root"}
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def places(
    request: pytest.FixtureRequest, tmp_path: Path, databases: Callable[[], str]
) -> Callable[[str], Place]:
    """A function that makes an empty store of a kind, with the table ``t``."""
    made: list[int] = []

    def make(kind: str) -> Place:
        made.append(1)
        if kind == "postgres":
            import psycopg

            url = databases()
            run_sql(url, TABLES[kind])

            def run(sql: str, *values: object) -> None:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(sql, values or None)

            return Place(kind, url, run)
        if kind == "sqlite":
            file = tmp_path / f"{len(made)}.db"

            def run(sql: str, *values: object) -> None:
                with sqlite3.connect(file) as connection:
                    connection.execute(sql, values)
                connection.close()

            run(TABLES[kind])
            return Place(kind, f"sqlite:///{file}", run)
        import pymysql

        server = request.getfixturevalue("mariadb")
        name = f"t{os.getpid()}_{len(made)}"
        with pymysql.connect(**server, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name}")

        def run(sql: str, *values: object) -> None:
            with (
                pymysql.connect(
                    **server, database=name, autocommit=True, init_command="SET time_zone = '+00:00'"
                ) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(sql, values or None)

        run(TABLES[kind])
        return Place(kind, f"mysql://root@127.0.0.1:{server['port']}/{name}", run)

    return make


def beside(place: Place) -> Place:
    """The same database with a table ``t_new`` beside ``t``, by a URL in other words."""
    place.run(TABLES[place.kind].replace(" t (", " t_new ("))
    folder, _, file = place.url.rpartition("/")
    url = {"postgres": f"{place.url}?application_name=other", "mysql": place.url.replace("127.0.0.1", "localhost"), "sqlite": f"{folder}/./{file}"}  # fmt: skip
    return Place(place.kind, url[place.kind], place.run, "t_new")


@pytest.fixture
def hand(places, database: str) -> "Callable[..., Hand]":
    """A function that makes a move between two kinds of stores, the source with rows; the other one may be "beside" it: a table of the same database."""
    from stores.hand import Hand
    from stores.test_conformance import ROWS

    def make(one: str, other: str, **more: object) -> Hand:
        source = places(one)
        target = beside(source) if other == "beside" else places(other)
        source.fill(ROWS)
        return Hand(source, target, database, **more)

    return make
