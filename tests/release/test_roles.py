"""The least-privilege script, run on real servers: what each role can do after it, what it cannot, and what doctor says."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lockgate.config import Migrations, Roles
from lockgate.errors import ConfigError
from lockgate.migrations.checkup import examine as examine_history
from lockgate.migrations.limits import Limits
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.doctor import Finding, examine
from lockgate.postgres.guard import Guard, RunIdentity
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.release.roles import home_grants, identifier, literal, roles_sql
from support import servers
from support.calls import Project


@pytest.fixture
def roles(server) -> Iterator[Roles]:
    """Four names that no other test has, hostile ones among them. Dropped after the database is."""
    tail = uuid.uuid4().hex[:8]
    made = Roles(
        owner=f"owner_{tail}",
        migrator=f'mig "{tail}"',
        app=f"app\\'{tail}",
        reader=f"$lockgate$reader;{tail}",
    )
    yield made
    with psycopg.connect(server.url(), autocommit=True) as admin:
        for name in (made.reader, made.app, made.migrator, made.owner):
            with contextlib.suppress(
                psycopg.errors.DependentObjectsStillExist
            ):  # a failed test's database is kept
                admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def run(url: str, script: str, *, user: str | None = None) -> None:
    with psycopg.connect(as_user(url, user), autocommit=True) as connection:
        connection.execute(script)  # type: ignore[call-overload]


def as_user(url: str, user: str | None) -> str:
    return make_conninfo(url, user=user) if user else url


def name_of(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


def install(url: str, roles: Roles) -> None:
    run(url, roles_sql(roles, name_of(url)))


MIGRATOR = "the migrator of the roles"


def first_up(url: str, roles: Roles, *, user: str | None = MIGRATOR) -> None:
    """What the first ``lockgate up`` of the migrator (or of ``user``) does: both locks, the epoch, the schema lockgate."""
    user = roles.migrator if user == MIGRATOR else user
    target, identity = (
        Target(as_user(url, user), source="test"),
        RunIdentity(uuid.uuid4().hex, "up", "tester"),
    )
    with (
        contextlib.closing(Alarm()) as alarm,
        Guard(target, identity, Limits.of(Migrations()).session(), alarm=alarm) as guard,
    ):
        guard.acquire(5)
        guard.guard.one("UPDATE lockgate.run SET state = 'succeeded'")


def look(url: str, roles: Roles, *, user: str | None = None) -> list[Finding]:
    wire = Wire(Target(as_user(url, user), source="test"), "doctor")
    try:
        return [*examine(wire, roles), *examine_history(wire)]
    finally:
        wire.close()


def refused(url: str, user: str, statement: str) -> str:
    """The SQLSTATE that ``statement`` of ``user`` gets; "" when it is let through (it is rolled back)."""
    with psycopg.connect(as_user(url, user)) as connection:
        try:
            connection.execute(statement)  # type: ignore[call-overload]
        except psycopg.Error as error:
            return error.sqlstate or "?"
        finally:
            connection.rollback()
    return ""


def test_each_role_can_do_its_work_and_no_more(roles, database):
    """The migrator makes and alters, the app reads and writes rows, the reader reads; everything else is 42501."""
    install(database, roles)
    first_up(database, roles)
    install(database, roles)
    run(
        database,
        "CREATE TABLE orders (id bigserial PRIMARY KEY, note text); CREATE VIEW news AS SELECT * FROM orders; CREATE SCHEMA fresh; CREATE TYPE mood AS ENUM ('ok')",
        user=roles.migrator,
    )
    run(
        database,
        "ALTER TABLE orders ADD more int; TRUNCATE orders; CREATE TEMPORARY TABLE probe (LIKE orders)",
        user=roles.migrator,
    )
    app, reader, migrator = roles.app, roles.reader, roles.migrator
    allowed = [
        (app, "INSERT INTO orders (note) VALUES ('x') RETURNING id"), (app, "UPDATE orders SET note = 'y'"), (app, "DELETE FROM orders"), (app, "SELECT * FROM news"),
        (app, "SELECT lockgate.gate_v1()"), (app, "SELECT * FROM lockgate.migration_history"), (app, "INSERT INTO lockgate.instance (instance_id, service) VALUES ('i', 's')"),
        (app, "UPDATE lockgate.instance SET heartbeat_at = now()"), (app, "DELETE FROM lockgate.instance"),
        (reader, "SELECT * FROM orders"), (reader, "SELECT lockgate.gate_v1()"), (migrator, "DROP TABLE orders CASCADE"),
    ]  # fmt: skip
    denied = [
        (app, "CREATE TABLE evil ()"), (app, "CREATE SCHEMA evil"), (app, "ALTER TABLE orders ADD evil int"), (app, "DROP TABLE orders"), (app, "TRUNCATE orders"),
        (app, "CREATE INDEX ON orders (note)"), (app, "CREATE TABLE lockgate.evil ()"), (app, "UPDATE lockgate.fence SET epoch = 9"), (app, "TRUNCATE lockgate.instance"),
        (app, "INSERT INTO lockgate.format (number) VALUES (9)"), (app, "DELETE FROM lockgate.migration_history"),
        (reader, "INSERT INTO orders (note) VALUES ('x')"), (reader, "UPDATE orders SET note = 'x'"), (reader, "DELETE FROM orders"), (reader, "CREATE TABLE evil ()"),
        (reader, "INSERT INTO lockgate.instance (instance_id, service) VALUES ('i', 's')"), (reader, "SELECT nextval('orders_id_seq')"),
        (migrator, "CREATE ROLE evil"), (migrator, "COPY orders TO PROGRAM 'true'"),
    ]  # fmt: skip
    assert [(user, statement) for user, statement in allowed if refused(database, user, statement)] == []
    seen = {(user, statement): refused(database, user, statement) for user, statement in denied}
    assert {key: state for key, state in seen.items() if state != "42501"} == {}
    assert look(database, roles) == []
    assert look(database, roles, user=migrator) == []


def test_owner_cannot_log_in(roles, database):
    """Nobody connects as the owner, and its objects are the migrator's to alter."""
    install(database, roles)
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(as_user(database, roles.owner))
    run(database, f"CREATE TABLE adopted (id int); ALTER TABLE adopted OWNER TO {identifier(roles.owner)}")
    run(database, "ALTER TABLE adopted ADD more int", user=roles.migrator)


def test_script_can_be_run_again(roles, database):
    """Running it twice, also through psql, changes nothing and raises nothing."""
    install(database, roles)
    acl = "SELECT array_agg(defaclacl::text ORDER BY oid) FROM pg_default_acl"
    with psycopg.connect(database) as connection:
        before = connection.execute(acl).fetchone()
    install(database, roles)
    with psycopg.connect(database) as connection:
        assert connection.execute(acl).fetchone() == before


def test_script_is_plain_psql(roles, database, postgres_label):
    """psql plays the script from its standard input with ON_ERROR_STOP, names with quotes, blanks and dollars included."""
    found = servers.binaries(postgres_label)
    assert found is not None
    command = [str(found.bindir / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", database]
    done = subprocess.run(command, input=roles_sql(roles, name_of(database)), text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_administrator_without_superuser(roles, databases, server):
    """The database's owner with CREATEROLE, as hosted PostgreSQL gives it, can run the script; PUBLIC loses CREATE."""
    database, admin = databases(), f"admin_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {admin} LOGIN CREATEROLE")
        connection.execute(f'ALTER DATABASE "{name_of(database)}" OWNER TO {admin}')
    try:
        for _ in range(2):
            run(database, roles_sql(roles, name_of(database)), user=admin)
        first_up(database, roles)
        run(database, roles_sql(roles, name_of(database)), user=admin)
        run(database, "CREATE TABLE orders (id int)", user=roles.migrator)
        assert refused(database, roles.app, "INSERT INTO orders VALUES (1)") == ""
        assert refused(database, roles.app, "CREATE TABLE evil ()") == "42501"
        # What this administrator itself made, lockgate's schema among it, goes to whom it belongs by the same script.
        run(
            database,
            "CREATE SCHEMA shop; CREATE TABLE shop.adopted (id bigserial PRIMARY KEY); CREATE VIEW news AS SELECT 1 AS one",
            user=admin,
        )
        run(database, "DROP SCHEMA lockgate CASCADE", user=roles.migrator)
        first_up(database, roles, user=admin)
        run(database, roles_sql(roles, name_of(database)), user=admin)
        wider = msgspec.structs.replace(roles, schemas=("public", "shop"))
        run(database, roles_sql(wider, name_of(database), adopt=True), user=admin)
        first_up(database, roles)
        assert refused(database, roles.migrator, "ALTER TABLE shop.adopted ADD more int") == ""
        left = {finding.id for finding in look(database, wider)}
        assert left <= {"migrator-blind"}  # it may not hand on pg_read_all_stats
    finally:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name_of(database)}" OWNER TO postgres')
        run(database, f"DROP OWNED BY {admin}")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {admin} CASCADE")
            connection.execute(f"REASSIGN OWNED BY {admin} TO postgres; DROP ROLE {admin}")


def test_wrong_database_is_refused(roles, database):
    """The script for one database does nothing in another."""
    with pytest.raises(psycopg.errors.RaiseException, match="the script is for other"):
        run(database, roles_sql(roles, "other"))
    with psycopg.connect(database) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname = %s", [roles.owner]
        ).fetchone() == (0,)


def test_wrong_database_is_one_error_in_psql(roles, database, postgres_label):
    """psql without any option, in the wrong database, prints one error that names both databases."""
    found = servers.binaries(postgres_label)
    assert found is not None
    command = [str(found.bindir / "psql"), "-X", "-q", database]
    done = subprocess.run(command, input=roles_sql(roles, "other"), text=True, capture_output=True)
    errors = [line for line in done.stderr.splitlines() if "ERROR:" in line]
    assert len(errors) == 1, done.stderr
    assert f"this is database {name_of(database)}, the script is for other" in errors[0]


def test_tables_in_a_schema_that_is_not_listed(roles, database):
    """doctor names a schema with tables that [roles] does not list, as an error while the migrator cannot work there, with the setting that mends it."""
    install(database, roles)
    first_up(database, roles)
    install(database, roles)
    run(
        database,
        'CREATE SCHEMA "Shop"; CREATE TABLE "Shop".items (id int); CREATE SCHEMA empty; CREATE SCHEMA lockgate_index; CREATE TABLE lockgate_index.a (id int)',
    )
    (found,) = look(database, roles)
    assert (found.id, found.severity) == ("schema-unreachable", "error")
    assert found.next.startswith(
        '[roles] schemas = ["public", "Shop"] in lockgate.toml, then lockgate roles --database'
    )
    wider = msgspec.structs.replace(roles, schemas=("public", "Shop"))
    run(database, roles_sql(wider, name_of(database), adopt=True))
    assert look(database, wider) == []
    (left,) = look(database, roles)
    assert (left.id, left.severity) == ("schema-unlisted", "warning")


@pytest.mark.parametrize(
    "statement", ['ALTER TABLE "Shop".items ADD more int', 'CREATE TABLE "Shop".more (id int PRIMARY KEY)']
)
def test_up_into_a_schema_that_is_not_listed_names_the_setting(roles, database, tmp_path, statement):
    """up as the migrator refuses before it begins, and its next command is the setting, not the script that would not help."""
    install(database, roles)
    first_up(database, roles)
    install(database, roles)
    run(database, 'CREATE SCHEMA "Shop"; CREATE TABLE "Shop".items (id int)')
    project = Project(tmp_path, as_user(database, roles.migrator))
    project.write("shop", f"{statement};\n")
    error = project.run("up", "--format", "json").error("PRIVILEGE")
    assert '[roles] schemas = ["public", "Shop"] in lockgate.toml' in error["next"]


def test_schemas_that_a_migration_makes_later(roles, database):
    """A listed schema that is not there yet is passed over; once a migration made it, doctor asks for another run, which completes it."""
    wider = msgspec.structs.replace(roles, schemas=("public", "shop"))
    install(database, wider)
    first_up(database, wider)
    run(database, home_grants(wider), user=wider.migrator)
    assert [finding.id for finding in look(database, wider)] == ["schema-missing"]
    run(database, "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int)", user=wider.migrator)
    assert {finding.id for finding in look(database, wider)} == {
        "privilege-missing",
        "default-privileges-missing",
    }
    install(database, wider)
    assert look(database, wider) == []
    assert refused(database, wider.app, "INSERT INTO shop.orders VALUES (1)") == ""


def test_doctor_prints_the_grants_that_are_left_after_the_first_up(roles, database):
    """Before the tables of lockgate exist they cannot be granted: doctor names what is missing, and its SQL mends it."""
    install(database, roles)
    first_up(database, roles)
    left = look(database, roles)
    assert {finding.id for finding in left} == {"privilege-missing"}
    assert all("instance" in finding.message for finding in left)
    for finding in left:
        run(database, finding.next, user=roles.migrator)
    assert look(database, roles) == []


def test_what_an_up_of_another_role_left_is_one_finding_and_one_command(roles, database):
    """When the first up was an administrator's, doctor says so once, the script it names hands lockgate's schema over, and the migrator's up works."""
    install(database, roles)
    run(
        database,
        f"DROP SCHEMA IF EXISTS lockgate CASCADE; GRANT CREATE ON SCHEMA public TO {identifier(roles.migrator)}",
    )
    first_up(database, roles, user=None)
    found = look(database, roles)
    errors = [finding for finding in found if finding.severity == "error"]
    assert [finding.id for finding in errors] == ["home-owner-wrong"]
    assert errors[0].next.startswith(f"lockgate roles --database {name_of(database)} | psql ")
    install(database, roles)
    assert look(database, roles) == []
    first_up(database, roles)
    assert refused(database, roles.migrator, "ALTER TABLE lockgate.run ADD more int") == ""


def test_adopting_what_others_made(roles, database):
    """More than ten objects of another role are one finding whose command hands all of them to the owner, whatever their kind; an extension's stay."""
    install(database, roles)
    first_up(database, roles)
    install(database, roles)
    odd = "".join(f'CREATE TABLE "Odd.{n}" (id bigserial PRIMARY KEY);' for n in range(8))
    run(
        database,
        odd
        + "CREATE VIEW seen AS SELECT 1 AS one; CREATE SEQUENCE counter; CREATE TYPE pair AS (a int, b int); CREATE DOMAIN small AS int;"
        " CREATE AGGREGATE rows_of(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '0'); CREATE TABLE told (a int, b int); CREATE STATISTICS both_of ON a, b FROM told;"
        " CREATE FUNCTION f(a int, b text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);"
        " CREATE PROCEDURE told_of(IN a int, OUT b int) LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION \"Any Of\"(VARIADIC names text[]) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        " CREATE AGGREGATE share(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);"
        " CREATE TYPE \"Span\" AS RANGE (SUBTYPE = int); CREATE TYPE mood AS ENUM ('well');"
        " CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9)",
    )
    with psycopg.connect(database) as connection:
        extension = connection.execute(
            "SELECT name FROM pg_available_extensions WHERE name IN ('vector', 'pgcrypto') LIMIT 1"
        ).fetchone()
        assert extension is not None
        connection.execute(f"CREATE EXTENSION {extension[0]} SCHEMA public")  # type: ignore[arg-type]
    (wrong,) = [finding for finding in look(database, roles) if finding.id == "owner-wrong"]
    assert wrong.next.startswith(f"lockgate roles --database {name_of(database)} --adopt | psql ")
    run(database, roles_sql(roles, name_of(database), adopt=True))
    assert look(database, roles) == []
    assert refused(database, roles.migrator, 'ALTER TABLE "Odd.3" ADD more int') == ""
    with psycopg.connect(database) as connection:
        kept = connection.execute(
            "SELECT count(*) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' WHERE pg_get_userbyid(proowner) = %s",
            [roles.owner],
        ).fetchone()
    assert kept == (0,)


# A mistake → the findings that it gives. {owner}, {migrator}, {app}, {reader} are the quoted names.
MISTAKES = [
    ("ALTER ROLE {app} SUPERUSER", {"role-too-strong"}),
    ("ALTER ROLE {app} CREATEDB", {"role-too-strong"}),
    ("ALTER ROLE {migrator} SUPERUSER", {"role-too-strong"}),
    ("ALTER ROLE {owner} LOGIN", {"owner-can-log-in"}),
    ("GRANT {owner} TO {app}", {"role-member"}),
    ("GRANT {migrator} TO {reader}", {"role-member"}),
    ("GRANT {app} TO {reader}", {"role-member", "privilege-excess"}),
    ("GRANT CREATE ON SCHEMA public TO {app}", {"role-creates"}),
    ("GRANT CREATE ON SCHEMA public TO PUBLIC", {"public-creates"}),
    ("GRANT TRUNCATE ON orders TO {app}", {"privilege-excess"}),
    ("GRANT INSERT ON orders TO {reader}", {"privilege-excess"}),
    ("GRANT UPDATE ON lockgate.migration_history TO {app}", {"privilege-excess"}),
    ("GRANT DELETE ON lockgate.instance TO {reader}", {"privilege-excess"}),
    ("REVOKE UPDATE ON orders FROM {app}", {"privilege-missing"}),
    ("REVOKE USAGE ON SCHEMA lockgate FROM {app}", {"privilege-missing"}),
    ("REVOKE USAGE ON SEQUENCE orders_id_seq FROM {app}", {"privilege-missing"}),
    ("REVOKE EXECUTE ON FUNCTION lockgate.gate_v1() FROM PUBLIC; REVOKE EXECUTE ON FUNCTION lockgate.gate_v1() FROM {app}", {"privilege-missing"}),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA public REVOKE INSERT ON TABLES FROM {app}", {"default-privileges-missing"}),
    ("CREATE TABLE strange (id int)", {"owner-wrong", "privilege-missing"}),
    ("ALTER TABLE orders OWNER TO {app}", {"owner-forbidden"}),
    ("CREATE FUNCTION strange() RETURNS int LANGUAGE sql AS 'SELECT 1'", {"owner-wrong"}),
    ("CREATE DOMAIN small AS int; CREATE TYPE odd AS ENUM ('a')", {"owner-wrong"}),
    ("REVOKE {owner} FROM {migrator}", {"migrator-lacks"}),
    ("REVOKE pg_read_all_stats FROM {migrator}", {"migrator-blind"}),
    ("ALTER ROLE {migrator} SET session_replication_role = replica", {"role-setting-forbidden"}),
    ("ALTER ROLE {migrator} SET default_transaction_read_only = on", {"role-setting-forbidden"}),
    ("ALTER ROLE {migrator} SET role = {owner}", {"role-setting"}),
    ("ALTER ROLE {migrator} SET lock_timeout = '1s'; ALTER ROLE {app} SET statement_timeout = '5s'", set()),
]  # fmt: skip


@pytest.mark.postgres("16", "18")
def test_doctor_names_each_mistake_and_its_sql_mends_it(roles, database):
    """Each mistake with grants, attributes, owners or settings is found by its id, and the printed SQL takes it away."""
    install(database, roles)
    first_up(database, roles)
    install(database, roles)
    run(database, "CREATE TABLE orders (id bigserial PRIMARY KEY, note text)", user=roles.migrator)
    assert look(database, roles) == []
    names = {part: identifier(getattr(roles, part)) for part in ("owner", "migrator", "app", "reader")}
    wrong = {}
    for mistake, expected in MISTAKES:
        run(database, mistake.format(**names))
        found = look(database, roles)
        # What a finding's SQL does may uncover another finding: an object given back needs its grants again.
        for _ in range(3):
            for finding in look(database, roles):
                run(database, finding.next)
        left = look(database, roles)
        if {finding.id for finding in found} != expected or left:
            wrong[mistake] = (found, left)
            install(database, roles)
    assert wrong == {}


def test_database_level_grants(roles, database):
    """CREATE on the database is the migrator's and nobody else's, and doctor says so both ways."""
    install(database, roles)
    db = identifier(name_of(database))
    run(database, f"GRANT CREATE ON DATABASE {db} TO {identifier(roles.app)}")
    assert [finding.id for finding in look(database, roles)] == ["role-creates"]
    run(
        database,
        f"REVOKE CREATE ON DATABASE {db} FROM {identifier(roles.app)}, {identifier(roles.migrator)}, {identifier(roles.owner)}",
    )
    assert [finding.id for finding in look(database, roles)] == ["migrator-lacks"]


def test_one_role_for_two_parts(database):
    """The migrator and the app being one role is an error, in the script and in doctor."""
    one = Roles(
        owner="lockgate_no_such_a",
        migrator="lockgate_no_such_b",
        app="lockgate_no_such_b",
        reader="lockgate_no_such_c",
    )
    with pytest.raises(ConfigError, match="four different roles"):
        roles_sql(one, "db")
    assert "roles-equal" in {finding.id for finding in look(database, one)}


def test_no_roles_at_all_is_said_once(database):
    """Where none of the roles exists doctor says so in one line, not in forty."""
    none = Roles(
        owner="lockgate_no_such_a",
        migrator="lockgate_no_such_b",
        app="lockgate_no_such_c",
        reader="lockgate_no_such_d",
    )
    assert [(finding.id, finding.severity) for finding in look(database, none)] == [("roles-absent", "info")]


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "pg_mine", "public"])
def test_names_that_no_role_can_have(name):
    """A name that the server would refuse, cut or mistake is refused before any SQL is written."""
    with pytest.raises(ConfigError):
        roles_sql(Roles(app=name), "db")


@pytest.mark.parametrize("schema", ["lockgate", "pg_catalog", "information_schema"])
def test_schemas_that_are_not_the_users(schema):
    """The server's schemas and lockgate's own cannot be listed."""
    with pytest.raises(ConfigError):
        roles_sql(Roles(schemas=(schema,)), "db")


def test_script_holds_no_password():
    """The script sets no password and names none."""
    assert "password '" not in roles_sql(Roles(), "db").lower()


def test_quoting():
    """Identifiers and strings come out so that the server reads back what went in."""
    assert identifier('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"
    assert literal("a\\'b") == "E'a\\\\''b'"
