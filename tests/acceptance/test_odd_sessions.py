"""Databases, roles and files that set a session up in their own way: limits, search paths, temporary tables, look-alikes."""

import json

import psycopg
import pytest

from support.calls import Project

BOTH = pytest.mark.postgres("16", "18")
_LOOK_ALIKES = {
    "now()": "timestamptz", "clock_timestamp()": "timestamptz", "current_setting(text)": "text", "current_setting(text, boolean)": "text",
    "to_regclass(text)": "regclass", "pg_backend_pid()": "integer", "encode(bytea, text)": "text", "sha256(bytea)": "bytea",
    "pg_my_temp_schema()": "oid", "make_interval(integer, integer, integer, integer, integer, integer, double precision)": "interval",
    "pg_try_advisory_lock(bigint)": "boolean", "pg_current_xact_id()": "xid8", "set_config(text, text, boolean)": "text",
    "octet_length(text)": "integer", "round(numeric)": "numeric", "convert_to(text, name)": "bytea",
}  # fmt: skip


def ask(url: str, sql: str) -> list[tuple]:
    """Run ``sql`` as the test's own user."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def database_of(url: str) -> str:
    """The name of the database of ``url``, quoted."""
    return '"' + str(ask(url, "SELECT current_database()")[0][0]) + '"'


@pytest.mark.postgres("18")
def test_a_limit_of_the_database_on_transactions(project: Project, database: str):
    """transaction_timeout of the database would end a long file in the middle: our session runs without it."""
    ask(database, f"ALTER DATABASE {database_of(database)} SET transaction_timeout = '150ms'")
    project.write("slow", "CREATE TABLE slow (id int PRIMARY KEY);\nSELECT pg_sleep(0.4);\n")
    assert len(project.ok("up", "up")["applied"]) == 1


@BOTH
def test_a_temporary_table_stays_in_its_file(project: Project, database: str):
    """What a file leaves in pg_temp is gone for the next: it may make the same name, and a plain name means its own table."""
    project.write(
        "one", "CREATE TEMPORARY TABLE scratch (id int);\nCREATE TABLE kept (id bigint PRIMARY KEY);\n"
    )
    project.write("two", "CREATE TEMPORARY TABLE scratch (other text);\n")
    project.write("three", "CREATE TABLE scratch (id bigint PRIMARY KEY);\n")
    assert len(project.ok("up", "up")["applied"]) == 3
    assert ask(database, "SELECT to_regclass('public.scratch') IS NOT NULL") == [(True,)]


@BOTH
def test_functions_that_look_like_the_servers(project: Project, database: str):
    """With public before pg_catalog in the search path, functions named like the server's own are never called by us."""
    for name, result in _LOOK_ALIKES.items():
        ask(
            database,
            f"CREATE FUNCTION public.{name} RETURNS {result} LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked {name}'; END $$",
        )
    ask(database, f"ALTER DATABASE {database_of(database)} SET search_path = public, pg_catalog")
    project.write("one", "CREATE TABLE one (id bigint PRIMARY KEY);\n")
    project.write("two", "-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY one_id ON one (id);\n")
    assert len(project.ok("up", "up")["applied"]) == 2
    for command in ("status", "verify", "doctor", "plan"):
        answer = project.json(command)
        assert "hijacked" not in answer.out + answer.err
        assert answer.code in (0, 1), answer


@BOTH
def test_baseline_lets_the_roles_in(project: Project, database: str):
    """After a baseline, as after up, the application's role may read the history that its gate has to see."""
    role = "baseline_reader"
    project.configure(f'[roles]\nowner = "{role}"\nmigrator = "{role}"\napp = "{role}"\nreader = "{role}"\n')
    ask(database, f"DROP ROLE IF EXISTS {role}")
    ask(database, f"CREATE ROLE {role}")
    try:
        revision = project.write("there", "CREATE TABLE there (id bigint PRIMARY KEY);\n")
        project.ok("baseline", "baseline", "--until", revision, "--reason", "adopted", "--actor", "ana")
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"SET ROLE {role}")
            rows = connection.execute("SELECT revision_id FROM lockgate.migration_history").fetchall()
        assert rows == [(revision,)]
    finally:
        ask(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.postgres("18")
def test_the_whole_run_bounds_the_wait_for_the_lock(project: Project, database: str):
    """MIGRATION_TIMEOUT_SECONDS is shorter than --lock-wait: the wait ends with it, exit 75, the holder named."""
    from lockgate.postgres.guard import GUARD_KEY

    project.write("one", "CREATE TABLE one (id bigint PRIMARY KEY);\n")
    with psycopg.connect(database, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (GUARD_KEY,))
        answer = project.json("up", "--lock-wait", "600", MIGRATION_TIMEOUT_SECONDS="1")
        assert answer.code == 75, answer
        assert str(holder.info.backend_pid) in answer.err


@pytest.mark.postgres("18")
def test_a_lock_time_out_in_a_journalled_file(project: Project, database: str):
    """A statement of a transaction=off file that cannot get its lock is tried again, and the file ends with its attempts."""
    project.configure('[migrations]\nlock_timeout = "100ms"\nlock_retries = 50\n')
    project.write("one", "CREATE TABLE one (id bigint PRIMARY KEY);\n")
    project.ok("up", "up")
    project.write("two", "-- lockgate: transaction=off\nALTER TABLE one ADD COLUMN note text;\n")
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE one IN ACCESS SHARE MODE")
        runner = project.start("up", "--format", "json")
        told = ""
        assert runner.stderr is not None
        while "retrying" not in told:
            line = runner.stderr.readline()
            assert line, told
            told += line
    out, err = runner.communicate(timeout=60)
    assert runner.returncode == 0, (out, told + err)
    (file,) = json.loads(out)["applied"]
    assert file["attempts"] > 1


@pytest.mark.postgres("18")
def test_a_service_file_leads_to_a_socket(project: Project, database: str, tmp_path):
    """The host may stand in a service file, and be a unix socket: no TCP setting is asked of that session."""
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(database)
    assert str(given["host"]).startswith("/")
    service = tmp_path / "services.conf"
    lines = "".join(f"{name}={value}\n" for name, value in given.items())
    service.write_text(f"[here]\n{lines}")
    project.environ["DATABASE_URL"] = "postgresql://?service=here"
    project.environ["PGSERVICEFILE"] = str(service)
    project.write("one", "CREATE TABLE one (id bigint PRIMARY KEY);\n")
    assert len(project.ok("up", "up")["applied"]) == 1
