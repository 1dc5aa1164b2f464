"""Real PostgreSQL servers for tests: one a version for the whole session, shared by all xdist workers.

Everything lies in ``lockgate-tests-<uid>-<run>``, in memory (``/dev/shm``) where there is plenty, else in ``/tmp``:
a data directory is a thousand small files. The controller stops the servers at the end of the session; where it
was killed their keepers do, and the next session removes what is left.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from lockgate.postgres.embedded import Binaries, Embedded, locks, machine_binaries, wheel_binaries

LABELS = ("16", "18", "machine")
"""The servers that tests run on: the wheel's two, and the newest one of the machine itself."""

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "max_prepared_transactions": "0",
    "wal_level": "logical",
    "shared_buffers": "64MB",
    "log_checkpoints": "off",
}
"""No durability, room for many workers; everything else as PostgreSQL has it."""

TEMPLATE = "lockgate_test_template"
IDLE_SECONDS = 300.0
SHARED_IDLE_SECONDS = 3600.0
"""The shared servers outlive tests that work on a server of their own for many minutes, as the soak does."""
_IN_USE = "in-use"
_PLENTY = 4 * 1024**3
_PREFIX = f"lockgate-tests-{os.getuid()}-"


@cache
def binaries(label: str) -> Binaries | None:
    """The programs behind ``label``; None when this machine has no PostgreSQL of its own."""
    if label != "machine":
        return wheel_binaries(int(label))
    return next(iter(machine_binaries()), None)


def scratch() -> Path:
    """Where test servers live: in memory if both the file system and the machine have plenty of it."""
    memory = Path("/dev/shm")
    with contextlib.suppress(OSError, ValueError):
        room = os.statvfs(memory)
        meminfo = Path("/proc/meminfo").read_text().split("MemAvailable:")[-1].split()
        if min(room.f_bavail * room.f_frsize, int(meminfo[0]) * 1024) > _PLENTY and os.access(
            memory, os.W_OK
        ):
            return memory
    return Path(tempfile.gettempdir())


def session_path(run: str) -> Path:
    """The directory of the test run ``run``; it may not exist yet."""
    return scratch() / (_PREFIX + run)


def session_directory(run: str) -> Path:
    """The directory of the test run ``run``, made; for scripts that want the fixtures' servers without pytest."""
    directory = session_path(run)
    directory.mkdir(mode=0o755, exist_ok=True)
    return directory


def begin_session(directory: Path) -> int:
    """Make the directory of a test run and mark it as in use until the returned descriptor is closed."""
    directory.mkdir(mode=0o755)
    lock = locks.open_lock(f"{directory}/{_IN_USE}")
    assert locks.acquire(lock, 0.0)
    return lock


def session_server(directory: Path, label: str) -> Embedded:
    """The session's server for ``label``, started by whoever asks first."""
    found = binaries(label)
    assert found is not None, "this machine has no PostgreSQL of its own"
    home = directory / label
    server = Embedded.ensure(home, binaries=found, idle_seconds=SHARED_IDLE_SECONDS, settings=SETTINGS)
    template(server)
    return server


def template(server: Embedded) -> None:
    """Make the database on ``server`` that fresh ones are copied from; nobody connects to it."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(4207)")  # workers race to make it
        known = connection.execute("select 1 from pg_database where datname = %s", [TEMPLATE]).fetchone()
        if not known:
            connection.execute(
                sql.SQL("create database {} is_template true").format(sql.Identifier(TEMPLATE))
            )


def end_session(directory: Path, *, keep: bool) -> None:
    """Stop the servers in ``directory`` and remove it; ``keep`` leaves both for a look at what failed.

    A kept server stops by itself when nobody looks for IDLE_SECONDS.
    """
    if keep or not directory.is_dir():
        return
    for home in directory.iterdir():
        remove(home)
    shutil.rmtree(directory, ignore_errors=True)


def remove(home: Path) -> None:
    """Stop what runs in ``home``, a home or a folder of homes, and delete it."""
    stop_all(home)
    for depth in ("", ".lockgate/", "*/.lockgate/"):
        with contextlib.suppress(OSError, IndexError):
            for pidfile in home.glob(f"{depth}pg*/data/postmaster.pid"):
                # A killed server leaves a segment of System V memory; the machine has a few thousand of them.
                lines = pidfile.read_text().split("\n")
                if lines[1] == str(pidfile.parent):
                    subprocess.run(["ipcrm", "-m", lines[6].split()[1]], capture_output=True, check=False)
    shutil.rmtree(home, ignore_errors=True)


def stop_all(home: Path) -> None:
    """Stop every server of ``home`` at once, whatever its version."""
    while server := Embedded.find(home):
        server.stop("immediate")


def sweep() -> None:
    """Remove the directories of former sessions that nobody uses and whose servers have ended."""
    places = {Path("/dev/shm"), Path(tempfile.gettempdir())}
    for directory in [found for place in places for found in place.glob(_PREFIX + "*")]:
        with contextlib.suppress(OSError):
            if directory.is_symlink() or directory.stat().st_uid != os.getuid():
                continue
            marked = (directory / _IN_USE).exists()
            used = locks.is_held(f"{directory}/{_IN_USE}") if marked else _is_young(directory)
            if not used and not any(Embedded.find(home) for home in directory.iterdir()):
                shutil.rmtree(directory, ignore_errors=True)


def _is_young(directory: Path) -> bool:
    return time.time() - directory.stat().st_mtime < 2 * IDLE_SECONDS


def template_home(directory: Path, label: str) -> Path:
    """A home whose data directory is fresh from initdb and cleanly stopped; made once a session and label."""
    found = binaries(label)
    assert found is not None, "this machine has no PostgreSQL of its own"
    home = directory / f"template-{label}"
    if not home.is_dir():
        making = directory / f"making-{label}-{os.getpid()}"
        Embedded.ensure(making, binaries=found, settings={"fsync": "off"}).stop()
        with contextlib.suppress(OSError):  # another worker was quicker
            making.rename(home)
        shutil.rmtree(making, ignore_errors=True)
    return home


def seed(directory: Path, home: Path, label: str) -> None:
    """Make ``home`` with a fresh data directory, copied instead of made by initdb.

    Such copies share one system identifier.
    """
    found = binaries(label)
    assert found is not None, "this machine has no PostgreSQL of its own"
    template = template_home(directory, label) / f"pg{found.version}"
    home.mkdir()
    base = home / template.name
    subprocess.run(["cp", "-a", "--reflink=auto", str(template), str(base)], check=True)
    (base / "server.json").unlink()  # tells where the template was


def private_server(
    directory: Path, home: Path, label: str, *, settings: Mapping[str, str], idle_seconds: float, fresh: bool
) -> Embedded:
    """A server of its own in the new ``home``; ``fresh`` ones have a system identifier of their own."""
    if not fresh:
        seed(directory, home, label)
    return Embedded.ensure(
        home, binaries=binaries(label), settings={**SETTINGS, **settings}, idle_seconds=idle_seconds
    )


@contextlib.contextmanager
def fresh_database(server: Embedded, name: str) -> Iterator[str]:
    """A new database on ``server``, ``name`` and something unique: its URL. Dropped at the end, unless the body raises."""
    name = f"{name[:40]}_{os.getpid()}_{os.urandom(3).hex()}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        # Without fsync, copied files come twice as quick as logged blocks.
        admin.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )
    yield server.url(name)
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
