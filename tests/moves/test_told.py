"""What an operator is told on the way: what was refused, why a move stands still, and the command that brings it on."""

import re
from pathlib import Path

import pytest

from moves.hand import DECLARED, declare, make
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
TARGET = "CREATE TABLE item_new (LIKE item INCLUDING ALL, CHECK (v <> 'v7'))"
THERE = 'accept = ["constraints"]\n' + DECLARED.replace("create = true", "create = false")


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    """A project with the table item and a target that refuses one of its rows."""
    made = Project(tmp_path, database)
    make(database, 300)
    run_sql(database, TARGET)
    declare(made, THERE)
    return made


def next_of(text: str) -> str:
    """The last command that people are told to call."""
    return re.findall(r"^next   (.*)$", text, re.MULTILINE)[-1]


def findings(project: Project) -> dict[str, dict[str, str]]:
    """What doctor finds about moves, by its id."""
    found = project.json("doctor").document("doctor")["findings"]
    return {f["id"]: f for f in found if f["id"].startswith("move-")}


def test_rows_that_are_refused(project: Project, database: str):
    """A row that the target refuses: backfill exits 1 and names quarantine, row, reason and --retry; status and doctor do, the proof is refused with the same next command, which works as printed once the target is mended."""
    assert project.json("move", "start", "items").code == 0
    told = project.text("move", "backfill", "items")
    assert told.code == 1
    assert re.search(r"1 row was refused and stands in quarantine, the first \(0, k7\): .*violates check constraint", told.out)  # fmt: skip
    assert "299 rows" in told.out or "300 rows" in told.out
    assert next_of(told.out).startswith("lockgate move backfill items --retry")
    assert "blocks the end" in told.out
    answer = project.json("move", "backfill", "items", "--retry")
    assert answer.code == 1
    document = answer.document("move")
    assert document["result"]["quarantine"][0]["key"] == ["0", "k7"]
    assert document["moves"][0]["quarantined"] == 1
    status = project.text("move", "status", "items").out
    assert "1 row stands in quarantine, which blocks the end" in status
    assert next_of(status).startswith("lockgate move backfill items --retry")
    assert project.json("move", "verify", "items").error("MOVE_QUARANTINE")["next"] == (
        "Mend the rows or the target, then lockgate move backfill items --retry"
    )
    found = findings(project)["move-quarantine"]
    assert "items refused 1 row" in found["message"]
    assert "violates check constraint" in found["evidence"]
    assert found["next"].endswith("lockgate move backfill items --retry")
    run_sql(database, "ALTER TABLE item_new DROP CONSTRAINT item_new_v_check")
    project.ok("move", "move", "backfill", "items", "--retry")
    assert findings(project) == {}
    assert project.ok("move", "move", "verify", "items")["result"]["rows"] == {"source": 300, "target": 300}


def test_the_next_command_of_each_stage(project: Project, database: str):
    """Followed as printed from plan to finish, the next commands bring a move to its end; none speaks of nothing that was done nought times, and none leaves NAME to be filled in."""
    run_sql(database, "ALTER TABLE item_new DROP CONSTRAINT item_new_v_check")
    out = project.text("move", "plan", "items").out
    seen, whole = [], out
    for _ in range(8):
        words = re.split(r" after | \(|, ", next_of(out))[0].split()[1:]
        seen.append(words[1])
        if words[1] == "finish":
            break
        answer = project.text(*words)
        assert answer.code == 0, answer
        out, whole = answer.out, whole + answer.out
    assert seen == ["start", "backfill", "verify", "cutover", "finish"]
    assert not re.search(r"\b0 (changes?|rows?|batch(es)?|operations?|attempts?)\b", whole), whole
    refused = project.json("move", "finish", "items").error("MOVE_WINDOW")
    assert refused["next"] == "Wait, or lockgate move finish items --now"
    assert project.json("move", "backfill", "items").error("MOVE_STAGE")["next"] == "lockgate move status items"  # fmt: skip
    assert "NAME" not in whole + refused["next"]


def test_a_move_that_is_paused(project: Project, database: str):
    """Paused by a person, status and doctor say since when, why, and resume; where rows differ they say verify --repair; each command works as printed, and doctor is quiet again."""
    run_sql(database, "ALTER TABLE item_new DROP CONSTRAINT item_new_v_check")
    project.ok("move", "move", "run", "items")
    told = project.text("move", "pause", "items", "--reason", "lunch")
    assert re.search(r"note   paused since .*capture goes on", told.out)
    assert next_of(told.out).startswith("lockgate move resume items")
    status = project.ok("move", "move", "status", "items")["moves"][0]
    assert (status["reason"], status["note"].startswith("paused since ")) == ("lunch", True)
    assert "lunch" in findings(project)["move-paused"]["message"]
    assert findings(project)["move-paused"]["next"].startswith("lockgate move status items")
    resumed = project.text("move", "resume", "items")
    assert next_of(resumed.out) == "lockgate move verify items"
    run_sql(database, "BEGIN; SET LOCAL lockgate.feed = 'items'; DELETE FROM item_new WHERE u = 9; COMMIT")
    assert project.json("move", "verify", "items").error("MOVE_DIVERGED")["exitCode"] == 1
    mend = next_of(project.text("move", "status", "items").out)
    assert mend == "lockgate move verify items --repair"
    assert project.json(*mend.split()[1:]).code == 0
    assert findings(project) == {}


def test_a_target_that_demands_more(project: Project, database: str):
    """CHECK and NOT NULL that the source does not promise: rows that break one are a problem of the plan, named with a key and what to do, before anything is made; what none breaks yet is a note, across two databases too."""
    run_sql(database, "ALTER TABLE item_new ALTER COLUMN n SET NOT NULL, ALTER COLUMN at SET NOT NULL", "UPDATE item SET n = NULL WHERE u = 9")  # fmt: skip
    declare(project, THERE.replace('accept = ["constraints"]\n', ""))
    answer = project.json("move", "plan", "items")
    assert answer.code == 4
    result = answer.document("move")["result"]
    told = {p["what"]: p["fix"] for p in result["problems"]}
    assert len(told) == 2
    null, check = sorted(told, key=lambda what: "CHECK" in what)
    assert "item_new.n is NOT NULL" in null
    assert "(2, k9)" in null
    assert "CHECK ((v <> 'v7'::text))" in check
    assert "(0, k7)" in check
    assert "DROP NOT NULL" in told[null]
    assert "accept = ['constraints']" in told[check]
    assert any("item_new.at is NOT NULL" in note and "no row breaks it now" in note for note in result["notes"])  # fmt: skip
    assert project.json("move", "start", "items").error("MOVE_REFUSED")["exitCode"] == 4
    run_sql(database, "UPDATE item SET n = 0, v = 'fine' WHERE u IN (7, 9)")
    assert project.ok("move", "move", "plan", "items")["result"]["problems"] == []
