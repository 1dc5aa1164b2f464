"""Places that the server's account cannot enter: a shelter for data and programs, and its traps."""

import json
import os
import pwd
import shutil
import stat
from pathlib import Path

import psycopg
import pytest

from lockgate.errors import LockgateError
from lockgate.postgres.embedded import Binaries, Embedded, face, wheel_binaries
from support import processes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def shelter(project, monkeypatch):
    """The only shelter for these tests, which does not exist yet."""
    place = project / "shelter"
    monkeypatch.setattr(face, "SHELTERS", (str(place),))
    return place


@pytest.fixture
def closed(project):
    """A project folder that only root can enter."""
    folder = project / "closed"
    folder.mkdir(mode=0o700)
    return folder


def select_one(server):
    """Whether ``server`` answers."""
    with psycopg.connect(server.url()) as connection:
        return connection.execute("select 1").fetchone() == (1,)


def modes(folder):
    """Owner and mode of ``folder`` and all the folders above it."""
    return {str(path): (path.stat().st_uid, path.stat().st_mode) for path in (folder, *folder.parents)}


def test_closed_project(closed, shelter):
    """In a folder that the account cannot enter, the data lies in a shelter and no permission is changed."""
    home = closed / ".lockgate"
    before = modes(closed)
    server = Embedded.ensure(home, settings={"fsync": "off"})
    assert select_one(server)
    assert Embedded.ensure(home).pid == server.pid
    assert modes(closed) == before
    base = Path(json.loads((home / "pg18.json").read_text())["base"])
    assert base.is_relative_to(shelter)
    assert stat.S_IMODE(base.stat().st_mode) == 0o700
    assert base.stat().st_uid == Path(f"/proc/{server.pid}").stat().st_uid
    assert not (home / "pg18").exists()


def test_closed_project_is_deleted(closed, shelter):
    """When the closed project is deleted, its server ends and its data in the shelter goes too."""
    home = closed / ".lockgate"
    server = Embedded.ensure(home, settings={"fsync": "off"})
    base = server.log.parent
    shutil.rmtree(closed)
    processes.until(lambda: not processes.lives(server.pid))
    processes.until(lambda: not base.exists())


def test_closed_project_loses_its_lock(closed, shelter):
    """Deleting the lock file alone stops the server but never deletes data."""
    home = closed / ".lockgate"
    server = Embedded.ensure(home, settings={"fsync": "off"})
    (home / "pg18.lock").unlink()
    processes.until(lambda: not processes.lives(server.pid))
    again = Embedded.ensure(home, settings={"fsync": "off"})
    assert again.log == server.log


def test_closed_project_is_moved(closed, shelter):
    """A closed project that is moved keeps its data."""
    server = Embedded.ensure(closed / ".lockgate", settings={"fsync": "off"})
    moved = closed.rename(closed.with_name("moved"))
    again = Embedded.ensure(moved / ".lockgate", settings={"fsync": "off"})
    assert again.log == server.log
    assert select_one(again)


def test_closed_project_is_copied(closed, shelter):
    """A copy of a closed project, pointer and all, gets data of its own and leaves the other's alone."""
    server = Embedded.ensure(closed / ".lockgate", settings={"fsync": "off"})
    shutil.copytree(closed, closed.with_name("copied"))
    copied = closed.with_name("copied") / ".lockgate"
    assert Embedded.find(copied) is None
    other = Embedded.ensure(copied, settings={"fsync": "off"})
    assert other.pid != server.pid
    assert other.log.parent != server.log.parent
    assert Embedded.find(closed / ".lockgate").pid == server.pid
    other.stop()


def test_closed_programs(project, closed, shelter):
    """Programs that the account cannot reach are copied once, for everybody to read and nobody to change."""
    bindir = wheel_binaries(18).bindir
    wheel = bindir.parents[1]
    own = closed / wheel.name
    shutil.copytree(bindir.parent, own / bindir.parent.name, ignore=shutil.ignore_patterns("*.a", "include"))
    shutil.copytree(wheel.with_name(wheel.name + ".libs"), own.with_name(own.name + ".libs"))
    hidden = Binaries(18, own / bindir.parent.name / "bin")
    servers = []
    for name in ("a", "b"):
        (project / name).mkdir()
        home = project / name / ".lockgate"
        servers.append(Embedded.ensure(home, binaries=hidden, settings={"fsync": "off"}))
        assert (home / "pg18/data").is_dir()
    with psycopg.connect(servers[0].url(), autocommit=True) as connection:
        connection.execute("create extension vector")  # its library and files came along
        connection.execute("do $$ begin end $$")
    (copy,) = shelter.iterdir()
    assert {path.stat().st_uid for path in copy.rglob("*")} == {0}
    assert not any(path.stat().st_mode & 0o022 for path in copy.rglob("*"))


@pytest.mark.parametrize("trap", ["link", "stranger", "writable"])
def test_shelter_is_a_trap(project, closed, trap, monkeypatch):
    """A shelter that somebody else prepared is passed over; with no other one the error names it."""
    place, target = project / "shelter", project / "target"
    target.mkdir()
    if trap == "link":
        place.symlink_to(target)
    else:
        place.mkdir()
        if trap == "stranger":
            os.chown(place, NOBODY.pw_uid, NOBODY.pw_gid)
        else:
            place.chmod(0o777)
    monkeypatch.setattr(face, "SHELTERS", (str(place),))
    with pytest.raises(LockgateError, match="shelter") as caught:
        Embedded.ensure(closed / ".lockgate")
    assert "0755" in caught.value.next
    assert not list(target.iterdir())
    monkeypatch.setattr(face, "SHELTERS", (str(place), str(project / "second")))
    server = Embedded.ensure(closed / ".lockgate", settings={"fsync": "off"})
    assert server.log.is_relative_to(project / "second")


@pytest.mark.parametrize("trap", ["link", "folder"])
def test_base_is_a_trap(home, trap):
    """A base that somebody prepared as a link or an open folder is refused; nothing is made behind it."""
    home.mkdir()
    target = home / "target"
    target.mkdir()
    if trap == "link":
        (home / "pg18").symlink_to(target)
    else:
        (home / "pg18").mkdir(mode=0o755)
    with pytest.raises(LockgateError, match="alone"):
        Embedded.ensure(home)
    assert not list(target.iterdir())


def test_pointer_is_a_trap(home, project):
    """A pointer to a place that is not a private one is refused, whatever is there."""
    home.mkdir()
    target = project / "target"
    target.mkdir()
    (home / "pg18.json").write_text(json.dumps({"schemaVersion": "1", "base": str(target)}))
    with pytest.raises(LockgateError, match="points to"):
        Embedded.ensure(home)
    assert not list(target.iterdir())
