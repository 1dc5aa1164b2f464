"""Who is to register and may not is not served: a contract-phase file would not wait for it."""

import os
import random

import psycopg
import pytest

from gate.contracts import R, ask, contract, write_contract
from lockgate.gate import Gate

pytestmark = pytest.mark.postgres("18")

_INSTANCES = "SELECT count(*) FROM lockgate.instance"


@pytest.fixture
def reader(applied, database):
    """The URL of a role that may read the schema lockgate and write nothing in it."""
    role = f"reader_{os.getpid()}_{random.randrange(10**6)}"
    for grant in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA lockgate TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA lockgate TO {role}",
    ):
        ask(database, grant)
    yield psycopg.conninfo.make_conninfo(database, user=role)
    ask(database, f"DROP OWNED BY {role}")
    ask(database, f"DROP ROLE {role}")


def registered(report):
    (found,) = [c for c in report.conditions if c.id == "instance:registered"]
    return found


def test_a_role_that_may_only_read(reader, database):
    """A gate whose role may not write lockgate.instance stays closed with the grant as its next step; registers=False opens it and says so."""
    one = Gate(contract(), reader)
    assert one.refresh().exit_code == 5
    found = registered(one.report)
    assert (one.open, found.answer) == (False, "unknown")
    assert "may not write lockgate.instance" in found.evidence
    assert "lockgate roles" in found.next
    looking = Gate(contract(), reader, registers=False)
    looking.refresh()
    assert looking.open
    assert "NOT registered" in registered(looking.report).evidence
    assert any("NOT registered" in warning for warning in looking.report.warnings)
    assert ask(database, _INSTANCES) == [(0,)]


def test_a_read_only_session(applied, database):
    """A session that cannot write keeps the gate closed too, and its next step names the primary's URL."""
    url = psycopg.conninfo.make_conninfo(database, options="-c default_transaction_read_only=on")
    one = Gate(contract(), url)
    one.refresh()
    assert not one.open
    assert "primary's URL" in registered(one.report).next
    looking = Gate(contract(), url, registers=False)
    looking.refresh()
    assert looking.open


def test_a_grant_that_is_taken_away_later_keeps_the_verdict(applied, database, reader):
    """A service that serves goes on as stale when it may not register any more: doubt never closes what is open."""
    role = psycopg.conninfo.conninfo_to_dict(reader)["user"]
    ask(database, f"GRANT INSERT, UPDATE, DELETE ON lockgate.instance TO {role}")
    one = Gate(contract(), reader)
    one.refresh()
    assert (one.open, registered(one.report).answer) == (True, "pass")
    ask(database, f"REVOKE INSERT, UPDATE, DELETE ON lockgate.instance FROM {role}")
    one.refresh()
    assert (one.open, one.readiness.state) == (True, "stale")


def test_who_was_away_while_a_floor_is_announced_is_closed(applied, database):
    """An instance whose heartbeat had expired when a floor beyond its window was announced is not registered, so it does not serve on."""
    one = Gate(contract(1, 3), database)
    one.refresh()
    assert one.open
    ask(database, "UPDATE lockgate.instance SET heartbeat_at = now() - interval '1 hour'")
    with psycopg.connect(database, autocommit=True) as holder:  # a live run holds the guard's lock
        holder.execute("SELECT pg_advisory_lock((233269469::bigint << 32) | 1537866002)")
        ask(
            database,
            "UPDATE lockgate.run SET state = 'running', finished_at = NULL WHERE run_id = (SELECT run_id FROM lockgate.fence)",
        )
        ask(
            database,
            "INSERT INTO lockgate.floor_announcement (floor, run_id) SELECT %s, run_id FROM lockgate.fence",
            R[4],
        )
        one.refresh()
        assert (one.open, registered(one.report).code) == (False, "AHEAD_TOO_FAR")


def test_run_starts_nothing_that_is_not_registered(applied, reader, tmp_path):
    """`run` ends with 5 and starts nothing where it may not register; with --no-register it starts and tells so loudly."""
    mark = tmp_path / "started"
    call = ("run", "--contract", write_contract(applied.root), "--timeout", "0.5")
    closed = applied.run(*call, "--", "touch", str(mark), DATABASE_URL=reader)
    assert (closed.code, mark.exists()) == (5, False)
    assert "instance:registered" in closed.out
    assert "--no-register" in closed.out
    done = applied.run(
        *call, "--no-register", "--", "sh", "-c", "echo [$LOCKGATE_INSTANCE_ID]", DATABASE_URL=reader
    )
    assert (done.code, done.out) == (0, "[]\n")
    assert "NOT registered" in done.err
