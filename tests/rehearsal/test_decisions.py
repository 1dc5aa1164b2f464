"""What is decided without a database: parameters of queries, answers of releases, estimates, order of filling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.postgres.placeholders import queries_of, uses_of
from lockgate.postgres.script import ScriptError
from lockgate.postgres.tables import ColumnOf, ForeignKey, Table
from lockgate.rehearsal.compatibility import (
    BREAKS,
    COMPATIBLE,
    HOLD,
    RECONNECT,
    Outcome,
    answer_of,
    proof_of,
    worst,
)
from lockgate.rehearsal.impact import Range, duration, volume
from lockgate.rehearsal.load import Sample, load_of
from lockgate.rehearsal.rows import fill, in_order, inserted
from lockgate.rehearsal.values import candidates, conjuncts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("insert into t (a, b) values ($1, $2)", [("insert", "a"), ("insert", "b")]),
        ("insert into t values ($1, default), ($2, 3)", [("insert", 0), ("insert", 0)]),
        ("insert into t select $1, x from s where y = $2", [("insert", 0), ("filter", "y")]),
        ("insert into t (a) values ($1) on conflict (a) do update set b = $2", [("insert", "a"), ("set", "b")]),
        ("update t set a = $1::int, b = b + $2 where c = $3", [("set", "a"), ("operand", "b"), ("filter", "c")]),
        ("insert into t (a, b) values (lower($1), coalesce($2, 'x'))", [("within", "a"), ("within", "b")]),
        ("delete from t where lower(a) = lower($1) and $2 < b", [("filter", "a"), ("filter", "b")]),
        ("select * from t where a in ($1, $2) and b between $3 and $4 limit $5 offset $6", [("filter", "a")] * 2 + [("filter", "b")] * 2 + [("limit", "")] * 2),
        ("select $1::text", [("other", "")]),
        ("select 1", []),
    ],
)  # fmt: skip
def test_what_a_parameter_stands_for(text: str, expected: list[tuple[str, object]]) -> None:
    """Each parameter is known by its role, and by the column (or its position) that it is written to, compared or combined with."""
    found = [(u.role, u.column or (u.position if u.position >= 0 else "")) for u in uses_of(text)]
    assert found == expected


def test_where_a_column_is_looked_for() -> None:
    """An alias leads to its table; without one, all tables in sight are tried, the inner ones first; ANY wants an array."""
    one, two = uses_of(
        "select * from app.users u join orders o on o.user_id = u.id where u.id = $1 and total = any ($2)"
    )
    assert (one.relations, one.column) == ((("app", "users"),), "id")
    assert two.relations == (("app", "users"), ("", "orders"))
    assert (one.many, two.many) == (False, True)
    (inner,) = uses_of("select 1 from a where exists (select 1 from b where c = $1)")
    assert inner.relations == (("", "b"), ("", "a"))


def test_what_is_no_query() -> None:
    """What cannot be prepared is refused with its line; comments and semicolons are no queries."""
    with pytest.raises(ScriptError) as refused:
        queries_of("select 1;\n\nset search_path = x;")
    assert refused.value.line == 3
    found = queries_of("-- one\nselect 1;;\n/* two */ delete from t;")
    assert [(q.text, q.kind) for q in found] == [("select 1", "read"), ("delete from t", "write")]


def outcome(revision: int, answer: str) -> Outcome:
    return Outcome(str(revision), answer, "42703" if answer == BREAKS else "", "")


@pytest.mark.parametrize(
    ("answers", "whole", "expected", "broken"),
    [
        ([COMPATIBLE, COMPATIBLE], True, COMPATIBLE, []),
        (["", "", COMPATIBLE], True, COMPATIBLE, []),
        ([COMPATIBLE, RECONNECT, COMPATIBLE], True, RECONNECT, []),
        ([COMPATIBLE, BREAKS, BREAKS], True, BREAKS, ["1"]),
        ([COMPATIBLE, BREAKS, COMPATIBLE, BREAKS], True, BREAKS, ["1", "3"]),
        (["", ""], True, HOLD, []),
        ([], True, HOLD, []),
        ([COMPATIBLE], False, HOLD, []),
        ([COMPATIBLE, BREAKS], False, BREAKS, ["1"]),
    ],
)
def test_the_answer_of_a_query(answers: list[str], whole: bool, expected: str, broken: list[str]) -> None:
    """What worked and fails breaks, once; what never worked holds; what could not be followed to its end holds."""
    proof = proof_of("q", 1, "read", [outcome(n, a) for n, a in enumerate(answers)], whole=whole)
    assert proof.answer == expected
    assert [b.revision for b in answer_of([proof]).breaks] == broken


@given(st.lists(st.sampled_from([COMPATIBLE, RECONNECT, BREAKS, HOLD])))
def test_the_answer_of_a_release(answers: list[str]) -> None:
    """A release is as good as its worst query; one without queries holds."""
    assert worst(answers) == next((a for a in (BREAKS, HOLD, RECONNECT, COMPATIBLE) if a in answers), HOLD)


@given(
    st.integers(1, 10**5), st.integers(1, 10**6), st.floats(0, 10), st.floats(0, 100), st.integers(0, 10**9), st.booleans(), st.booleans()
)  # fmt: skip
def test_an_estimate_is_a_band(
    n1: int, more: int, d1: float, d2: float, rows: int, sorts: bool, grows: bool
) -> None:
    """Whatever was measured: low is not above what is expected, that not above high, nothing is negative, and the band is never empty."""
    for found in (
        duration([(n1, d1), (n1 + more, d2)], rows, sorts=sorts, grows=grows),
        volume([(n1, d1), (n1 + more, d2)], rows),
    ):
        assert 0 <= found.low <= found.expected <= found.high
        assert found.high > 0


def test_an_estimate_grows_with_the_rows() -> None:
    """Ten times the rows cost about ten times as much when the statement reads them, and as much as before when it does not; the band widens."""
    near = duration([(1000, 0.1), (10_000, 1.0)], 100_000)
    far = duration([(1000, 0.1), (10_000, 1.0)], 10_000_000)
    assert near.expected == pytest.approx(10)
    assert far.high / far.low > near.high / near.low
    assert duration([(1000, 0.001), (10_000, 0.001)], 10**8, grows=False).high < 0.01
    assert duration([(1000, 0.1), (10_000, 1.0)], 100_000, sorts=True).expected > near.expected
    assert Range(1, 2, 3) + Range(1, 1, 1) == Range(2, 3, 4)


def column(name: str, base: str = "int4", **more: object) -> ColumnOf:
    return ColumnOf(name, base, base, category="N" if base.startswith("int") else "S", **more)  # type: ignore[arg-type]


def test_parents_come_first() -> None:
    """Tables are filled after those that they refer to; a circle is no endless loop."""
    a = Table(1, "r", "public", "a", (), (ForeignKey(("x",), "public", "b", ("id",)),))
    b = Table(2, "r", "public", "b", (), (ForeignKey(("x",), "public", "c", ("id",)),))
    c = Table(3, "r", "public", "c", ())
    assert [t.name for t in in_order([a, b, c])] == ["c", "b", "a"]
    circle = Table(4, "r", "public", "d", (), (ForeignKey(("x",), "public", "e", ("id",)),))
    other = Table(5, "r", "public", "e", (), (ForeignKey(("x",), "public", "d", ("id",)),))
    assert {t.name for t in in_order([circle, other])} == {"d", "e"}


def test_a_type_that_nobody_knows() -> None:
    """A column of an unknown type is left out where it may be, else the table is said to be unfillable."""
    known, odd = column("id", not_null=True), column("shape", "geometry")
    statement = fill(Table(1, "r", "public", "t", (known, odd)), 5, 1)
    assert statement is not None
    assert '"shape"' not in statement
    assert (
        fill(Table(1, "r", "public", "t", (known, column("shape", "geometry", not_null=True))), 5, 1) is None
    )
    assert inserted("INSERT 0 17") == 17


def test_what_a_check_speaks_of() -> None:
    """The values that a check names are candidates for its column, those of another column's check are not."""
    found = candidates(
        column("kind", "text"), ("(kind = ANY (ARRAY['a'::text, 'it''s'::text]))", "(other = 'z'::text)"), "g"
    )
    assert found == ["'a'::text", "'it''s'::text"]
    assert "(18 + 0)::int4" in candidates(column("age"), ("(age >= 18)",), "g")
    joined = "((at >= '2024-01-01'::date) AND (at < '2025-01-01'::date) AND (kind = 'a AND b'::text))"
    assert candidates(column("kind", "text"), (joined,), "g") == ["'a AND b'::text"]
    assert conjuncts("(a > 1) AND (b > 2 OR c)") == ["a > 1", "b > 2 OR c"]
    assert conjuncts("((a = ANY (ARRAY[1, 2])))") == ["a = ANY (ARRAY[1, 2])"]


def test_the_figures_of_a_load() -> None:
    """The slowest of each kind before and while the files ran; failures are counted and named once."""
    samples = [
        Sample(1, 0.01, "read"),
        Sample(1, 0.02, "write"),
        Sample(5, 2.0, "read"),
        Sample(6, 0.5, "write", "gone"),
        Sample(7, 0.1, "write", "gone"),
    ]
    found = load_of(samples, 2.0, 3, 7.5)
    assert (found.calm_read_ms, found.calm_write_ms, found.slowest_read_ms, found.slowest_write_ms) == (
        10,
        20,
        2000,
        500,
    )
    assert (found.transactions, found.failed, found.errors, found.clients) == (5, 2, ("gone",), 3)
