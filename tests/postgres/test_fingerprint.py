"""The fingerprint: it sees every kind of change, and nothing else."""

import os
import subprocess
import time
from collections.abc import Iterator

import psycopg
import pytest

from lockgate.postgres import fingerprint
from lockgate.postgres.fingerprint import (
    Change,
    difference,
    digest_of,
    read_definitions,
    read_fingerprint,
    to_fingerprint,
)
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from support import servers

BASE = """
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'glad');
CREATE DOMAIN shop.percent AS numeric(5,2) DEFAULT 0 CONSTRAINT in_range CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE shop.pair AS (a integer, b text);
CREATE TYPE shop.span AS RANGE (subtype = timestamptz);
CREATE SEQUENCE shop.ticket INCREMENT 2 CACHE 5;
CREATE TABLE shop.customer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email varchar(100) COLLATE "C" NOT NULL UNIQUE,
  mood shop.mood DEFAULT 'ok',
  born date DEFAULT '2000-02-01',
  joined timestamptz DEFAULT '2024-01-01 00:00+00',
  wait interval DEFAULT '1 day 02:03:04',
  weight double precision DEFAULT 0.1,
  photo bytea DEFAULT '\\xdead',
  path text DEFAULT 'C:\\temp',
  full_name text GENERATED ALWAYS AS (email || '!') STORED,
  gone integer
);
ALTER TABLE shop.customer DROP COLUMN gone;
CREATE TABLE shop.purchase (
  id bigserial,
  customer_id bigint NOT NULL CONSTRAINT purchase_customer REFERENCES shop.customer,
  placed date NOT NULL,
  amount numeric(10,2) CONSTRAINT amount_positive CHECK (amount > 0)
) PARTITION BY RANGE (placed);
CREATE TABLE shop.purchase_2024 PARTITION OF shop.purchase FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE INDEX purchase_customer_id ON shop.purchase (customer_id);
CREATE INDEX customer_lower ON shop.customer (lower(email)) WHERE mood = 'glad';
CREATE TABLE "Odd Name" ("a ""b" integer, c integer NOT NULL);
CREATE VIEW shop.glad AS SELECT id, email FROM shop.customer WHERE mood = 'glad';
CREATE MATERIALIZED VIEW shop.totals AS SELECT customer_id, sum(amount) AS total FROM shop.purchase GROUP BY 1;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE FUNCTION shop.twice(a integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a * 2';
CREATE FUNCTION shop.twice(a text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT a || a';
CREATE PROCEDURE shop.tidy() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE shop.total(integer) (sfunc = int4pl, stype = integer, initcond = '0');
CREATE TRIGGER touch BEFORE UPDATE ON shop.customer FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE POLICY own ON shop.customer FOR SELECT USING (email = CURRENT_USER);
CREATE RULE keep AS ON DELETE TO "Odd Name" DO INSTEAD NOTHING;
CREATE STATISTICS shop.customer_stats (dependencies) ON mood, born FROM shop.customer;
CREATE COLLATION shop.plain (provider = libc, locale = 'C');
CREATE OPERATOR shop.=== (leftarg = integer, rightarg = integer, function = int4eq);
CREATE TEXT SEARCH CONFIGURATION shop.words (COPY = pg_catalog.simple);
"""

# What is done → what the fingerprint must say, and no more than that.
CHANGES: dict[str, set[str]] = {
    "CREATE SCHEMA other": {"added: schema other"},
    "ALTER TABLE \"Odd Name\" RENAME TO odd": {
        'removed: table public."Odd Name"', 'removed: column public."Odd Name"."a ""b"', 'removed: column public."Odd Name".c', 'removed: rule public."Odd Name".keep',
        "added: table public.odd", 'added: column public.odd."a ""b"', "added: column public.odd.c", "added: rule public.odd.keep",
    },
    "CREATE UNLOGGED TABLE fresh ()": {"added: table public.fresh"},
    'ALTER TABLE "Odd Name" SET UNLOGGED': {'changed: table public."Odd Name"'},
    'ALTER TABLE "Odd Name" SET (fillfactor = 70)': {'changed: table public."Odd Name"'},
    "ALTER TABLE shop.customer SET (toast.autovacuum_enabled = off)": {"changed: table shop.customer"},
    "ALTER TABLE shop.customer ENABLE ROW LEVEL SECURITY": {"changed: table shop.customer"},
    "ALTER TABLE shop.customer FORCE ROW LEVEL SECURITY": {"changed: table shop.customer"},
    "ALTER TABLE shop.customer REPLICA IDENTITY FULL": {"changed: table shop.customer"},
    "ALTER TABLE shop.purchase DETACH PARTITION shop.purchase_2024": {
        "changed: table shop.purchase_2024", "added: constraint shop.purchase_2024.purchase_customer", "changed: index shop.purchase_2024_customer_id_idx",
    },
    "CREATE TABLE heir () INHERITS (\"Odd Name\")": {"added: table public.heir", 'added: column public.heir."a ""b"', "added: column public.heir.c"},
    'ALTER TABLE "Odd Name" ADD d integer': {'added: column public."Odd Name".d'},
    'ALTER TABLE "Odd Name" DROP c': {'removed: column public."Odd Name".c'},
    'ALTER TABLE "Odd Name" DROP "a ""b"': {'removed: column public."Odd Name"."a ""b"', 'changed: column public."Odd Name".c'},
    "ALTER TABLE shop.customer ALTER path TYPE varchar(90)": {"changed: column shop.customer.path"},
    'ALTER TABLE shop.customer ALTER path TYPE text COLLATE "C"': {"changed: column shop.customer.path"},
    'ALTER TABLE "Odd Name" ALTER c TYPE bigint': {'changed: column public."Odd Name".c'},
    'ALTER TABLE "Odd Name" ALTER c DROP NOT NULL': {'changed: column public."Odd Name".c'},
    'ALTER TABLE "Odd Name" ALTER c SET DEFAULT 7': {'changed: column public."Odd Name".c'},
    "ALTER TABLE shop.customer ALTER born SET DEFAULT '2000-01-02'": {"changed: column shop.customer.born"},
    "ALTER TABLE shop.customer ALTER id SET GENERATED BY DEFAULT": {"changed: column shop.customer.id"},
    "ALTER TABLE shop.customer ALTER full_name DROP EXPRESSION": {"changed: column shop.customer.full_name"},
    "ALTER TABLE shop.customer ALTER path SET STORAGE EXTERNAL": {"changed: column shop.customer.path"},
    "ALTER TABLE shop.customer ALTER path SET COMPRESSION pglz": {"changed: column shop.customer.path"},
    'ALTER TABLE "Odd Name" ADD CONSTRAINT low CHECK (c < 9) NOT VALID': {'added: constraint public."Odd Name".low'},
    "ALTER TABLE shop.customer RENAME CONSTRAINT customer_email_key TO one_email": {
        "removed: constraint shop.customer.customer_email_key", "added: constraint shop.customer.one_email",
        "removed: index shop.customer_email_key", "added: index shop.one_email",
    },
    "ALTER TABLE shop.purchase DROP CONSTRAINT purchase_customer": {"removed: constraint shop.purchase.purchase_customer"},
    "ALTER TABLE shop.purchase_2024 DISABLE TRIGGER ALL; ALTER TABLE shop.customer DISABLE TRIGGER ALL": {
        "changed: constraint shop.purchase.purchase_customer", "changed: trigger shop.customer.touch",
    },
    "CREATE INDEX odd_c ON \"Odd Name\" (c DESC)": {"added: index public.odd_c"},
    "ALTER INDEX shop.customer_lower SET (fillfactor = 50)": {"changed: index shop.customer_lower"},
    "ALTER INDEX shop.customer_email_key SET (fillfactor = 50)": {"changed: index shop.customer_email_key"},
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'shop.customer_lower'::regclass": {"changed: index shop.customer_lower"},
    "CREATE OR REPLACE VIEW shop.glad AS SELECT id, email FROM shop.customer WHERE mood = 'sad'": {"changed: view shop.glad"},
    "ALTER VIEW shop.glad SET (security_barrier)": {"changed: view shop.glad"},
    "ALTER VIEW shop.glad ALTER email SET DEFAULT 'x'": {"changed: view shop.glad"},
    "DROP MATERIALIZED VIEW shop.totals": {"removed: matview shop.totals"},
    "CREATE OR REPLACE FUNCTION shop.twice(a integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a + a'": {"changed: function shop.twice(integer)"},
    "ALTER FUNCTION shop.twice(text) STRICT": {"changed: function shop.twice(text)"},
    "ALTER FUNCTION shop.touch() SECURITY DEFINER SET search_path = ''": {"changed: function shop.touch()"},
    "DROP PROCEDURE shop.tidy()": {"removed: procedure shop.tidy()"},
    "CREATE OR REPLACE AGGREGATE shop.total(integer) (sfunc = int4pl, stype = integer, initcond = '1')": {"changed: aggregate shop.total(integer)"},
    "ALTER TABLE shop.customer DISABLE TRIGGER touch": {"changed: trigger shop.customer.touch"},
    "CREATE OR REPLACE TRIGGER touch BEFORE INSERT ON shop.customer FOR EACH ROW EXECUTE FUNCTION shop.touch()": {"changed: trigger shop.customer.touch"},
    "ALTER SEQUENCE shop.ticket INCREMENT 3": {"changed: sequence shop.ticket"},
    "ALTER SEQUENCE shop.ticket OWNED BY shop.customer.id": {"changed: sequence shop.ticket"},
    "ALTER TYPE shop.mood ADD VALUE 'so-so' BEFORE 'ok'": {"changed: type shop.mood"},
    "ALTER TYPE shop.pair ADD ATTRIBUTE c integer": {"added: column shop.pair.c"},
    "CREATE TYPE shop.other AS RANGE (subtype = date)": {"added: type shop.other"},
    "ALTER DOMAIN shop.percent SET NOT NULL": {"changed: domain shop.percent"},
    "ALTER DOMAIN shop.percent SET DEFAULT 1": {"changed: domain shop.percent"},
    "ALTER DOMAIN shop.percent DROP CONSTRAINT in_range": {"removed: constraint shop.percent.in_range"},
    "ALTER POLICY own ON shop.customer USING (true)": {"changed: policy shop.customer.own"},
    "ALTER POLICY own ON shop.customer TO pg_monitor": {"changed: policy shop.customer.own"},
    'ALTER TABLE "Odd Name" DISABLE RULE keep': {'changed: rule public."Odd Name".keep'},
    "DROP STATISTICS shop.customer_stats": {"removed: statistics shop.customer_stats"},
    "DROP EXTENSION plpgsql CASCADE": {
        "removed: extension plpgsql", "removed: function shop.touch()", "removed: function shop.watched()", "removed: trigger shop.customer.touch",
    },
    "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION shop.watched()": {"added: event_trigger watch"},
    "DROP COLLATION shop.plain": {"removed: collation shop.plain"},
    "DROP OPERATOR shop.=== (integer, integer)": {"removed: operator shop.===(integer,integer)"},
    "CREATE CAST (shop.pair AS integer) WITH FUNCTION shop.paired(shop.pair)": {"added: cast (shop.pair AS integer)"},
    "ALTER TEXT SEARCH CONFIGURATION shop.words DROP MAPPING FOR word": {"changed: text_search_configuration shop.words"},
}  # fmt: skip


@pytest.fixture
def wire(database: str) -> Iterator[Wire]:
    opened = open_wire(database)
    yield opened
    opened.close()


def open_wire(url: str) -> Wire:
    return Wire(Target(url, source="test"), "test")


def run(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)


def test_every_kind_of_change_is_named(database, wire):
    """Each of sixty changes moves the digest, and the difference names the object that was changed and no other."""
    run(database, BASE)
    run(database, "CREATE FUNCTION shop.watched() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    run(database, "CREATE FUNCTION shop.paired(shop.pair) RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    before = read_fingerprint(wire)
    wrong = {}
    for sql, expected in CHANGES.items():
        wire.one("BEGIN")
        for statement in sql.split("; "):
            wire.one(statement)
        after = read_fingerprint(wire, inside_transaction=True)
        wire.one("ROLLBACK")
        seen = {str(change) for change in difference(before.objects, after.objects)}
        if after.digest == before.digest or not seen or seen != expected:
            wrong[sql] = seen
    assert not wrong
    assert read_fingerprint(wire) == before


@pytest.mark.parametrize(
    "setting",
    [
        "search_path = shop, public",
        "search_path = ''",
        "DateStyle = 'German, DMY'",
        "IntervalStyle = 'iso_8601'",
        "TimeZone = 'Asia/Tokyo'",
        "bytea_output = 'escape'",
        "extra_float_digits = -3",
        "standard_conforming_strings = off",
        "quote_all_identifiers = on",
        "role = pg_monitor",
    ],
)
@pytest.mark.postgres("16", "18")
def test_session_settings_do_not_show(database, wire, setting):
    """Whatever the session is set to, the fingerprint is the same, and the session stays as it was set."""
    run(database, BASE)
    before = read_fingerprint(wire)
    wire.one(f"SET {setting}")
    name = setting.split(" ")[0]
    value = wire.value(f"SHOW {name}")
    assert read_fingerprint(wire) == before
    wire.one("BEGIN")
    assert read_fingerprint(wire, inside_transaction=True) == before
    assert wire.value(f"SHOW {name}") == value
    wire.one("COMMIT")
    assert wire.value(f"SHOW {name}") == value
    assert wire.idle


def test_way_of_planning_does_not_show(database, wire, monkeypatch):
    """What the planner is kept from trying changes how long a read takes, not what it says."""
    run(database, BASE)
    before = read_definitions(wire)
    settings = fingerprint_settings()
    kept = [n for n in settings if n.startswith("enable_") or n.endswith("_collapse_limit")]
    assert len(kept) == 6
    for name in kept:
        monkeypatch.setitem(settings, name, "20" if name.endswith("_limit") else "on")
    assert read_definitions(wire) == before


def test_same_ddl_gives_the_same_digest(databases):
    """Two databases with one schema have one digest, and so has one that got there by a detour."""
    one, other, detour = databases(), databases(), databases()
    run(one, BASE)
    run(
        other,
        "SET TimeZone = 'Asia/Tokyo'; CREATE TABLE scrap (id serial primary key); DROP TABLE scrap;" + BASE,
    )
    run(
        detour,
        BASE
        + "ALTER TABLE shop.customer ADD x int; ALTER TABLE shop.customer DROP x; DROP VIEW shop.glad; CREATE VIEW shop.glad AS SELECT id, email FROM shop.customer WHERE mood = 'glad';",
    )
    prints = [read(url) for url in (one, other, detour)]
    assert prints[0] == prints[1] == prints[2]


def test_attached_partition_equals_a_created_one(databases):
    """A partition that was made as a table and attached, as pg_dump writes it, is the same as one created in place."""
    one, other = databases(), databases()
    parent = "CREATE TABLE p (id int NOT NULL, CONSTRAINT small CHECK (id < 9)) PARTITION BY LIST (id); CREATE INDEX p_id ON p (id);"
    run(one, parent + "CREATE TABLE c PARTITION OF p FOR VALUES IN (1)")
    run(
        other,
        parent
        + "CREATE TABLE c (id int NOT NULL, CONSTRAINT small CHECK (id < 9)); CREATE INDEX c_id_idx ON c (id); ALTER TABLE p ATTACH PARTITION c FOR VALUES IN (1); ",
    )
    assert difference(read(one).objects, read(other).objects) == ()


def test_dump_and_restore_keep_the_digest(databases, postgres_label):
    """What pg_dump writes and psql plays back has the digest of the original."""
    one, other = databases(), databases()
    run(one, BASE)
    found = servers.binaries(postgres_label)
    assert found is not None
    command = [str(found.bindir / "pg_dump"), "--schema-only", "--no-owner", one]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    run(other, "\n".join(line for line in dump.splitlines() if not line.startswith("\\")))  # no \\restrict
    assert difference(read(one).objects, read(other).objects) == ()


def read(url: str):
    opened = open_wire(url)
    try:
        return read_fingerprint(opened)
    finally:
        opened.close()


def test_what_is_left_out(database, wire):
    """Rows, sequence values, owners, grants, comments, statistics, temporary tables and the schema lockgate do not count."""
    run(database, BASE)
    before = read_fingerprint(wire)
    run(
        database,
        """
        INSERT INTO shop.customer (email) VALUES ('a@example.org');
        INSERT INTO shop.purchase (customer_id, placed, amount) VALUES (1, '2024-05-05', 3);
        SELECT nextval('shop.ticket');
        REFRESH MATERIALIZED VIEW shop.totals;
        ANALYZE;
        ALTER TABLE shop.customer ALTER born SET STATISTICS 500;
        GRANT SELECT ON shop.customer TO PUBLIC;
        ALTER VIEW shop.glad OWNER TO pg_database_owner;
        COMMENT ON TABLE shop.customer IS 'people';
        CREATE SCHEMA lockgate;
        CREATE TABLE lockgate.anything (id int);
        CREATE FUNCTION lockgate.capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER moved AFTER INSERT ON shop.customer FOR EACH ROW EXECUTE FUNCTION lockgate.capture();
        """,
    )
    wire.one("CREATE TEMPORARY TABLE customer (id int)")
    after = read_fingerprint(wire)
    assert difference(before.objects, after.objects) == ()
    assert after.digest == before.digest


def test_temporary_tables_shadow_nothing(database, wire):
    """A temporary table named like a catalog does not reach the query."""
    before = read_fingerprint(wire)
    wire.one("CREATE TEMPORARY TABLE pg_class (oid oid)")
    wire.one("SET search_path = pg_temp, pg_catalog")
    assert read_fingerprint(wire) == before


def test_extension_stands_for_its_objects(database, wire):
    """Of an extension only its name, version and schema are in the fingerprint."""
    before = read_fingerprint(wire)
    name = wire.value("SELECT name FROM pg_available_extensions WHERE name IN ('vector', 'pg_trgm') LIMIT 1")
    run(database, f"CREATE EXTENSION {name}")
    after = read_fingerprint(wire)
    assert [str(c) for c in difference(before.objects, after.objects)] == [f"added: extension {name}"]


@pytest.mark.postgres("18")
def test_not_null_that_is_not_validated_shows(database, wire):
    """On PostgreSQL 18 a NOT NULL that was not validated shows, and none is left when it was."""
    run(database, "CREATE TABLE t (a int); ALTER TABLE t ADD CONSTRAINT a_there NOT NULL a NOT VALID")
    assert "constraint public.t.a_there" in read_fingerprint(wire).objects
    run(database, "ALTER TABLE t VALIDATE CONSTRAINT a_there")
    validated = read_fingerprint(wire)
    run(database, "DROP TABLE t; CREATE TABLE t (a int NOT NULL)")
    assert read_fingerprint(wire).objects == validated.objects


def test_versions_agree(session_directory):
    """One schema has one digest on PostgreSQL 16 and 18, and only the basis tells the two apart."""
    seen = []
    for label in ("16", "18"):
        with servers.fresh_database(
            servers.session_server(session_directory, label), f"agree_{label}_{os.getpid()}"
        ) as url:
            run(url, BASE)
            seen.append(read(url))
    assert difference(seen[0].objects, seen[1].objects) == ()
    assert seen[0].digest == seen[1].digest
    assert seen[0].basis != seen[1].basis


def test_uncommitted_changes_are_read_inside(wire):
    """Inside the caller's transaction its own changes are seen, and the transaction goes on afterwards."""
    wire.one("BEGIN")
    wire.one("SET LOCAL search_path = pg_catalog")
    wire.one("CREATE TABLE public.t ()")
    assert "table public.t" in read_fingerprint(wire, inside_transaction=True).objects
    assert wire.value("SHOW search_path") == "pg_catalog"
    wire.one("COMMIT")
    assert wire.idle
    assert "table public.t" in read_fingerprint(wire).objects


def test_locked_table_is_told_and_leaves_the_session_clean(database, wire, monkeypatch):
    """Behind another session's exclusive lock the read gives up with 55P03, rolls back, and works again afterwards."""
    monkeypatch.setitem(fingerprint_settings(), "lock_timeout", "50ms")
    run(database, BASE)
    before = read_fingerprint(wire)
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE shop.customer, shop.glad IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ServerError) as caught:
            read_fingerprint(wire)
        assert caught.value.sqlstate == "55P03"
        assert wire.idle
        wire.one("BEGIN")
        with pytest.raises(ServerError):
            read_fingerprint(wire, inside_transaction=True)
        assert wire.value("SELECT 'usable'") == "usable"
        wire.one("COMMIT")
        other.rollback()
    assert read_fingerprint(wire) == before


def fingerprint_settings() -> dict[str, str]:
    from lockgate.postgres import fingerprint

    return fingerprint._SETTINGS


def test_one_round_trip(database, wire):
    """A read is one batch on the wire, and the session is idle after it."""
    ticket = wire.ticket
    read_fingerprint(wire)
    assert wire.ticket == ticket + 1
    assert wire.idle


@pytest.mark.postgres("18")
def test_three_hundred_tables_are_read_quickly(database, wire):
    """A schema of 300 tables, 3,000 objects, is read well under a quarter of a second even on a busy machine."""
    columns = "id int PRIMARY KEY, a text, b int DEFAULT 1, c timestamptz NOT NULL, d numeric(9,2), e jsonb"
    run(database, "".join(f"CREATE TABLE t{n} ({columns}); CREATE INDEX ON t{n} (a);" for n in range(300)))
    read_fingerprint(wire)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        objects = read_fingerprint(wire).objects
        times.append(time.perf_counter() - started)
    assert len(objects) > 3000
    assert min(times) < 0.25


def test_difference_and_digest_are_functions_of_the_objects():
    """The order of the rows does not matter, and what was added, removed or changed is told in the order of its name."""
    rows = [("table", "b", "x"), ("table", "a", "x"), ("view", "a", "y")]
    one, other = to_fingerprint(rows), to_fingerprint(reversed(rows))
    assert one == other
    assert one.digest == digest_of(dict(one.objects))
    changed = to_fingerprint([("table", "b", "z"), ("table", "c", "x"), ("view", "a", "y")])
    assert difference(one.objects, changed.objects) == (
        Change("removed", "table a"),
        Change("changed", "table b"),
        Change("added", "table c"),
    )
    assert difference(one.objects, other.objects) == ()


RARE = {
    "CREATE TABLE t (a int, b int); CREATE STATISTICS s (dependencies) ON a, b FROM t": "statistics public.s",
    "CREATE TABLE t (a int); CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING": "rule public.t.r",
    "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f()": "event_trigger e",
    "CREATE COLLATION c (provider = libc, locale = 'C')": "collation public.c",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_catalog.int4eq)": "operator public.===(integer,integer)",
    "CREATE OPERATOR CLASS o FOR TYPE int USING hash AS OPERATOR 1 =": "operator_class public.o using hash",
    "CREATE CAST (bytea AS bit varying) WITH INOUT": "cast (bytea AS bit varying)",
    "CREATE TEXT SEARCH CONFIGURATION w (COPY = pg_catalog.simple)": "text_search_configuration public.w",
    "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = pg_catalog.simple)": "text_search_dictionary public.d",
}


@pytest.mark.parametrize("statements", RARE, ids=lambda s: RARE[s].split()[0])
def test_a_rare_kind_is_seen_where_it_is_the_only_one(wire, statements):
    """An object of each kind that is looked for only where there may be one is seen when no other is there, also as one more of its session."""
    before = read_fingerprint(wire)
    for statement in statements.split("; "):
        wire.one(statement)
    for _ in range(2):
        after = read_fingerprint(wire)
        assert RARE[statements] in after.objects
        assert before.objects.keys() < after.objects.keys()


def test_a_database_of_usual_kinds_is_asked_for_these_alone(wire, monkeypatch):
    """Where no object of a rare kind is, one question is asked; where one is, the session asks for all kinds from then on."""
    asked: list[bool] = []
    read = fingerprint._read
    monkeypatch.setattr(
        fingerprint, "_read", lambda *a, usual: (asked.append(usual), read(*a, usual=usual))[1]
    )
    read_fingerprint(wire)
    assert asked == [True]
    wire.one("CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = pg_catalog.simple)")
    read_fingerprint(wire)
    assert asked == [True, True, False]
    read_fingerprint(wire)
    assert asked == [True, True, False, False]


def test_query_is_plain_sql(wire):
    """The query of the file is prepared as it stands."""
    wire.one("SET search_path = pg_catalog")
    wire.prepare("fingerprint", query("fingerprint"))


@pytest.mark.postgres("18")
def test_an_extension_that_an_index_made_is_out(database: str):
    """The vector extension that an index build makes says so in its comment and changes no digest; one of a migration does."""
    from contextlib import closing

    from lockgate.postgres.link import Link
    from lockgate.stores.manifest import Embedding, Manifest
    from lockgate.stores.pgvector import PgVector

    with closing(Wire(Target(database, source="test"), "test")) as wire:
        before = read_fingerprint(wire)
        with closing(Link(Target(database, source="test"), "test")) as link:
            PgVector(link).columns(
                Manifest("vector", Embedding("given", "m", 3), "cosine", ann={"type": "flat"})
            )
            assert read_fingerprint(wire).digest == before.digest
            link.run("COMMENT ON EXTENSION vector IS NULL")
        assert "extension vector" in read_fingerprint(wire).objects
