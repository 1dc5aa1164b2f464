"""Rows that are made up: whatever the schema demands of them, they keep it, and the same seed makes the same ones."""

from collections.abc import Callable

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.postgres.tables import read_tables
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.filling import Filling
from lockgate.rehearsal.report import Rehearsal

KINDS = [
    "smallint", "int", "bigint", "numeric", "numeric(5,2)", "numeric(3,3)", "real", "double precision", "money", "text", "varchar(3)", "char(2)", "name",
    "boolean", "uuid", "date", "timestamp", "timestamptz(3)", "time", "timetz", "interval", "json", "jsonb", "bytea", "inet", "cidr", "macaddr", "bit(8)",
    "varbit(9)", "point", "box", "circle", "tsvector", "tsquery", "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange",
    "text[]", "int[]", "uuid[]", "mood", "posint", "oid",
]  # fmt: skip


@pytest.mark.postgres("16", "18")
def test_every_type(wire: Wire) -> None:
    """A table of every built-in type that a column has in practice, NOT NULL all of them, gets its rows."""
    wire.one("create type mood as enum ('sad', 'ok')")
    wire.one("create domain posint as int check (value > 0)")
    columns = ", ".join(f'"c {number}" {kind} not null' for number, kind in enumerate(KINDS))
    wire.one(
        f"create table every (id bigint generated always as identity primary key, {columns}, twice int generated always as (1 + 1) stored)"
    )
    filling = Filling(wire, rows=200, seed=3)
    filling.fill()
    assert filling.empty == {}
    assert filling.rows == {"every": 200}


@pytest.mark.postgres("16", "18")
def test_what_a_schema_demands(wire: Wire) -> None:
    """Checks, enums in texts, unique pairs, foreign keys in circles, partitions, exclusions: kept by the rows, or the table says why it has none."""
    for text in (
        "create table never (code text not null check (length(code) > 5 and length(code) < 2))",
        "create domain mail as text check (value ~ '^[^@]+@[^@]+\\.[a-z]+$')",
        "create table account (id int primary key, mail mail not null unique, no text not null unique check (no ~ '^INV-[0-9]{6}$'), lines jsonb not null check (jsonb_typeof(lines) = 'array'), rate float8 not null check (rate > 0 and rate < 1), starts date not null, ends date, check (ends > starts))",
        "create table country (code char(2) primary key check (code ~ '^[A-Z]{2}$'))",
        "create table place (id int primary key, kind text not null check (kind in ('home', 'work')), zip text check (length(zip) = 5), size numeric check (size > 10 and size <= 12))",
        "create table person (id uuid primary key, boss uuid references person, place_id int not null references place, email text not null unique, born date check (born > date '1900-01-01'), unique (place_id, born))",
        "create table stay (place_id int references place, person_id uuid references person, during int4range, primary key (place_id, person_id), exclude using gist (during with &&))",
        "create table log (at timestamptz not null, what text) partition by range (at)",
        "create table log_old partition of log for values from ('2020-01-01') to ('2020-02-01')",
        "create table log_new partition of log for values from ('2031-01-01') to ('2031-02-01')",
        "create table list (kind text, n int) partition by list (kind)",
        "create table list_a partition of list for values in ('a', 'b')",
        "create schema app",
        'create table app."Odd Name" (id serial primary key, "from" text not null)',
    ):
        wire.one(text)
    filling = Filling(wire, rows=50, seed=1)
    filling.fill()
    assert set(filling.empty) == {"never"}
    assert "checks" in filling.empty["never"]
    expected = {
        "country": 50,
        "account": 50,
        "place": 50,
        "person": 50,
        "stay": 50,
        "log_old": 50,
        "log_new": 50,
        "list_a": 50,
        "app.Odd Name": 50,
    }
    assert {name: filling.rows.get(name, 0) > 5 for name in expected} == dict.fromkeys(expected, True), (
        filling.rows
    )
    assert filling.rows["place"] == filling.rows["person"] == 50


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    "columns",
    [
        "code text not null check (length(code) = 8), low int not null, high int not null, check (high > low * 2 + 100)",
        "code text not null, a int, b int, check (length(code) = 3 and (a is null) <> (b is null))",
        "code text not null check (length(code) > 300), a int not null, b int not null, check (a = b)",
        "code text check (length(code) >= 40), p_id int references p, q_id int references q, check (num_nonnulls(p_id, q_id) = 1)",
        "code text not null check (length(code) = 9), tags text[] not null, n int not null, check (cardinality(tags) = n)",
    ],
)
def test_a_length_beside_a_condition_over_two_columns(wire: Wire, columns: str) -> None:
    """Columns that no pattern ties are drawn each by itself, until a condition over several of them is satisfied: the table is not left empty."""
    wire.one("create table p (id int primary key)")
    wire.one("create table q (id int primary key)")
    wire.one(f"create table a (id int primary key, {columns})")
    filling = Filling(wire, rows=20, seed=1)
    filling.fill()
    assert (filling.empty, filling.rows["a"] > 0) == ({}, True)


@pytest.mark.postgres("16", "18")
def test_partitions_of_partitions(rehearse: Callable[..., Rehearsal]) -> None:
    """The bound of each level is met by the column that it speaks of, and an INSERT into the whole finds its place."""
    base = (
        "create table ev (id bigint not null, at date not null, kind text not null) partition by range (at);"
        "create table ev_24 partition of ev for values from ('2024-01-01') to ('2025-01-01') partition by list (kind);"
        "create table ev_24_a partition of ev_24 for values in ('a');"
    )
    found = rehearse(base, "alter table ev add column z int;", base=1, queries="INSERT INTO ev (id, at, kind) VALUES ($1, $2, $3);")  # fmt: skip
    assert found.rows.rows["ev_24_a"] > 0
    assert found.compatibility["old"].answer == "compatible", found.compatibility["old"]


@pytest.mark.postgres("18")
def test_a_table_that_stays_empty(rehearse: Callable[..., Rehearsal]) -> None:
    """Where no row can be made the report says so, and names the checks that none satisfied."""
    base = "create table a (id int primary key, code text not null check (length(code) = 9), b text not null, check (b = md5(code)));"
    found = rehearse(base, "alter table a add column c int;", base=1)
    assert found.rows.empty["a"].startswith("no made-up row satisfied its checks: ")
    assert "md5(code)" in found.rows.empty["a"]
    assert f"a holds no rows: {found.rows.empty['a']}" in found.notes


def content(wire: Wire) -> list[object]:
    """Everything that stands in the tables."""
    return [sorted(map(str, wire.one(f"select t::text from {t.quoted} t").rows)) for t in read_tables(wire)]


@pytest.mark.postgres("18")
def test_a_seed_makes_the_same_rows(databases: Callable[[], str]) -> None:
    """The same seed gives the same rows, another seed others."""
    made = []
    for seed in (7, 7, 8):
        wire = Wire(Target(databases(), source="test"), "rows")
        wire.one(
            "create table a (id int primary key, name text, price numeric(8,2), at timestamptz, ref uuid)"
        )
        Filling(wire, rows=30, seed=seed).fill()
        made.append(content(wire))
        wire.close()
    assert made[0] == made[1] != made[2]


@pytest.mark.postgres("18")
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    low=st.integers(-50, 50),
    width=st.integers(1, 40),
    unique=st.booleans(),
    rows=st.integers(1, 60),
)
def test_any_table_with_a_bounded_number(
    database: str, kinds: list[str], low: int, width: int, unique: bool, rows: int
) -> None:
    """Whatever columns and whatever bounds: the fill never raises, and every row satisfies the check (the server sees to it); some row is found."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("drop table if exists t; drop domain if exists posint; drop type if exists mood")
        connection.execute(
            "create type mood as enum ('sad', 'ok'); create domain posint as int check (value > 0)"
        )
        columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(kinds))
        one = "unique" if unique else ""
        connection.execute(
            f"create table t (n int {one} check (n between {low} and {low + width}), {columns})"
        )  # type: ignore[call-overload]
    wire = Wire(Target(database, source="test"), "rows")
    try:
        filling = Filling(wire, rows=rows, seed=1)
        filling.fill()
        assert filling.empty == {}
        assert 1 <= filling.rows["t"] <= rows
    finally:
        wire.close()


@pytest.mark.postgres("18")
def test_rows_come_out_again(wire: Wire) -> None:
    """Clearing takes out what was put in and leaves what a migration put in, whatever refers to it."""
    wire.one("create table parent (id int primary key)")
    wire.one("create table seeded (id int primary key)")
    wire.one("insert into seeded values (1)")
    wire.one("create table child (id int primary key, parent_id int not null references parent)")
    filling = Filling(wire, rows=10, seed=1)
    filling.fill()
    assert set(filling.rows) == {"parent", "child"}
    wire.one("alter table child rename to kid")
    filling.clear()
    assert [wire.value(f"select count(*) from {name}") for name in ("parent", "kid", "seeded")] == [
        "0",
        "0",
        "1",
    ]
    filling.fill()
    assert set(filling.rows) == {"parent", "kid"}


@pytest.mark.postgres("18")
def test_a_move_is_taken_as_done(rehearse: Callable[..., Rehearsal]) -> None:
    """A file that waits for a move finds its rows filled in; the same file without that directive fails on them, surely."""
    base = "create table t (id int primary key);"
    add = "alter table t add column n int;"
    waits = "-- lockgate: after=move:fill_n\nalter table t alter column n set not null;"
    assert not [c for c in rehearse(base, add, waits, base=1).checks if c.id.startswith("rows:")]
    (found,) = [
        c for c in rehearse(base, add, waits.split("\n")[1], base=1).checks if c.id.startswith("rows:")
    ]
    assert (str(found.answer), found.reason_code) == ("fail", "MIGRATION_EXECUTION_FAILED")
