"""A move that has to begin anew: what an abort leaves is said, and no second move runs into it."""

import re
from pathlib import Path

import pytest

from moves.hand import DECLARED, declare, make
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    """A project with the table item and a target that a migration made."""
    made = Project(tmp_path, database)
    make(database, 300)
    run_sql(database, "CREATE TABLE item_new (LIKE item INCLUDING ALL)")
    declare(made, DECLARED.replace("create = true", "create = false"))
    return made


def test_a_capture_that_was_off(project: Project, database: str):
    """Triggers switched off and on again: the pause says that the capture is off and writes are unknown, the status too, and never that it goes on; the steps that are printed lead to a move that is equal."""
    project.ok("move", "move", "start", "items")
    project.ok("move", "move", "backfill", "items")
    run_sql(database, "ALTER TABLE item DISABLE TRIGGER ALL", "UPDATE item SET v = 'missed' WHERE u < 9", "ALTER TABLE item ENABLE TRIGGER ALL")  # fmt: skip
    error = project.json("move", "run", "items").error("MOVE_PAUSED")
    assert "writes since then are unknown" in error["message"]
    assert "nothing captures" in error["state"]
    told = project.text("move", "status", "items").out
    assert "THE CAPTURE IS OFF" in told
    for words in (told, error["state"], project.text("move", "status", "items").out):
        assert "apture goes on" not in words
    abort = "lockgate move abort items; empty item_new; then lockgate move run items begins anew."
    assert error["next"] == abort
    assert f"next   {abort}" in told
    assert project.json("move", "resume", "items").error("MOVE_STAGE")["next"] == abort
    out = project.text("move", "abort", "items").out
    assert re.search(r"item_new\"? keeps the rows that were copied", out)
    plan = project.json("move", "plan", "items").document("move")["result"]
    (problem,) = plan["problems"]
    assert "item_new holds rows already" in problem["what"]
    assert "TRUNCATE" in problem["fix"]
    for command in ("start", "run"):
        assert "holds rows already" in project.json("move", command, "items").error("MOVE_REFUSED")["message"]  # fmt: skip
    run_sql(database, problem["fix"].partition(";")[0])
    assert project.ok("move", "move", "run", "items")["stage"] == "reconciled"


def test_rows_that_are_taken_knowingly(project: Project, database: str):
    """With accept = ["rows"] a target that holds rows is a note; the proof finds what differs, and --repair mends it, rows that the source has not too."""
    run_sql(
        database,
        "INSERT INTO item_new SELECT * FROM item WHERE u < 20",
        "UPDATE item_new SET v = 'old' WHERE u = 5",
        "INSERT INTO item_new (a, b, u) VALUES (99, 'gone', 9999)",
    )
    declare(project, 'accept = ["rows"]\n' + DECLARED.replace("create = true", "create = false"))
    planned = project.ok("move", "move", "plan", "items")["result"]
    assert any("accepted (rows)" in note for note in planned["notes"])
    project.json("move", "run", "items").error("MOVE_DIVERGED")
    assert project.ok("move", "move", "verify", "items", "--repair")["result"]["repaired"] == 2
    assert run_sql(database, "SELECT count(*) FROM item_new WHERE v = 'old' OR u = 9999") == [(0,)]


def test_a_move_under_way_holds_its_own_rows(project: Project):
    """The rows that the move itself copied stand in the way of nothing."""
    project.ok("move", "move", "run", "items")
    assert project.ok("move", "move", "plan", "items")["result"]["problems"] == []


def test_a_second_round(project: Project, database: str):
    """After a rollback the second round is at 100 % at once: status says why, and the proof bears it out, with what was written in between."""
    project.ok("move", "move", "run", "items", "--cutover")
    project.ok("move", "move", "rollback", "items")
    run_sql(database, "UPDATE item SET v = 'between' WHERE u < 9")
    told = project.ok("move", "move", "start", "items")["moves"][0]
    assert (told["round"], told["job"]["progress"]) == (2, 1)
    assert told["note"].startswith("round 2: the rows of the round before were kept current")
    done = project.ok("move", "move", "run", "items")
    assert (done["stage"], done["moves"][0]["note"]) == ("reconciled", "")
    assert run_sql(database, "SELECT count(*) FROM item_new WHERE v = 'between'") == [(8,)]
