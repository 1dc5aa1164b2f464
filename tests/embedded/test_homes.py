"""Whose server is it: two projects, and projects that are moved or copied."""

import json
import shutil
import subprocess

import psycopg
import pytest

from lockgate.errors import LockgateError
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.embedded.place import Identity
from support import processes


def tables(server):
    """The user's tables of ``server``."""
    with psycopg.connect(server.url()) as connection:
        return [
            row[0]
            for row in connection.execute("select tablename from pg_tables where schemaname = 'public'")
        ]


def make_table(server, name):
    """Commit the table ``name``."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create table {name} ()")


@pytest.fixture
def two(project):
    """The homes of two project folders, of which the first one exists."""
    (project / "a").mkdir()
    return project / "a" / ".lockgate", project / "b" / ".lockgate"


def copy(source, target):
    """Copy a folder as people do, with owners and times."""
    subprocess.run(["cp", "-a", source, target], check=True)


def test_two_projects(two, start):
    """Two projects have two servers, and what is made in one is not in the other."""
    home, other_home = two
    other_home.parent.mkdir()
    server, other = start(home), start(other_home)
    make_table(server, "mine")
    assert server.pid != other.pid
    assert (tables(server), tables(other)) == (["mine"], [])
    server.stop()
    assert tables(Embedded.find(other_home)) == []


def test_same_project_by_another_path(project, two, start):
    """A symbolic link to the project leads to the same server."""
    home, _ = two
    server = start(home)
    (project / "link").symlink_to(home.parent)
    assert Embedded.ensure(project / "link" / ".lockgate").pid == server.pid


def test_moved_while_stopped(two, start):
    """A project moved while its server was stopped keeps its data."""
    home, new_home = two
    server = start(home)
    make_table(server, "kept")
    server.stop()
    home.parent.rename(new_home.parent)
    assert tables(start(new_home)) == ["kept"]


def test_moved_while_running(two, start):
    """A project moved while its server ran gets it started anew at the new place, with all its data."""
    home, new_home = two
    server = start(home)
    make_table(server, "kept")
    home.parent.rename(new_home.parent)
    assert Embedded.find(new_home) is None
    again = start(new_home)
    assert tables(again) == ["kept"]
    assert not processes.lives(server.pid)
    assert str(again.log).startswith(str(new_home))
    processes.until(lambda: not processes.with_word(f'"home": "{home}"'))
    processes.until(lambda: len(processes.with_word(f'"home": "{new_home}"')) == 1)


def test_moved_and_another_in_its_place(two, start):
    """A new project at the path of a moved one has a server of its own, while the moved one's still runs."""
    home, new_home = two
    server = start(home)
    make_table(server, "kept")
    home.parent.rename(new_home.parent)
    home.parent.mkdir()
    other = start(home)
    assert tables(other) == []
    assert tables(start(new_home)) == ["kept"]
    assert tables(Embedded.find(home)) == []


def test_copied_while_stopped(two, start):
    """A copy of a stopped project has the data of that time and a server of its own."""
    home, copied = two
    server = start(home)
    make_table(server, "before")
    server.stop()
    copy(home.parent, copied.parent)
    server, other = start(home), start(copied)
    make_table(server, "after")
    assert other.pid != server.pid
    assert tables(other) == ["before"]
    assert sorted(tables(server)) == ["after", "before"]


def test_copied_while_running(two, start):
    """A copy of a running project never reaches the other's server, and is refused: its data may be torn."""
    home, copied = two
    server = start(home)
    copy(home.parent, copied.parent)
    assert Embedded.find(copied) is None
    with pytest.raises(LockgateError, match="torn") as caught:
        start(copied)
    assert "rm -r" in caught.value.next
    assert Embedded.find(home).pid == server.pid
    shutil.rmtree(copied / "pg18")
    assert tables(start(copied)) == []


def test_copied_back_to_its_place(two, start):
    """A project moved away while it ran and copied back is told from the moved one, though the path is the same."""
    home, moved = two
    start(home)
    home.parent.rename(moved.parent)
    copy(moved.parent, home.parent)
    assert Embedded.find(home) is None
    with pytest.raises(LockgateError, match="torn"):
        start(home)


def test_crash_and_new_device_number(home, start):
    """After a crash and a reboot that renumbered the devices, the server of the same folder is recovered."""
    server = start(home)
    make_table(server, "kept")
    server.stop("immediate")
    (home / "pg18/data/postmaster.pid").write_text(f"{server.pid}\n{home}/pg18/data\n")
    record = json.loads((home / "pg18/server.json").read_text())
    (home / "pg18/server.json").write_text(json.dumps({**record, "device": record["device"] + 1}))
    assert tables(start(home)) == ["kept"]


def test_identity():
    """The same path or the same directory is the same home; only the same directory is here."""
    home = Identity("/a", 1, 2)
    record = {"home": "/a", "device": 1, "inode": 2}
    assert home.is_same(record)
    assert home.is_here(record)
    assert Identity("/b", 1, 2).is_same(record)
    assert home._replace(inode=3).is_same(record)
    assert not home._replace(inode=3).is_here(record)
    assert not Identity("/b", 1, 3).is_same(record)
    assert not home.is_same({})
