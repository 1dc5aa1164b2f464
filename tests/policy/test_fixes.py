"""`check --fix`: rewrites what is mechanical, once, in files that nobody has merged."""

import json
import subprocess
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.policy.fixes import fixed
from lockgate.policy.judge import Judge, Source
from lockgate.postgres.tree import SyntaxProblem, statements_of
from support.calls import Project

TABLE = "CREATE TABLE orders (id bigint PRIMARY KEY, code text, customer_id bigint);\nCREATE TABLE customers (id bigint PRIMARY KEY);\n"
CASES = [
    ("-- why\nCREATE /* a ; b */ UNIQUE\n  INDEX orders_code ON orders (code); -- behind\n", "idx-create-blocking"),
    ('create index "Odd ""name" on orders (lower(code)) where code is not null', "idx-create-blocking"),
    ("REINDEX TABLE orders;\n", "idx-reindex-blocking"),
    ("ALTER TABLE orders ADD CONSTRAINT long_code CHECK (length(code) > 3);\n", "con-check-validating"),
    ('ALTER TABLE orders ADD CONSTRAINT "select" FOREIGN KEY (customer_id) REFERENCES customers -- behind\n;', "con-fk-validating"),
]  # fmt: skip
HOPELESS = [
    "CREATE INDEX ON orders (code);\n",
    "CREATE INDEX orders_code ON orders (code);\nALTER TABLE orders ADD COLUMN n int;\n",
    "-- lockgate: transaction=on\nCREATE INDEX orders_code ON orders (code);\n",
    "ALTER TABLE orders ADD CHECK (length(code) > 3);\n",
    "ALTER TABLE orders ADD COLUMN n int, ADD CONSTRAINT c CHECK (id > 0);\n",
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write("tables", TABLE)
    return made


def ids(project: Project) -> list[str]:
    """The findings above info."""
    found = project.json("check").document("check")["findings"]
    return [one["id"] for one in found if one["severity"] != "info"]


def texts(project: Project) -> dict[str, str]:
    return {path.name: path.read_text() for path in project.directory.iterdir()}


@pytest.mark.parametrize(("sql", "hazard"), CASES)
def test_the_finding_is_gone_and_the_ledger_in_step(project: Project, sql: str, hazard: str):
    """The rewritten project has no such finding, the check passes, and a second call changes nothing."""
    project.write("change", sql)
    assert hazard in ids(project)
    document = project.ok("check", "check", "--fix")
    assert [one["id"] for one in document["fixed"]["fixes"]] == [hazard]
    assert hazard not in ids(project)
    before = texts(project)
    assert project.ok("check", "check", "--fix")["fixed"] == {
        "fixes": [],
        "added": [],
        "left": [],
        "refused": "",
    }
    assert texts(project) == before


def test_an_index_that_was_dropped_plainly(project: Project):
    """DROP INDEX gets its CONCURRENTLY; the words around it stay."""
    project.write(
        "index", "-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY orders_code ON orders (code);\n"
    )
    project.write("drop", "-- not used\nDROP INDEX IF EXISTS orders_code;\n")
    project.ok("check", "check", "--fix")
    (text,) = (text for name, text in texts(project).items() if "drop" in name)
    assert (
        text == "-- lockgate: transaction=off\n-- not used\nDROP INDEX CONCURRENTLY IF EXISTS orders_code;\n"
    )


@pytest.mark.parametrize("sql", HOPELESS)
def test_what_needs_thought_is_left_and_said(project: Project, sql: str):
    """No byte of such a file changes, and the finding is told as left."""
    project.write("change", sql)
    before = texts(project)
    document = project.json("check", "--fix").document("check")
    assert not document["fixed"]["fixes"]
    assert document["fixed"]["left"]
    assert texts(project) == before


def test_committed_files_are_not_touched(project: Project):
    """What git has is merged: it is told, and stays; a new file beside it is rewritten."""
    project.write("old", CASES[0][0])
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for call in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *call], cwd=project.root, check=True)
    before = texts(project)
    name = project.write("new", CASES[0][0].replace("orders_code", "orders_code_2"))
    document = project.json("check", "--fix").document("check")
    assert [one["file"][:13] for one in document["fixed"]["fixes"]] == [name]
    assert [one["id"] for one in document["fixed"]["left"]] == ["idx-create-blocking"]
    after = texts(project)
    assert all(after[key] == value for key, value in before.items() if key.endswith(".sql"))
    ledger = json.loads(after["checksums.json"])["files"]
    assert {key: ledger[key] for key in json.loads(before["checksums.json"])["files"]} == json.loads(
        before["checksums.json"]
    )["files"]


def test_before_the_first_commit_all_may_change(project: Project):
    """A repository without a commit has merged nothing."""
    project.write("new", CASES[0][0])
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    assert project.ok("check", "check", "--fix")["fixed"]["fixes"]


def test_files_at_the_revision_are_not_touched(project: Project):
    """With --since the files of that revision are merged, and those committed later are not."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for call in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"], ["tag", "base"]):
        subprocess.run([*git, *call], cwd=project.root, check=True)
    project.write("new", CASES[0][0])
    for call in (["add", "."], ["commit", "-qm", "more"]):
        subprocess.run([*git, *call], cwd=project.root, check=True)
    assert len(project.ok("check", "check", "--fix", "--since", "base")["fixed"]["fixes"]) == 1


def test_people_read_what_was_done(project: Project):
    """Text names each rewrite and each file that was added."""
    project.write("change", CASES[3][0])
    out = project.text("check", "--fix").out
    assert "fixed " in out
    assert "con-check-validating" in out
    assert "added " in out


def test_a_file_that_is_not_sealed_keeps_all_from_being_rewritten(project: Project):
    """Nothing is rewritten while a file differs from the ledger, and it says so with the call that works."""
    (project.directory / "1900000000000_unsealed.sql").write_text(
        "CREATE INDEX orders_code ON orders (code);\n"
    )
    before = texts(project)
    answer = project.json("check", "--fix").document("check")["fixed"]
    assert (answer["fixes"], texts(project)) == ([], before)
    assert "lockgate check --fix --write-ledger" in answer["refused"]
    assert "nothing was rewritten" in project.text("check", "--fix").out
    assert project.json("check", "--fix", "--write-ledger").document("check")["fixed"]["fixes"]


def test_useless_allowances_go(project: Project):
    """An allowance that hides nothing is taken out; the one beside it that hides something stays."""
    allow = '-- lockgate: allow={} until=2999-01-01 reason="r"\n'
    index = "CREATE INDEX orders_code ON orders (code);\n"
    project.write("change", allow.format("col-drop") + allow.format("idx-create-blocking") + index)
    project.ok("check", "check", "--fix")
    (text,) = (text for name, text in texts(project).items() if "change" in name)
    assert text == allow.format("idx-create-blocking") + index


NOISE = st.sampled_from(["", " ", "\n", "/* x; */", "-- y\n", "\t"])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from([sql for sql, _ in CASES]), st.lists(NOISE, min_size=6, max_size=6))
def test_comments_and_space_anywhere(sql: str, noise: list[str]):
    """However a statement is spaced and commented: the text is left alone, or it says the safe thing and all its comments stay."""
    words = sql.split(" ")
    parts = [word + (noise[n % 6] or "") + " " for n, word in enumerate(words)]
    text = "".join(parts)
    try:
        before = statements_of(text)
    except SyntaxProblem:
        return  # the noise broke a string; nothing to rewrite
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(TABLE)
    found = judge.judge(Source("f.sql", text)).findings
    result = fixed("f.sql", text, text, found, transactional=True)
    after = statements_of(result.text)
    assert len(after) == len(before)
    if result.fixes:
        again = Judge(today=date(2030, 1, 1))
        again.replay(TABLE)
        off = "transaction=off" in result.text
        left = {one.id for one in again.judge(Source("f.sql", result.text, transactional=not off)).findings}
        assert not left & {fix.id for fix in result.fixes}
        for piece in ("/* x; */", "-- y\n"):
            assert result.text.count(piece) == text.count(piece)


def test_the_fix_of_an_edited_file_depends_on_git(tmp_path):
    """Before the first commit an edit may be taken into the ledger; of a committed file only its bytes are right."""
    project = Project(tmp_path)
    project.write("orders", "CREATE TABLE orders (id bigint PRIMARY KEY);\n")
    [path] = project.directory.glob("*.sql")
    whole = path.read_bytes()

    def told() -> str:
        path.write_bytes(whole + b"-- more\n")
        [found] = project.json("check").document("check")["findings"]
        assert found["id"] == "LEDGER_DRIFT"
        path.write_bytes(whole)
        return str(found["fix"])

    assert "lockgate check --write-ledger" in told()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], cwd=project.root, check=True)
    assert "lockgate check --write-ledger" in told()
    subprocess.run([*git, "add", "."], cwd=project.root, check=True)
    subprocess.run([*git, "commit", "-qm", "all"], cwd=project.root, check=True)
    assert "--write-ledger" not in told()
