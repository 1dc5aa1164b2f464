"""Rehearsals of a history in which a move filled in the rows that earlier files had written."""

import pytest

from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
PLAN = (
    "CREATE TABLE plan (id bigint PRIMARY KEY, code text NOT NULL, label text, cents integer NOT NULL DEFAULT 1);\n"
    "INSERT INTO plan VALUES (1, 'free', NULL, 0), (2, 'pro', 'Pro', 900);\n"
)
CHANGES = {
    "add-not-null": {"table": "plan", "column": "label", "fill": "'-'"},
    "rename-column": {"table": "plan", "column": "code", "to": "short", "type": "text", "not_null": "yes"},
    "change-type": {"table": "plan", "column": "cents", "from": "integer", "type": "numeric(14, 2)", "to": "price", "forward": "{value} / 100.0", "backward": "({value} * 100)::integer"},
    "split-table": {"table": "plan", "to": "plan_labels", "key": "id", "key_type": "bigint", "columns": "label:text"},
}  # fmt: skip
DEMANDS = {
    "add-not-null": "ALTER TABLE plan ADD CONSTRAINT labelled CHECK (label <> ''), ALTER COLUMN label SET NOT NULL;\n",
    "rename-column": "ALTER TABLE plan ADD CONSTRAINT filled CHECK (short IS NOT NULL);\n",
    "change-type": "ALTER TABLE plan ADD CONSTRAINT filled CHECK (price IS NOT NULL);\n",
    "split-table": "DO $$ BEGIN IF (SELECT count(*) FROM plan_labels) < 2 THEN RAISE 'plan_labels lacks rows'; END IF; END $$;\n",
}
"""What a file after the move may take for granted of every row."""


def _moved(tmp_path, database: str, recipe: str) -> Project:
    """A project whose seeded table went through the whole recipe; its database is what production would be."""
    project = Project(tmp_path, database)
    project.write("plan", PLAN, 1_700_000_000_001)
    project.ok("up", "up")
    arguments = [part for key, value in CHANGES[recipe].items() for part in ("--set", f"{key}={value}")]
    project.ok("new", "new", "the_change", "--recipe", recipe, *arguments)
    assert project.json("up").code in (0, 4)
    project.ok("move", "move", "run", "the_change")
    for name in sorted(path.stem for path in (project.root / "db/contract").glob("*.sql")):
        project.ok("promote", "promote", name)
    project.ok("up", "up")
    return project


def _rehearsed(project: Project) -> dict:
    (project.root / "status.json").write_text(project.json("status").out, "utf-8")
    return project.json("rehearse", "--from-status", "status.json", "--rows", "0")


@pytest.mark.parametrize("recipe", CHANGES)
def test_a_base_is_replayed_with_what_its_move_filled_in(tmp_path, database: str, recipe: str):
    """Rows that a file of the history wrote are filled in as the move did in production, so the files behind it replay."""
    project = _moved(tmp_path, database, recipe)
    waiting = 1 + max(int(path.name[:13]) for path in project.directory.glob("*.sql"))
    demand = f"-- lockgate: after=move:the_change\n{DEMANDS[recipe]}"
    project.write("demand", demand, waiting)
    project.ok("up", "up")
    project.write("later", "ALTER TABLE plan ADD COLUMN later text;\n", waiting + 1)
    answer = _rehearsed(project)
    assert answer.code == 0, answer.out[:600] + answer.err[-800:]
    checks = {check["id"]: check["answer"] for check in answer.document("rehearse")["checks"]}
    assert (checks["applies"], checks["second-apply"]) == ("pass", "pass")


def test_pending_files_find_the_rows_of_the_base_filled_in(tmp_path, database: str):
    """A recipe that is pending meets the seeded rows as its move will have left them, with made-up rows beside them or none."""
    project = Project(tmp_path, database)
    project.write("plan", PLAN, 1_700_000_000_001)
    project.ok("up", "up")
    project.ok("new", "new", "the_change", "--recipe", "add-not-null", *(p for k, v in CHANGES["add-not-null"].items() for p in ("--set", f"{k}={v}")))  # fmt: skip
    answer = _rehearsed(project)
    assert answer.code == 0, answer.out[:600] + answer.err[-800:]


def test_a_base_that_fails_says_what_is_so(tmp_path, database: str):
    """Without the declaration the base cannot be replayed; the error says that the file is applied, and what to put back."""
    project = _moved(tmp_path, database, "add-not-null")
    (project.root / "moves/the_change.toml").unlink()
    project.write("later", "ALTER TABLE plan ADD COLUMN later text;\n", 2_000_000_000_000)
    error = _rehearsed(project).error("MIGRATION_EXECUTION_FAILED")
    assert "is applied and stands" in error["state"]
    assert "Put back moves/the_change.toml" in error["next"]


def test_a_file_that_never_runs_from_nothing_can_be_accepted(tmp_path, database: str):
    """Rows that people mended by hand are not in the files: the error names the way out, and that way works."""
    project = Project(tmp_path, database)
    project.write("plan", PLAN, 1_700_000_000_001)
    project.ok("up", "up")
    run_sql(database, "UPDATE plan SET label = '-' WHERE label IS NULL")
    hard = project.write("hard", "ALTER TABLE plan ALTER COLUMN label SET NOT NULL;\n", 1_700_000_000_002)
    project.ok("up", "up")
    project.write("later", "ALTER TABLE plan ADD COLUMN later text;\n", 1_700_000_000_003)
    error = _rehearsed(project).error("MIGRATION_EXECUTION_FAILED")
    assert "is applied and stands" in error["state"]
    assert f"lockgate repair --accept-file {hard} --reason TEXT --actor WHO" in error["next"]
    project.write("hard", "UPDATE plan SET label = '-' WHERE label IS NULL;\nALTER TABLE plan ALTER COLUMN label SET NOT NULL;\n", int(hard))  # fmt: skip
    project.ok("repair", "repair", "--accept-file", hard, "--reason", "runs from nothing", "--actor", "ann")
    assert _rehearsed(project).code == 0
