"""The load by pgbench: real waits on a real server, and nothing of it stays."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest

from lockgate.errors import ConfigError
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.placeholders import queries_of
from lockgate.postgres.programs import program
from lockgate.postgres.scratch import Ground
from lockgate.postgres.target import Target
from lockgate.rehearsal.load import Work
from lockgate.rehearsal.pgbench import Pgbench, Stuck, samples_of, script_of, scripts_of, sweep, under_pgbench
from lockgate.rehearsal.report import Rehearsal
from rehearsal.rehearsals import rehearsed
from support.processes import until

BASE = "create table users (id bigint primary key, email text not null, visits int not null default 0);"
QUERIES = """
SELECT id, email FROM users WHERE email = $1;
UPDATE users SET visits = visits + 1 WHERE id = $1;
"""
WORK = [
    Work("read", "PREPARE a AS SELECT * FROM users WHERE email <> 'x:y'", "EXECUTE a", "a"),
    Work("write", "PREPARE b (int) AS UPDATE users SET visits = $1", "EXECUTE b (1)", "b"),
]


def bench(*texts: str) -> Pgbench:
    """pgbench as this machine has it, with these scripts."""
    return Pgbench(str(program("pgbench", 0)), tuple(map(script_of, texts)))


def left() -> list[Path]:
    """What pgbench's load left in the place for temporary files."""
    return list(Path(tempfile.gettempdir()).glob(f"lockgate-pgbench-{os.getuid()}-*"))


@pytest.fixture
def target(database: str) -> Target:
    """A database with twenty users."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(BASE)  # type: ignore[call-overload]
        connection.execute("insert into users select g, 'e' || g from generate_series(1, 20) g")
    return Target(database, source="test")


@pytest.mark.postgres("16", "18", "machine")
def test_readers_and_writers_wait_for_a_lock(target: Target, database: str) -> None:
    """The slowest reader and writer waited at least as long as they were seen waiting for a table that is shut; none fails, and no file is left."""
    seen = 0.0

    def waiting() -> bool:
        with psycopg.connect(database) as connection:
            found = "select count(distinct split_part(query, ' ', 2)) from pg_stat_activity where application_name = 'lockgate/load' and datname = current_database() and wait_event_type = 'Lock'"
            return connection.execute(found).fetchone() == (2,)

    def shut() -> None:
        nonlocal seen
        with psycopg.connect(database) as connection:
            connection.execute("lock table users")
            until(waiting)
            since = time.monotonic()
            for _ in range(20):
                assert waiting()
            seen = (time.monotonic() - since) * 1000

    load = under_pgbench(target, bench(), WORK, 20, shut)  # so many that some read and some write
    assert load.by == "pgbench"
    assert (load.failed, load.errors) == (0, ())
    assert load.transactions > 100
    assert min(load.slowest_read_ms, load.slowest_write_ms) >= seen > 0
    assert min(load.calm_read_ms, load.calm_write_ms) > 0
    with psycopg.connect(database) as connection:
        assert connection.execute("select sum(visits) from users").fetchone() == (0,), "rolled back"
    assert left() == []


@pytest.mark.postgres("18")
def test_what_fails_under_it_is_told(target: Target, database: str) -> None:
    """A column that goes under the clients: the client whose query it was ends, and its error is told; scripts of the user commit."""

    def change() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("alter table users drop column email")

    scripts = ("SELECT email FROM users WHERE id = 1;", "UPDATE users SET visits = visits + 1 WHERE id = 2;")
    load = under_pgbench(target, bench(*scripts), [], 2, change)
    assert load.failed >= 1
    assert any("email" in error for error in load.errors), load
    with psycopg.connect(database) as connection:
        assert connection.execute("select visits > 0 from users where id = 2").fetchone() == (True,)


@pytest.mark.postgres("18")
def test_a_script_that_says_much(target: Target, database: str) -> None:
    """Scripts that raise NOTICEs go on while the files are applied, so none of them stands in the way with a lock; of a client that ended before all that, its error is told."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "create function say() returns void language plpgsql as $$ begin raise notice '%', repeat('x', 16000); end $$"
        )

        def visits() -> int:
            row = connection.execute("select visits from users where id = 2").fetchone()
            assert row is not None
            return int(row[0])

        def change() -> None:
            connection.execute("set lock_timeout = '20s'")
            connection.execute("alter table users drop column email")
            before = visits()
            until(lambda: visits() > before + 200)  # 3 MB of them
            connection.execute("alter table users add column nick text")

        script = "UPDATE users SET visits = visits + 1 WHERE id = 2;\nSELECT say();\n\\if :client_id = 0\nSELECT email FROM users;\n\\endif\n"
        load = under_pgbench(target, bench(script), [], 4, change)
    assert load.transactions > 200
    assert any("email" in error for error in load.errors), load


@pytest.mark.postgres("18")
def test_a_script_that_does_not_run(target: Target) -> None:
    """A script with an error is named before any file is applied, and pgbench is gone."""
    for text, word in (("SELECT nothing FROM users;", "nothing"), ("\\nonsense\n", "nonsense")):
        with pytest.raises(ConfigError) as wrong:
            under_pgbench(target, bench(text), [], 2, lambda: pytest.fail("applied"))
        assert word in wrong.value.message
    assert left() == []


@pytest.mark.postgres("18")
def test_what_the_migration_raises_comes_through(target: Target, database: str) -> None:
    """When the files fail under load, that is what is raised, and pgbench has ended."""
    with pytest.raises(ZeroDivisionError):
        under_pgbench(target, bench(), WORK, 2, lambda: 1 // 0)  # type: ignore[arg-type]
    with psycopg.connect(database) as connection:
        found = "select count(*) from pg_stat_activity where application_name = 'lockgate/load' and datname = current_database() and state = 'active'"
        until(lambda: connection.execute(found).fetchone() == (0,))


@pytest.mark.postgres("18")
def test_one_that_does_not_end(target: Target, tmp_path: Path) -> None:
    """A pgbench whose transaction outlasts its limit is killed with what its script started; the error has a code, and no process or file is left."""
    asleep = tmp_path / "pid"
    for text in ("SELECT pg_sleep(3600);", f"SELECT 1;\n\\shell echo $$ > {asleep}; exec sleep 3600\n"):
        with pytest.raises(Stuck) as stuck:
            under_pgbench(target, bench(text), [], 2, lambda: None, ends=0.2)
        assert stuck.value.code == "LOAD_STUCK"
        assert "within 0.2 s" in stuck.value.message
        assert left() == []
    until(lambda: not Path(f"/proc/{asleep.read_text().strip()}").exists())
    children = subprocess.run(["pgrep", "-P", str(os.getpid()), "pgbench"], capture_output=True, check=False)
    assert children.stdout == b""


@pytest.mark.postgres("18")
def test_a_rehearsal_whose_load_does_not_end(
    alarm: Alarm, monkeypatch: pytest.MonkeyPatch, server: Embedded
) -> None:
    """The rehearsal goes on to its verdict, which holds with the code of the load; its sessions go with the scratch database."""
    short = partial(under_pgbench, ends=0.2)
    monkeypatch.setattr("lockgate.rehearsal.rehearse.under_pgbench", short)
    change = "alter table users add column nick text;"
    with Ground(Target(server.url(), source="test"), ours=True) as ground:
        found = rehearsed(
            ground, alarm, BASE, change, base=1, clients=2, pgbench=bench("SELECT pg_sleep(3600);")
        )
    assert (found.verdict, found.reason_code, found.load) == ("hold", "LOAD_STUCK", None)
    with psycopg.connect(server.url()) as connection:
        asleep = "select count(*) from pg_stat_activity where query like '%pg_sleep(3600)%' and pid <> pg_backend_pid() and application_name = 'lockgate/load' and datname like 'lockgate%'"
        until(lambda: connection.execute(asleep).fetchone() == (0,))


def test_files_of_a_killed_one_are_swept() -> None:
    """The folder of a rehearsal that was killed while pgbench started goes with the next one; that of a living one stays."""
    code = (
        "import os, signal, sys\nfrom lockgate.rehearsal.pgbench import _folder\n"
        "with _folder() as folder:\n    print(folder, flush=True)\n    {}\n"
    )
    dead = subprocess.run(
        [sys.executable, "-c", code.format("os.kill(os.getpid(), signal.SIGKILL)")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    folder = Path(dead.stdout.strip())
    assert folder.is_dir()
    with subprocess.Popen(
        [sys.executable, "-c", code.format("sys.stdin.read()")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as living:  # fmt: skip
        assert living.stdout is not None
        alive = Path(living.stdout.readline().strip())
        sweep()
        assert (folder.exists(), alive.exists()) == (False, True)
        living.communicate("")
    assert not alive.exists()


def test_its_log_as_figures() -> None:
    """A line is a transaction of its script's kind; one that failed, and each client that ended, counts as failed with its words, wherever those name the script."""
    scripts = scripts_of(WORK)
    assert [s.kind for s in scripts] == ["read", "write"]
    log = "0 1 1500 0 1700000000 250000\n1 1 2000000 1 1700000002 0\n1 2 deadlock 1 1700000003 0\n0 2 15"
    said = 'pgbench: error: client 0 script 0 aborted in command 1 query 0: ERROR:  column "a" does not exist\nLINE 1\n'
    found = samples_of(log, said, scripts)
    assert [(s.kind, s.seconds, bool(s.error)) for s in found] == [
        ("read", 0.0015, False), ("write", 2.0, False), ("write", 0.0, True), ("read", 0.0, True),
    ]  # fmt: skip
    assert found[0].at == 1_700_000_000.25
    assert 'column "a" does not exist' in found[3].error
    broken = "pgbench: error: client 3 aborted in command 2 (SQL) of script 1; perhaps the backend died while processing\n"
    assert [(s.kind, "backend died" in s.error) for s in samples_of("", broken, scripts)] == [("write", True)]
    assert [s.weight for s in scripts_of([WORK[0], WORK[0], WORK[1]])] == [1, 1, 2]
    assert script_of("-- update\nSELECT 1;").kind == "read"
    assert script_of("WITH x AS (DELETE FROM t RETURNING id) SELECT * FROM x").kind == "write"


@pytest.mark.postgres("18")
def test_a_rehearsal_under_pgbench(rehearse: Callable[..., Rehearsal]) -> None:
    """The queries of the release go through pgbench while the files are applied."""
    assert len(queries_of(QUERIES)) == 2
    found = rehearse(BASE, "alter table users add column nick text;", base=1, queries=QUERIES, clients=2, pgbench=bench())  # fmt: skip
    assert found.verdict == "pass", found.checks
    assert found.load is not None
    assert (found.load.by, found.load.clients, found.load.failed) == ("pgbench", 2, 0)
    assert found.load.transactions > 50
