"""What a move makes is no drift of the schema, and its switch stands among what changed the history."""

from contextlib import closing

import pytest

from lockgate.migrations.drift import compare
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from support.calls import Project, finish
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


def _killed_cutover(project: Project, tmp_path, place: str) -> None:
    died = finish(project.python("-c", DIES, place))
    assert died.code == 9, died.err


def _drift(project: Project, database: str) -> set[str]:
    """What differs, by name; verify says that something does."""
    assert project.json("verify").code == 1
    with closing(Wire(Target(database, source="test"), "test")) as wire:
        return {change.identity for change in compare(wire).changes}


BY_HAND = ("ALTER TABLE other ADD COLUMN by_hand int", "CREATE INDEX evil ON item (v)")


@pytest.mark.parametrize("place", ["move:switch:commit", "move schema", "move:schema:recorded"])
def test_killed_between_the_switch_and_its_record(tmp_path, database: str, place: str):
    """A cutover that is killed around its commit and before its record of the schema: stage and cutover_ms are the switch's own, and the same command, called again, leaves the schema recorded once and no drift."""
    project = _project(tmp_path, database)
    project.ok("move", "move", "run", "items")
    _killed_cutover(project, tmp_path, place)
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


def test_a_refused_command_accepts_no_change_by_hand(tmp_path, database: str):
    """A cutover killed before its record, then changes by hand, also on the moved table: finish makes the record good of the switch alone, and a rollback that is refused changes nothing."""
    project = _project(tmp_path, database)
    project.ok("move", "move", "run", "items")
    _killed_cutover(project, tmp_path, "move schema")
    run_sql(database, *BY_HAND)
    project.ok("move", "move", "finish", "items", "--now")
    by_hand = {"column public.other.by_hand", "index public.evil"}
    assert _drift(project, database) == by_hand
    asked = "SELECT kind, reason, after -> 'drift' FROM lockgate.history_event"
    event = ("move", "finish of the move items", sorted(by_hand))
    assert run_sql(database, asked) == [event]
    assert project.json("move", "rollback", "items").code == 4
    assert _drift(project, database) == by_hand
    assert run_sql(database, asked) == [event]
    project.ok("repair", "repair", "--accept-schema", "--reason", "seen", "--actor", "me")
    _same(project)


def test_a_refused_command_records_nothing(tmp_path, database: str):
    """A rollback that is refused, after a cutover that was killed before its record, leaves what differs as it was; the next call that goes through records the switches and leaves what was done by hand as drift."""
    project = _project(tmp_path, database)
    project.ok("move", "move", "run", "items")
    _killed_cutover(project, tmp_path, "move schema")
    run_sql(database, *BY_HAND)
    before = _drift(project, database)
    assert "table public.item" not in before
    trigger = "zz_lockgate_items_reverse"
    run_sql(database, f"ALTER TABLE item DISABLE TRIGGER {trigger}")
    project.json("move", "rollback", "items").error("MOVE_DIVERGED")
    assert _drift(project, database) == before
    assert run_sql(database, "SELECT count(*) FROM lockgate.history_event") == [(0,)]
    run_sql(database, f"ALTER TABLE item ENABLE TRIGGER {trigger}")
    assert project.ok("move", "move", "cutover", "items")["serves"] == "target"
    assert _drift(project, database) == {"column public.other.by_hand", "index public.evil"}


def test_what_names_the_moved_tables_is_recorded_with_them(tmp_path, database: str):
    """Views, functions and row types that name the moved table read differently after the switch, and are recorded with it."""
    project = _project(tmp_path, database)
    project.write(
        "more",
        "CREATE VIEW seen AS SELECT id, v FROM item;\n"
        "CREATE FUNCTION last_item() RETURNS bigint BEGIN ATOMIC SELECT max(id) FROM item; END;\n"
        "ALTER TABLE other ADD COLUMN one item;\n"
        "CREATE POLICY few ON other USING (EXISTS (SELECT FROM item));\n"
        "CREATE STATISTICS item_both ON id, v FROM item;\n",
    )
    project.ok("up", "up")
    (tmp_path / "moves/items.toml").write_text('accept = ["views"]\n' + MOVE)
    project.ok("move", "move", "run", "items")
    for command in ("cutover", "rollback"):
        project.ok("move", "move", command, "items")
        _same(project)


@pytest.mark.parametrize("command", ["cutover", "rollback"])
def test_a_turn_of_a_move_that_was_not_started(tmp_path, database: str, command: str):
    """It is refused as an unknown move, on a database without a table of moves and with another move in it, and nothing is written."""
    project = _project(tmp_path, database)
    for move in ("items", "others"):
        refused = project.json("move", command, move).error("MOVE_UNKNOWN")
        assert refused["next"] == f"lockgate move start {move}"
        if move == "items":
            project.ok("move", "move", "start", "items")
            (tmp_path / "moves/others.toml").write_text(MOVE.replace("item", "other"))
    assert run_sql(database, "SELECT DISTINCT move FROM lockgate.move_event") == [("items",)]


def test_a_move_across_is_recorded_on_either_side(tmp_path, databases):
    """Between two databases with a history each, both are as their history left them after every turn, and a change by hand on the far one before the next call stays drift there alone."""
    near, far = databases(), databases()
    project = _project(tmp_path, near)
    other = Project(tmp_path / "far", far)
    other.write("first", "CREATE TABLE other (id serial PRIMARY KEY, v text);\n")
    other.ok("up", "up")
    project.environ["FAR"] = far
    text = 'switch = "none"\n' + MOVE.replace("create = true\n", 'create = true\nurl_env = "FAR"\n')
    (tmp_path / "moves/items.toml").write_text(text)
    for command in ("run", "cutover", "rollback", "start", "run"):
        project.ok("move", "move", command, "items")
        _same(project)
        _same(other)
    _killed_cutover(project, tmp_path, "move schema")
    run_sql(far, *(statement.replace("item", "item_new") for statement in BY_HAND))
    assert project.ok("move", "move", "cutover", "items")["serves"] == "target"
    _same(project)
    assert _drift(other, far) == {"column public.other.by_hand", "index public.evil"}
