"""Rows 43-46 and 59: files that do not fit the history, and a history that was tampered with. Refused before the lock; nothing moves."""

import psycopg
import pytest
from asking import ask, findings, state, told

from lockgate.errors import Refused
from lockgate.migrations.apply import apply
from lockgate.migrations.permit import Permit
from lockgate.migrations.plan import Plan
from support.calls import Answer, Project

pytestmark = pytest.mark.postgres("18")
HEAD = "CREATE TABLE t (id int PRIMARY KEY);\n"


@pytest.fixture
def applied(project: Project) -> Project:
    """A project of three applied files."""
    for name in ("a", "b", "c"):
        project.write(name, f"CREATE TABLE {name} (\n  id int PRIMARY KEY\n);\n")
    answer = project.json("up")
    assert answer.code == 0, answer.err
    return project


def refused(project: Project, code: str, *says: str) -> Answer:
    """`up` and `plan` refuse with ``code``, exit 4 and these words, the next command is told, and the database stays as it was."""
    url = project.environ["DATABASE_URL"]
    before = state(url)
    answer = project.json("up")
    assert answer.code == 4, answer
    document = answer.error(code)
    for words in says:
        assert words in document["message"], document["message"]
        assert words in answer.err
    assert document["applied"] == []
    plan = project.json("plan")
    assert plan.code == 4
    assert project.text("status", "--check").code == 1
    assert state(url) == before
    return answer


def test_edited_applied_file(applied: Project):
    """43: an applied file was edited and the ledger made to fit: CHECKSUM_MISMATCH with the diff, also while something is pending."""
    applied.write("b", "CREATE TABLE b (\n  id bigint PRIMARY KEY\n);\n", revision=1_700_000_000_002)
    applied.write("d", "CREATE TABLE d (id int PRIMARY KEY);\n", revision=1_700_000_000_004)
    answer = refused(
        applied,
        "CHECKSUM_MISMATCH",
        "1700000000002_b.sql is not the file that was applied",
        "-  id int PRIMARY KEY",
        "+  id bigint PRIMARY KEY",
    )
    assert "lockgate repair" in answer.err
    assert "-  id int PRIMARY KEY" in answer.document("error")["details"]["diff"]


def test_repair_needs_reason_and_actor(applied: Project, database: str):
    """43: no repair without a reason and an actor; with both the change is recorded with what was before and after."""
    applied.write("b", "CREATE TABLE b (id int PRIMARY KEY); -- reworded\n", revision=1_700_000_000_002)
    for given in (
        [],
        ["--reason", "r"],
        ["--actor", "a"],
        ["--reason", "", "--actor", "a"],
        ["--reason", "r", "--actor", "  "],
    ):
        answer = applied.json("repair", "--accept-file", "1700000000002", *given)
        assert answer.code == 2, (given, answer)
    refused(applied, "CHECKSUM_MISMATCH")
    answer = applied.json(
        "repair", "--accept-file", "1700000000002", "--reason", "a comment", "--actor", "sam"
    )
    assert answer.code == 0, answer.err
    (event,) = ask(
        database,
        "SELECT kind, actor, reason, before ->> 'checksum' <> after ->> 'checksum' FROM lockgate.history_event",
    )
    assert event == ("repair", "sam", "a comment", True)
    assert applied.json("up").code == 0


def test_missing_applied_file(applied: Project):
    """44: a file that was applied is lost while newer ones are there: MIGRATION_MISSING."""
    (applied.directory / "1700000000002_b.sql").unlink()
    applied.lock()
    answer = refused(applied, "MIGRATION_MISSING", "the database has 1700000000002 (b), the files do not")
    assert "Restore the file" in answer.err


def test_older_checkout(applied: Project):
    """44: the database is ahead of this checkout: HISTORY_AHEAD, told apart from a lost file, each revision named."""
    for name in ("1700000000002_b.sql", "1700000000003_c.sql"):
        (applied.directory / name).unlink()
    applied.lock()
    answer = refused(
        applied, "HISTORY_AHEAD", "1700000000002 (b), newer than every file here", "1700000000003 (c)"
    )
    assert "newest release" in answer.err


def test_unknown_row(applied: Project, database: str):
    """44: an application image that knows less may still read; only the runner refuses."""
    (applied.directory / "1700000000003_c.sql").unlink()
    applied.lock()
    document = applied.json("status").document("status")
    assert document["revision"] == "1700000000003"
    assert [o["code"] for o in document["obstacles"]] == ["HISTORY_AHEAD"]
    assert applied.json("status", LOCKGATE_ROLE="app").code == 0


def test_out_of_order(applied: Project):
    """45: a new file that is older than the newest applied one is refused, by its name and what it is older than."""
    applied.write("late", "CREATE TABLE late (id int PRIMARY KEY);\n", revision=1_700_000_000_002 - 1_000_000)
    answer = refused(
        applied, "OUT_OF_ORDER", "1699999000002_late.sql is older than 1700000000003, which is applied"
    )
    assert "Give it a newer revision" in answer.err


def test_line_ends_against_the_ledger(project: Project, database: str):
    """46: a checkout that turned LF into CRLF is EOL_ONLY, not an edit, with the .gitattributes line that mends it."""
    project.write("a", "CREATE TABLE a (\n  id int PRIMARY KEY\n);\n")
    path = project.directory / "1700000000001_a.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    answer = project.json("up")
    assert answer.code == 4
    assert "*.sql -text" in answer.error("EOL_ONLY")["details"]["findings"][0]["fix"]
    check = project.json("check")
    assert (check.code, [f["id"] for f in findings(check.document("check"))]) == (1, ["EOL_ONLY"])
    path.write_bytes(path.read_bytes() + b"-- more\r\n")
    assert project.json("up").error("LEDGER_DRIFT")
    assert ask(database, "SELECT to_regnamespace('lockgate') IS NULL") == [(True,)]


def test_line_ends_against_the_history(applied: Project, database: str):
    """46: the same against what was applied, with a ledger made to fit: EOL_ONLY without a diff, both ways."""
    path = applied.directory / "1700000000001_a.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    applied.lock()
    before = state(database)
    answer = applied.json("up")
    document = answer.error("EOL_ONLY")
    assert "1700000000001_a.sql differs from what was applied in line ends only" in document["message"]
    assert document["details"]["diff"] == ""
    assert ".gitattributes" in answer.err
    assert state(database) == before


def test_line_ends_against_the_history_refuse(applied: Project):
    """46: it is a refusal like every other obstacle: exit 4."""
    path = applied.directory / "1700000000001_a.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    applied.lock()
    assert applied.json("up").code == 4


def test_mixed_line_ends_against_the_history(project: Project):
    """46: a file that was applied with mixed line ends and then normalised differs in line ends only."""
    project.directory.mkdir(parents=True)
    path = project.directory / "1700000000001_a.sql"
    path.write_bytes(b"CREATE TABLE a (\r\n  id int PRIMARY KEY\n);\n")
    project.lock()
    assert project.json("up").code == 0
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    project.lock()
    project.json("up").error("EOL_ONLY")


def test_line_ends_are_data(project: Project, database: str):
    """46: bytes are never rewritten before they run: a CRLF inside quotes reaches the table, and the history keeps it."""
    project.directory.mkdir(parents=True)
    (project.directory / "1700000000001_a.sql").write_bytes(b"CREATE TABLE a AS\r\nSELECT 'x\r\ny' AS v;\r\n")
    project.lock()
    assert project.json("up").code == 0
    assert ask(
        database,
        "SELECT v, (SELECT source_text LIKE '%' || chr(13) || chr(10) FROM lockgate.migration_history) FROM a",
    ) == [("x\r\ny", True)]
    path = project.directory / "1700000000001_a.sql"
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    project.lock()
    assert project.json("up").error("EOL_ONLY")


# -- 59: tampering, seen by the commands (every kind of it: tests/migrations/test_chain.py) ----------

FORGERIES = {
    "changed": ("UPDATE lockgate.migration_history SET checksum = repeat('0', 64) WHERE ordinal = 2", "the row of revision 1700000000002 was changed"),
    "deleted": ("DELETE FROM lockgate.migration_history WHERE ordinal = 2", "row 2 is missing"),
    "tail deleted": ("DELETE FROM lockgate.migration_history WHERE ordinal = 3", "its last rows were changed or deleted"),
    "all deleted": ("DELETE FROM lockgate.migration_history", "its last rows were changed or deleted"),
    "re-ordered": ("UPDATE lockgate.migration_history SET ordinal = CASE ordinal WHEN 2 THEN 13 WHEN 3 THEN 12 ELSE ordinal END; UPDATE lockgate.migration_history SET ordinal = ordinal - 10 WHERE ordinal > 10", "does not follow"),
    "inserted": ("INSERT INTO lockgate.migration_history SELECT '1700000000009', applied_at, checksum, operator, name, 4, phase, state, started_at, duration_ms, run_id, release_id, xid, epoch, tool_version, schema_digest, source_text, row_hash, row_hash FROM lockgate.migration_history WHERE ordinal = 3", "the row of revision 1700000000009 was changed"),
    "fence": ("UPDATE lockgate.fence SET head = repeat('a', 64)", "the fence knows 3 rows"),
    "fence deleted": ("DELETE FROM lockgate.fence", "the fence row is gone"),
    "table dropped": ("DROP TABLE lockgate.migration_history CASCADE", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGERIES)
def test_tampered_history(applied: Project, database: str, kind: str):
    """59: rows changed, deleted, re-ordered or inserted with the trigger off: HISTORY_TAMPERED, and the pending file is not applied."""
    sql, says = FORGERIES[kind]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(sql)
    applied.write("d", "CREATE TABLE d (id int PRIMARY KEY);\n")
    answer = applied.json("up")
    assert answer.code == 4, answer
    document = answer.error("HISTORY_TAMPERED")
    assert says in document["message"]
    assert "doctor" in document["next"]
    assert ask(database, "SELECT to_regclass('d') IS NULL") == [(True,)]
    plan = applied.json("plan")
    assert plan.code == 4
    assert plan.document("plan")["obstacles"][0]["code"] == "HISTORY_TAMPERED"


def test_dropped_fence(applied: Project, database: str):
    """59: without the fence table nothing is taken for a fresh database: no file runs a second time."""
    ask(database, "DROP TABLE lockgate.fence CASCADE")
    answer = applied.json("up")
    assert answer.code not in (0, 1), answer
    assert 'relation "a" already exists' not in told(answer)
    assert ask(database, "SELECT count(*) FROM lockgate.migration_history") == [(3,)]


def test_tampering_with_the_kept_text(applied: Project, database: str):
    """59: a changed text of an applied file is noticed when it would be shown as what was applied."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE lockgate.migration_history SET source_text = 'DROP TABLE x' WHERE ordinal = 1"
        )
    applied.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n", revision=1_700_000_000_001)
    answer = applied.json("up")
    assert answer.code == 4, answer
    assert (
        "the text that is kept of revision 1700000000001 was changed"
        in answer.error("HISTORY_TAMPERED")["message"]
    )


# -- the permit of another plan ---------------------------------------------------------------------


def test_a_permit_is_for_one_plan():
    """A permit that was given for another plan, or a plan with an obstacle, applies nothing: not even a connection is looked at."""
    plan = Plan((), (("1700000000001", "0" * 64),), (), "this")
    permit = Permit("that", "", "me")
    with pytest.raises(Refused) as caught:
        apply(None, plan, permit, {}, None, None, None)
    assert caught.value.code == "PLAN_STALE"


def test_plan_goes_stale(project: Project):
    """The hash of a plan made before others applied something is not the hash of the plan that is left."""
    project.write("a", HEAD)
    first = project.json("plan").document("plan")["planHash"]
    assert project.json("plan").document("plan")["planHash"] == first
    assert project.json("up").document("up")["planHash"] == first
    project.write("b", "CREATE TABLE b (id int PRIMARY KEY);\n")
    assert project.json("plan").document("plan")["planHash"] != first
