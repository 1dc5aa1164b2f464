"""`up` beside a move that the application writes: its tables keep their shape, and a change behind its back pauses it."""

from pathlib import Path

import pytest

from indexes.test_moving import Hand as IndexHand
from indexes.test_moving import hand as index  # noqa: F401 - the fixture
from lockgate.errors import LockgateError
from lockgate.indexes.moving import drive as into
from lockgate.moves.dual import drive
from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.turning import turn
from lockgate.postgres.moves.frozen import read_moving, told_by, waits_for
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from stores.hand import Hand, declared
from stores.test_conformance import ROWS
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def refused(project: Project, revision: str, relation: str, move: str) -> None:
    """`up` names file, line, table and move, and nothing of the file was done."""
    answer = project.json("up")
    assert answer.code == 4, answer
    message = answer.error("MOVE_FROZEN")["message"]
    assert f"{revision}_change.sql:3 changes {relation}, which the move {move}" in message


def change(project: Project, table: str) -> str:
    """A file that adds a column to ``table``."""
    return project.write(
        "change", f"-- lockgate: phase=expand\n\nALTER TABLE {table} ADD COLUMN extra int;\n"
    )


@pytest.mark.parametrize("side", ["source", "target"])
def test_up_refuses_the_table_of_its_own_database(places, tmp_path: Path, side: str):
    """Whichever side stands in the database of the project: a file that changes it is refused while the move runs, also when the move is cut over, and passes after `finish`."""
    here, there = places("postgres"), places("sqlite")
    source, target = (here, there) if side == "source" else (there, here)
    source.fill(ROWS)
    project = declared(tmp_path, here.url, source, target)
    project.write("first", "CREATE TABLE first (id bigint PRIMARY KEY);\n")
    project.ok("up", "up")
    project.ok("move", "move", "start", "things")
    project.write("beside", "CREATE TABLE beside (id bigint PRIMARY KEY);\n")
    assert len(project.ok("up", "up")["applied"]) == 1
    revision = change(project, "t")
    refused(project, revision, "t", "things")
    project.ok("move", "move", "run", "things", "--cutover")
    refused(project, revision, "t", "things")
    project.ok("move", "move", "finish", "things", "--now")
    assert len(project.ok("up", "up")["applied"]) == 1


def test_up_refuses_a_table_whose_ledger_is_in_another_database(places, tmp_path: Path, database: str):
    """Another project migrates the database of a side, and the ledger stands elsewhere: its files are refused all the same, a file that waits for it is not let through by its name, and after an abort they pass."""
    source, target = places("postgres"), places("sqlite")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    moving, other = (
        declared(tmp_path / "one", database, source, target),
        Project(tmp_path / "two", source.url),
    )
    other.write("first", "CREATE TABLE first (id bigint PRIMARY KEY);\n")
    other.ok("up", "up")
    moving.ok("move", "move", "start", "things")
    revision = change(other, "t")
    refused(other, revision, "t", "things, whose ledger is in another database,")
    wire = Wire(Target(source.url, source="test"), "test")
    try:
        assert waits_for(read_moving(wire), ["move:things"]) == "the move things was never started here"
    finally:
        wire.close()
    moving.ok("move", "move", "abort", "things")
    assert len(other.ok("up", "up")["applied"]) == 1


def test_up_refuses_the_table_and_the_index_of_a_move_into_an_index(index, tmp_path: Path):  # noqa: F811
    """A move into an index holds its table in the table's database, and the index where that is a table of the project's database."""
    move: IndexHand = index("fts", "postgres")
    (tmp_path / "of_table").mkdir()
    (tmp_path / "of_index").mkdir()
    table, home = Project(tmp_path / "of_table", move.source), Project(tmp_path / "of_index", move.ledger)
    for project in (table, home):
        project.write("first", "CREATE TABLE first (id bigint PRIMARY KEY);\n")
        project.ok("up", "up")
    move.call(into.start, operator="t")
    refused(table, change(table, "articles"), "articles", "into")
    with move.open() as opened_:
        physical = opened_.pair.target.fed.row.physical
    refused(home, change(home, f"lockgate_index.{physical}"), f"lockgate_index.{physical}", "into")


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_change_behind_its_back_pauses_the_move(places, database: str, kind: str, side: str):
    """A column more on one side, in every engine: the next command pauses the move and names the side, the tables that do not fit keep it from being resumed; once both have the column it goes on to the end."""
    one, other = places(kind), places("sqlite" if kind == "postgres" else "postgres")
    source, target = (one, other) if side == "source" else (other, one)
    source.fill(ROWS)
    move = Hand(source, target, database, writers=0)
    move.call(drive.start, operator="t")
    move.call(backfill)
    one.run("ALTER TABLE t ADD COLUMN extra varchar(10)")
    with pytest.raises(LockgateError, match=f"the {side} table changed under the move") as caught:
        move.call(drive.reconcile)
    assert caught.value.code == "MOVE_PAUSED"
    assert run_sql(database, "SELECT stage FROM lockgate.move") == [("paused",)]
    with pytest.raises(LockgateError, match="extra") as caught:
        move.call(drive.resume)
    assert caught.value.code == "MOVE_REFUSED"
    other.run("ALTER TABLE t ADD COLUMN extra varchar(10)")
    assert move.call(drive.resume) == "backfilling"
    move.call(drive.reconcile)
    assert move.call(turn, forward=True).serves == "target"


def test_a_change_while_it_is_copied_pauses_the_move(places, database: str):
    """The column comes between two batches: the workers end with MOVE_PAUSED, and no further range is claimed."""
    source, target = places("postgres"), places("sqlite")
    source.fill(ROWS)
    move = Hand(source, target, database, writers=0)
    move.call(drive.start, operator="t")
    with move.open() as opened_:
        from lockgate.moves.dual.copy import DualWork, work
        from lockgate.postgres.moves import ledger

        ledger.step(opened_.home, "things", "dual_write", "backfilling", "test", {})
        source.run("ALTER TABLE t ALTER COLUMN u TYPE text")
        with pytest.raises(LockgateError, match="the source table changed"):
            work(DualWork(move.declared, move.home, move.places))
        assert ledger.job(opened_.home, "things")["ranges_running"] == 0


def test_a_move_of_an_earlier_version_is_looked_at_when_it_goes_on(places, database: str):
    """Where the ledger does not know what the tables looked like, and no mark stands beside them, the next command writes both down, and a change after that pauses the move."""
    source, target = places("postgres"), places("sqlite")
    move = Hand(source, target, database, writers=0)
    move.call(drive.start, operator="t")
    run_sql(database, "UPDATE lockgate.move SET source_shape = '', target_shape = ''")
    run_sql(source.url, "COMMENT ON TABLE lockgate.dual_things_op IS NULL")
    move.call(backfill)
    assert run_sql(source.url, "SELECT obj_description('lockgate.dual_things_op'::regclass)") == [('{"schema": "public", "table": "t"}',)]  # fmt: skip
    source.run("ALTER TABLE t DROP COLUMN u")
    with pytest.raises(LockgateError, match="the source table changed"):
        move.call(drive.relay)


def test_what_a_person_wrote_beside_it_stops_nothing():
    """A comment that is no mark of ours names no table, and `up` goes on."""
    assert [told_by(said) for said in ("ours", "[]", '{"schema": "s"}', "1")] == [[], [], [], []]
    assert told_by('{"schema": "s", "table": "t"}') == [("s", "t")]
