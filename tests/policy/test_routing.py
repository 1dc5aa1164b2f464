"""Which partition constants lead to: what can be compared is, and what cannot is left open."""

import pytest
from claims import model_of

from lockgate.policy.model.routing import pruned, route
from lockgate.policy.model.schema import Schema

SETUP = """
CREATE TABLE p (d timestamptz, k text, n numeric) PARTITION BY RANGE (d);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO ('2021-01-01 12:30');
CREATE TABLE l (k text, n numeric) PARTITION BY LIST (n);
CREATE TABLE l1 PARTITION OF l FOR VALUES IN (1, 2.50);
CREATE TABLE l2 PARTITION OF l FOR VALUES IN (NULL);
CREATE TABLE t (k text) PARTITION BY RANGE (k);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('a') TO ('m');
CREATE TABLE e (k text) PARTITION BY LIST (lower(k));
CREATE TABLE e1 PARTITION OF e FOR VALUES IN ('a');
"""


@pytest.fixture
def schema() -> Schema:
    return model_of(SETUP)


@pytest.mark.parametrize(
    ("table", "row", "expected"),
    [
        ("p", {"d": "s:2020-06-01"}, ["p1"]),
        ("p", {"d": "s:2021-01-01 12:29:59.9"}, ["p1"]),
        ("p", {"d": "s:2021-01-01 12:30:00"}, None),
        ("p", {"d": "s:2020-06-01 00:00+02"}, None),
        ("p", {"d": "s:yesterday"}, None),
        ("p", {"d": "?"}, None),
        ("p", {}, None),
        ("l", {"n": "n:2.5"}, ["l1"]),
        ("l", {"n": "s: 1 "}, ["l1"]),
        ("l", {"n": "null"}, ["l2"]),
        ("l", {"n": "n:7"}, None),
        ("t", {"k": "s:b"}, None),
        ("e", {"k": "s:a"}, None),
    ],
)
def test_a_row_of_constants(schema: Schema, table: str, row: dict[str, str], expected: list[str] | None):
    """A row goes to the partition whose bounds hold it; an order that only the server knows gives no answer."""
    assert route(schema, schema.relations[table], row) == expected


def test_what_is_open_keeps_all(schema: Schema):
    """Where it cannot be told, the planner is taken to keep every partition; where it can, only one, or none."""
    assert pruned(schema, schema.relations["t"], {"k": "s:b"}) == ["t1"]
    assert pruned(schema, schema.relations["l"], {"n": "n:1"}) == ["l1"]
    assert pruned(schema, schema.relations["l"], {"n": "n:7"}) == []
    assert pruned(schema, schema.relations["l"], {}) == ["l1", "l2"]
