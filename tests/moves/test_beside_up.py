"""`up` beside a running move: the moving table keeps its shape, files wait for the move, everything else goes on."""

import psycopg
import pytest

from lockgate.errors import LockgateError
from moves.hand import Hand, make
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def project(tmp_path, database: str) -> Project:
    """A project on a database that is under lockgate and holds the table ``item``."""
    make(database, 200)
    made = Project(tmp_path, database)
    made.write("first", "CREATE TABLE first (id bigint PRIMARY KEY);\n")
    made.ok("up", "up")
    return made


def test_a_moving_table_keeps_its_shape(project: Project, database: str):
    """A file that changes a moving table is refused with file, line, table and move; one beside it is not; later both pass."""
    hand = Hand(database)
    hand.start()
    project.write("beside", "CREATE TABLE beside (id bigint PRIMARY KEY);\n")
    assert len(project.ok("up", "up")["applied"]) == 1
    revision = project.write(
        "change", "-- lockgate: phase=expand\n\nALTER TABLE item ADD COLUMN extra int;\n"
    )
    answer = project.json("up")
    assert answer.code == 4, answer
    answer.error("MOVE_FROZEN")
    assert f"{revision}_change.sql:3 changes item, which the move items is copying" in answer.err
    assert run_sql(database, "SELECT count(*) FROM pg_attribute WHERE attname = 'extra'") == [(0,)]
    hand.backfill()
    hand.reconcile()
    hand.cutover()
    hand.finish(now=True)
    assert len(project.ok("up", "up")["applied"]) == 1


def test_a_file_waits_for_its_move(project: Project, database: str):
    """A file with after=move:<name> is held, exit 4, until the move is reconciled; what stands before it is applied."""
    before = project.write("before_it", "CREATE TABLE before_it (id bigint PRIMARY KEY);\n")
    waits = project.write(
        "waits", "-- lockgate: after=move:items\nCREATE TABLE after_it (id bigint PRIMARY KEY);\n"
    )
    planned = project.json("plan")
    assert planned.code == 4  # the plan says what `up` will do
    assert [(o["code"], o["revision"]) for o in planned.document("plan")["held"]] == [
        ("MOVE_WAITED_FOR", waits)
    ]
    held = project.json("up")
    assert held.code == 4, held
    held.error("MOVE_WAITED_FOR")
    assert "the move items was never started here" in held.err
    assert [r["revision"] for r in project.ok("status", "status")["applied"]][-1] == before
    hand = Hand(database)
    hand.start()
    held = project.json("up")
    assert held.code == 4
    held.error("MOVE_WAITED_FOR")
    assert "not reconciled" in held.err
    hand.backfill()
    hand.reconcile()
    assert project.ok("plan", "plan")["held"] == []
    assert [f["revision"] for f in project.ok("up", "up")["applied"]] == [waits]


def test_the_target_in_another_database_keeps_its_shape(two, tmp_path):
    """`up` of the target's database refuses to change the target from the start on, though the ledger is elsewhere, and lets it be changed after `finish`; other files pass."""
    make(two.source, 200)
    far = Project(tmp_path / "far", two.target)
    far.write("first", "CREATE TABLE first (id bigint PRIMARY KEY);\n")
    far.ok("up", "up")
    hand = Hand(two.source, two.target)
    hand.start()
    far.write("beside", "CREATE TABLE beside (id bigint PRIMARY KEY);\n")
    assert len(far.ok("up", "up")["applied"]) == 1
    revision = far.write("change", "-- lockgate: phase=expand\n\nALTER TABLE item ADD COLUMN extra int;\n")
    for step in (hand.backfill, hand.reconcile, hand.cutover, lambda: None):
        answer = far.json("up")
        assert answer.code == 4, answer
        told = answer.error("MOVE_FROZEN")["message"]
        assert told == f"{revision}_change.sql:3 changes item, which the move items, whose ledger is in another database, is copying"  # fmt: skip
        step()
    hand.finish(now=True)
    assert len(far.ok("up", "up")["applied"]) == 1


@pytest.mark.parametrize("step", ["backfill", "reconcile", "relay", "cutover"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("ALTER TABLE item ADD COLUMN extra int", "the target table changed under the move (columns, partitions or its triggers)"),
        ("ALTER TABLE item DISABLE TRIGGER lockgate_barrier_items", "the barrier of the target table is off: others may have written there"),
    ],
)  # fmt: skip
def test_a_target_that_is_changed_by_hand_pauses(two, step: str, change: str, reason: str):
    """A change of the target in another database behind the move's back (a column, its barrier switched off) pauses the move at the next step, whichever it is, and the reason names the side."""
    make(two.source, 200)
    hand = Hand(two.source, two.target)
    hand.start()
    if step != "backfill":
        hand.backfill()
    if step == "cutover":
        hand.reconcile()
    run_sql(two.target, change)
    with pytest.raises(LockgateError, match=reason.partition(" (")[0]):
        getattr(hand, step)()
    with hand.open() as move:
        row = move.row()
    assert (row.stage, row.reason) == ("paused", reason)
    with pytest.raises(LockgateError) as refused:
        hand.cutover()
    assert refused.value.code == "MOVE_PAUSED"


def test_a_barrier_that_was_off_is_put_back(two):
    """Behind `resume` the target refuses writes of others again, and what was written there meanwhile is found by the comparison that has to pass anew."""
    make(two.source, 200)
    hand = Hand(two.source, two.target)
    hand.there()
    run_sql(
        two.target, "DROP TRIGGER lockgate_barrier_items ON item", "UPDATE item SET v = 'stray' WHERE u = 7"
    )
    with pytest.raises(LockgateError, match="the barrier of the target table is off"):
        hand.cutover()
    assert hand.resume() == "backfilling"
    with pytest.raises(psycopg.DatabaseError, match="writes go to the other side"):
        run_sql(two.target, "UPDATE item SET v = 'stray' WHERE u = 8")
    assert hand.reconcile(repair=True).repaired == 1
    assert hand.cutover().serves == "target"
    assert run_sql(two.target, "SELECT count(*) FROM item WHERE v = 'stray'") == [(0,)]
