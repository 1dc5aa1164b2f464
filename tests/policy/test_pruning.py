"""Which partitions constants lead to: what can be compared is, and what cannot is left open."""

import pytest
from claims import claim, model_of

from lockgate.policy.model.pruning import kept, route
from lockgate.policy.model.schema import Schema
from lockgate.postgres.tree import statements_of
from lockgate.postgres.tree import words as w

SETUP = """
CREATE TABLE p (d timestamptz, k text, n numeric) PARTITION BY RANGE (d);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO ('2021-01-01 12:30');
CREATE TABLE l (k text, n numeric) PARTITION BY LIST (n);
CREATE TABLE l1 PARTITION OF l FOR VALUES IN (1, 2.50);
CREATE TABLE l2 PARTITION OF l FOR VALUES IN (NULL);
CREATE TABLE t (k text) PARTITION BY RANGE (k);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('Straße') TO ('Zoo');
CREATE TABLE e (k text) PARTITION BY LIST (lower(k));
CREATE TABLE e1 PARTITION OF e FOR VALUES IN ('a');
CREATE TABLE h (id bigint, v text) PARTITION BY HASH (id);
CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE m (a int, b int) PARTITION BY RANGE (a);
CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10) PARTITION BY LIST (b);
CREATE TABLE m1x PARTITION OF m1 FOR VALUES IN (1, 2);
CREATE TABLE m1y PARTITION OF m1 DEFAULT;
CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20);
CREATE TABLE m3 PARTITION OF m FOR VALUES FROM (30) TO (MAXVALUE);
CREATE TABLE md PARTITION OF m DEFAULT;
CREATE TABLE plain (a int, b int);
"""


@pytest.fixture(scope="module")
def schema() -> Schema:
    return model_of(SETUP)


@pytest.mark.parametrize(
    ("table", "row", "expected"),
    [
        ("p", {"d": "s:2020-06-01"}, ["p1"]),
        ("p", {"d": "s:2021-01-01 12:29:59.9"}, ["p1"]),
        ("p", {"d": "s:2021-01-01 12:30:00"}, []),
        ("p", {"d": "s:2020-06-01 00:00+02"}, ["p1"]),
        ("p", {"d": "s:2020-01-01 01:00+02"}, []),
        ("p", {"d": "s:yesterday"}, []),
        ("p", {"d": "?"}, []),
        ("p", {}, []),
        ("l", {"n": "n:2.5"}, ["l1"]),
        ("l", {"n": "s: 1 "}, ["l1"]),
        ("l", {"n": "null"}, ["l2"]),
        ("l", {"n": "n:7"}, []),
        ("t", {"k": "s:Tal"}, []),
        ("e", {"k": "s:a"}, []),
        ("m", {"a": "n:5", "b": "n:2"}, ["m1", "m1x"]),
        ("m", {"a": "n:5", "b": "null"}, ["m1", "m1y"]),
        ("m", {"a": "n:5", "b": "?"}, ["m1"]),
        ("m", {"a": "null"}, ["md"]),
        ("m", {"a": "n:25"}, ["md"]),
    ],
)
def test_a_row_of_constants(schema: Schema, table: str, row: dict[str, str], expected: list[str]) -> None:
    """A row goes to the partition whose bounds hold it; where only the server knows the next step, the way ends."""
    assert route(schema, schema.relations[table], row) == expected


def asked(text: str) -> tuple[w.Condition, ...]:
    """What a query asks of the first table that it names."""
    (item,) = statements_of(text)
    assert isinstance(item.statement, w.Dml)
    return item.statement.query.accesses[0].conditions


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT FROM m WHERE a = 5 AND b = 1", "m1 m1x"),
        ("SELECT FROM m WHERE a = 5 AND b = 3", "m1 m1y"),
        ("SELECT FROM m WHERE a >= 8 AND a < 10 AND b IN (1, 2)", "m1 m1x"),
        ("SELECT FROM m WHERE a BETWEEN 12 AND 40", "m2 m3 md"),
        ("SELECT FROM m WHERE a > 35", "m3"),
        ("SELECT FROM m WHERE a IN (1, 15) AND b <> 2", "m1 m2 m1x m1y"),
        ("SELECT FROM m WHERE a = 1 OR a = 35", "m1 m3 m1x m1y"),
        ("SELECT FROM m WHERE a = 1 OR b = 35", "m1 m2 m3 md m1x m1y"),
        ("SELECT FROM m WHERE a IS NULL", "md"),
        ("SELECT FROM m WHERE NOT a < 30", "m3"),
        ("SELECT FROM m WHERE 15 = a::bigint", "m1 m2 m3 md m1x m1y"),
        ("SELECT FROM m WHERE a = 15.0", "m1 m2 m3 md m1x m1y"),
        ("SELECT FROM m WHERE a = -5", "md"),
        ("SELECT FROM m WHERE a = 15::bigint", "m2"),
        ("SELECT FROM m WHERE a = random()", "m1 m2 m3 md m1x m1y"),
        ("SELECT FROM m JOIN plain p ON p.a = m.a WHERE p.a = 15", "m2"),
        ("SELECT FROM m LEFT JOIN plain p ON p.a = m.a AND m.a = 15", "m1 m2 m3 md m1x m1y"),
        ("SELECT FROM m RIGHT JOIN plain p ON p.a = m.a AND m.a = 15", "m2"),
        ("SELECT FROM m RIGHT JOIN plain p ON p.a = m.a WHERE m.a IS NULL", "m1 m2 m3 md m1x m1y"),
        ("SELECT FROM m, plain WHERE m.a = plain.a AND plain.a = 15", "m2"),
        ("SELECT FROM m JOIN plain USING (a) WHERE a = 15", "m2"),
        ("UPDATE m SET b = 1 FROM plain p WHERE p.b = 3 AND m.a = 15", "m2"),
        ("DELETE FROM m USING plain p WHERE p.a = m.a AND p.a = 15", "m2"),
    ],
)
def test_conditions_leave_out_partitions(schema: Schema, query: str, expected: str) -> None:
    """WHERE, inner joins and what they hold equal leave out partitions as the planner does; an outer join guards its own side."""
    found = kept(schema, schema.relations["m"], asked(query))
    assert sorted(found) == sorted(expected.split())


def test_what_is_open_keeps_all(schema: Schema) -> None:
    """Where it cannot be told, the planner is taken to keep every partition; where it can, only one, or none."""
    assert kept(schema, schema.relations["t"], asked("SELECT FROM t WHERE k = 'Tal'")) == ["t1"]
    assert kept(schema, schema.relations["l"], asked("SELECT FROM l WHERE n = 1")) == ["l1"]
    assert kept(schema, schema.relations["l"], asked("SELECT FROM l WHERE n = 7")) == []
    assert kept(schema, schema.relations["l"], asked("SELECT FROM l WHERE n > 0")) == ["l1"]
    assert kept(schema, schema.relations["l"], ()) == ["l1", "l2"]


def test_a_hash_of_labels_is_known_to_the_server_alone() -> None:
    """Enum labels are hashed by numbers that each server gives out: all partitions are claimed, and it is said."""
    schema = model_of(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');"
        "CREATE TABLE hm (m mood, k int) PARTITION BY HASH (m);"
        "CREATE TABLE hm0 PARTITION OF hm FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE hm1 PARTITION OF hm FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
    )
    for text in ("SELECT * FROM hm WHERE m = 'sad'", "UPDATE hm SET k = 1 WHERE m = 'ok'"):
        _, facts = claim(text, schema, 16)
        assert {"hm", "hm0", "hm1"} <= set(facts.locks)
        assert ["only the server knows" in found.why for found in facts.hidden] == [True]
    _, facts = claim("INSERT INTO hm VALUES ('sad', 1)", schema, 16)
    assert ["only the server knows" in found.why for found in facts.hidden] == [True]
    _, facts = claim("SELECT * FROM hm WHERE k = 1", schema, 16)
    assert not facts.hidden


def test_a_value_that_is_rounded_on_its_way_in_goes_nowhere_known(schema: Schema) -> None:
    """9.5 becomes 10 in an integer column, which another partition holds: the table alone is claimed."""
    state = schema.relations["m"]
    assert route(schema, state, {"a": "n:9", "b": "n:1"}) == ["m1", "m1x"]
    assert route(schema, state, {"a": "n:9.5", "b": "n:1"}) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT a FROM (SELECT a FROM m UNION ALL SELECT a FROM plain) q WHERE a = 5", {"m1"}),
        (
            "SELECT a FROM (SELECT a FROM m EXCEPT SELECT a FROM plain) q WHERE a = 5",
            {"m1", "m2", "m3", "md"},
        ),
        (
            "SELECT a FROM (SELECT a FROM m UNION ALL (SELECT a FROM plain EXCEPT SELECT 1)) q WHERE a = 5",
            {"m1", "m2", "m3", "md"},
        ),
    ],
)
def test_no_condition_goes_into_except(schema: Schema, query: str, found: set[str]) -> None:
    """The planner pushes conditions through UNION, and nothing into arms of which one is taken from another."""
    _, facts = claim(query, schema, 16)
    assert set(facts.locks) & {"m1", "m2", "m3", "md"} == found
