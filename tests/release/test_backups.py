"""Backups: restored and compared on the digests of their rows; whatever was cut, edited or swapped is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from lockgate.postgres.backups import BackupRow
from lockgate.postgres.digests import TableDigest, differences
from lockgate.release.backup_judge import Wanted, judge_backup
from release.conftest import PROTECTED, SHA
from release.stage import PYTHON, words
from support.calls import Project

pytestmark = pytest.mark.postgres("18")
ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n'
BACKUP = '[backup]\nprovider = "pg_dump"\n'
ROWS = """
CREATE TABLE item (id int PRIMARY KEY, name text, price numeric, seen timestamptz, raw bytea, tags text[]);
INSERT INTO item SELECT i, 'näme ' || i, i / 3.0, '2026-01-01'::timestamptz + i * interval '1 hour', decode(md5(i::text), 'hex'), ARRAY[i::text, NULL] FROM generate_series(1, 500) i;
CREATE TABLE "Odd Name" (v float8);
INSERT INTO "Odd Name" VALUES (0.1), (1e-300), ('NaN'), (NULL);
CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM item;
"""


@pytest.fixture
def filled(make: Callable[..., Project], database: str) -> Project:
    """A project with rows in its database and a backup taken."""
    project = make(ENV + BACKUP)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ROWS)
    project.ok("backup", "backup", "take", "--env", "production")
    return project


def files(project: Project) -> Path:
    [folder] = list((project.root / ".lockgate" / "backups").iterdir())
    return folder


@pytest.mark.postgres("16", "18", "machine")
def test_take_restore_and_drill(filled: Project, database: str):
    """A backup is restored into a new database and on a throw-away server; every table has the very rows that were dumped."""
    [row] = filled.ok("backup", "backup", "list", "--env", "production")["backups"]
    assert row["state"] == "verified"
    assert row["lsn"]
    assert row["systemIdentifier"]
    assert len(row["sha256"]) == 64
    assert files(filled).stat().st_mode & 0o777 == 0o700  # nobody else reads all rows of the database
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM item WHERE id > 10")  # what happens after the snapshot is not in it
        name = f"copy_{connection.info.dbname[-20:]}"
        try:
            restored = filled.ok(
                "backup", "backup", "restore", "latest", "--into", name, "--env", "production"
            )["restored"]
            assert restored["equal"] is True
            assert restored["rows"] >= 504
            with psycopg.connect(database.rsplit("/", 1)[0] + "/" + name) as copy:
                assert copy.execute("SELECT count(*), sum(id) FROM item").fetchone() == (500, 125250)
            again = filled.json("backup", "restore", "latest", "--into", name, "--env", "production")
            assert again.code == 4
            again.error("RESTORE_TARGET_EXISTS")
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    drilled = filled.ok("backup", "backup", "drill", "--env", "production")["restored"]
    assert (drilled["equal"], drilled["dropped"]) == (True, True)
    [row] = filled.ok("backup", "backup", "list", "--env", "production")["backups"]
    assert row["drilledAt"]
    assert row["drill"]["equal"] is True


def largest(folder: Path) -> Path:
    return max((p for p in (folder / "data").iterdir() if p.suffix != ".dat"), key=lambda p: p.stat().st_size)


def truncate(folder: Path) -> None:
    path = largest(folder)
    path.write_bytes(path.read_bytes()[:-7])


def edit(folder: Path) -> None:
    path = largest(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def lose(folder: Path) -> None:
    largest(folder).unlink()


def add(folder: Path) -> None:
    (folder / "data" / "9999.dat.gz").write_bytes(b"more")


def prune(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize("harm", [truncate, edit, lose, add, prune], ids=lambda f: f.__name__)
def test_what_was_changed_is_refused(filled: Project, harm: Callable[[Path], None]):
    """A truncated, edited, incomplete, enriched or deleted backup is refused by verify, restore and drill, and marked as failed."""
    harm(files(filled))
    for call in (["verify", "latest"], ["restore", "latest", "--into", "never"], ["drill"]):
        answer = filled.json("backup", *call, "--env", "production")
        assert answer.code == 4, answer
        answer.error("BACKUP_UNVERIFIED")
    [row] = filled.ok("backup", "backup", "list", "--env", "production")["backups"]
    assert row["state"] == "failed"
    assert row["message"]


def test_a_swapped_backup_is_refused(filled: Project, database: str):
    """Another whole backup in its place, manifest and all, is not the one that was sealed."""
    first = files(filled)
    kept = filled.root / "kept"
    shutil.copytree(first, kept)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE item SET price = 0")
    second = filled.ok("backup", "backup", "take", "--env", "production")["backup"]["backupId"]
    place = filled.root / ".lockgate" / "backups" / second
    shutil.rmtree(place)
    shutil.copytree(kept, place)
    answer = filled.json("backup", "verify", second, "--env", "production")
    assert answer.code == 4
    assert "not the one that was sealed" in answer.error("BACKUP_UNVERIFIED")["message"]


def test_looked_at_again_right_before_the_migration(make: Callable[..., Project]):
    """A backup that was deleted after it was verified does not let a protected environment be migrated."""
    project = make(BACKUP + PROTECTED)
    project.ok("approve", "approve", "--env", "production", "--actor", "ann")
    project.ok("backup", "backup", "take", "--env", "production")
    prune(files(project))
    answer = project.json("up", "--env", "production")
    assert answer.code == 4
    answer.error("BACKUP_UNVERIFIED")


def test_base_backup_and_restore_point(own_server, tmp_path: Path, session_directory: Path):
    """pg_basebackup is verified by its manifest and refused when a byte differs; a restore point counts only once the log is archived."""
    archive = session_directory / f"archive-{tmp_path.name}"  # the server's own account has to get in
    archive.mkdir()
    archive.chmod(0o777)
    server = own_server(
        "18",
        settings={
            "archive_mode": "on",
            "archive_command": f"cp %p {archive}/%f",
            "wal_level": "replica",
            "max_wal_senders": "4",
        },
    )
    project = Project(tmp_path / "p")
    project.root.mkdir()
    project.environ = {"PRODUCTION_URL": server.url()}
    project.configure(ENV)
    taken = project.ok("backup", "backup", "take", "--provider", "pg_basebackup", "--env", "production")[
        "backup"
    ]
    assert (taken["state"], taken["provider"]) == ("verified", "pg_basebackup")
    restored = project.ok(
        "backup",
        "backup",
        "restore",
        taken["backupId"],
        "--into",
        str(tmp_path / "copy"),
        "--env",
        "production",
    )
    assert (tmp_path / "copy" / "PG_VERSION").is_file()
    assert "recovery.signal" in restored["restored"]["notes"][1]
    data = project.root / ".lockgate" / "backups" / taken["backupId"] / "data" / "PG_VERSION"
    data.write_text("17\n")
    broken = project.json("backup", "verify", taken["backupId"], "--env", "production")
    assert broken.code == 4
    broken.error("BACKUP_UNVERIFIED")
    point = project.ok("backup", "backup", "take", "--provider", "restore-point", "--env", "production")[
        "backup"
    ]
    assert (point["state"], point["verifiedBy"]) == ("verified", "the archiver")
    assert (archive / point["detail"]["segment"]).is_file()
    refused = project.json("backup", "restore", point["backupId"], "--into", "x", "--env", "production")
    assert "recovery_target_name" in refused.error("RESTORE_FAILED")["next"]


def test_restore_point_without_an_archive(make: Callable[..., Project]):
    """A restore point in a log that nobody keeps is no backup."""
    project = make(ENV)
    answer = project.json("backup", "take", "--provider", "restore-point", "--env", "production")
    assert answer.code == 3
    answer.error("BACKUP_FAILED")


@pytest.mark.parametrize(
    ("said", "verify", "code", "reason", "state"),
    [
        ({"id": "snap-1", "status": "available", "size": 5}, "sys.exit(0)", 0, "", "verified"),
        ({"id": "snap-1", "status": "available"}, "sys.exit('it is gone')", 0, "", "taken"),
        ({"id": "snap-1", "status": "failed"}, "", 3, "BACKUP_FAILED", "failed"),
        ({"id": "snap-1", "status": "ok", "systemIdentifier": "42"}, "", 3, "BACKUP_FAILED", "failed"),
        ({"status": "ok"}, "", 3, "BACKUP_FAILED", "failed"),
        ("no json", "", 3, "BACKUP_FAILED", "failed"),
    ],
)
def test_external_command(
    make: Callable[..., Project], said: object, verify: str, code: int, reason: str, state: str
):
    """Somebody else's snapshot: its JSON is read, what failed or is of another server is refused, unverified does not count."""
    text = said if isinstance(said, str) else json.dumps(said)
    checking = f"verify_command = {words(PYTHON, '-c', 'import sys; ' + verify)}\n" if verify else ""
    project = make(
        ENV
        + f'[backup]\nprovider = "command"\ncommand = {words(PYTHON, "-c", f"print({text!r})")}\n{checking}'
    )
    answer = project.json("backup", "take", "--env", "production")
    assert answer.code == code, answer
    if reason:
        answer.error(reason)
    [row] = project.ok("backup", "backup", "list", "--env", "production")["backups"]
    assert row["state"] == state
    if state == "taken":
        release = project.json("release", "--sha", SHA, "--env", "production")
        assert release.code == 4
        release.error("BACKUP_UNVERIFIED")
        assert project.ok("status", "status", "--env", "production")["applied"] == []


def test_no_password_in_the_process_list(make: Callable[..., Project], database: str):
    """The password of the URL reaches pg_dump through its environment; its command line never holds it."""
    secret = "s3cr3t-canary-77"
    project = make(ENV + BACKUP)
    spy = project.root / "spy"
    from lockgate.postgres.programs import address
    from lockgate.postgres.target import Target

    conninfo, environ = address(
        Target(f"postgresql://u:{secret}@127.0.0.1:5432/d?sslmode=prefer", source="test")
    )
    assert secret not in conninfo
    assert environ["PGPASSWORD"] == secret
    assert not spy.exists()
    taken = project.run(
        "backup",
        "take",
        "--env",
        "production",
        PRODUCTION_URL=f"postgresql://postgres:{secret}@127.0.0.1:1/x",
    )
    assert taken.code == 69
    assert secret not in taken.out + taken.err


def row(**changes) -> BackupRow:
    names = ("lsn", "timeline", "system_identifier", "database")
    empty = {f: "" for f in BackupRow.__struct_fields__ if f not in ("detail", "drill")}
    fields = {
        **empty, "backup_id": "b", "provider": "pg_dump", "state": "verified", "age_seconds": 60.0, "size_bytes": 1, "drill_age_seconds": None,
        **dict(zip(names, ("0/1", "1", "7", "shop"), strict=True)),
    }  # fmt: skip
    return BackupRow(**{**fields, **changes})


WANTED = Wanted("7", "1", "shop", 3600.0)
JUDGED = [
    ("none", [], WANTED, "BACKUP_MISSING"),
    ("fresh and verified", [row()], WANTED, ""),
    ("too old", [row(age_seconds=3601.0)], WANTED, "BACKUP_STALE"),
    ("of another server", [row(system_identifier="8")], WANTED, "BACKUP_MISSING"),
    ("of another database", [row(database="other")], WANTED, "BACKUP_MISSING"),
    ("of the whole cluster", [row(database="other", provider="pg_basebackup")], WANTED, ""),
    ("of the timeline before a failover", [row(timeline="1")], Wanted("7", "2", "shop", 3600.0), "BACKUP_STALE"),
    ("not verified", [row(state="taken")], WANTED, "BACKUP_UNVERIFIED"),
    ("failed", [row(state="failed", system_identifier="", message="disk full")], WANTED, "BACKUP_UNVERIFIED"),
    ("never finished", [row(state="running", system_identifier="")], WANTED, "BACKUP_UNVERIFIED"),
    ("pruned", [row(state="pruned")], WANTED, "BACKUP_MISSING"),
    ("a failed one after a good one", [row(state="failed"), row()], WANTED, ""),
    ("from the future", [row(age_seconds=-86400.0)], WANTED, "BACKUP_STALE"),
    ("a little ahead of the clock", [row(age_seconds=-2.0)], WANTED, ""),
    ("never drilled where a drill is asked for", [row()], Wanted("7", "1", "shop", 3600.0, 86400.0), "BACKUP_UNVERIFIED"),
    ("drilled long ago", [row(drill_age_seconds=90000.0, drill={"equal": True})], Wanted("7", "1", "shop", 3600.0, 86400.0), "BACKUP_UNVERIFIED"),
    ("a drill that failed", [row(drill_age_seconds=5.0, drill={"equal": False})], Wanted("7", "1", "shop", 3600.0, 86400.0), "BACKUP_UNVERIFIED"),
    ("drilled", [row(drill_age_seconds=5.0, drill={"equal": True})], Wanted("7", "1", "shop", 3600.0, 86400.0), ""),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "wanted", "code"), [c[1:] for c in JUDGED], ids=[c[0] for c in JUDGED])
def test_judgement(rows, wanted, code):
    """Each fact about the backups that there are leads to its decision."""
    assert judge_backup(rows, wanted).code == code


def test_differences():
    """What a restore lacks, has too much, or has otherwise is named; a table that was only counted is not called equal."""
    a = [TableDigest("s.a", 2, "x"), TableDigest("s.b", 1, "y"), TableDigest("s.c", 3, "z")]
    assert differences(a, a) == []
    b = [TableDigest("s.a", 2, "other"), TableDigest("s.c", 4, "z"), TableDigest("s.d", 0, "")]
    assert differences(a, b) == [
        "s.b is missing", "s.d is there and should not", "s.a has other rows", "s.c has 4 rows, not 3",
    ]  # fmt: skip
    assert differences([TableDigest("s.a", 2, "x")], [TableDigest("s.a", 2, "")]) == [
        "s.a was counted and not compared"
    ]
