"""Sessions are opened for each database of each run: what that costs the server is counted, what they say is compared."""

from collections.abc import Iterable
from typing import ClassVar

import psycopg
import pytest

from lockgate.postgres import home
from lockgate.postgres.durations import LockTimeout, StatementTimeout
from lockgate.postgres.settings import FACTS, SessionSettings, prepare_session, read_facts
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire

LIMITS = SessionSettings(LockTimeout(3000), StatementTimeout(900_000))


class Counting(Wire):
    """A wire that keeps what it sends, one list a round trip."""

    trips: ClassVar[list[list[str]]]

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
