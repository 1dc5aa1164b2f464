"""The rooms of the schema ``lockgate``: empty until their first use, then whole."""

import pytest

from lockgate.postgres import home
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from support.tables import make_room, run_sql

_COLUMNS = """
SELECT c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'lockgate'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY c.relname, a.attnum
"""
_KINDS = "SELECT relname, relkind::text FROM pg_catalog.pg_class WHERE relnamespace = 'lockgate'::regnamespace AND relname = ANY ($1)"


def _bring_up(url: str, *rooms: str) -> int:
    wire = Wire(Target(url, source="test"), "test")
    try:
        return home.bring_up(wire, rooms=rooms)
    finally:
        wire.close()


def _kinds(url: str) -> dict[str, str]:
    names = ", ".join(f"'{table}'" for table in home.ROOMS.values())
    return dict(run_sql(url, _KINDS.replace("$1", f"ARRAY[{names}]")))


def test_an_empty_room_reads_like_its_tables(databases):
    """The views of every empty room have the columns of its tables in name, type and order, and no row."""
    empty, whole = databases(), databases()
    _bring_up(empty)
    _bring_up(whole, *home.ROOMS)
    assert run_sql(empty, _COLUMNS) == run_sql(whole, _COLUMNS)
    assert set(_kinds(empty).values()) == {"v"}
    assert set(_kinds(whole).values()) == {"r"}
    for table in home.ROOMS.values():
        assert run_sql(empty, f"SELECT count(*) FROM lockgate.{table}") == [(0,)]


@pytest.mark.parametrize("room", home.ROOMS)
def test_a_room_is_made_at_its_first_use_and_stays(room, database):
    """The first use makes the tables of that room and of no other; the second changes nothing, and what was written stays."""
    _bring_up(database)
    make_room(database, room)
    assert _kinds(database) == {table: "r" if owner == room else "v" for owner, table in home.ROOMS.items()}
    oids = run_sql(database, "SELECT oid FROM pg_catalog.pg_class WHERE relnamespace = 'lockgate'::regnamespace ORDER BY 1")  # fmt: skip
    make_room(database, room)
    assert oids == run_sql(database, "SELECT oid FROM pg_catalog.pg_class WHERE relnamespace = 'lockgate'::regnamespace ORDER BY 1")  # fmt: skip


def test_rooms_made_one_by_one_are_the_schema_made_at_once(databases):
    """Made one by one in any order, or all at once: the same tables, indexes, constraints, triggers and functions."""
    told = """
    SELECT 'c', conrelid::regclass::text, pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint WHERE connamespace = 'lockgate'::regnamespace
    UNION ALL SELECT 'i', tablename, indexdef FROM pg_catalog.pg_indexes WHERE schemaname = 'lockgate'
    UNION ALL SELECT 't', tgrelid::regclass::text, pg_catalog.pg_get_triggerdef(oid) FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'f', proname, prosrc FROM pg_catalog.pg_proc WHERE pronamespace = 'lockgate'::regnamespace
    UNION ALL SELECT 'v', viewname, definition FROM pg_catalog.pg_views WHERE schemaname = 'lockgate' ORDER BY 1, 2, 3
    """
    one, two = databases(), databases()
    _bring_up(one)
    for room in reversed(home.ROOMS):
        make_room(one, room)
    _bring_up(two, *home.ROOMS)
    assert run_sql(one, told) == run_sql(two, told)


def test_the_first_format_makes_no_room_when_it_grows(database):
    """A database of format 1 grows to this one with its rooms empty; one of format 3 had all tables, and keeps them."""
    first = dict(home.steps())[1]
    run_sql(database, f"BEGIN; {first} INSERT INTO lockgate.format (number) VALUES (1); COMMIT")
    assert _bring_up(database) == 1
    assert set(_kinds(database).values()) == {"v"}
    assert run_sql(database, "SELECT max(number) FROM lockgate.format") == [(home.FORMAT,)]


def test_a_database_of_format_3_keeps_its_tables(database):
    """Until format 3 every room was made at once: growing to this format changes none of them."""
    for number, sql in home.steps()[:3]:
        run_sql(database, f"BEGIN; SET LOCAL search_path = pg_catalog, pg_temp; {sql} INSERT INTO lockgate.format (number) VALUES ({number}); COMMIT")  # fmt: skip
    assert _bring_up(database) == 3
    assert set(_kinds(database).values()) == {"r"}
    make_room(database, "moves")
    assert run_sql(database, "SELECT max(number) FROM lockgate.format") == [(home.FORMAT,)]
