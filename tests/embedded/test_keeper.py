"""The keeper: it watches one server, stops it when it is not needed, and is small."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from lockgate.postgres.embedded import Embedded, clients
from support import processes

CANARY = "canary-9f2c71"


@pytest.fixture
def keeper(keepers):
    """A function that waits until there is exactly one keeper and returns its pid."""

    def one():
        processes.until(lambda: len(keepers()) == 1)
        return keepers()[0]

    return one


def test_idle_server_stops(home, start, keepers):
    """Without clients the server stops by itself, cleanly, and its keeper with it."""
    server = start(home, idle_seconds=0.2)
    processes.until(lambda: not processes.lives(server.pid))
    processes.until(lambda: not keepers())
    assert "database system is shut down" in server.log.read_text()
    assert not (home / "pg18/data/postmaster.pid").exists()
    assert not list((home / "pg18").glob("run-*"))


def test_client_keeps_it_running(home, start):
    """A connected client, silent or not, keeps the server; when it leaves, the time begins."""
    server = start(home, idle_seconds=0.5)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        assert connection.execute("select pg_sleep(1.2)").fetchone()
        assert processes.lives(server.pid)
    processes.until(lambda: not processes.lives(server.pid))


def test_ensure_keeps_it_running(home, start):
    """Who asks for the server again and again gets the same one, also without a lasting connection."""
    server = start(home, idle_seconds=1.0)
    lock = home / "pg18.lock"
    born = lock.stat().st_mtime

    def asked_for_a_while():
        assert start(home, idle_seconds=1.0).pid == server.pid
        return lock.stat().st_mtime - born > 1.5

    processes.until(asked_for_a_while)


def test_home_is_deleted(home, start, keepers):
    """When its folder is gone the server ends, and nothing of it is left."""
    server = start(home)
    processes.until(lambda: _deleted(home))
    processes.until(lambda: not processes.lives(server.pid))
    processes.until(lambda: not keepers())
    assert not home.exists()


def test_home_is_deleted_with_a_short_socket(project, start):
    """When its folder is gone, the socket's place outside of it goes too."""
    home = project / ("long" * 25) / ".lockgate"
    home.parent.mkdir()
    server = start(home)
    sockets = server.sockets
    processes.until(lambda: _deleted(home))
    processes.until(lambda: not processes.lives(server.pid))
    processes.until(lambda: not sockets.exists())


def test_home_is_deleted_and_made_again(home, start):
    """A new server in the place of a deleted home is not touched by the end of the old one."""
    old = start(home)
    processes.until(lambda: _deleted(home))
    new = start(home)
    processes.until(lambda: not processes.lives(old.pid))
    with psycopg.connect(new.url()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def _deleted(home):
    """Delete ``home`` under a server that may write a file just then; whether it is gone."""
    shutil.rmtree(home, ignore_errors=True)
    return not home.exists()


def test_keeper_is_killed(home, start, keepers, keeper):
    """A killed keeper takes nothing with it; the next ensure finds the server and gives it a new keeper."""
    server = start(home)
    first = keeper()
    processes.kill(first)
    with psycopg.connect(server.url()) as connection:
        connection.execute("select 1")
    again = start(home, idle_seconds=0.2)
    assert again.pid == server.pid
    processes.until(lambda: not processes.lives(server.pid))


def test_keeper_ends_with_its_server(home, start, keepers, keeper):
    """When the server is stopped or killed, its keeper is not left behind."""
    server = start(home)
    keeper()
    server.stop()
    processes.until(lambda: not keepers())
    server = start(home)
    keeper()
    processes.kill(server.pid)
    processes.until(lambda: not keepers())


def test_terminated_keeper_stops_the_server(home, start, keeper):
    """SIGTERM, as at the shutdown of the machine, becomes a clean stop."""
    server = start(home)
    os.kill(keeper(), signal.SIGTERM)
    processes.until(lambda: not processes.lives(server.pid))
    assert "database system is shut down" in server.log.read_text()


def test_keeper_has_left_its_caller(home, monkeypatch, tmp_path, keeper):
    """Keeper and server have nothing of the caller: no file, session, folder, environment, privilege."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{CANARY}@h/d")
    with (tmp_path / CANARY).open("w") as file:
        os.set_inheritable(file.fileno(), True)
        server = Embedded.ensure(home, settings={"fsync": "off"})
    for pid in (keeper(), server.pid):
        process = Path(f"/proc/{pid}")
        opened = [str(link.readlink()) for link in (process / "fd").iterdir()]
        assert not any(CANARY in name for name in opened)
        assert CANARY.encode() not in (process / "environ").read_bytes()
        assert os.getsid(pid) != os.getsid(0)
        assert str((process / "cwd").readlink()) in ("/", str(home / "pg18/data"))
        assert process.stat().st_uid != 0
    standard = {str(Path(f"/proc/{keeper()}/fd/{number}").readlink()) for number in (0, 1, 2)}
    assert standard == {os.devnull}


def test_keeper_is_small(home, start, keeper):
    """The keeper needs less memory than one backend: no driver, no parser, nothing it does not use."""
    start(home)
    status = Path(f"/proc/{keeper()}/status").read_text()
    kilobytes = int(status.split("VmRSS:")[1].split()[0])
    assert kilobytes < 16_000


def test_caller_with_threads_and_signals(home):
    """A program that reaps its own children and has threads and closed standard files can start a server."""
    script = (
        "import os, signal, sys, threading, time\n"
        "from pathlib import Path\n"
        "from lockgate.postgres.embedded import Embedded\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "out = os.dup(1)\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "os.write(out, str(Embedded.ensure(Path(sys.argv[1]), settings={'fsync': 'off'}).pid).encode())"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, home], capture_output=True, text=True
    )
    assert processes.lives(int(answer.stdout)), answer.stderr


@pytest.mark.parametrize("count", [0, 1, 3])
def test_clients_are_counted_two_ways(own_server, count):
    """The kernel's table and the server's own answer agree on the number of clients."""
    server = own_server()
    sockets = str(server.sockets)
    connections = [psycopg.connect(server.url()) for _ in range(count)]
    try:
        processes.until(lambda: clients.count_by_question(sockets) == count)
        processes.until(lambda: clients.count_by_kernel(sockets) == count)
    finally:
        for connection in connections:
            connection.close()


def test_clients_of_no_server(tmp_path):
    """Without a server neither way can tell."""
    assert clients.count_by_kernel(str(tmp_path)) is None
    assert clients.count_by_question(str(tmp_path)) is None


def test_idle_where_the_kernel_does_not_tell(home, monkeypatch):
    """Where there is no table of sockets the keeper asks the server, and stops it all the same."""
    # Another network namespace hides the table from a keeper, as macOS does: only with privileges.
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    server = Embedded.ensure(home, settings={"fsync": "off"})
    for keeper in processes.until(lambda: processes.with_word(f'"home": "{home}"')):
        processes.kill(keeper)
    script = (
        "import sys; from pathlib import Path; from lockgate.postgres.embedded import Embedded\n"
        "Embedded.ensure(Path(sys.argv[1]), idle_seconds=0.3)"
    )
    with psycopg.connect(server.url(), autocommit=True) as connection:
        done = subprocess.run(
            ["unshare", "-n", sys.executable, "-c", script, home], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        connection.execute("select pg_sleep(0.8)")
        assert processes.lives(server.pid)
    processes.until(lambda: not processes.lives(server.pid))
