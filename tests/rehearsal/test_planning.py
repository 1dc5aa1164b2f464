"""How the queries of a release are planned: by EXPLAIN (GENERIC_PLAN) where the server has it, else as a prepared statement."""

from collections.abc import Callable

import pytest

from lockgate.postgres.placeholders import typed
from lockgate.postgres.scratch import Ground
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.planning import plan
from lockgate.rehearsal.report import Rehearsal

BASE = """
create type mood as enum ('sad', 'happy');
create table users (id bigint primary key, email text not null, code char(4), bits bit(3), feels mood, tags text[], day date);
create index users_email on users (email);
create index users_code on users (code);
"""
QUERIES = """
SELECT id FROM users WHERE email = $1 AND day > now() - $2 * interval '1 day';
SELECT $1, id FROM users WHERE code = $2 OR tags @> ARRAY[$3] LIMIT $4;
INSERT INTO users (id, email, code, bits, feels) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET feels = $5;
UPDATE users SET tags = $1, feels = $2 WHERE id = ANY($3) RETURNING *;
WITH gone AS (DELETE FROM users WHERE id = $1 RETURNING id) SELECT count(*) FROM gone;
SELECT 'it costs $1 -- é', id FROM users WHERE email = $1;
SELECT count(*) FROM users;
"""


@pytest.mark.postgres("16", "18", "machine")
def test_which_way_is_taken(rehearse: Callable[..., Rehearsal], ground: Ground) -> None:
    """From 16 on every query is planned by EXPLAIN (GENERIC_PLAN) at every revision; below, each as a prepared statement, and the evidence says why."""
    old = rehearse(BASE, "alter table users add column nick text;", base=1, queries=QUERIES).compatibility[
        "old"
    ]
    assert old.answer == "reconnect"
    outcomes = [o for q in old.queries for o in q.outcomes]
    assert len(outcomes) == 14
    way, why = ("generic_plan", "") if ground.version >= 160_000 else ("force_generic_plan", "older than 16")
    assert {o.planned for o in outcomes} == {way}
    assert all(why in o.planned_why and bool(o.planned_why) == bool(why) for o in outcomes)


@pytest.mark.postgres("16", "18", "machine")
def test_an_index_that_serves_no_more(rehearse: Callable[..., Rehearsal]) -> None:
    """Either way of planning sees that the index of a condition on a char(4) is gone, and names the table."""
    queries = "SELECT id FROM users WHERE code = $1; SELECT id FROM users WHERE email = $1;"
    old = rehearse(BASE, "drop index users_code;", base=1, queries=queries).compatibility["old"]
    notes = [[o.note for o in q.outcomes] for q in old.queries]
    assert notes == [["", "reads users from end to end: no index serves it any more"], ["", ""]]


@pytest.mark.postgres("16", "18")
def test_a_query_that_has_no_plan_of_its_text(wire: Wire, ground: Ground) -> None:
    """What cannot be planned of its text alone is planned as the prepared statement that it is, and the server's words are kept; the session is as before."""
    wire.one("PREPARE q (int) AS SELECT to_json($1)")
    way = plan(wire, ground.version, "SELECT to_json($1)", [], "EXECUTE q (1)")
    assert way.way == "force_generic_plan"
    assert "42804" in way.why
    none = plan(wire, ground.version, "SELECT to_json($1)", [], "EXECUTE nowhere (1)")
    assert (none.way, none.scans) == ("", None)
    assert "42804" in none.why
    assert "26000" in none.why
    assert plan(wire, ground.version, "SELECT to_json($1)", ["integer"], "").way == "generic_plan"
    assert [wire.value(f"SHOW {name}") for name in ("enable_seqscan", "plan_cache_mode")] == ["on", "auto"]


def test_a_text_with_its_types() -> None:
    """Every place of a parameter gets its type, by bytes and not in strings or comments; no length is added, and nothing to what has no type or no parse."""
    assert typed("SELECT 'é$1', $1 -- $1\n, $2[1], $1", ["bigint", "text[]"]) == (
        "SELECT 'é$1', ($1::bigint) -- $1\n, ($2::text[])[1], ($1::bigint)"
    )
    told = typed("SELECT $1, $2, $3, $4", ["character", "bit[]", "unknown"])
    assert told == 'SELECT ($1::bpchar), ($2::"bit"[]), $3, $4'
    assert typed("SELECT $10 FROM t WHERE a = $1", ["int"]) == "SELECT $10 FROM t WHERE a = ($1::int)"
    assert typed("interval $1 is no SQL", ["int"]) == "interval $1 is no SQL"


@pytest.mark.postgres("16", "18", "machine")
@pytest.mark.parametrize(
    "change",
    [
        "alter type mood rename to feeling;",
        "create schema kinds; alter type mood set schema kinds;",
        "alter table users alter column feels type text; drop type mood;",
        "alter table users alter column feels type text;",
    ],
)
def test_a_type_of_another_name(rehearse: Callable[..., Rehearsal], change: str) -> None:
    """A driver sends no number of a type that the schema made, and never a name: parameters of an enum that is renamed, moved or replaced go on."""
    queries = "UPDATE users SET feels = $1 WHERE id = $2; SELECT id FROM users WHERE feels = $1;"
    old = rehearse(BASE, change, base=1, queries=queries).compatibility["old"]
    assert old.answer in ("compatible", "reconnect"), old.breaks
