"""`up` and `release` ask the policy before they change anything."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from lockgate.errors import Refused
from lockgate.migrations.plan import Plan
from lockgate.policy.finding import Finding
from lockgate.release.authorise import refuse_findings
from lockgate.release.judged import Judged
from support.calls import Project

TABLE = "CREATE TABLE orders (id bigint PRIMARY KEY, code text);\n"
DROP = "ALTER TABLE orders DROP COLUMN code;\n"
INDEX = "CREATE INDEX orders_code ON orders (code);\n"
ALLOWED = '-- lockgate: allow=idx-create-blocking until={until} reason="no rows yet"\n' + INDEX
ENVIRONMENT = '[env.staging]\nurl_env = "STAGING_URL"\n'
pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def project(tmp_path: Path, databases: Callable[[], str]) -> Project:
    """A project with a database and one table in its history."""
    made = Project(tmp_path, databases())
    made.write("orders", TABLE)
    return made


def schemas(project: Project) -> set[str]:
    """What stands in the database besides PostgreSQL's own."""
    with psycopg.connect(project.environ["DATABASE_URL"]) as connection:
        rows = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall()
    return {name for (name,) in rows}


def test_a_blocking_finding_is_refused_before_any_change(project: Project):
    """Exit 4 with the finding, its file, line and fix; not even the schema lockgate is made."""
    revision = project.write("drop_code", "\n" + DROP)
    answer = project.json("up")
    assert answer.code == 4
    error = answer.error("POLICY_REFUSED")
    (found,) = error["details"]["findings"]
    assert (found["id"], found["line"], found["file"]) == ("col-drop", 2, f"{revision}_drop_code.sql")
    assert found["fix"]
    assert f"{revision}_drop_code.sql:2: col-drop" in answer.err
    assert schemas(project) == {"public"}


def test_release_is_refused_and_leaves_its_artifact(project: Project):
    """`release` exits 4 and its artifact names POLICY_REFUSED."""
    project.write("drop_code", DROP)
    assert project.json("release", "--sha", "0123abc").code == 4
    artifact = project.artifact("0123abc")
    assert (artifact["status"], artifact["reasonCode"]) == ("fail", "POLICY_REFUSED")


def test_a_contract_file_may_drop(project: Project):
    """What a contract file is for passes."""
    project.write("drop_code", "-- lockgate: phase=contract\n" + DROP)
    assert len(project.ok("up", "up")["applied"]) == 2


def test_applied_files_are_only_learnt_from(project: Project):
    """A table of an applied file is known to hold `code`, and only the pending file is judged."""
    project.ok("up", "up")
    project.write("drop_code", DROP)
    assert project.json("up").error("POLICY_REFUSED")["details"]["findings"][0]["id"] == "col-drop"


def test_without_an_environment_sizes_are_not_held_against_it(project: Project):
    """A blocking index build passes with a note on a bare URL, and is refused in a configured environment."""
    project.ok("up", "up")
    project.write("index", INDEX)
    project.configure(ENVIRONMENT)
    url = project.environ.pop("DATABASE_URL")
    answer = project.json("up", "--env", "staging", STAGING_URL=url)
    assert answer.error("POLICY_REFUSED")["details"]["findings"][0]["id"] == "idx-create-blocking"
    project.environ["DATABASE_URL"] = url
    (note,) = project.ok("up", "up")["notes"]
    assert "idx-create-blocking" in note


def test_allowances_end_where_tables_can_have_grown(project: Project):
    """A past end date blocks on top of a history, and does not on a database where the run creates the table."""
    project.write("index", ALLOWED.format(until="2020-01-01"))
    project.ok("up", "up")
    project.write("other", ALLOWED.format(until="2020-01-01").replace("orders_code", "orders_code_2"))
    found = project.json("up").error("POLICY_REFUSED")["details"]["findings"]
    assert [one["id"] for one in found] == ["rep-suppression-expired"]


def test_files_merged_before_the_policy_are_left_alone(project: Project):
    """`policy.judge_after` names the revision from which on files are judged."""
    revision = project.write("drop_code", DROP)
    project.configure(f'[policy]\njudge_after = "{revision}"\n')
    project.ok("up", "up")
    project.write("drop", "DROP TABLE orders;\n")
    assert project.json("up").error("POLICY_REFUSED")["details"]["findings"][0]["id"] == "tab-drop"


def test_early_stage_resets_loudly(project: Project):
    """The profile lets a destructive reset pass; run report and artifact name it."""
    project.write("drop", DROP + "TRUNCATE orders;\nDROP TABLE orders;\n")
    project.configure('[policy]\nprofile = "early-stage"\n')
    assert project.json("release", "--sha", "0123abc").code == 0
    assert any("early-stage" in note for note in project.artifact("0123abc")["notes"])


def test_early_stage_is_no_pass_for_everything(project: Project):
    """What the profile does not speak of still blocks."""
    project.write(
        "drop",
        'CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS "select 1";\n'.replace('"', "'"),
    )
    project.configure('[policy]\nprofile = "early-stage"\n')
    assert project.json("up").error("POLICY_REFUSED")["details"]["profile"] == "early-stage"


_FOUND = Finding("col-drop", "1700000000002_x.sql", 1, "error", "contract", "gone", "wait")


def test_what_was_not_judged_is_not_permitted():
    """A plan with a revision that the policy has not seen gets no permit."""
    plan = Plan((), (("1700000000001", "a"), ("1700000000002", "b")))
    with pytest.raises(Refused) as caught:
        refuse_findings(plan, Judged("default", frozenset({"1700000000001"}), ()))
    assert caught.value.code == "PLAN_STALE"


def test_a_file_that_began_may_end():
    """A half-done file goes on under the permit it began with; a finding in another file still blocks."""
    plan = Plan((), (("1700000000002", "b"),))
    both = frozenset({"1700000000001", "1700000000002"})
    refuse_findings(plan, Judged("default", both, (_FOUND,), frozenset({"1700000000002"})))
    with pytest.raises(Refused):
        refuse_findings(plan, Judged("default", both, (_FOUND,), frozenset({"1700000000001"})))


def test_findings_of_files_that_another_runner_applied_do_not_block():
    """Only what is still pending counts."""
    plan = Plan((("1700000000002", "b"),), ())
    refuse_findings(plan, Judged("default", frozenset({"1700000000002"}), (_FOUND,)))
