"""Servers that have no room: connections, disk, lock slots (rows 26 to 28)."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from faults import conftest, invariants, look
from faults.cluster import Cluster
from faults.drive import Project
from faults.look import execute, history, value
from faults.shapes import SHAPES, File, Shape, once, table
from support.processes import until

SMALL = SHAPES["small"]
pytestmark = look.SERVERS
BULK = Shape(
    "bulk",
    (
        table(91, "before"),
        File(
            "1700000000092", "bulk",
            f"CREATE TABLE public.bulk AS SELECT i, repeat(md5(i::text), 30) AS text FROM generate_series(1, 60000) i;\n{once('1700000000092')}\n",
            ("SELECT to_regclass('public.bulk') IS NOT NULL", "SELECT count(*) = 1 FROM public.effects WHERE revision = '1700000000092'"),
        ),
    ),
)  # fmt: skip
_WIDE = " || ".join(f"md5(note || '{letter}')" for letter in "abcdefghij")
INDEX = Shape(
    "index on a full disk",
    (
        File(
            "1700000000093", "index",
            f"-- lockgate: transaction=off\n{once('1700000000093')}\nCREATE INDEX CONCURRENTLY wide ON public.orders (({_WIDE}));\n",
            ("SELECT count(*) = 1 FROM public.effects WHERE revision = '1700000000093'",
             "SELECT COALESCE((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.wide')), false)"),
            transactional=False,
        ),
    ),
)  # fmt: skip


def test_no_connection_left(clusters: Callable[..., Cluster], project: Project) -> None:
    """With every connection taken it waits a few seconds, exits 69 with TOO_MANY_CONNECTIONS, and works once there is one."""
    cluster = clusters(
        max_connections="6", superuser_reserved_connections="0", max_wal_senders="0", autovacuum="off"
    )
    conftest.create(cluster.url(), "work")
    url = conftest.with_canary(cluster.url("work"))
    project.write(*SMALL.files)
    taken: list[psycopg.Connection[tuple[object, ...]]] = []

    def take_all() -> bool:
        try:
            taken.append(psycopg.connect(url))
        except psycopg.OperationalError:
            return True
        return False

    until(take_all)
    refused = project.run(url, seconds=30)
    assert (refused.code, refused.reason) == (69, "TOO_MANY_CONNECTIONS"), refused
    taken.pop().close()  # one is enough to look, and too few to work
    runner = project.start(url)
    until(
        lambda: value_or_none(
            taken[0], "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'lockgate/%%'"
        )
    )
    taken.pop().close()
    assert runner.wait().code == 0
    for one in taken:
        one.close()
    invariants.after_rerun(url, SMALL, project.run(url))


def value_or_none(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> object:
    """The first column of the first row, on a connection that is open already."""
    row = connection.execute(statement).fetchone()  # type: ignore[arg-type]
    connection.commit()
    return row[0] if row else None


def test_the_role_may_have_no_more_connections(url: str, project: Project) -> None:
    """A role's own connection limit is a matter of room (69), not of privilege (77)."""
    project.write(*SMALL.files)
    name = f"limited_{os.getpid()}"
    execute(url, f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 0")
    try:
        refused = project.run(url.replace("postgres:", f"{name}:", 1), seconds=30)
    finally:
        execute(url, f"DROP ROLE {name}")
    assert (refused.code, refused.reason) == (69, "TOO_MANY_CONNECTIONS"), refused


def test_the_server_is_starting_up(mortal: Cluster, project: Project) -> None:
    """A server that is still in its recovery is waited for, with growing pauses, and then the run is a normal one."""
    conftest.drop(mortal.url(), "starting")
    conftest.create(mortal.url(), "starting")
    url = conftest.with_canary(mortal.url("starting"))
    project.write(*SMALL.files)
    mortal.stop()
    # A restore that takes its time keeps the server in the state of starting up.
    gate = mortal.directory / "gate"
    (mortal.data / "recovery.signal").touch()
    if os.getuid() == 0:
        os.chown(mortal.data / "recovery.signal", mortal.owner.st_uid, mortal.owner.st_gid)
    mortal.start(
        wait=False, hot_standby="off", restore_command=f"until [ -e {gate} ]; do sleep 0.05; done; false"
    )

    def starting() -> bool:
        try:
            psycopg.connect(mortal.url(), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            return "starting up" in str(error) or "not yet accepting" in str(error)
        return False

    until(starting)
    refused = project.run(url, seconds=30)
    assert (refused.code, refused.reason) == (69, "TOO_MANY_CONNECTIONS"), refused
    runner = project.start(url)
    gate.touch()
    mortal.wait()
    ended = runner.wait()
    invariants.after_rerun(url, SMALL, ended)


@pytest.fixture
def small_space(
    clusters: Callable[..., Cluster], small_disk: Callable[[int], Path]
) -> Callable[[int], tuple[Cluster, str, Path]]:
    """A function that makes a database on a disk of so many bytes: its server, its URL, and the disk."""

    def make(size: int) -> tuple[Cluster, str, Path]:
        cluster = clusters()
        conftest.prepare(cluster.url())
        disk = small_disk(size)
        cluster.make_directory(disk / "space")
        cluster.execute(f"CREATE TABLESPACE small LOCATION '{disk / 'space'}'")
        cluster.execute("CREATE DATABASE work TEMPLATE lockgate_faults_template TABLESPACE small")
        return cluster, conftest.with_canary(cluster.url("work")), disk

    return make


def test_disk_full_in_a_transaction(
    small_space: Callable[[int], tuple[Cluster, str, Path]], project: Project
) -> None:
    """A rewrite that fills the disk is rolled back whole and named DISK_FULL; with more space the next run finishes."""
    cluster, url, disk = small_space(200 << 20)
    project.write(*BULK.files)
    ballast = _fill(cluster, disk)
    ended = project.run(url)
    assert (ended.code, ended.reason) == (3, "DISK_FULL"), ended
    assert history(url) == [BULK.files[0].revision]
    invariants.after_fault(url, BULK, ended)
    ballast.unlink()
    invariants.after_rerun(url, BULK, project.run(url))


def _fill(cluster: Cluster, disk: Path, leave: int = 3 << 20) -> Path:
    """Fill ``disk`` but for room for the tables of lockgate; removing the returned file gives the space back."""
    cluster.execute("CHECKPOINT")
    state = os.statvfs(disk)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - leave)
    return ballast


def test_disk_full_while_an_index_is_built(
    small_space: Callable[[int], tuple[Cluster, str, Path]], project: Project
) -> None:
    """An index build that fills the disk is DISK_FULL; what it left is cleared and built when there is space again."""
    cluster, url, disk = small_space(200 << 20)
    execute(
        url, "INSERT INTO public.orders SELECT i, i, md5(i::text), 'x' FROM generate_series(1000, 20000) i"
    )
    project.write(*INDEX.files)
    ballast = _fill(cluster, disk)
    ended = project.run(url)
    assert (ended.code, ended.reason) == (3, "DISK_FULL"), ended
    assert invariants.invalid_indexes(url) == ["wide"]
    invariants.after_fault(url, INDEX, ended)
    ballast.unlink()
    again = project.run(url)
    assert "healing" in again.err
    invariants.after_rerun(url, INDEX, again)


def test_no_disk_for_the_write_ahead_log(
    clusters: Callable[..., Cluster], small_disk: Callable[[int], Path], project: Project
) -> None:
    """A full disk under the write-ahead log takes the whole server down: exit 69, and with space again all is finished."""
    cluster = clusters(start=False)
    disk = small_disk(80 << 20)
    cluster.make_directory(disk / "data")
    subprocess.run(["cp", "-a", f"{cluster.data}/.", str(disk / "data")], check=True)
    cluster.data = disk / "data"
    cluster.start(min_wal_size="32MB", max_wal_size="64MB", wal_recycle="off")
    conftest.create(cluster.url(), "work")
    url = conftest.with_canary(cluster.url("work"))
    project.configure(reconnect_seconds=2)
    project.write(*BULK.files)
    ended = project.run(url)
    assert ended.reason in ("DISK_FULL", "CONNECTION_LOST", "UNREACHABLE", "TOO_MANY_CONNECTIONS"), ended
    subprocess.run(["mount", "-o", "remount,size=600m", str(disk)], check=True)
    cluster.crash()
    cluster.start()
    invariants.after_fault(url, BULK, ended)
    invariants.after_rerun(url, BULK, project.run(url))


def test_out_of_lock_slots(clusters: Callable[..., Cluster], project: Project) -> None:
    """A file that needs more lock slots than the server has is rolled back whole and named OUT_OF_MEMORY with the setting."""
    cluster = clusters(max_connections="10", max_locks_per_transaction="10", max_wal_senders="0")
    conftest.create(cluster.url(), "work")
    url = conftest.with_canary(cluster.url("work"))
    revision = "1700000000095"
    many = "\n".join(f"CREATE TABLE public.many_{i} (id bigint);" for i in range(3000))
    shape = Shape(
        "locks",
        (
            table(94, "before"),
            File(
                revision,
                "many",
                f"{once(revision)}\n{many}\n",
                ("SELECT to_regclass('public.many_2999') IS NOT NULL",),
            ),
        ),
    )
    project.write(*shape.files)
    ended = project.run(url)
    assert (ended.code, ended.reason) == (3, "OUT_OF_MEMORY"), ended
    assert "max_locks_per_transaction" in ended.document["next"]
    assert (history(url), value(url, "SELECT to_regclass('public.many_0')")) == (
        [shape.files[0].revision],
        None,
    )
    invariants.after_fault(url, shape, ended)
    assert json.loads(ended.out)["details"]["sqlstate"] == "53200"
