"""What `move plan` finds before anything is made: each thing that would stop or spoil a move later is named early."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lockgate.errors import LockgateError, Refused
from lockgate.moves.declaration import Gates, TargetSide, parse
from lockgate.moves.layout import budget_problems
from moves.hand import Hand
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
OLD = (
    "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, n numeric, at timestamp)"
)
ROWS = "INSERT INTO item (v, n, at) SELECT g::text, g / 4.0, '2026-01-01' FROM generate_series(1, 100) g"


def _plan(database: str, target: str, **more: Any) -> Any:
    run_sql(database, OLD, ROWS, *([target] if target else []))
    return Hand(database, **{"to": TargetSide("item_new", create=not target), **more}).plan()


@pytest.mark.parametrize(
    ("target", "more", "told"),
    [
        ("", {"columns": {"n": "nothere + 1"}, "reverse": {"n": "n"}}, "nothere"),
        ("", {"columns": {"n": "n"}, "reverse": {"n": "n +"}}, "reverse"),
        ("", {"columns": {"n": "random() * n"}, "reverse": {"n": "n"}}, "does not give the same twice"),
        ("", {"columns": {"at": "now()::timestamp"}, "reverse": {"at": "at"}}, "does not give the same twice"),
        ("", {"columns": {"n": "round(n)"}, "reverse": {"n": "n"}}, "the way back is lossy"),
        ("CREATE TABLE item_new (id bigint PRIMARY KEY, v text, n numeric, at timestamp)", {}, "takes its values from the sequence"),
        ('CREATE TABLE item_new (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text COLLATE "C", n numeric, at timestamp)', {}, "collation"),
        ("CREATE TABLE item_new (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, n numeric, at timestamptz)", {}, "timestamp"),
        ("CREATE TABLE item_new (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text UNIQUE, n numeric, at timestamp)", {}, "unique indexes that item has not"),
        ("CREATE TABLE item_new (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v varchar(5), n numeric, at timestamp)", {}, "character varying"),
        ("CREATE TABLE item_new (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, n numeric GENERATED ALWAYS AS (1) STORED, at timestamp)", {}, "generated"),
    ],
)  # fmt: skip
def test_it_is_refused_before_anything_is_made(database: str, target: str, more: dict[str, Any], told: str):
    """Expressions, lossy ways back, sequences, collations, types, time zones, indexes and generated columns: each is named by the plan."""
    planned = _plan(database, target, **more)
    assert any(told in p["what"] for p in planned.problems), planned.problems
    assert all(p["fix"] for p in planned.problems)
    assert run_sql(database, "SELECT count(*) FROM lockgate.move") == [(0,)]


def test_a_missing_index_is_accepted_by_name(database: str):
    """A target without one of the source's indexes is refused; declared as accepted it is a note, and the move may start."""
    target = "CREATE TABLE item_new (LIKE item INCLUDING ALL)"
    run_sql(database, OLD, ROWS, target, "CREATE INDEX ON item (v)")
    hand = Hand(database, to=TargetSide("item_new"))
    assert any("lacks indexes" in p["what"] for p in hand.plan().problems)
    hand = Hand(database, to=TargetSide("item_new"), accept=("indexes",))
    planned = hand.plan()
    assert planned.problems == []
    assert any("accepted (indexes)" in note for note in planned.notes)
    assert hand.start() == "dual_write"


def test_equal_ways_back_are_no_loss(database: str):
    """A mapping that brings everything back is no loss, whatever the number of digits behind the point; a refused row is a note."""
    run_sql(database, OLD, ROWS)
    hand = Hand(database, columns={"n": "n * 100"}, reverse={"n": "n / 100.0"})
    assert hand.plan().problems == []
    run_sql(database, "UPDATE item SET v = 'x' WHERE id = 50")
    noted = Hand(database, columns={"v": "(v::int)::text"}, reverse={"v": "v"}).plan()
    assert noted.problems == []
    assert any("quarantine" in note for note in noted.notes)


def test_a_target_that_cannot_be_made(database: str):
    """A target in a schema that is not there, or in one where this role may not create, is refused by the plan."""
    run_sql(database, OLD, ROWS)
    planned = Hand(database, to=TargetSide("elsewhere.item_new", create=True)).plan()
    assert any("there is no schema elsewhere" in p["what"] for p in planned.problems)


def test_the_connection_budget():
    """A server without room for workers, relay and comparison is refused."""
    assert budget_problems(2, [("a", 6, 6)]) == []
    assert "5 free connections" in budget_problems(2, [("a", 5, 6)])[0].what


def test_quarantine_has_a_cap(database: str):
    """With more refused rows than limits.quarantine_rows the move is paused, with the first of them named."""
    run_sql(database, "CREATE TABLE item (id bigint PRIMARY KEY, v text)", "INSERT INTO item SELECT g, CASE WHEN g % 3 = 0 THEN 'x' ELSE '1' END FROM generate_series(1, 60) g",
            "CREATE TABLE item_new (id bigint PRIMARY KEY, v int NOT NULL)")  # fmt: skip
    hand = Hand(
        database, to=TargetSide("item_new"), columns={"v": "v::int"}, reverse={"v": "v::text"}
    ).with_limits(quarantine_rows=3, workers=1)
    hand.start()
    with pytest.raises(LockgateError) as caught:
        hand.backfill()
    assert caught.value.code == "MOVE_QUARANTINE"
    assert "more than limits.quarantine_rows = 3" in caught.value.message
    assert hand.stage == "paused"


def test_a_cutover_keeps_to_its_windows(database: str):
    """Outside gates.cutover_windows the cutover is refused and the source serves; inside it goes through."""
    run_sql(database, OLD, ROWS)
    hand = Hand(database)
    hand.there()
    now = run_sql(
        database,
        "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '2 h', 'HH24:MI'), to_char(now() AT TIME ZONE 'UTC' + interval '3 h', 'HH24:MI')",
    )[0]
    hand = Hand(database, gates=Gates(cutover_windows=(f"daily {now[0]}-{now[1]} UTC",)))
    with pytest.raises(Refused) as caught:
        hand.cutover()
    assert caught.value.code == "OUTSIDE_WINDOW"
    assert hand.serving() == "source"
    Hand(database, gates=Gates(cutover_windows=("daily 00:00-23:59 UTC", "daily 23:00-01:00 UTC"))).cutover()
    assert hand.serving() == "target"


def test_a_broken_reverse_feed_is_shouted(database: str):
    """With the capture of the way back off, status says so, and neither a rollback nor a silent finish is possible."""
    from lockgate.moves.status import tell

    run_sql(database, OLD, ROWS)
    hand = Hand(database)
    hand.there()
    hand.cutover()
    run_sql(
        database,
        "ALTER TABLE item DISABLE TRIGGER zz_lockgate_items_reverse",
        "UPDATE item SET v = 'lost' WHERE id = 1",
    )
    with hand.open() as move:
        assert "THE REVERSE FEED IS BROKEN" in tell(move.home, move.far, move.row()).note
    for attempt in (hand.rollback, lambda: hand.finish()):
        with pytest.raises(LockgateError) as caught:
            attempt()
        assert caught.value.code in ("MOVE_DIVERGED", "MOVE_WINDOW")
    assert hand.serving() == "target"
    run_sql(database, "UPDATE lockgate.move SET rollback_until = now() - interval '1 h'")
    with pytest.raises(LockgateError) as caught:
        hand.finish()
    assert caught.value.code == "MOVE_DIVERGED"
    hand.finish(now=True)


def test_a_blocking_move_holds_migrations(tmp_path, database: str):
    """Beside a move that is declared blocking no migration runs, on other tables neither, until it has switched."""
    from support.calls import Project

    run_sql(database, OLD, ROWS)
    project = Project(tmp_path, database)
    project.write("first", "CREATE TABLE first (id bigint PRIMARY KEY);\n")
    project.ok("up", "up")
    hand = Hand(database, blocking=True)
    hand.there()
    project.write("beside", "CREATE TABLE beside (id bigint PRIMARY KEY);\n")
    assert "declared blocking" in project.json("up").error("MOVE_FROZEN")["message"]
    hand.cutover()
    assert len(project.ok("up", "up")["applied"]) == 1


def test_drift_that_lasts_aborts_by_itself(tmp_path, database: str):
    """Measured drift above 0.05 keeps the cutover shut; after 15 minutes the move aborts, with incident file and postmortem."""
    from support.calls import Project

    run_sql(database, OLD, ROWS)
    project = Project(tmp_path, database)
    (tmp_path / "moves").mkdir()
    (tmp_path / "moves/items.toml").write_text(
        '[source]\ntable = "item"\n[target]\ntable = "item_new"\ncreate = true\n'
    )
    project.ok("move", "move", "run", "items")
    project.ok("move", "move", "observe", "items", "--delta-s", "0.2")
    assert (
        "0.2 when it was last measured"
        in project.json("move", "cutover", "items").error("MOVE_STAGE")["message"]
    )
    run_sql(
        database,
        "UPDATE lockgate.move_event SET at = at - interval '16 min' WHERE kind = 'delta_s'",
        "UPDATE lockgate.move SET started_at = started_at - interval '1 h'",
    )
    answer = project.json("move", "observe", "items", "--delta-s", "0.06")
    assert answer.code == 1, answer
    document = answer.document("move")
    assert (document["stage"], document["serves"], document["result"]["aborted"]) == (
        "aborted",
        "source",
        True,
    )
    assert "incident.json" in document["result"]["incident"]
    page = next((tmp_path / "docs/postmortems").glob("move-items-*.md")).read_text()
    assert "ΔS stays above 0.05" in page
    assert "the source serves" in page


def test_the_example_of_the_docs_can_be_planned(database: str, tmp_path):
    """The declaration in docs/moves.md, on the tables that it speaks of, has no problem; a table never analysed is counted."""
    page = (Path(__file__).parents[2] / "docs" / "moves.md").read_text("utf-8")
    example = page.split("`moves/orders.toml`:\n")[1].split("    lockgate move plan orders")[0]
    made = re.search(r"# a migration made it: (CREATE TABLE .*;)", example)
    assert made is not None
    file = tmp_path / "orders.toml"
    file.write_text(textwrap.dedent(example), "utf-8")
    run_sql(
        database,
        "CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12, 2))",
        "INSERT INTO orders SELECT g, g / 4.0 FROM generate_series(1, 321) g",
        made[1],
    )
    hand = Hand(database)
    hand.declared = parse(file, "orders")
    planned = hand.plan()
    assert planned.problems == []
    assert (planned.rows, planned.batches) == (321, 1)


def test_create_makes_no_new_column(database: str):
    """A mapped column that the source has not, with create = true: the fix says that a migration has to make the table."""
    planned = _plan(database, "", columns={"cents": "n * 100"}, reverse={"n": "cents / 100"})
    (problem,) = [p for p in planned.problems if p["what"].startswith("columns.cents")]
    assert "make the table by a migration" in problem["fix"]
