"""`up` beside a running move: the moving table keeps its shape, files wait for the move, everything else goes on."""

import pytest

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
