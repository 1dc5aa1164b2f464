"""The migration in a child process: the history has the last word, and a child that outlives its time is ended."""

import json
import os
import subprocess
from collections.abc import Callable

import psycopg
import pytest

from release.conftest import ENV, SHA
from release.stage import PYTHON, running_workers, workers_toml
from support.calls import COMMAND, Project, validate
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
RELEASE = ("release", "--sha", SHA, "--env", "production")


def child(timeout: str = "60s", start: list[str] | None = None) -> str:
    """``[job]`` in a child."""
    words = f"start = {json.dumps(start)}\n" if start else ""
    return f'[job]\nprovider = "child"\nname = "migrate"\ntimeout = "{timeout}"\n{words}'


def left(project: Project) -> dict:
    """The ``migration.json`` of the release, which keeps its schema."""
    told = json.loads((project.root / ".artifacts" / "deploy" / SHA / "migration.json").read_text())
    validate("migration-artifact", told)
    return told


def test_a_child_applies_what_is_pending(make: Callable[..., Project], database: str):
    """The files are applied by another process, whose run is the release's own in the tables; the record tells its name, its log and its verdict, and can be rebuilt."""
    project = make()
    project.configure(ENV + workers_toml(project.root) + child())
    project.ok("release", *RELEASE)
    told = left(project)
    assert (told["status"], told["jobName"], told["logsSource"]) == ("pass", "migrate", "child")
    assert told["executionName"].startswith("child-")
    assert [m["state"] for m in told["migrations"]] == ["applied", "applied"]
    with psycopg.connect(database) as connection:
        kinds = connection.execute(
            "SELECT kind, release_id FROM lockgate.run WHERE kind IN ('up', 'release')"
        ).fetchall()
    assert kinds == [("up", SHA)]
    project.ok("release-show", "release", "show", SHA, "--env", "production", "--rebuild")
    assert [m["state"] for m in left(project)["migrations"]] == ["applied", "applied"]
    assert running_workers(project.root) == 3


def test_a_child_that_outlives_its_time_is_ended(make: Callable[..., Project], database: str):
    """After its limit the child is stopped, not only abandoned: its statement is cancelled, its lock is free, the workers run, and with a longer limit the resume it told of ends the release well."""
    project = make()
    project.configure(ENV + workers_toml(project.root) + child("3s"))
    wait = "CREATE TABLE slow AS SELECT 1 AS id FROM pg_sleep((SELECT seconds FROM wait));\n"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE wait (seconds float8); INSERT INTO wait VALUES (600)")
        project.write("slow", wait)
        failed = project.json(*RELEASE).error("MIGRATION_EXECUTION_TIMEOUT")
        assert f"lockgate release resume {SHA} --env production" in failed["next"]
        told = left(project)
        assert told["executionStatus"].startswith("stopped after")
        busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        # The session ends on the server's side, a moment after its client.
        until(lambda: connection.execute(busy).fetchone() == (0,))
        assert connection.execute(
            "SELECT state FROM lockgate.run WHERE kind = 'up' ORDER BY started_at DESC LIMIT 1"
        ).fetchone() == ("cancelled",)
        assert running_workers(project.root) == 3
        connection.execute("UPDATE wait SET seconds = 0")
    project.ok("release", "release", "resume", SHA, "--env", "production")
    assert [m["state"] for m in left(project)["migrations"]] == ["applied"] * 3


def test_why_a_child_failed(make: Callable[..., Project]):
    """Its own run tells why: the file and the line, and what has to change; a child that never came to the database asks for its own mending, and the resume then ends well; one that says it is done while the history lacks files disagrees."""
    project = make()
    project.configure(ENV + child())
    broken = project.write("broken", "CREATE TABLE broken AS SELECT 1 / 0 AS id;\n")
    failed = project.json(*RELEASE).error("MIGRATION_EXECUTION_FAILED")
    assert f"{broken}_broken.sql:1: division by zero" in failed["message"]
    assert failed["next"].startswith("Mend the file in a new commit")
    (project.directory / f"{broken}_broken.sql").write_text("CREATE TABLE mended (id int);\n")
    project.lock()
    for word, code in (("true", "STATUS_DISAGREES"), ("false", "MIGRATION_EXECUTION_FAILED")):
        project.configure(ENV + child(start=[word]))
        failed = project.json(*RELEASE).error(code)
        assert f"lockgate release resume {SHA} --env production" in failed["next"]
    assert "no run of it came as far as the database" in failed["message"]
    assert f"lockgate release resume {SHA} --env production" in failed["next"]
    recovery = project.ok("release-recover", "release", "recover", "--env", "production")
    assert recovery["recommended"] == "resume"
    project.configure(ENV + child())
    project.ok("release", "release", "resume", SHA, "--env", "production")


RUNNING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%FROM pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()"
"""The statement of the slow migration is under way."""


def killed(project: Project, database: str) -> None:
    """A release whose own process alone gets ``kill -9`` while its migration sleeps."""
    with subprocess.Popen(
        [*COMMAND, *RELEASE], cwd=project.root, env={**os.environ, **project.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:  # fmt: skip
        until(lambda: run_sql(database, RUNNING))
        process.kill()


@pytest.mark.parametrize("start", [None, ["sh", "-c", f"{PYTHON} -m lockgate up --env production; true"]], ids=["up", "a shell around it"])  # fmt: skip
def test_a_child_ends_with_its_release(make: Callable[..., Project], database: str, start: list[str] | None):
    """kill -9 of the release: its child, also one that a shell started, cancels the statement, rolls back and records that it was stopped; nothing runs on, and a resume does the rest."""
    project = make()
    project.configure(ENV + workers_toml(project.root) + child(start=start))
    run_sql(database, "CREATE TABLE wait (seconds float8)", "INSERT INTO wait VALUES (600)")
    project.write("slow", "CREATE TABLE slow AS SELECT 1 AS id FROM pg_sleep((SELECT seconds FROM wait));\n")
    killed(project, database)
    ended = "SELECT state, reason_code FROM lockgate.run WHERE kind = 'up' AND state <> 'running'"
    until(lambda: run_sql(database, ended))
    assert run_sql(database, ended) == [("cancelled", "CANCELLED")]
    until(lambda: not run_sql(database, RUNNING))
    run_sql(database, "UPDATE wait SET seconds = 0")
    project.ok("release", "release", "resume", SHA, "--env", "production")
    assert [m["state"] for m in left(project)["migrations"]] == ["applied"] * 3
    assert running_workers(project.root) == 3


def test_workers_wait_for_a_migration_whose_release_is_dead(make: Callable[..., Project], database: str):
    """A migration that outlives the release that began it, and hears nothing of its death: recover says who runs it, neither resume nor the workers go on (75, with the next command); once it is over they do."""
    project = make()
    # A program in between that hands nothing on.
    start = [PYTHON, "-c", "import subprocess, sys, os; subprocess.run([sys.executable, '-m', 'lockgate', 'up', '--env', 'production'], env={**os.environ, 'LOCKGATE_LIFELINE': ''})"]  # fmt: skip
    project.configure(ENV + workers_toml(project.root) + child(start=start))
    project.write("slow", "CREATE TABLE slow AS SELECT 1 AS id FROM pg_sleep(600);\n")
    killed(project, database)
    recovery = project.ok("release-recover", "release", "recover", "--env", "production")
    assert recovery["recommended"] == "wait"
    assert "server process" in recovery["migrating"]
    assert "a migration runs still" in project.text("release", "recover", "--env", "production").out
    resume = ("release", "workers", "resume", "--env", "production", "--reason", "x")
    busy = project.json(*resume).error("LOCK_BUSY")
    assert (busy["exitCode"], "release workers resume --env production" in busy["next"]) == (75, True)
    busy = project.json("release", "resume", SHA, "--env", "production", "--lock-wait", "0").error(
        "LOCK_BUSY"
    )
    assert (busy["exitCode"], f"release resume {SHA}" in busy["next"]) == (75, True)
    assert running_workers(project.root) == 0
    run_sql(database, RUNNING.replace("SELECT 1", "SELECT pg_cancel_backend(pid)"))
    until(lambda: not project.ok("release-recover", "release", "recover", "--env", "production")["migrating"])
    project.ok("release-workers", *resume)
    assert running_workers(project.root) == 3
