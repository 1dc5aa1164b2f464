"""`lockgate move` as a user calls it."""

import json
from pathlib import Path

import pytest

from moves.hand import DECLARED, declare, make
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    """A project with the table item and a declared move."""
    made = Project(tmp_path, database)
    make(database, 500)
    declare(made)
    return made


def test_the_whole_way(project: Project, database: str):
    """plan, start, backfill, verify, cutover, rollback, run --cutover, finish: each prints a valid document that says where the move stands."""
    assert project.ok("move", "move", "plan", "items")["result"]["problems"] == []
    assert run_sql(database, "SELECT to_regnamespace('lockgate')") == [(None,)], "plan changes nothing"
    started = project.ok("move", "move", "start", "items")
    assert started["stage"] == "dual_write"
    assert (
        "lockgate move rollback items"
        in Path(project.root / started["result"]["rollbackDocument"]).read_text()
    )
    backfilled = project.ok("move", "move", "backfill", "items")
    assert backfilled["moves"][0]["job"]["progress"] == 1
    verified = project.ok("move", "move", "verify", "items")
    assert verified["result"]["rows"] == {"source": 500, "target": 500}
    cut = project.ok("move", "move", "cutover", "items")
    assert (cut["stage"], cut["serves"]) == ("tail", "target")
    assert project.ok("move", "move", "rollback", "items")["serves"] == "source"
    assert project.ok("move", "move", "run", "items", "--cutover")["serves"] == "target"
    assert project.json("move", "finish", "items").error("MOVE_WINDOW")["exitCode"] == 4
    assert project.ok("move", "move", "finish", "items", "--now")["stage"] == "finished"
    status = project.ok("move", "move", "status")
    assert [(m["name"], m["stage"]) for m in status["moves"]] == [("items", "finished")]
    steps = run_sql(
        database, "SELECT to_stage, reason <> '' FROM lockgate.move_event WHERE kind = 'step' ORDER BY id"
    )
    assert [s[0] for s in steps][:6] == [
        "dual_write",
        "backfilling",
        "reconciled",
        "ready",
        "cut_over",
        "tail",
    ]
    assert all(reason for _, reason in steps)


def test_text_for_people(project: Project):
    """Every command ends with where the move stands and the next command."""
    out = "".join(
        project.text("move", *words).out for words in (("plan", "items"), ("run", "items"), ("status",))
    )
    assert "next   lockgate move start items" in out
    assert "items is reconciled; the source serves" in out
    assert "next   lockgate move cutover items" in out


def test_pause_resume_abort(project: Project, database: str):
    """A paused move is not driven on; resume lets it; abort takes it down, writes the incident file and leaves the table as it was."""
    project.ok("move", "move", "start", "items")
    assert project.ok("move", "move", "pause", "items", "--reason", "lunch")["stage"] == "paused"
    assert "lunch" in project.json("move", "run", "items").error("MOVE_PAUSED")["message"]
    assert project.ok("move", "move", "resume", "items")["stage"] == "dual_write"
    assert project.ok("move", "move", "run", "items", "--resume")["stage"] == "reconciled"
    aborted = project.ok("move", "move", "abort", "items", "--reason", "not today")
    incident = json.loads((project.root / aborted["result"]["incident"]).read_text())
    assert incident["reason"] == "not today"
    assert run_sql(database, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%lockgate%'") == [(0,)]
    run_sql(database, "UPDATE item_new SET v = 'free'")


def test_divergence_aborts_by_itself_where_declared(project: Project, database: str):
    """on_divergence = abort: the comparison fails, the move is aborted, the incident file holds the keys."""
    declare(project, DECLARED + '[gates]\non_divergence = "abort"\n')
    project.ok("move", "move", "start", "items")
    project.ok("move", "move", "backfill", "items")
    run_sql(database, "BEGIN; SET LOCAL lockgate.feed = 'items'; DELETE FROM item_new WHERE u = 9; COMMIT")
    assert project.json("move", "verify", "items").error("MOVE_DIVERGED")["exitCode"] == 1
    assert project.ok("move", "move", "status", "items")["stage"] == "aborted"
    incident = json.loads((project.root / ".artifacts" / "moves" / "items" / "incident.json").read_text())
    assert incident["details"]["unexplained"] == [{"key": ["2", "k9"], "kind": "missing"}]


def test_a_diverged_move_is_not_cut_over(project: Project, database: str):
    """A row that was written past the capture: neither cutover nor run goes past the pause, resume asks for the proof anew, and after --repair the target serves that row."""
    project.ok("move", "move", "run", "items")
    run_sql(
        database,
        "ALTER TABLE item DISABLE TRIGGER zz_lockgate_items_forward",
        "UPDATE item SET v = 'past it' WHERE u = 9",
        "ALTER TABLE item ENABLE ALWAYS TRIGGER zz_lockgate_items_forward",
    )
    assert project.json("move", "verify", "items").error("MOVE_DIVERGED")["exitCode"] == 1
    for words in (("cutover", "items"), ("run", "items"), ("run", "items", "--cutover")):
        refused = project.json("move", *words).error("MOVE_PAUSED")
        assert refused["exitCode"] == 5
        assert "lockgate move verify items --repair" in refused["next"]
    assert project.ok("move", "move", "status", "items")["moves"][0]["serves"] == "source"
    assert project.ok("move", "move", "resume", "items")["stage"] == "backfilling"
    assert project.json("move", "cutover", "items").error("MOVE_STAGE")["exitCode"] == 4
    assert project.json("move", "run", "items").error("MOVE_DIVERGED")["exitCode"] == 1
    assert project.ok("move", "move", "verify", "items", "--repair")["result"]["repaired"] == 1
    assert project.ok("move", "move", "cutover", "items")["serves"] == "target"
    assert run_sql(database, "SELECT v FROM item WHERE u = 9") == [("past it",)]
    assert "are equal" not in project.text("move", "run", "items").out
    # As a cutover of an earlier version left it: the last comparison is one that had found differences.
    run_sql(
        database,
        "INSERT INTO lockgate.move_event (move, kind, from_stage, to_stage, reason, operator, evidence) VALUES ('items', 'divergence', '', '', '1 row differs', 'test', '{}')",
    )
    refused = project.json("move", "finish", "items", "--now").error("MOVE_DIVERGED")
    assert "lockgate move rollback items" in refused["next"]
    assert project.ok("move", "move", "rollback", "items")["serves"] == "source"
    assert project.ok("move", "move", "run", "items", "--cutover")["serves"] == "target"
    assert project.ok("move", "move", "finish", "items", "--now")["stage"] == "finished"


def test_refusals_of_the_plan(project: Project, database: str):
    """Problems of the plan: exit 4, listed with their fixes by plan, refused by start."""
    run_sql(database, "CREATE TABLE child (a int, b text, FOREIGN KEY (a, b) REFERENCES item)")
    answer = project.json("move", "plan", "items")
    assert answer.code == 4
    assert "foreign keys" in answer.document("move")["result"]["problems"][0]["what"]
    assert project.json("move", "start", "items").error("MOVE_REFUSED")["exitCode"] == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[source", "items.toml"),
        ('[source]\ntable = "item"\n', "target"),
        (DECLARED + "[limit]\n", "limit"),
        (DECLARED.replace("batch_rows = 100", "batch_rows = 0"), "batch_rows"),
        ('name = "x"\n' + DECLARED, "name"),
        ('switch = "sideways"\n' + DECLARED, "sideways"),
        ('switch = "none"\n' + DECLARED, "two databases"),
        (DECLARED + '[columns]\nv = "upper(v)"\n', "reverse"),
        ("rollback_hours = 0\n" + DECLARED, "rollback_hours"),
    ],
)
def test_declarations_that_are_wrong(project: Project, text: str, words: str):
    """Each mistake in the file is named with the file and the key: exit 2, nothing done."""
    declare(project, text)
    error = project.json("move", "start", "items").error("MOVE_DECLARATION")
    assert words in error["message"]
    assert error["exitCode"] == 2


def test_missing_files_and_names(project: Project):
    """No such declaration, a name that is none, a variable that is not set, calls that mix two forms."""
    assert project.json("move", "plan", "other").error("MOVE_DECLARATION")["exitCode"] == 2
    assert project.json("move", "plan", "../items").error("MOVE_DECLARATION")["exitCode"] == 2
    declare(project, 'switch = "none"\n' + DECLARED.replace("create = true", 'url_env = "NOWHERE"'))
    assert "NOWHERE" in project.json("move", "plan", "items").error("MOVE_DECLARATION")["message"]
    assert project.json("move", "verify").error("USAGE")["exitCode"] == 2
    assert project.json("move", "verify", "items", "--table", "x").error("USAGE")["exitCode"] == 2
    assert project.json("move", "status", "items").error("MOVE_UNKNOWN")["exitCode"] == 2
    declare(project)
    assert project.json("move", "backfill", "items", "--executor", "nobody").error("USAGE")["exitCode"] == 2


def test_a_relay_that_is_locked_out(project: Project, database: str):
    """While another session relays, a cutover is busy: exit 75, nothing switched."""
    import psycopg

    from lockgate.postgres.moves.mapping import lock_key

    declare(project, DECLARED + "lock_patience_seconds = 1\n")
    project.ok("move", "move", "run", "items")
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (lock_key("items", "relay"),))
        process = project.start("move", "verify", "items", "--format", "json")
        from support.calls import finish

        assert finish(process, 90).error("MOVE_BUSY")["exitCode"] == 75


def test_an_unreachable_target(project: Project):
    """The other server is not there: exit 69, and its password stands nowhere."""
    declare(project, 'switch = "none"\n' + DECLARED.replace("create = true", 'url_env = "FAR"'))
    answer = project.json("move", "plan", "items", FAR="postgresql://u:hushhush9@127.0.0.1:1/d")
    assert answer.error("UNREACHABLE")["exitCode"] == 69
    assert "hushhush9" not in answer.out + answer.err
