"""A service that reads from a standby is judged there: replay lag shows, and nothing is written."""

import pytest

from gate.contracts import R, contract
from lockgate.gate import Gate, check
from lockgate.gate.parity import compare
from lockgate.postgres.parity import read_region
from lockgate.postgres.target import Target
from support.calls import Project
from support.processes import until
from support.standby import primary_and_standby

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def pair(server, session_directory, postgres_label):
    """(primary, standby)."""
    with primary_and_standby(server, session_directory, postgres_label) as both:
        yield both


def test_the_gate_of_a_standby(pair, tmp_path):
    """Ready where it reads once replayed; behind while replay lags, though the primary is ready; registered nowhere, which has to be asked for; parity holds."""
    primary, standby = pair
    project = Project(tmp_path, primary.url())
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    assert project.run("up").code == 0
    gate = Gate(contract(1, 2), standby.url(), registers=False)

    def ready():
        gate.refresh()
        return gate.report.ready

    until(ready)
    assert Gate(contract(1, 2), standby.url()).refresh().answer == "UNKNOWN", "it cannot be registered there"
    assert gate.report.observed["standby"] is True
    assert primary.execute("SELECT count(*) FROM lockgate.instance") == [(0,)]
    standby.execute("SELECT pg_wal_replay_pause()")
    project.write("b", "CREATE TABLE b (id bigint PRIMARY KEY);\n")
    assert project.run("up").code == 0
    late = Gate(contract(2, 2), standby.url(), registers=False)
    late.refresh()
    assert late.report.answer == "BEHIND"
    assert Gate(contract(2, 2), primary.url(), registers=False).refresh().answer == "READY"

    def parity():
        return compare(
            {
                name: read_region(Target(one.url(), source="test"))
                for name, one in (("primary", primary), ("standby", standby))
            }
        )

    assert parity().exit_code == 1
    standby.execute("SELECT pg_wal_replay_resume()")
    until(lambda: parity().equal)
    late.refresh()
    assert late.open
    assert late.report.observed["revision"] == R[2]


def test_a_run_on_the_primary_seen_from_a_standby(pair, tmp_path):
    """A standby shows no locks of the primary, so a run counts as live there by its heartbeat: fresh is MIGRATING, old is not."""
    primary, standby = pair
    project = Project(tmp_path, primary.url())
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    assert project.run("up").code == 0
    primary.execute("UPDATE lockgate.run SET state = 'running', heartbeat_at = clock_timestamp()")

    def answer():
        return check(contract(1, 1), standby.url()).answer

    until(lambda: answer() == "MIGRATING")
    primary.execute("UPDATE lockgate.run SET heartbeat_at = clock_timestamp() - interval '5 min'")
    until(lambda: answer() == "READY")
