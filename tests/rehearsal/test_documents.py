"""Releases that write JSON documents and rows of composite types: a NULL inside one is a NULL that they may send."""

from collections.abc import Callable

import pytest

from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.shapes import made_of

BASE = """
create type sent as (id bigint, email text, nick text);
create type place as (street text, town text);
create table users (id bigint primary key, email text not null, nick text, age int, at timestamptz, kind text not null default 'x', home place not null default row('a', 'b')::place, doc jsonb not null default '{}');
"""
SET = "alter table users alter column nick set not null;"
CHECK = "alter table users add constraint told check (nick is not null) not valid;"
INTO = "INSERT INTO users (id, email, nick)"
WRITES = (
    f"{INTO} VALUES (($1::jsonb->>'id')::bigint, $1::jsonb->>'email', $1::jsonb->>'nick');",
    f"{INTO} SELECT id, email, nick FROM jsonb_to_record($1) AS x (id bigint, email text, nick text);",
    f"{INTO} SELECT * FROM json_to_recordset($1) AS x (id bigint, email text, nick text);",
    f"{INTO} SELECT id, email, nick FROM jsonb_populate_record(NULL::users, $1);",
    f"{INTO} SELECT * FROM jsonb_populate_recordset(NULL::sent, $1);",
    f"{INTO} SELECT (e->>'id')::bigint, e->>'email', lower(e->'more'->>'nick') FROM jsonb_array_elements($1) e;",
    f"WITH v AS (SELECT * FROM jsonb_to_recordset($1) AS x (id bigint, email text, nick text)) {INTO} SELECT id, email, nick FROM v;",
    f"{INTO} SELECT ($1::sent).*;",
    f"{INTO} SELECT (r).id, (r).email, (r).nick FROM unnest($1::sent[]) r;",
    f"{INTO} SELECT * FROM unnest($1::sent[]);",
    "INSERT INTO users SELECT ($1::users).*;",
    "WITH d (said) AS (SELECT $1::jsonb) UPDATE users SET nick = said->>'nick', age = (said->>'age')::int FROM d WHERE id = (said->>'id')::bigint;",
    "UPDATE users SET nick = v.nick FROM jsonb_to_recordset($1) AS v (id bigint, nick text) WHERE users.id = v.id;",
    f"{INTO} SELECT j.id, j.email, j.nick FROM jsonb_array_elements($1) e, jsonb_to_record(e) AS j (id bigint, email text, nick text) ON CONFLICT (id) DO UPDATE SET nick = excluded.nick;",
    "UPDATE users SET nick = nick || $1 WHERE id = $2;",
    f"{INTO} VALUES ($1, $2, $3 || 'x');",
)  # fmt: skip


def told(found: Rehearsal) -> str:
    """The words of the check that says what the queries of the old release may expect."""
    return next(check.details for check in found.checks if check.id == "compatibility:old")


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("change", [SET, CHECK])
def test_a_null_inside(rehearse: Callable[..., Rehearsal], change: str) -> None:
    """However a release takes a document or row apart, a NULL in the part that goes into the column stands against a later NOT NULL or CHECK, by name."""
    found = rehearse(BASE, change, base=1, queries="\n".join(WRITES))
    old = found.compatibility["old"]
    answers = {q.query: (q.base, q.answer) for q in old.queries}
    assert set(answers.values()) == {("1700000000000", "hold")}, [
        (q.query, q.outcomes) for q in old.queries if q.answer != "hold" or q.base is None
    ]
    assert all("sends NULL for users.nick, " in q.outcomes[-1].message for q in old.queries)


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    "change",
    [
        "alter table users alter column age set not null; alter table users alter column age set default 1;",
        "alter table users add constraint told check (length(nick) < 100000) not valid;",
        "alter table users add column more text;",
        "alter table users alter column kind set default 'y';",
    ],
)
def test_what_is_no_matter(rehearse: Callable[..., Rehearsal], change: str) -> None:
    """Changes that no part of a document or row meets stay compatible, or at worst want a new connection."""
    apart = [text for text in WRITES if "age" not in text and "users).*" not in text]
    old = rehearse(BASE, change, base=1, queries="\n".join(apart)).compatibility["old"]
    assert old.answer in ("compatible", "reconnect"), old.queries


@pytest.mark.postgres("18")
def test_a_table_of_json(rehearse: Callable[..., Rehearsal]) -> None:
    """JSON_TABLE and JSON_VALUE, which 17 brought, are taken apart like the others."""
    queries = f"""
    {INTO} SELECT * FROM json_table($1::jsonb, '$.all[*]' COLUMNS (id bigint, email text PATH '$.mail', nick text));
    {INTO} SELECT j.id, j.email, j.nick FROM json_table($1::jsonb, '$[*]' COLUMNS (id bigint, email text, NESTED PATH '$.in' COLUMNS (nick text))) j;
    UPDATE users SET nick = json_value($1::jsonb, '$.nick') WHERE id = $2;
    """
    old = rehearse(BASE, SET, base=1, queries=queries).compatibility["old"]
    assert [(q.base, q.answer) for q in old.queries] == [("1700000000000", "hold")] * 3, old.queries


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("change", "query"),
    [
        ("alter table users add constraint told check ((home).street is not null) not valid;", "UPDATE users SET home = row($1, $2)::place WHERE id = $3;"),
        ("alter table users add constraint told check (jsonb_typeof(doc->'nick') <> 'null') not valid;", "UPDATE users SET doc = jsonb_build_object('nick', $1::text) WHERE id = $2;"),
    ],
)  # fmt: skip
def test_a_null_inside_a_value(rehearse: Callable[..., Rehearsal], change: str, query: str) -> None:
    """A column that never holds NULL may hold a value with NULL in it, which a new CHECK refuses."""
    old = rehearse(BASE, change, base=1, queries=query).compatibility["old"]
    assert old.answer == "hold", old.queries


@pytest.mark.postgres("18")
def test_a_document_meets_what_values_meet(rehearse: Callable[..., Rehearsal]) -> None:
    """The parts of a document are what single parameters are: a narrower CHECK, a new unique key and a column that is gone break the query."""
    base = "create table jobs (id bigint primary key, state text not null check (state in ('new', 'old')), mail text);"
    query = "INSERT INTO jobs SELECT * FROM jsonb_to_recordset($1) AS x (id bigint, state text, mail text);"
    changes = {
        "alter table jobs add constraint narrower check (state in ('new')) not valid;": "23514",
        "create unique index once on jobs (mail);": "23505",
        "alter table jobs alter column mail type varchar(9) using left(mail, 9);": "22001",
        "alter table jobs drop column mail;": "42601",
    }
    for change, state in changes.items():
        old = rehearse(base, change, base=1, queries=query).compatibility["old"]
        assert [b.sqlstate for b in old.breaks] == [state], (change, old.queries)


def test_a_document_of_parts() -> None:
    """Paths share their beginnings, numbers make arrays, and a row is made of its document."""
    leaves = [((0, "a"), "X"), ((0, "b", "c"), "Y")]
    made = "pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('a', X, 'b', pg_catalog.jsonb_build_object('c', Y)))"
    assert made_of(leaves, "jsonb") == f"({made})::jsonb"
    assert made_of([(("a",), "X")], "t") == "pg_catalog.jsonb_populate_record(NULL::t, pg_catalog.jsonb_build_object('a', X))"  # fmt: skip
