"""Sessions are opened for each database of each run: what that costs the server is counted, what they say is compared."""

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest

from lockgate.config import Migrations, Settings
from lockgate.migrations.files import read_directory
from lockgate.migrations.ledger import write_ledger
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Log
from lockgate.migrations.session import WorkSession
from lockgate.postgres import home
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.durations import LockTimeout, StatementTimeout
from lockgate.postgres.guard import First, Guard, RunIdentity
from lockgate.postgres.moves.frozen import read_moving
from lockgate.postgres.settings import FACTS, SessionSettings, prepare_session, read_facts
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire
from lockgate.release.look import look_first
from lockgate.release.operator import new_identity
from lockgate.release.project import read_files
from lockgate.release.up import Run
from support.processes import until

LIMITS = SessionSettings(LockTimeout(3000), StatementTimeout(900_000))


class Counting(Wire):
    """A wire that keeps what it sends, one list a round trip."""

    trips: ClassVar[list[list[str]]] = []

    def _send(self, calls: Iterable[Call]) -> None:
        calls = list(calls)
        self.trips.append([call.sql for call in calls])
        super()._send(calls)


@pytest.mark.parametrize("guard", [False, True], ids=["work", "guard"])
def test_session_costs_three_statements(database, guard):
    """A session is ready after its facts, one statement that makes all settings and one that reads them back."""
    Counting.trips = []
    wire = Counting(Target(database, source="test"), "look")
    try:
        facts = prepare_session(wire, LIMITS, guard=guard)
        assert [len(trip) for trip in Counting.trips] == [1, 2]
        wanted = LIMITS.wanted(guard=guard, local=facts.by_socket, version=facts.version)
        for name in wanted:
            source = wire.value("SELECT source FROM pg_settings WHERE lower(name) = lower($1)", name)
            assert source == "session", name
    finally:
        wire.close()


def test_facts_are_those_of_the_server(database):
    """The facts name the session, the database and the cluster as the server's own views do."""
    wire = Wire(Target(database, source="test"), "look")
    try:
        facts = read_facts(wire.one(FACTS))
        seen = wire.one(
            "SELECT a.pid::text, a.datid::text, a.datname::text, a.usename::text, c.system_identifier::text, t.timeline_id::text"
            " FROM pg_stat_activity a, pg_control_system() c, pg_control_checkpoint() t WHERE a.pid = pg_backend_pid()"
        ).rows[0]
        told = str(facts.backend_pid), facts.database_oid, facts.database, facts.user
        assert (*told, facts.system_identifier, facts.timeline) == seen
        assert facts.by_socket
        assert not facts.home
    finally:
        wire.close()


def test_home_is_seen_without_a_right_to_it(database):
    """A role that may not even look into the schema lockgate is told that lockgate was set up."""
    target = Target(database, source="test")
    wire = Wire(target, "look")
    try:
        home.bring_up(wire)
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("CREATE SCHEMA elsewhere CREATE TABLE fence ()")
        wire.one("SET SESSION AUTHORIZATION pg_monitor")
        assert read_facts(wire.one(FACTS)).home
        assert home.exists(wire)
        wire.one("RESET SESSION AUTHORIZATION")
        wire.one("DROP SCHEMA lockgate CASCADE")
        assert not read_facts(wire.one(FACTS)).home
        assert not home.exists(wire)
    finally:
        wire.close()


@pytest.fixture
def first(database: str) -> Iterator[Callable[[], First]]:
    """A function that looks at the database as a run does, and gives the session that looked."""
    with contextlib.closing(Alarm()) as alarm, contextlib.ExitStack() as stack:

        def make() -> First:
            made = look_first(Target(database, source="test"), Limits.of(Migrations()), alarm)[1]
            stack.callback(made.wire.close)
            return made

        yield make


@contextlib.contextmanager
def guarded(url: str, first: First) -> Iterator[Guard]:
    """Both locks of a run whose first look was ``first``."""
    identity = RunIdentity(uuid.uuid4().hex, "up", "tester")
    target, limits = Target(url, source="test"), Limits.of(Migrations())
    with (
        contextlib.closing(Alarm()) as alarm,
        Guard(target, identity, limits.session(), alarm=alarm, first=first) as guard,
    ):
        guard.acquire(5)
        yield guard


HOLDER = "SELECT a.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND a.datname = current_database()"


def test_session_that_looked_goes_on_as_the_work_session(database, first):
    """The session of the first look holds the work lock under the work session's name, with its settings; the guard has its own session."""
    looked = first()
    with guarded(database, looked) as guard, psycopg.connect(database) as other:
        assert guard.work is looked.wire
        held = dict(other.execute(HOLDER).fetchall())
        assert held == {
            guard.guard_facts.backend_pid: f"lockgate/guard {guard.identity.short}",
            looked.facts.backend_pid: f"lockgate/work {guard.identity.short}",
        }
        names = ("idle_session_timeout", "statement_timeout")
        assert [guard.guard.value(f"SHOW {name}") for name in names] == ["1min", "1min"]
        assert [guard.work.value(f"SHOW {name}") for name in names] == ["1min", "15min"]
    assert not looked.wire.alive


def test_work_session_keeps_its_name_when_it_is_reset(database, first):
    """After a file that set something, the session that looked first is still called the work session of its run."""
    with guarded(database, first()) as guard:
        WorkSession(guard).reset()
        assert guard.work.value("SHOW application_name") == f"lockgate/work {guard.identity.short}"


@pytest.mark.parametrize(
    "moved",
    [
        {"timeline": "9"}, {"system_identifier": "1"}, {"database_oid": "1"}, {"user": "other"}, {"session_user": "other"}, {"backend_pid": 1},
    ],
    ids=lambda moved: next(iter(moved)),
)  # fmt: skip
def test_session_that_leads_elsewhere_is_not_taken(database, first, moved):
    """A first look at another server, timeline, database, role or server session is closed, and the work gets a session of its own."""
    looked = first()
    elsewhere = looked._replace(facts=looked.facts._replace(**moved))
    with guarded(database, elsewhere) as guard:
        assert guard.work is not looked.wire
        assert not looked.wire.alive
        assert guard.guard_facts.timeline == guard.facts.timeline


def test_session_that_was_lost_is_not_missed(database, first):
    """Where the server ended the session of the first look, the work gets a session of its own."""
    looked = first()
    with psycopg.connect(database) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [looked.facts.backend_pid])
    with guarded(database, looked) as guard:
        assert guard.work.alive
        assert guard.work is not looked.wire


def test_session_that_looked_is_closed_where_there_is_no_guard(database, first):
    """When the guard's session cannot be opened, the session of the first look is given back."""
    looked = first()
    name = database.rsplit("/", 1)[1]
    with psycopg.connect(database.rsplit("/", 1)[0] + "/postgres", autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')  # type: ignore[call-overload]
        admin.execute("CREATE ROLE lockgate_test_limited LOGIN")
        try:
            url = database.replace("//postgres@", "//lockgate_test_limited@")
            with pytest.raises(Exception, match="connections"), guarded(url, looked):
                pass
        finally:
            admin.execute("DROP ROLE lockgate_test_limited")
            admin.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')  # type: ignore[call-overload]
    assert not looked.wire.alive


def test_check_is_prepared_when_it_is_asked_for(database, first):
    """A run of transactional files prepares what records them and nothing else."""
    names = "SELECT name FROM pg_prepared_statements ORDER BY 1"
    with guarded(database, first()) as guard:
        session = WorkSession(guard)
        assert guard.work.one(names).rows == [("lockgate_record",)]
        for _ in range(2):
            (reply,) = guard.work.batch([session.check_call()])
            assert not session.judge(reply, guard.settings.lock_timeout, guard.settings.statement_timeout)
        assert guard.work.one(names).rows == [("lockgate_check",), ("lockgate_record",)]


def test_moves_that_are_not_there_cost_two_looks(database):
    """Where no move is known, nothing is asked about what keeps the sides of one in step."""
    wire = Counting(Target(database, source="test"), "look")
    try:
        home.bring_up(wire)
        Counting.trips = []
        assert read_moving(wire) == ()
        assert [len(trip) for trip in Counting.trips] == [1, 1]
    finally:
        wire.close()


def test_sessions_of_an_up(database, tmp_path: Path):
    """A run that has something to apply opens two sessions, one that has nothing to do opens one."""
    folder = tmp_path / "db" / "migrations"
    folder.mkdir(parents=True)
    settings = Settings(root=tmp_path)
    name = database.rsplit("/", 1)[1]
    with psycopg.connect(database.rsplit("/", 1)[0] + "/postgres", autocommit=True) as admin:
        sessions = "SELECT sessions FROM pg_stat_database WHERE datname = %s"

        def opened() -> int:
            found = admin.execute(sessions, [name]).fetchone()
            return int(found[0]) if found else 0

        for text, expected in (("CREATE TABLE t (id int);\n", 2), ("", 1)):
            if text:
                (folder / "1700000000000_t.sql").write_text(text)
                write_ledger(folder, {m.file: m.checksum for m in read_directory(folder).migrations})
            before = opened()
            with contextlib.closing(Alarm()) as alarm:
                run = Run(
                    Target(database, source="test"), read_files(settings), settings, Limits.of(settings.migrations), new_identity("up"), Log(), alarm
                )  # fmt: skip
                report = run.up()
            assert report.status == "pass"
            until(lambda: opened() >= before + expected)  # noqa: B023 - asked at once
            until(
                lambda: (
                    not admin.execute("SELECT FROM pg_stat_activity WHERE datname = %s", [name]).fetchall()
                )
            )
            assert opened() == before + expected
