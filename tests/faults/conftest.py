"""What the fault tests stand on: runners, projects, prepared databases, relays and servers that may die."""

import itertools
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from faults import drive
from faults.cluster import Cluster
from faults.drive import CANARY, Project
from faults.look import needs
from faults.relay import Line, Relay
from faults.shapes import BASE
from lockgate.postgres.embedded import Embedded
from support.forked import Nursery

_TEMPLATE = "lockgate_faults_template"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that forks this worker's runners."""
    nursery = drive.nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="lgf-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def project(folder: Path, nursery: Nursery) -> Project:
    """An empty project."""
    return Project(folder / "project", nursery)


@pytest.fixture
def line(folder: Path) -> Iterator[Line]:
    """Where a runner with the fault ``ask`` reports."""
    line = Line(str(folder / "line"))
    yield line
    line.close()


def prepare(url: str) -> None:
    """Make the template of the fault tests on the server of ``url``, once."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(4208)")
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_TEMPLATE]).fetchone():
            return
        making = sql.Identifier(f"making_{uuid.uuid4().hex}")
        admin.execute(sql.SQL("CREATE DATABASE {}").format(making))
        name = making.as_string(admin).strip('"')
        with psycopg.connect(psycopg.conninfo.make_conninfo(url, dbname=name), autocommit=True) as fresh:
            fresh.execute(BASE)  # type: ignore[arg-type]
        admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(making, sql.Identifier(_TEMPLATE)))


def create(url: str, name: str) -> None:
    """A database ``name`` with what ``shapes.BASE`` makes."""
    prepare(url)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log").format(
                sql.Identifier(name), sql.Identifier(_TEMPLATE)
            )
        )


def drop(url: str, name: str) -> None:
    """Drop the database ``name`` with whoever is in it."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def with_canary(url: str) -> str:
    """``url`` with the canary for a password; the server trusts its socket and never asks for it."""
    return url.replace("postgres@", f"postgres:{CANARY}@", 1)


@pytest.fixture
def fresh(server: Embedded, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """A function that makes a prepared database on the shared server and returns its URL, with the canary in it."""
    numbers, names = itertools.count(1), []

    def make() -> str:
        names.append(f"f_{os.getpid()}_{uuid.uuid4().hex[:6]}_{next(numbers)}")
        create(server.url(), names[-1])
        return with_canary(server.url(names[-1]))

    yield make
    for name in names:
        drop(server.url(), name)


@pytest.fixture
def url(fresh: Callable[[], str]) -> str:
    """One prepared database."""
    return fresh()


@pytest.fixture
def relay(server: Embedded) -> Iterator[Relay]:
    """A relay to the shared server."""
    path = server.url().split("@", 1)[1].split(":", 1)[0].replace("%2F", "/")
    with Relay(lambda: f"{path}/.s.PGSQL.5432") as relay:
        yield relay


@pytest.fixture
def clusters(
    server: Embedded, session_directory: Path, postgres_label: str
) -> Iterator[Callable[..., Cluster]]:
    """A function that makes a private server: ``clusters(setting="value")`` starts it, ``start=False`` does not."""
    with ExitStack() as stack:

        def make(*, start: bool = True, **settings: str) -> Cluster:
            directory = session_directory / f"c{uuid.uuid4().hex[:8]}"
            cluster = Cluster.like(server, directory, session_directory, postgres_label)
            stack.callback(cluster.remove)
            if start:
                cluster.start(**settings)
            return cluster

        yield make


@pytest.fixture(scope="session")
def mortal(server: Embedded, session_directory: Path, postgres_label: str) -> Iterator[Cluster]:
    """A private server of this worker for tests that crash it and start it again."""
    directory = session_directory / f"m{uuid.uuid4().hex[:8]}"
    cluster = Cluster.like(server, directory, session_directory, postgres_label)
    cluster.start()
    prepare(cluster.url())
    yield cluster
    cluster.remove()


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Callable[[int], Path]]:
    """A function that mounts a file system of so many bytes in memory and returns its root."""
    mounted: list[Path] = []

    def make(size: int) -> Path:
        path = folder / f"disk{len(mounted)}"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        needs(done.returncode == 0, f"the right to mount a small file system ({done.stderr.strip()})")
        mounted.append(path)
        return path

    yield make
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=False)
