"""What a source promises of its rows and a target demands: only what every row holds is a promise, only what the server enforces a demand."""

import pytest

from lockgate.moves.declaration import TargetSide
from lockgate.moves.functions import mentions
from lockgate.moves.transforms import Transform
from moves.hand import Hand, make
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
HALVES = {"columns": {"n": Transform("moves.shop:halved", "1", ("n",))}, "reverse": {"n": "n * 2"}}


def test_a_lossy_way_back_beside_a_function(database: str):
    """A way back in SQL that loses is refused also where another column is made by a function whose name is a piece of a word of it."""
    make(database, 60)
    hand = Hand(database, columns={**HALVES["columns"], "v": "v"}, reverse={"n": "n * 2", "v": "substring(v, 1, 2)"})  # fmt: skip
    planned = hand.plan()
    assert [p["what"] for p in planned.problems if "the way back is lossy: [reverse] v" in p["what"]]
    (note,) = [note for note in planned.notes if "reads what a Python function makes" in note]
    assert note.startswith("[reverse] n = 'n * 2'")


def test_names_are_whole_words():
    """A column is mentioned by its name, folded or in quotes, and not by a piece of a word, a text or a comment."""
    assert all(mentions(sql, "n") for sql in ("N + 1", 'f("n")', "t.n::text"))
    assert not any(mentions(sql, "n") for sql in ("substring(v, 1)", "'n'", "v -- n", '"N"', "_n"))


@pytest.mark.parametrize(
    ("promise", "demand", "told"),
    [
        ("ADD CHECK (u <> 7) NOT VALID", "ADD CHECK (u <> 7)", "CHECK ((u <> 7))"),
        ("ADD CONSTRAINT there NOT NULL n NOT VALID", "ALTER n SET NOT NULL", "item_new.n is NOT NULL"),
    ],
)
def test_what_no_row_was_asked_for(database: str, promise: str, demand: str, told: str):
    """A constraint of the source that is NOT VALID promises nothing of the rows from before: the target's own is a problem while one of them breaks it, and nothing once it is validated."""
    make(database, 60)
    run_sql(
        database,
        "UPDATE item SET n = NULL WHERE u = 7",
        "CREATE TABLE item_new (LIKE item INCLUDING ALL)",
        f"ALTER TABLE item {promise}",
        f"ALTER TABLE item_new {demand}",
    )
    hand = Hand(database, to=TargetSide("item_new"))
    (problem,) = hand.plan().problems
    assert told in problem["what"]
    assert "(0, k7)" in problem["what"]
    run_sql(database, "DELETE FROM item WHERE u = 7")
    planned = hand.plan()
    assert planned.problems == []
    assert any(told in note and "no row breaks it now" in note for note in planned.notes)
    for (name,) in run_sql(database, "SELECT quote_ident(conname) FROM pg_constraint WHERE conrelid = 'item'::regclass AND NOT convalidated"):  # fmt: skip
        run_sql(database, f"ALTER TABLE item VALIDATE CONSTRAINT {name}")
    planned = hand.plan()
    assert (planned.problems, [n for n in planned.notes if "does not promise" in n]) == ([], [])


def test_a_check_that_is_not_enforced(database: str):
    """A CHECK of the target that is NOT ENFORCED refuses no row, so that neither problem nor note speaks of it; the source's promises nothing."""
    make(database, 60)
    run_sql(
        database,
        "CREATE TABLE item_new (LIKE item INCLUDING ALL)",
        "ALTER TABLE item_new ADD CHECK (u <> 7) NOT ENFORCED",
    )
    hand = Hand(database, to=TargetSide("item_new"))
    planned = hand.plan()
    assert (planned.problems, [n for n in planned.notes if "does not promise" in n]) == ([], [])
    run_sql(
        database,
        "ALTER TABLE item ADD CHECK (u <> 9) NOT ENFORCED",
        "ALTER TABLE item_new ADD CHECK (u <> 9)",
    )
    (problem,) = hand.plan().problems
    assert "(2, k9)" in problem["what"]


def test_a_demand_on_what_a_function_makes(database: str):
    """NOT NULL on a column that a function makes is a note that says so, without an error of a query of lockgate's own."""
    make(database, 60)
    run_sql(database, "CREATE TABLE item_new (LIKE item INCLUDING ALL)", "ALTER TABLE item_new ALTER n SET NOT NULL")  # fmt: skip
    planned = Hand(database, to=TargetSide("item_new"), **HALVES).plan()
    (note,) = [n for n in planned.notes if "does not promise" in n]
    assert "n is made by a function" in note
    assert "does not exist" not in note
