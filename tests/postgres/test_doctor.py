"""The doctor: each thing that is wrong is found on a real server, by its id, with a next command that works."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lockgate.config import Roles
from lockgate.postgres import doctor, home
from lockgate.postgres.doctor import KINDS, Finding, Holder, LiveRun, examine, judge_runs
from lockgate.postgres.guard import GUARD_KEY, WORK_KEY
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire

NOBODY = Roles(
    owner="lockgate_no_such_a",
    migrator="lockgate_no_such_b",
    app="lockgate_no_such_c",
    reader="lockgate_no_such_d",
)
ROLES = {"roles-absent"}
QUERIES = sorted(path.stem for path in (Path(doctor.__file__).parent / "sql" / "doctor").glob("*.sql"))


@pytest.fixture
def wire(database: str) -> Iterator[Wire]:
    opened = Wire(Target(database, source="test"), "doctor")
    yield opened
    opened.close()


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


def look(wire: Wire) -> list[Finding]:
    """The findings besides those of the roles, which this database does not have."""
    return [finding for finding in examine(wire, NOBODY) if finding.id not in ROLES]


def ids(findings: list[Finding]) -> set[str]:
    return {finding.id for finding in findings}


def invalid_index(url: str, name: str) -> None:
    """A unique index on a table with duplicates, built concurrently: it fails and stays behind, invalid."""
    run(url, "CREATE TABLE IF NOT EXISTS twice (id int)", "INSERT INTO twice VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        run(url, f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON twice (id)")


def test_healthy_database(database, wire):
    """A sound schema has no finding, and looking leaves the session as it was."""
    home.bring_up(wire)
    run(
        database,
        "CREATE TABLE a (id bigserial PRIMARY KEY)",
        "CREATE TABLE b (id bigint REFERENCES a)",
        "CREATE INDEX ON b (id)",
    )
    wire.one("SET search_path = public")
    assert look(wire) == []
    assert wire.idle
    assert wire.value("SHOW search_path") == "public"
    assert wire.value("SHOW transaction_read_only") == "off"


@pytest.mark.parametrize(
    ("name", "id"),
    [("odd", "index-invalid"), ("odd_ccnew", "index-leftover-new"), ("odd_ccold1", "index-leftover-old")],
)
def test_invalid_index(database, wire, name, id):
    """An index that a broken build left is named and told from the leftovers of a REINDEX; the printed DROP takes it away."""
    invalid_index(database, name)
    found = look(wire)
    assert [(finding.id, name in finding.message) for finding in found] == [(id, True)]
    drop = re.search(r"DROP INDEX CONCURRENTLY [\w.]+", found[0].next)
    assert drop
    run(database, drop[0])
    assert look(wire) == []


def test_index_that_is_being_built(database, wire):
    """A concurrent build under way is told as such, with its pid, and never as a leftover to drop."""
    run(database, "CREATE TABLE t (id int)")
    writer = psycopg.connect(database)
    writer.execute("INSERT INTO t VALUES (1)")
    builder = threading.Thread(target=run, args=(database, "CREATE INDEX CONCURRENTLY slow ON t (id)"))
    builder.start()
    try:
        deadline, found = time.monotonic() + 20, []
        while "index-building" not in ids(found) and time.monotonic() < deadline:
            found = look(wire)
            assert not ids(found) & {"index-invalid"}
        assert ids(found) == {"index-building"}
        assert "public.slow" in found[0].message
    finally:
        writer.rollback()
        writer.close()
        builder.join(20)
    assert look(wire) == []


def test_partitioned_index_that_lacks_a_part(database, wire):
    """An index on a partitioned table alone is told as incomplete, not as a broken build."""
    run(
        database,
        "CREATE TABLE p (id int) PARTITION BY LIST (id)",
        "CREATE TABLE c PARTITION OF p FOR VALUES IN (1)",
        "CREATE INDEX whole ON ONLY p (id)",
    )
    assert ids(look(wire)) == {"index-incomplete"}


def test_half_detached_partition(database, wire):
    """A DETACH CONCURRENTLY that was cut off is named, and the printed FINALIZE ends it."""
    run(
        database,
        "CREATE TABLE p (id int) PARTITION BY LIST (id)",
        "CREATE TABLE c PARTITION OF p FOR VALUES IN (1)",
    )
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM p")
        with pytest.raises(psycopg.errors.QueryCanceled):
            run(database, "SET statement_timeout = '300ms'", "ALTER TABLE p DETACH PARTITION c CONCURRENTLY")
        reader.rollback()
    found = look(wire)
    assert ids(found) == {"detach-pending"}
    run(database, found[0].next)
    assert look(wire) == []


@pytest.mark.parametrize(
    ("wrong", "id"),
    [
        (["CREATE TABLE t (id int)", "ALTER TABLE t ADD CONSTRAINT low CHECK (id < 9) NOT VALID"], "constraint-not-valid"),
        (["CREATE DOMAIN d AS int", "ALTER DOMAIN d ADD CONSTRAINT low CHECK (VALUE < 9) NOT VALID"], "constraint-not-valid"),
        (["CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int)", "ALTER TABLE b ADD FOREIGN KEY (id) REFERENCES a NOT VALID"], "constraint-not-valid"),
        (["CREATE TABLE t (id int)", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", 'CREATE TRIGGER "On it" BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()', "ALTER TABLE t DISABLE TRIGGER ALL"], "trigger-disabled"),
    ],
)  # fmt: skip
def test_what_is_not_enforced(database, wire, wrong, id):
    """Constraints that were never validated and triggers that do not fire are named; the printed SQL mends them."""
    run(database, *wrong)
    found = look(wire)
    assert [finding.id for finding in found] == [id]
    run(database, found[0].next)
    assert look(wire) == []


@pytest.mark.postgres("18")
def test_constraint_that_is_not_meant_to_be_enforced(database, wire):
    """A NOT ENFORCED constraint of PostgreSQL 18 is no finding: it cannot be validated."""
    run(database, "CREATE TABLE t (id int CHECK (id < 9) NOT ENFORCED)")
    assert look(wire) == []


def test_foreign_key_without_its_triggers(database, wire):
    """A foreign key whose own triggers were disabled is an error: it stands in the catalogue and checks nothing."""
    run(
        database,
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int CONSTRAINT to_a REFERENCES a)",
        "ALTER TABLE b DISABLE TRIGGER ALL",
    )
    found = look(wire)
    assert [(finding.id, finding.severity) for finding in found] == [("foreign-key-disabled", "error")]
    assert "to_a" in found[0].message


def test_sequence_near_its_end(database, wire):
    """A sequence is measured against its column's type: three quarters are a note, nine tenths a warning."""
    run(
        database,
        "CREATE TABLE t (id int DEFAULT 1)",
        "CREATE SEQUENCE s OWNED BY t.id",
        "SELECT setval('s', 1700000000)",
    )
    assert [(f.id, f.severity) for f in look(wire)] == [("sequence-filling", "info")]
    run(database, "SELECT setval('s', 2000000000)")
    assert [(f.id, f.severity) for f in look(wire)] == [("sequence-nearly-exhausted", "warning")]
    run(database, "ALTER TABLE t ALTER id TYPE bigint")
    assert look(wire) == []


def test_prepared_transaction(own_server):
    """A transaction prepared for two-phase commit is told with its owner and its age."""
    url = own_server(settings={"max_prepared_transactions": "2"}).url()
    run(url, "CREATE TABLE t (id int)", "BEGIN", "INSERT INTO t VALUES (1)", "PREPARE TRANSACTION 'it''s'")
    wire = Wire(Target(url, source="test"), "doctor")
    try:
        found = look(wire)
        assert ids(found) == {"prepared-transaction"}
        assert "'it''s'" in found[0].message
        run(url, "ROLLBACK PREPARED 'it''s'")
        assert look(wire) == []
    finally:
        wire.close()


# -- runs and locks ---------------------------------------------------------------------------------


def add_run(wire: Wire, guard_pid: int, heartbeat: str = "0 s") -> None:
    home.bring_up(wire)
    wire.one(
        "INSERT INTO lockgate.run (run_id, kind, state, epoch, operator, host, client_pid, guard_pid, work_pid, tool_version, heartbeat_at) "
        "VALUES ('r1', 'up', 'running', 1, 'ann', 'host1', 1, $1::integer, 0, '0', clock_timestamp() - $2::interval)",
        str(guard_pid),
        heartbeat,
    )


@pytest.mark.parametrize("key", [GUARD_KEY, WORK_KEY])
def test_lock_that_no_run_holds(database, wire, key):
    """Whoever holds one of lockgate's locks without a run is named with the statement that ends it, also where lockgate never ran."""
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [key])
        found = look(wire)
        assert ids(found) == {"lock-without-run"}
        assert str(other.info.backend_pid) in found[0].message
        run(database, found[0].next.split("else ")[1])
    deadline = time.monotonic() + 10
    while look(wire) and time.monotonic() < deadline:
        pass
    assert look(wire) == []


def test_run_that_died(wire):
    """A run shown as running whose locks are free is told as abandoned."""
    add_run(wire, 999_999)
    found = look(wire)
    assert ids(found) == {"run-abandoned"}
    assert "r1" in found[0].message
    assert "lockgate up" in found[0].next


@pytest.mark.parametrize(("heartbeat", "id"), [("1 s", "run-live"), ("2 min", "run-silent")])
def test_run_that_holds_its_locks(database, wire, heartbeat, id):
    """A run that holds its locks is live, and silent when its heartbeat stopped."""
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [GUARD_KEY])
        add_run(wire, other.info.backend_pid, heartbeat)
        assert ids(look(wire)) == {id}


@pytest.mark.parametrize(
    ("holders", "runs", "expected"),
    [
        ([], [], []),
        (["7"], [], ["lock-without-run"]),
        ([], [("7", "8", "1")], ["run-abandoned"]),
        (["8"], [("7", "8", "1")], ["run-live"]),
        (["8"], [("7", "8", "61")], ["run-silent"]),
        (["8", "9"], [("7", "8", "1")], ["run-live", "lock-without-run"]),
    ],
)
def test_runs_are_judged_from_plain_values(holders, runs, expected):
    """Which run is live, silent or abandoned, and which lock is nobody's, follows from two lists."""
    found = judge_runs(
        [Holder(pid, "guard", "app", "ann", "local", "5", "idle") for pid in holders],
        [
            LiveRun("r1", "up", "ann", "host", guard, work, heartbeat, "100")
            for guard, work, heartbeat in runs
        ],
    )
    assert [finding.id for finding in found] == expected


# -- the connection ---------------------------------------------------------------------------------


def test_proxy_shows(wire, monkeypatch):
    """A driver that knows another pid than the server sees a proxy."""
    monkeypatch.setattr(wire, "libpq_pid", 1)
    assert ids(look(wire)) == {"proxy"}


def test_pooler_shows(wire, monkeypatch):
    """Two statements of one connection in two server sessions are a transaction pooler: an error."""
    pids = iter([str(wire.libpq_pid), "4711"])
    value = wire.value
    monkeypatch.setattr(
        wire, "value", lambda sql, *more: next(pids) if "backend_pid" in sql else value(sql, *more)
    )
    assert [(f.id, f.severity) for f in look(wire)] == [("pooler", "error")]


def test_server_that_cannot_watch_its_clients(wire, monkeypatch):
    """Where client_connection_check_interval cannot be set, that is a warning."""
    batch = wire.batch

    def refuse(calls, **options):
        if any("client_connection_check_interval" in call.sql for call in calls):
            raise ServerError("22023", "client_connection_check_interval must be set to 0 on this platform.")
        return batch(calls, **options)

    monkeypatch.setattr(wire, "batch", refuse)
    assert ids(look(wire)) == {"client-check-unavailable"}


def test_settings_of_the_database(database, wire):
    """A setting that the whole database gives to every session is found too, and time-outs that lockgate sets itself are not."""
    name = wire.value("SELECT current_database()")
    run(
        database,
        f'ALTER DATABASE "{name}" SET session_replication_role = replica',
        f"ALTER DATABASE \"{name}\" SET lock_timeout = '1s'",
    )
    fresh = Wire(Target(database, source="test"), "doctor")
    try:
        found = look(fresh)
        assert ids(found) == {"role-setting-forbidden"}
        run(database, found[0].next)
        assert look(fresh) == []
    finally:
        fresh.close()


def test_check_that_cannot_be_made_is_a_finding(wire):
    """What the role may not read is told as unknown, and the other checks go on."""
    add_run(wire, 999_999)
    wire.one("CREATE TABLE public.t (id int CHECK (id > 0))")
    wire.one("ALTER TABLE public.t ADD CONSTRAINT low CHECK (id < 9) NOT VALID")
    wire.one("SET ROLE pg_monitor")
    found = look(wire)
    assert ids(found) == {"check-impossible", "constraint-not-valid"}
    assert "runs" in next(f for f in found if f.id == "check-impossible").message


# -- the table of kinds -----------------------------------------------------------------------------


def test_errors_come_first(database, wire):
    """The findings are in the order of their weight."""
    invalid_index(database, "odd")
    run(database, "ALTER TABLE twice ADD CONSTRAINT low CHECK (id < 9) NOT VALID")
    found = examine(wire, NOBODY)
    assert [finding.severity for finding in found] == ["error", "warning", "info"]


@pytest.mark.parametrize("name", QUERIES)
def test_every_id_of_a_query_is_in_the_table(name):
    """What a query calls its findings stands in KINDS."""
    first_columns = re.findall(r"(?:SELECT|THEN|ELSE) '([a-z]+(?:-[a-z]+)+)'", query(f"doctor/{name}"))
    assert set(first_columns) <= KINDS.keys()


@pytest.mark.parametrize("id", sorted(KINDS))
def test_every_kind_says_what_comes_next(id):
    """Each kind has a message, and a next command unless all is well."""
    kind = KINDS[id]
    assert kind.message
    assert kind.next or id == "run-live"


@pytest.mark.parametrize("name", QUERIES)
def test_queries_are_plain_sql(wire, name):
    """Each query of the doctor is prepared as it stands."""
    home.bring_up(wire)
    wire.one("SET search_path = pg_catalog")
    wire.prepare(f"doctor_{name}", query(f"doctor/{name}"))
