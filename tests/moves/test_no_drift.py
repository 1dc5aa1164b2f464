"""What a move makes is no drift of the schema, and its switch stands among what changed the history."""

import os
import subprocess
import sys

import pytest

from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
MAKE = "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);\nCREATE TABLE other (id serial PRIMARY KEY, v text);\n"
MOVE = '[source]\ntable = "item"\n[target]\ntable = "item_new"\ncreate = true\n'


def _project(tmp_path, database: str) -> Project:
    project = Project(tmp_path, database)
    project.write("first", MAKE, 1_700_000_000_001)
    project.ok("up", "up")
    run_sql(database, "INSERT INTO item (v) SELECT g::text FROM generate_series(1, 50) g")
    (tmp_path / "moves").mkdir()
    (tmp_path / "moves/items.toml").write_text(MOVE)
    return project


def _same(project: Project) -> None:
    assert project.ok("verify", "verify")["verdict"] == "pass"


def test_no_stage_of_a_move_is_drift(tmp_path, database: str):
    """From start to finish, through a rollback and a second cutover, verify says that the schema is as the history left it."""
    project = _project(tmp_path, database)
    for command in ("start", "run", "cutover", "rollback", "start", "run", "cutover"):
        project.ok("move", "move", command, "items")
        _same(project)
    project.ok("move", "move", "finish", "items", "--now")
    _same(project)
    events = run_sql(database, "SELECT kind, reason FROM lockgate.history_event ORDER BY id")
    assert events == [("move", f"{word} of the move items") for word in ("cutover", "rollback", "cutover")]
    project.write("drop", "-- lockgate: phase=contract\n\nDROP TABLE item__items_old;\n", 9_000_000_000_000)
    project.ok("up", "up")
    _same(project)


def test_what_an_abort_leaves_is_no_drift(tmp_path, database: str):
    """The target of an aborted move stays, open for writes and out of the digest; the move can be started again, and then serves as part of the schema."""
    project = _project(tmp_path, database)
    project.ok("move", "move", "start", "items")
    project.ok("move", "move", "abort", "items")
    _same(project)
    run_sql(database, "TRUNCATE item_new")
    project.ok("move", "move", "run", "items")
    project.ok("move", "move", "cutover", "items")
    _same(project)
    run_sql(database, "ALTER TABLE item ADD COLUMN by_hand int")
    assert project.json("verify").code == 1


def test_a_change_by_hand_stays_drift(tmp_path, database: str):
    """A switch does not wash away drift that was there before it."""
    project = _project(tmp_path, database)
    project.ok("move", "move", "run", "items")
    run_sql(database, "ALTER TABLE other ADD COLUMN by_hand int")
    project.ok("move", "move", "cutover", "items")
    answer = project.json("verify")
    assert answer.code == 1
    assert run_sql(database, "SELECT count(*) FROM lockgate.history_event") == [(0,)]


def test_a_target_that_a_migration_made_counts(tmp_path, database: str):
    """A target of a migration is part of the schema before the switch, and is seen there while the move runs."""
    project = _project(tmp_path, database)
    project.write(
        "second", "CREATE TABLE item_new (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);\n"
    )
    project.ok("up", "up")
    (tmp_path / "moves/items.toml").write_text(MOVE.replace("create = true\n", ""))
    for command in ("start", "run", "cutover", "rollback", "abort"):
        project.ok("move", "move", command, "items")
        _same(project)


DIES = """
import os, sys
from lockgate.cli.main import main
from lockgate.record import points

seen, place = [], sys.argv[1]

def hook(name):
    seen.append(name)
    if "move:switch:commit" in seen and name.startswith(place):
        os._exit(9)

points.install(hook)
sys.argv = ["lockgate", "move", "cutover", "items", "--format", "json"]
main()
"""


@pytest.mark.parametrize("place", ["move:switch:commit", "move schema", "move:schema:recorded"])
def test_killed_between_the_switch_and_its_record(tmp_path, database: str, place: str):
    """A cutover that is killed around its commit and before its record of the schema: stage and cutover_ms are the switch's own, and the same command, called again, leaves the schema recorded once and no drift."""
    project = _project(tmp_path, database)
    project.ok("move", "move", "run", "items")
    died = subprocess.run(
        [sys.executable, "-c", DIES, place],
        cwd=tmp_path,
        env={**os.environ, **project.environ},
        capture_output=True,
    )
    assert died.returncode == 9, died.stderr
    renamed = run_sql(database, "SELECT to_regclass('item__items_old') IS NOT NULL")[0][0]
    assert renamed is (place != "move:switch:commit")
    assert run_sql(database, "SELECT stage IN ('cut_over', 'tail'), cutover_ms > 0 FROM lockgate.move") == [
        (renamed, True if renamed else None)
    ]
    assert project.ok("move", "move", "cutover", "items")["serves"] == "target"
    _same(project)
    assert run_sql(database, "SELECT kind FROM lockgate.history_event") == [("move",)]
    project.ok("move", "move", "rollback", "items")
    _same(project)
    run_sql(database, "ALTER TABLE other ADD COLUMN by_hand int")
    assert project.ok("move", "move", "rollback", "items")["serves"] == "source"
    assert project.json("verify").code == 1, "what a person does later is drift, whatever was recorded before"
