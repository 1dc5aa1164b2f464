"""The old side after the cutover: how far it is behind, whether it is equal, and whether a rollback could go back to it, as a person is told."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from moves.hand import DECLARED, declare, make
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
ELSEWHERE = 'switch = "none"\n' + DECLARED.replace("create = true\n", 'create = true\nurl_env = "OTHER"\n').replace('"item_new"', '"item"')  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, database: str, databases: Callable[[], str]) -> Project:
    """A project whose move goes into another database."""
    made = Project(tmp_path, database)
    made.environ["OTHER"] = databases()
    make(database, 300)
    declare(made, ELSEWHERE)
    return made


@pytest.fixture
def near(tmp_path: Path, database: str) -> Project:
    """A project whose move stays in its database."""
    made = Project(tmp_path, database)
    make(database, 300)
    declare(made)
    return made


def status(project: Project) -> dict:
    """What `move status` says of the move."""
    return project.ok("move", "move", "status", "items")["moves"][0]


def test_what_waits_for_the_old_side(project: Project, database: str):
    """Across two databases status counts the reverse outbox and says how old it is, finish does not call the old side current, and the printed command carries what waits; without the address of the target it says that it does not know."""
    other = project.environ["OTHER"]
    project.ok("move", "move", "run", "items", "--cutover")
    assert (status(project)["outbox"], status(project)["note"]) == (0, "")
    assert "The old side is kept current" in project.json("move", "finish", "items").error("MOVE_WINDOW")["state"]  # fmt: skip
    run_sql(other, "UPDATE item SET v = 'after' WHERE u <= 50", "UPDATE lockgate.outbox_items_reverse SET at = at - interval '75 s'")  # fmt: skip
    told = status(project)
    assert told["outbox"] == 50
    assert re.search(r"the old side is not current: 50 writes wait in its outbox, the oldest for (7[5-9]|[89]\d|\d{3}) s; lockgate move run items --relay", told["note"])  # fmt: skip
    state = project.json("move", "finish", "items").error("MOVE_WINDOW")["state"]
    assert "The old side is not current: 50 writes wait" in state
    del project.environ["OTHER"]
    told = status(project)
    assert (told["outbox"], "the variable OTHER is not set here" in told["note"]) == (-1, True)
    project.environ["OTHER"] = other
    project.ok("move", "move", "run", "items", "--relay", "0.1")
    assert run_sql(database, "SELECT count(*) FROM item WHERE v = 'after'") == [(50,)]
    assert (status(project)["outbox"], status(project)["note"]) == (0, "")


def test_a_rollback_that_would_be_refused(project: Project):
    """A column that the target got since the cutover has no place in the source: status says that a rollback is refused, as rollback does, and no longer names it as the next command."""
    project.ok("move", "move", "run", "items", "--cutover")
    assert "lockgate move rollback items" in status(project)["next"]
    run_sql(project.environ["OTHER"], "ALTER TABLE item ADD COLUMN extra text")
    refused = project.json("move", "rollback", "items").error("MOVE_PAUSED")
    told = status(project)
    assert "a rollback is refused" in told["note"]
    assert "extra" in told["note"]
    assert "extra" in refused["message"]
    assert "rollback" not in told["next"]
    run_sql(project.environ["OTHER"], "ALTER TABLE item DROP COLUMN extra")
    assert "lockgate move rollback items" in status(project)["next"]
    assert project.ok("move", "move", "rollback", "items")["serves"] == "source"


@pytest.mark.parametrize("place", ["near", "project"])
def test_compared_after_the_cutover(place: str, request: pytest.FixtureRequest, database: str):
    """In the tail `move verify` compares the old side with what the target gives and keeps the stage; a difference stops rollback and finish until --repair has written the target's row over it."""
    project: Project = request.getfixturevalue(place)
    project.ok("move", "move", "run", "items", "--cutover")
    serving = project.environ.get("OTHER", database)
    run_sql(serving, "UPDATE item SET v = 'after' WHERE u = 8")
    done = project.ok("move", "move", "verify", "items")
    assert (done["stage"], done["result"]["rows"]) == ("tail", {"source": 300, "target": 300})
    old = "item" if "OTHER" in project.environ else run_sql(database, "SELECT relname FROM pg_class WHERE relname LIKE 'item%old%' AND relkind = 'r'")[0][0]  # fmt: skip
    run_sql(database, f"BEGIN; SET LOCAL lockgate.feed = 'items'; UPDATE {old} SET v = 'odd' WHERE u = 9; COMMIT")  # fmt: skip
    found = project.json("move", "verify", "items").error("MOVE_DIVERGED")
    assert "(2, k9) changed" in found["message"]
    assert "lockgate move verify items --repair" in found["next"]
    assert "--repair" in project.json("move", "rollback", "items").error("MOVE_DIVERGED")["next"]
    assert "--repair" in project.json("move", "finish", "items").error("MOVE_DIVERGED")["next"]
    assert "--repair" in status(project)["note"]
    repaired = project.ok("move", "move", "verify", "items", "--repair")
    assert (repaired["stage"], repaired["result"]["repaired"]) == ("tail", 1)
    assert run_sql(database, f"SELECT v FROM {old} WHERE u IN (8, 9) ORDER BY u") == [("after",), ("v9",)]
    assert project.ok("move", "move", "rollback", "items")["serves"] == "source"


def test_who_gives_up_the_way_back_needs_no_old_side(near: Project, database: str):
    """After a difference of the old side `finish --now` ends the move all the same: it gives up the way back, and the target serves."""
    near.ok("move", "move", "run", "items", "--cutover")
    ((old,),) = run_sql(database, "SELECT relname FROM pg_class WHERE relname LIKE 'item%old%' AND relkind = 'r'")  # fmt: skip
    run_sql(database, f"BEGIN; SET LOCAL lockgate.feed = 'items'; UPDATE {old} SET v = 'odd' WHERE u = 9; COMMIT")  # fmt: skip
    near.json("move", "verify", "items").error("MOVE_DIVERGED")
    assert near.ok("move", "move", "finish", "items", "--now")["stage"] == "finished"
