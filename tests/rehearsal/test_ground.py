"""Where a rehearsal takes place: never on a database that holds anything, and nothing of it stays."""

import json
import os
import random
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from lockgate.config import Settings
from lockgate.errors import LockgateError, Refused
from lockgate.postgres.embedded import Embedded, locks
from lockgate.postgres.embedded.binaries import binaries_in
from lockgate.postgres.scratch import KEEP_TEMPLATES, MARK, SCRATCH, TEMPLATE, Ground
from lockgate.postgres.target import Target
from lockgate.rehearsal.ground import foreign_ground
from support import servers
from support.calls import Answer, Project, finish
from support.processes import until, with_word

RUNNER = Path(__file__).parent.parent / "faults" / "runner.py"


def named(url: str, prefix: str) -> list[str]:
    """The databases whose name begins so."""
    with psycopg.connect(url, autocommit=True) as connection:
        return [
            row[0]
            for row in connection.execute(
                "select datname from pg_database where starts_with(datname, %s)", [prefix]
            )
        ]


@pytest.fixture
def project(session_directory: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project without a URL, in a folder that the server's account can enter; its scratch server's data is seeded."""
    folder = session_directory / f"rehearsed-{os.urandom(4).hex()}"
    (folder / ".lockgate").mkdir(parents=True)
    servers.seed(session_directory, folder / ".lockgate" / "rehearsal", "18")
    yield Project(folder)
    servers.remove(folder / ".lockgate" / "rehearsal")
    servers.remove(folder)


@pytest.mark.postgres("18")
def test_a_database_that_holds_something(databases: Callable[[], str]) -> None:
    """A scratch URL whose database holds a table, or the schema lockgate, is refused; an empty or a marked one is taken."""
    empty, used, ours, marked = (databases() for _ in range(4))
    for url, text in (
        (used, "create table t (id int)"), (ours, "create schema lockgate"),
        (marked, f"create table t (id int); comment on database {marked.rpartition('/')[2]} is '{MARK}'"),
    ):  # fmt: skip
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(text)  # type: ignore[call-overload]
    for url in (used, ours):
        with pytest.raises(Refused) as refused:
            foreign_ground(url, Settings())
        assert refused.value.code == "SCRATCH_REFUSED"
        assert refused.value.exit == 4
    for url in (empty, marked):
        with foreign_ground(url, Settings()) as ground:
            name = ground.create()
            assert named(url, name) == [name]
        assert named(url, name) == []


@pytest.mark.postgres("18")
def test_the_target_is_no_scratch(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database in DATABASE_URL is refused although it is empty."""
    monkeypatch.setenv("DATABASE_URL", database)
    with pytest.raises(Refused) as refused:
        foreign_ground(database, Settings())
    assert refused.value.code == "SCRATCH_REFUSED"
    assert "DATABASE_URL" in refused.value.message


@pytest.mark.postgres("18")
def test_a_role_that_may_not_make_databases(database: str) -> None:
    """Without CREATEDB the role, and the grant that it lacks, are named."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create role nobody_special login")
    try:
        with pytest.raises(Refused) as refused:
            foreign_ground(database.replace("postgres@", "nobody_special@"), Settings())
        assert refused.value.code == "PRIVILEGE"
        assert "CREATEDB" in refused.value.next
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("drop role nobody_special")


@pytest.mark.postgres("18")
def test_what_a_dead_run_left_is_swept(own_server: Callable[..., Embedded]) -> None:
    """A database of a living run stays, that of a dead one goes with the next run; templates stay, but not for ever."""
    server = own_server("18")
    living = Ground(Target(server.url(), source="test"), ours=True)
    mine = living.create()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f'create database "{SCRATCH}dead_1"')
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create database elsewhere")
    # Also one that comes in through another database must see that the first one lives.
    with Ground(Target(server.url("elsewhere"), source="test"), ours=True) as ground:
        assert ground.swept == [f"{SCRATCH}dead_1"]
        assert named(server.url(), SCRATCH) == [mine]
        for number in range(KEEP_TEMPLATES + 2):
            assert ground.keep_as_template(ground.create(), f"{number:024d}", "{}")
        assert not ground.keep_as_template(ground.create(), f"{KEEP_TEMPLATES:024d}", "{}"), (
            "somebody was quicker"
        )
        kept = named(server.url(), TEMPLATE)
        assert len(kept) == KEEP_TEMPLATES
        assert f"{TEMPLATE}{0:024d}" not in kept
        assert ground.make_roles(("app", "app", "")) == ["app"]
        assert ground.make_roles(("app",)) == []
    living.close()
    assert named(server.url(), SCRATCH) == []


@pytest.mark.postgres("18")
@pytest.mark.parametrize("moment", ["applied", *(pytest.param(m, marks=pytest.mark.soak) for m in ("replaying", "proving"))])  # fmt: skip
def test_killed_at_any_time(project: Project, moment: str) -> None:
    """A rehearsal that is killed (-9) leaves no database behind once the next one has run, and that one passes."""
    for number in range(60):
        project.write(f"t{number}", f"create table t{number} (id int primary key);\n")
    process = project.start("rehearse", "--from", project_revision(30))
    assert process.stdout is not None
    until(lambda: moment in (process.stdout.readline() if process.stdout else ""))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    answer = project.json("rehearse", "--from", project_revision(30))
    assert answer.code == 0, answer
    nothing_is_left(project)


def nothing_is_left(project: Project) -> None:
    """No scratch database, no session, no process of pgbench, no folder and no temporary file is there."""
    home = project.root / ".lockgate" / "rehearsal"
    server = Embedded.find(home)
    assert server is not None
    assert named(server.url(), SCRATCH) == []
    others = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        # A session that was closed a moment ago takes another to be gone: that of `named`, too.
        until(lambda: connection.execute(others).fetchone() == (0,))
    assert {path.name for path in home.iterdir()} <= {"pg18", "pg18.lock", "pg18.json"}
    until(lambda: not [pid for pid in with_word(SCRATCH) if pid in with_word(str(home))])
    until(lambda: not unheld())


def unheld() -> list[Path]:
    """Folders of pgbench that no living process holds: one of another test is held, but for a moment at its beginning and at its end."""
    folders = Path(tempfile.gettempdir()).glob(f"lockgate-pgbench-{os.getuid()}-*")
    return [folder for folder in folders if not locks.is_held(f"{folder}/lock")]


@pytest.fixture(scope="module")
def points(session_directory: Path) -> list[str]:
    """The points that a rehearsal with queries and pgbench passes, in order."""
    with hurtful(session_directory) as made:
        trace = made.root / "trace"
        answer = hurt(made, {"kind": "trace", "trace": str(trace)})
        assert answer.code == 0, answer
        return trace.read_text().splitlines()


@pytest.mark.parametrize(
    "seed",
    [*range(2), "pgbench:started", *(pytest.param(s, marks=pytest.mark.soak) for s in (*range(2, 60), "file:pgbench", "pgbench:busy"))],
)  # fmt: skip
def test_killed_at_a_random_point(session_directory: Path, points: list[str], seed: int | str) -> None:
    """A rehearsal under pgbench that is killed (-9) at any round trip leaves nothing behind once the next one has run, and that one passes."""
    at = random.Random(seed).randrange(len(points)) if isinstance(seed, int) else points.index(seed)
    with hurtful(session_directory) as made:
        killed = hurt(made, {"kind": "kill", "at": at + 1})
        assert killed.code == -signal.SIGKILL, (points[at], killed)
        answer = made.json("rehearse", "--queries", "old=old.sql")
        assert answer.code == 0, (points[at], answer)
        nothing_is_left(made)


@contextmanager
def hurtful(directory: Path) -> Iterator[Project]:
    """A project of a few files and two queries, with a scratch server of its own."""
    folder = directory / f"killed-{os.urandom(4).hex()}"
    (folder / ".lockgate").mkdir(parents=True)
    servers.seed(directory, folder / ".lockgate" / "rehearsal", "18")
    made = Project(folder)
    made.write("base", "create table users (id bigint primary key, email text);\n")
    for number in range(3):
        made.write(
            f"more{number}",
            f"alter table users add column c{number} int;\n-- lockgate: down\nalter table users drop column c{number};\n",
        )
    (folder / "old.sql").write_text(
        "SELECT email FROM users WHERE id = $1;\nUPDATE users SET email = $1 WHERE id = $2;\n"
    )
    try:
        yield made
    finally:
        servers.remove(folder / ".lockgate" / "rehearsal")
        servers.remove(folder)


def hurt(project: Project, fault: dict[str, object]) -> Answer:
    """Rehearse under pgbench in a process that is hurt as ``fault`` says."""
    words = ("--from", project_revision(1), "--queries", "old=old.sql", "--load", "pgbench", "--clients", "2", "--format", "json")  # fmt: skip
    return finish(project.python(str(RUNNER), "rehearse", *words, FAULT=json.dumps(fault)), 120)


def project_revision(number: int) -> str:
    """The revision of file ``number`` of a project of tests, from 1."""
    from support.calls import FIRST

    return str(FIRST + number)


@pytest.mark.postgres("18")
def test_interrupted(project: Project) -> None:
    """SIGTERM ends a rehearsal with 143, and its databases are gone at once."""
    project.write("slow", "select pg_sleep(60);\n")
    process = project.start("rehearse")
    server = until(lambda: Embedded.find(project.root / ".lockgate" / "rehearsal"))
    until(
        lambda: asked(
            server.url(),
            "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()",
        )
    )
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert named(server.url(), SCRATCH) == []


def asked(url: str, question: str) -> int:
    """The number that answers ``question``; 0 while nobody can be asked."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute(question).fetchone()  # type: ignore[call-overload]
    except psycopg.Error:
        return 0
    return int(row[0]) if row else 0


def test_programs_of_another_server(tmp_path: Path) -> None:
    """A bindir without a server is refused by name; the machine's own one is known by its version."""
    with pytest.raises(LockgateError) as refused:
        binaries_in(tmp_path)
    assert refused.value.code == "EMBEDDED"
    assert str(tmp_path) in refused.value.message
    machine = servers.binaries("machine")
    if machine is not None:
        assert binaries_in(machine.bindir).version == machine.version
