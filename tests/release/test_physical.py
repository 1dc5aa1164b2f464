"""Base backups: copied byte for byte, and drilled on a throw-away server that does nothing of what the original did."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from lockgate.errors import RunFailed
from lockgate.postgres import physical_copy
from lockgate.postgres.digests import TableDigest, steady
from lockgate.postgres.embedded import Embedded, locks
from lockgate.release.restore import server_binaries
from release.conftest import ENV, SHA
from release.test_kill import hurt
from support import servers
from support.calls import Project
from support.processes import until, with_word

LABELS = [label for label in servers.LABELS if servers.binaries(label)]
ROWS = """
CREATE TABLE item (id int PRIMARY KEY, name text, price numeric);
INSERT INTO item SELECT i, 'näme ' || i, i / 3.0 FROM generate_series(1, 500) i;
CREATE TABLE "Odd Name" (v float8);
INSERT INTO "Odd Name" VALUES (0.1), (1e-300), ('NaN'), (NULL);
CREATE TABLE busy (id bigint GENERATED ALWAYS AS IDENTITY);
"""


@pytest.fixture
def cluster(own_server, tmp_path: Path, session_directory: Path) -> Callable[..., tuple[Project, str]]:
    """Make a server of its own whose log is archived, with rows, and a project that backs it up; gives the project and the URL."""

    def made(label: str = "18", **settings: str) -> tuple[Project, str]:
        archive = session_directory / f"archive-{tmp_path.name}"
        archive.mkdir()
        archive.chmod(0o777)
        server = own_server(
            label,
            settings={
                "archive_mode": "on",
                "archive_command": f"cp %p {archive}/%f",
                "wal_level": "logical",
                "max_wal_senders": "4",
                **settings,
            },
        )
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(ROWS)
        project = Project(tmp_path / "p")
        project.root.mkdir()
        project.environ = {"PRODUCTION_URL": server.url()}
        project.configure(ENV + '[backup]\nprovider = "pg_basebackup"\n')
        return project, server.url()

    return made


def backup(project: Project, *call: str) -> dict:
    return project.ok("backup", "backup", *call, "--env", "production")


@pytest.mark.parametrize("label", LABELS)
def test_a_base_backup_is_drilled(cluster: Callable[..., tuple[Project, str]], label: str, tmp_path: Path):
    """A copy of the cluster starts on a throw-away server of its version: every table holds the very rows that were backed up, what came later is not in it."""
    project, url = cluster(label)
    backup(project, "take")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM item WHERE id > 10")
    drilled = backup(project, "drill")["restored"]
    assert (drilled["equal"], drilled["dropped"]) == (True, True)
    assert drilled["rows"] >= 504
    assert "not compared" in drilled["notes"][0]
    [row] = backup(project, "list")["backups"]
    assert row["drilledAt"]
    assert row["drill"]["equal"] is True
    assert not list((project.root / ".lockgate").glob("drill-*"))
    # A restore is a folder for a new server; its files are the backup's.
    restored = backup(project, "restore", "latest", "--into", str(tmp_path / "copy"))["restored"]
    assert "byte for byte" in restored["notes"][0]
    assert (tmp_path / "copy" / "PG_VERSION").is_file()


@pytest.mark.parametrize("label", LABELS)
def test_a_prepared_transaction(
    cluster: Callable[..., tuple[Project, str]], label: str, session_directory: Path
):
    """A copy in which transactions are prepared starts: it is as large as the original was in what its recovery needs."""
    larger = {"max_prepared_transactions": "7", "max_connections": "130", "max_locks_per_transaction": "70", "max_worker_processes": "9"}  # fmt: skip
    project, url = cluster(label, **larger)
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(3):
            connection.execute("BEGIN")
            connection.execute("INSERT INTO item VALUES (%s)", [1000 + number])
            connection.execute(f"PREPARE TRANSACTION 'p{number}'")
    taken = backup(project, "take")["backup"]
    drilled = backup(project, "drill")["restored"]
    assert (drilled["equal"], drilled["dropped"]) == (True, True)
    home = session_directory / f"prepared-{project.root.parent.name}"
    data = project.root / ".lockgate" / "backups" / taken["backupId"] / "data"
    server = physical_copy.start(data, home, binaries=server_binaries(int(taken["detail"]["serverVersion"]) // 10000), seconds=60)  # fmt: skip
    try:
        with psycopg.connect(server.url()) as copy:
            assert copy.execute("SELECT count(*) FROM pg_prepared_xacts").fetchone() == (3,)
            for name, value in {**larger, "max_wal_senders": "10"}.items():
                assert copy.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,)
    finally:
        servers.remove(home)


@pytest.mark.postgres("18")
def test_the_copy_does_nothing_of_what_the_original_did(cluster: Callable[..., tuple[Project, str]]):
    """The drilled copy archives nothing over the original's log, and its subscriptions fetch nothing from their publishers."""
    project, url = cluster()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE PUBLICATION p FOR TABLE item")
        connection.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        connection.execute(
            f"CREATE SUBSCRIPTION s CONNECTION '{url}' PUBLICATION p WITH (create_slot = false, copy_data = false, enabled = false)"
        )
        connection.execute("ALTER SUBSCRIPTION s ENABLE")
        backup(project, "take")
        connection.execute("ALTER SUBSCRIPTION s DISABLE")
        free = "SELECT NOT active, confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 's'"
        until(lambda: connection.execute(free).fetchone()[0])
        before = connection.execute(free).fetchone()
        archived = connection.execute("SELECT failed_count FROM pg_stat_archiver").fetchone()
        assert backup(project, "drill")["restored"]["equal"] is True
        assert connection.execute(free).fetchone() == before
        assert connection.execute("SELECT failed_count FROM pg_stat_archiver").fetchone() == archived
        connection.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        connection.execute("DROP SUBSCRIPTION s")
        connection.execute("SELECT pg_drop_replication_slot('s')")


@pytest.fixture
def writer() -> Iterator[Callable[[str], None]]:
    """Starts a thread that writes into the table `busy` until the test ends."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def write(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.is_set():
                connection.execute("INSERT INTO busy DEFAULT VALUES")

    def start(url: str) -> None:
        threads.append(threading.Thread(target=write, args=(url,)))
        threads[-1].start()
        with psycopg.connect(url, autocommit=True) as connection:
            until(lambda: connection.execute("SELECT count(*) > 0 FROM busy").fetchone() == (True,))

    yield start
    over.set()
    for thread in threads:
        thread.join(20)


@pytest.mark.postgres("18")
@pytest.mark.parametrize("provider", ["pg_basebackup", "pg_dump"])
def test_a_drill_that_is_killed(cluster: Callable[..., tuple[Project, str]], provider: str):
    """kill -9 while the copy is read leaves a server and its data; the next drill removes them, and nothing of a drill that lives."""
    project, _ = cluster()
    project.configure(ENV + f'[backup]\nprovider = "{provider}"\n')
    backup(project, "take")
    killed = hurt(project, "compare:", "backup", "drill", "--env", "production")
    assert killed.code == -9, killed
    scratch = project.root / ".lockgate"
    [left] = scratch.glob("drill-*")
    server = until(lambda: Embedded.find(left / "server"))
    assert server.data.is_dir()
    living = scratch / "drill-living"
    living.mkdir()
    lock = locks.open_lock(str(living / "lock"))
    try:
        assert locks.acquire(lock, 0.0)
        assert backup(project, "drill")["restored"]["equal"] is True
        assert list(scratch.glob("drill-*")) == [living]
        assert not server.data.parent.exists()
        until(lambda: not with_word(str(server.data)))
    finally:
        os.close(lock)
    backup(project, "drill")
    assert not list(scratch.glob("drill-*"))


@pytest.mark.postgres("18")
def test_a_copy_that_nobody_reads(
    cluster: Callable[..., tuple[Project, str]],
    session_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """The server of a copy stops by itself soon after its last reader, however long a backup may take."""
    project, _ = cluster()
    taken = backup(project, "take")["backup"]
    data = project.root / ".lockgate" / "backups" / taken["backupId"] / "data"
    home = session_directory / f"unread-{project.root.parent.name}"
    monkeypatch.setattr(physical_copy, "IDLE_SECONDS", 0.5)
    try:
        physical_copy.start(data, home, binaries=server_binaries(18), seconds=7200)
        until(lambda: Embedded.find(home) is None)
    finally:
        servers.remove(home)


@pytest.mark.postgres("18")
def test_what_is_written_meanwhile_is_not_compared(
    cluster: Callable[..., tuple[Project, str]], writer: Callable[[str], None]
):
    """A table that is written to while the copy is made is read whole, named and not compared; the others are."""
    project, url = cluster()
    writer(url)
    taken = backup(project, "take")["backup"]
    assert "public.busy" in taken["detail"]["moved"]
    drilled = backup(project, "drill")["restored"]
    assert drilled["equal"] is True
    assert drilled["rows"] > 504
    assert drilled["notes"][1].startswith("public.busy")


@pytest.mark.postgres("18")
def test_a_drill_that_differs(cluster: Callable[..., tuple[Project, str]], tmp_path: Path):
    """Rows that are not those of the record fail the drill by name, and the record says so; what cannot be compared is refused."""
    project, url = cluster()
    taken = backup(project, "take")["backup"]
    change = "UPDATE lockgate.backup SET detail = jsonb_set(detail, '{digests}', (SELECT jsonb_agg(CASE WHEN d->>'name' = 'public.item' THEN jsonb_set(d, '{digest}', '\"1:1\"') ELSE d END) FROM jsonb_array_elements(detail->'digests') d))"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change)
        answer = project.json("backup", "drill", "--env", "production")
        assert answer.code == 3
        assert "public.item has other rows" in answer.error("RESTORE_FAILED")["message"]
        [row] = backup(project, "list")["backups"]
        assert row["drill"]["equal"] is False
        connection.execute("UPDATE lockgate.backup SET detail = detail - 'digests'")
        without = project.json("backup", "drill", "--env", "production")
        assert "without digests" in without.error("BACKUP_UNVERIFIED")["message"]
        connection.execute("UPDATE lockgate.backup SET detail = jsonb_set(detail, '{digests}', '[]')")
    # A link out of the data directory leads into the files of the original.
    data = project.root / ".lockgate" / "backups" / taken["backupId"] / "data"
    (data / "pg_tblspc" / "16999").symlink_to(tmp_path)
    for call in (["drill"], ["restore", "latest", "--into", str(tmp_path / "copy")]):
        refused = project.json("backup", *call, "--env", "production")
        assert "tablespaces" in refused.error("RESTORE_FAILED")["message"]
    (data / "pg_tblspc" / "16999").unlink()


def test_tablespaces_are_refused_before_anything_is_copied(
    cluster: Callable[..., tuple[Project, str]], session_directory: Path
):
    """Tablespaces are named and refused before a file is copied, by `backup take` and by a release, with the way that works, and that way works."""
    project, url = cluster()
    place = session_directory / f"space-{project.root.parent.name}"
    place.mkdir()
    with psycopg.connect(url, autocommit=True) as connection:
        [data] = connection.execute("SHOW data_directory").fetchone()
        owner = Path(data).stat()
        os.chown(place, owner.st_uid, owner.st_gid)
        connection.execute(f"CREATE TABLESPACE apart LOCATION '{place}'")
        connection.execute("CREATE TABLE far (id int) TABLESPACE apart")
    there = sorted(path.name for path in place.rglob("*"))
    project.write("more", "CREATE TABLE more (id bigint PRIMARY KEY);\n")
    for call in (["backup", "take"], ["release", "--sha", SHA]):
        refused = project.json(*call, "--env", "production").error("BACKUP_FAILED")
        assert f"apart in {place}" in refused["message"]
        assert 'provider = "pg_dump"' in refused["next"]
    assert sorted(path.name for path in place.rglob("*")) == there
    assert backup(project, "list")["backups"] == []
    project.configure(ENV + '[backup]\nprovider = "pg_dump"\n')
    backup(project, "take")
    assert backup(project, "drill")["restored"]["equal"] is True
    project.ok("release", "release", "resume", "--env", "production")


def test_a_copy_that_does_not_start(cluster: Callable[..., tuple[Project, str]], session_directory: Path):
    """Files that are no cluster any more fail with the server's own words, and the copy is gone."""
    project, _ = cluster()
    taken = backup(project, "take")["backup"]
    data = project.root / ".lockgate" / "backups" / taken["backupId"] / "data"
    (data / "global" / "pg_control").write_bytes(b"\0" * 8192)
    home = session_directory / f"broken-{project.root.parent.name}"
    with pytest.raises(RunFailed, match="does not start") as failed:
        physical_copy.start(data, home, binaries=server_binaries(18), seconds=60)
    assert failed.value.code == "RESTORE_FAILED"
    assert "pg_control" in failed.value.message or "pg18" in failed.value.message
    assert not (home / "pg18" / "data").exists()


def test_what_stood_still():
    """What is the same before and behind the copy has to be in it; what changed, came or went is only named."""
    same, gone, before, after = (
        TableDigest("a", 1, "1"), TableDigest("b", 1, "1"), TableDigest("c", 1, "1"), TableDigest("c", 2, "2"),
    )  # fmt: skip
    assert steady([same, gone, before], [same, after]) == ([same], ["b", "c"])
