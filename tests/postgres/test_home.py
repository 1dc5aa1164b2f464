"""The schema lockgate as it is made: what the making itself does not look at is looked at here."""

import psycopg
import pytest

from lockgate.postgres import home
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire

BODIES = """
SELECT p.oid::regprocedure::text, v.oid::regproc::text
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_proc v ON v.oid = l.lanvalidator
 WHERE p.pronamespace = 'lockgate'::regnamespace ORDER BY 1
"""


def check(connection: psycopg.Connection) -> int:
    """Have the server check every body of the schema lockgate as it does where they are checked when made; how many there are."""
    connection.execute("SET check_function_bodies = on")
    bodies = connection.execute(BODIES).fetchall()
    for function, validator in bodies:
        connection.execute(f"SET search_path = pg_catalog; SELECT {validator}('{function}'::regprocedure)")  # type: ignore[call-overload]
    return len(bodies)


def test_bodies_hold(database):
    """Every function of the schema lockgate is one that the server takes, although making it looks at no body."""
    wire = Wire(Target(database, source="test"), "home")
    try:
        home.bring_up(wire)
        assert wire.value("SHOW check_function_bodies") == "on"
    finally:
        wire.close()
    with psycopg.connect(database, autocommit=True) as connection:
        assert check(connection) > 10
        connection.execute("ALTER TABLE lockgate.fence RENAME COLUMN head TO tail")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            check(connection)


MADE = """
SELECT 'function ' || p.oid::regprocedure, pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = 'lockgate'::regnamespace
UNION ALL
SELECT 'column ' || a.attrelid::regclass || '.' || a.attname,
       concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attstorage, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'lockgate'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
UNION ALL
SELECT 'constraint ' || k.conrelid::regclass || '.' || k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE k.connamespace = 'lockgate'::regnamespace
UNION ALL
SELECT 'index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'lockgate'::regnamespace
UNION ALL
SELECT 'trigger ' || g.tgrelid::regclass || '.' || g.tgname, pg_get_triggerdef(g.oid)
  FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid WHERE c.relnamespace = 'lockgate'::regnamespace AND NOT g.tgisinternal
"""


@pytest.mark.parametrize("older", range(1, home.FORMAT))
def test_all_formats_at_once_make_what_one_after_another_makes(database, older, monkeypatch):
    """A new database has the tables, functions, indexes and triggers of one that an older lockgate set up and that was brought up since."""
    wire = Wire(Target(database, source="test"), "home")
    try:
        home.bring_up(wire)
        at_once = dict(wire.one(MADE).rows)
        wire.one("DROP SCHEMA lockgate CASCADE")
        with monkeypatch.context() as then:
            first = home.steps()[:older]
            then.setattr(home, "steps", lambda: first)
            then.setattr(home, "FORMAT", older)
            home.bring_up(wire)
            assert wire.value("SELECT lockgate.gate_v1() ->> 'format'") == str(older)
        home.bring_up(wire)
        assert dict(wire.one(MADE).rows) == at_once
        assert len(at_once) > 300
    finally:
        wire.close()


def test_tables_of_short_values_have_one_file(database):
    """Tables whose values are all short for certain have no second table for long ones, from PostgreSQL 16 on; all others have."""
    wire = Wire(Target(database, source="test"), "home")
    try:
        home.bring_up(wire)
        alone = "SELECT relname FROM pg_class WHERE relnamespace = 'lockgate'::regnamespace AND relkind = 'r' AND reltoastrelid = 0 ORDER BY 1"
        found = [row[0] for row in wire.one(alone).rows]
        if int(wire.value("SHOW server_version_num") or 0) < 160000:
            assert found == []
        else:
            assert found == ["fence", "floor_announcement", "format", "gate_attempt", "lease", "move_switch", "warm_up"]  # fmt: skip
    finally:
        wire.close()


def test_older_servers_get_no_word_that_they_do_not_know():
    """A server before PostgreSQL 16 is not told how columns of a table that is made are stored."""
    everything = "".join(sql for _, sql in home.steps())
    assert "STORAGE" in home.as_wanted(everything, 160000)
    assert "STORAGE" not in home.as_wanted(everything, 150000)
