"""Kills at bad moments, races, broken input: the next start works, or says why it cannot."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from lockgate.errors import LockgateError
from lockgate.postgres.embedded import Binaries, Embedded, wheel_binaries
from support import processes

ENSURE = (
    "import sys; from pathlib import Path; from lockgate.postgres.embedded import Embedded\n"
    "print(Embedded.ensure(Path(sys.argv[1]), settings={'fsync': 'off'}).pid)"
)
STAGES = {
    "spawned": lambda home, keepers: keepers(),
    "initdb": lambda home, keepers: (home / "pg18/data.new").exists(),
    "catalogs": lambda home, keepers: (home / "pg18/data.new/base").exists(),
    "renamed": lambda home, keepers: (home / "pg18/data").exists(),
    "started": lambda home, keepers: (home / "pg18/data/postmaster.pid").exists(),
    "recorded": lambda home, keepers: (home / "pg18/server.json").exists(),
}


def ensure(home):
    """The server of ``home`` without fsync, made by initdb."""
    return Embedded.ensure(home, settings={"fsync": "off"})


def ensure_in_a_process(home):
    """Start another process that ensures the server of ``home`` and prints its pid."""
    return subprocess.Popen([sys.executable, "-c", ENSURE, home], stdout=subprocess.PIPE, text=True)


def postmasters(home):
    """The processes that are a server of ``home`` themselves, not children of one."""
    pids = processes.working_in(home / "pg18/data")
    return [pid for pid in pids if processes.parent(pid) not in pids and processes.lives(pid)]


def test_racing_processes_start_one_server(home):
    """Six processes ensure at once: one server, one keeper, the same pid for all."""
    racers = [ensure_in_a_process(home) for _ in range(6)]
    pids = {racer.communicate()[0].strip() for racer in racers}
    assert len(pids) == 1
    assert [str(pid) for pid in postmasters(home)] == list(pids)
    processes.until(lambda: len(processes.with_word(f'"home": "{home}"')) == 1)


@pytest.mark.parametrize("stage", STAGES)
def test_caller_is_killed(home, keepers, stage):
    """A caller killed at any stage of the first start leaves a server that starts all the same."""
    caller = ensure_in_a_process(home)
    processes.until(lambda: STAGES[stage](home, keepers))
    caller.kill()
    caller.communicate()
    server = ensure(home)
    assert postmasters(home) == [server.pid]


@pytest.mark.parametrize("stage", STAGES)
def test_keeper_is_killed_in_a_launch(home, keepers, stage):
    """A keeper killed at any stage of the first start leaves a state from which the next start works."""
    caller = ensure_in_a_process(home)
    processes.until(lambda: STAGES[stage](home, keepers))

    def killed_all():
        for keeper in keepers():
            processes.kill(keeper)
        return not keepers()

    processes.until(killed_all)
    caller.communicate()
    server = ensure(home)
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("select count(*) from pg_database").fetchone() == (3,)
    assert postmasters(home) == [server.pid]
    processes.until(lambda: len(keepers()) == 1)
    assert not (home / "pg18/data.new").exists()


def test_postmaster_is_killed(home):
    """A server killed with a session open is recovered by the next ensure, with all that was committed."""
    server = Embedded.ensure(home)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create table kept as select 1 as id")
        processes.kill(server.pid)
        again = Embedded.ensure(home)
    assert again.pid != server.pid
    with psycopg.connect(again.url()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1,)


def test_busy_backend_outlives_its_postmaster(home, start):
    """A backend that computes on after its server was killed is ended, so that a new server can start."""
    server = start(home)
    busy = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, psycopg; psycopg.connect(sys.argv[1]).execute('do $$ begin loop end loop; end $$')",
            server.url(),
        ],
        stderr=subprocess.DEVNULL,
    )
    with psycopg.connect(server.url(), autocommit=True) as connection:
        query = "select pid from pg_stat_activity where query like 'do %' and state = 'active'"
        (backend,) = processes.until(lambda: connection.execute(query).fetchone())
    processes.kill(server.pid)
    assert processes.lives(backend)
    again = start(home)
    assert not processes.lives(backend)
    assert processes.lives(again.pid)
    busy.wait()


def test_stale_pid_file_names_a_stranger(home, start):
    """A pid file left by a crash whose pid now belongs to another process neither blocks nor harms."""
    server = start(home)
    data = home / "pg18/data"
    lines = (data / "postmaster.pid").read_text()
    processes.kill(server.pid)
    processes.until(lambda: not processes.working_in(data))
    owner = data.stat()
    stranger = subprocess.Popen(["sleep", "600"], user=owner.st_uid, group=owner.st_gid)
    try:
        (data / "postmaster.pid").write_text(lines.replace(str(server.pid), str(stranger.pid), 1))
        server.stop("immediate")
        again = start(home)
        assert processes.lives(again.pid)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_server_refuses_its_settings(home, start):
    """A server that does not start is an error with the end of its log, and a right start follows."""
    with pytest.raises(LockgateError, match="shared_buffers") as caught:
        start(home, settings={"shared_buffers": "a lot"})
    error = caught.value
    assert error.code == "EMBEDDED"
    assert any("shared_buffers" in line for line in error.details["tail"])
    assert Path(error.details["log"]).is_file()
    assert error.next
    assert not list((home / "pg18").glob("run-*"))
    assert start(home).version == 18


@pytest.mark.parametrize("name", ["not a name", "include '/etc/passwd'\nfsync", "", "fsync = off #"])
def test_setting_is_no_setting(home, start, name):
    """What is no name of a setting cannot smuggle lines into the configuration."""
    with pytest.raises(LockgateError, match="not a setting"):
        start(home, settings={name: "on"})


def test_initdb_fails(home, start, tmp_path_factory, project):
    """A failing initdb is an error with what it said, and leaves no data directory."""
    bindir = project / "bin"
    bindir.mkdir()
    for program in ("initdb", "postgres"):
        (bindir / program).write_text("#!/bin/sh\necho 'no space left on device' >&2; exit 1\n")
        (bindir / program).chmod(0o755)
    with pytest.raises(LockgateError, match="no space left on device") as caught:
        start(home, binaries=Binaries(18, bindir))
    assert caught.value.code == "EMBEDDED"
    assert not (home / "pg18/data").exists()
    assert start(home, binaries=wheel_binaries(18)).version == 18


def test_home_is_a_file(home, start):
    """A home that is not a directory is an error that names it."""
    home.write_text("")
    with pytest.raises(LockgateError, match=r"\.lockgate"):
        start(home)


def test_record_is_broken(home, start):
    """A record that was torn by a crash of the machine is written anew and nothing is lost."""
    server = start(home)
    server.stop()
    (home / "pg18/server.json").write_text('{"home": ')
    again = start(home)
    assert Embedded.find(home).pid == again.pid
