"""The page that is opened after a release went wrong: it tells of what failed, not of what came after it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from release.conftest import ENV, SHA
from support.calls import Project

postgres = pytest.mark.postgres("18")
NOTIFY = '[notify]\nowners = ["team-shop"]\npager = "pager-7"\n'


def opened(project: Project, *more: str) -> tuple[dict, str]:
    """Open the page, and give what was told and what it says; it is taken away for the next one."""
    made = project.ok("postmortem", "postmortem", "new", SHA, *more)
    path = project.root / made["file"]
    text = path.read_text()
    path.unlink()
    return made, text


@pytest.fixture
def mended(make: Callable[..., Project], database: str) -> Project:
    """A project whose release failed on a row, was mended and resumed, and was called once more with nothing to do."""
    project = make(ENV + NOTIFY)
    project.ok("release", "release", "--sha", "a" * 40, "--env", "production")
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("INSERT INTO orders VALUES (1, -1)")
    check = "ALTER TABLE orders ADD CONSTRAINT known CHECK (customer_id > 0) NOT VALID;\n"
    project.write("known", check)
    project.write("validate", "ALTER TABLE orders VALIDATE CONSTRAINT known;\n")
    failed = project.json("release", "--sha", SHA, "--env", "production")
    assert failed.code == 3, failed
    finds = "Mend the rows that SELECT * FROM orders WHERE NOT (customer_id > 0) finds, then lockgate release resume"
    assert failed.error("MIGRATION_EXECUTION_FAILED")["next"].startswith(finds)
    ways = project.json("release", "recover", "--env", "production").out
    assert "mend the rows that SELECT * FROM orders WHERE NOT (customer_id > 0) finds" in ways
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("UPDATE orders SET customer_id = 1")
    project.ok("release", "release", "resume", "--env", "production")
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    return project


@postgres
def test_it_tells_of_the_failed_release(mended: Project):
    """After a resume and a second release that changed nothing, the page holds the facts of the release that failed, how it went on, and asks for the regression test."""
    made, page = opened(mended, "--env", "production")
    assert (made["environment"], made["reasonCode"]) == ("production", "MIGRATION_EXECUTION_FAILED")
    assert Path(made["file"]).name == f"production-{SHA[:12]}.md"
    for told in (
        "Outcome: fail MIGRATION_EXECUTION_FAILED:",
        "Failed step: migrate:",
        f"Durably changed: migration {sorted(p.name for p in mended.directory.glob('*.sql'))[2][:13]} is applied",
        "Traffic: the release before; the rollout was not reached",
        "Owners: team-shop, pager-7",
        f"lockgate release resume {SHA} --env production",
        "fails on the release before the fix",
    ):
        assert told in page, told
    assert page.count(": pass") == 2  # the resume, and the release that had nothing to do
    assert made == {**opened(mended)[0]}  # without --env: of whatever environment failed last
    shutil.rmtree(mended.root / ".artifacts")
    lost = mended.json("postmortem", "new", SHA, "--env", "production")
    assert lost.code == 2, lost  # the journal holds the end of a resumed release, and that was good
    assert "no failed release" in lost.error("USAGE")["message"]


@postgres
def test_the_journal_tells_it_of_the_environment_that_is_named(make: Callable[..., Project], database: str):
    """A failure in staging is not production's; and where the artifacts are gone, the journal gives the same facts."""
    stages = ENV + '[env.staging]\nurl_env = "STAGING_URL"\n' + NOTIFY
    project = make(stages + '[release]\nrollout = ["false"]\n')
    project.environ["STAGING_URL"] = database
    assert project.json("release", "--sha", SHA, "--env", "staging").error("ROLLOUT_FAILED")
    project.configure(stages)
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    none = project.json("postmortem", "new", SHA, "--env", "production").error("USAGE")
    assert none["next"] == f"lockgate release show {SHA} --env production"
    made, page = opened(project, "--env", "staging")
    shutil.rmtree(project.root / ".artifacts")
    rebuilt, again = opened(project, "--env", "staging")
    assert rebuilt == made
    same = ("Outcome", "Failed step", "Durably changed", "Traffic", "Owners", "Told to do next", "State of")
    lines = [line for line in page.splitlines() if line.removeprefix("- ").startswith(same)]
    assert len(lines) == len(same)
    assert [line for line in again.splitlines() if line in lines] == lines, again
    assert "ROLLOUT_FAILED" in again
    assert "fails on the release before the fix" in again
