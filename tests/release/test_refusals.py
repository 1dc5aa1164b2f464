"""Codes that are rare: each is reached here on a real server."""

import json
from collections.abc import Callable

import psycopg
import pytest

from lockgate.errors import LockgateError
from lockgate.postgres import programs
from release.conftest import ENV, SHA
from release.measuring import Measured
from release.stage import PYTHON, running_workers, words, workers_toml
from support.calls import Project

pytestmark = pytest.mark.postgres("18")


@pytest.mark.parametrize(
    ("after", "code", "exit"),
    [("0.9", "WATCH_FAILED", 3), ("", "WATCH_HELD", 5), ("0.12", "", 0)],
    ids=["it jumps", "nothing is measured", "quiet"],
)
def test_a_watch_decides_the_release(
    make: Callable[..., Project], measured: Measured, after: str, code: str, exit: int
):
    """With a real Prometheus: after the rollout a measurement jumps, or nothing is measured any more: the release fails or holds; a quiet one passes."""
    project = make()
    rollout = [PYTHON, "-c", f"import pathlib; pathlib.Path({str(measured.file)!r}).write_text({after!r})"]
    project.configure(
        ENV
        + f"[release]\nrollout = {json.dumps(rollout)}\n"
        + workers_toml(project.root)
        + f'[watch]\nprometheus_url = "{measured.url}"\nwindow = "{"30s" if code else "1s"}"\ninterval = "50ms"\nfailure_limit = 0\nerror_limit = 1\n'
        + f'[watch.queries.errors]\nquery = "{measured.gauge}"\nmax_increase_percent = 50\n'
    )
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == exit, answer
    if code:
        answer.error(code)
    # What is applied is of the expand phase, so the workers run in every case.
    assert running_workers(project.root) == 3
    artifact = json.loads((project.root / ".artifacts" / "deploy" / SHA / "release.json").read_text())
    steps = {step["name"]: step["evidence"] for step in artifact["steps"]}
    assert steps["watch"]["baseline"] == {"errors": 0.1}
    assert steps["proof"]["baselineOver"]["errors"]["seconds"] == 3600.0
    assert steps["proof"]["baselineOver"]["errors"]["values"] >= 1


def test_a_step_that_outlives_its_limit(make: Callable[..., Project]):
    """A step that takes longer than its limit is ended, and the release says which one it was."""
    project = make(
        ENV + '[release]\nwait_for_instances = true\nrollout_timeout = "700ms"\nrollout = ["true"]\n'
    )
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 3
    assert answer.error("ROLLOUT_FAILED")["details"]["steps"][-1]["name"] == "rollout"
    project.configure(
        ENV
        + f'[release]\nstep_timeout = "400ms"\n[smoke]\nbase_url = "http://127.0.0.1:1"\nretry_delay = "1s"\nretry_attempts = 5\njob = {words(PYTHON, "-c", "pass")}\n'
    )
    slow = project.json("release", "--sha", "b" * 40, "--env", "production")
    assert slow.code == 3
    slow.error("API_SMOKE_RUNTIME_ERROR")
    from lockgate.release.budget import Budget

    with pytest.raises(LockgateError) as raised:
        Budget("watch", 0.0, None).check()
    assert raised.value.code == "STEP_TIMEOUT"


def test_a_check_that_cannot_be_asked_holds(make: Callable[..., Project]):
    """The connection dies in the middle of a declared assertion: nobody knows its answer, so the release holds."""
    project = make(ENV)
    (project.root / "verify").mkdir()
    (project.root / "verify" / "dies.sql").write_text("SELECT pg_terminate_backend(pg_backend_pid());\n")
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 5, answer
    answer.error("VERIFY_HELD")


def test_missing_programs(monkeypatch: pytest.MonkeyPatch):
    """No pg_dump of a version that fits: the error names program and version."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LockgateError, match="pg_dump for PostgreSQL 99") as raised:
        programs.program("pg_dump", 99)
    assert raised.value.code == "PROGRAM_MISSING"
    assert programs.program("pg_dump", 17).is_file()  # the next newer one serves an older server


def test_a_newer_format(make: Callable[..., Project], database: str):
    """A database that a newer lockgate has written to is refused before anything is changed."""
    project = make(ENV)
    project.ok("up", "up", "--env", "production")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO lockgate.format (number) VALUES (99)")
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 4
    answer.error("FORMAT_NEWER")


def test_a_role_that_switches_triggers_off(make: Callable[..., Project], database: str):
    """A role that logs in as a replica would write past every trigger: refused, with the statement that mends it."""
    project = make(ENV)
    role = f"replica_{database[-6:]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{role}" LOGIN SUPERUSER')
        connection.execute(f"ALTER ROLE \"{role}\" SET session_replication_role = 'replica'")
        try:
            answer = project.json(
                "up", "--env", "production", PRODUCTION_URL=database.replace("//postgres@", f"//{role}@")
            )
            assert answer.code == 4, answer
            assert f'ALTER ROLE "{role}" RESET' in answer.error("SETTING_REFUSED")["next"]
        finally:
            connection.execute(f'DROP ROLE "{role}"')


def test_up_on_a_drifted_protected_environment(make: Callable[..., Project], database: str):
    """Somebody's change by hand is named, and nothing is applied on top of it where the environment is protected; elsewhere `up` says so loudly and goes on."""
    project = make(ENV + 'protected = true\n[env.free]\nurl_env = "PRODUCTION_URL"\n')
    project.ok("up", "up", "--env", "free")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE customers ADD COLUMN by_hand int")
    project.write("more", "CREATE TABLE more (id int);\n")
    refused = project.json("up", "--env", "production")
    assert refused.code == 4, refused
    error = refused.error("SCHEMA_DRIFT")
    assert "by_hand" in error["message"]
    assert "lockgate repair --env production --accept-schema" in error["next"]
    assert project.ok("status", "status", "--env", "free")["pending"]
    notes = project.ok("up", "up", "--env", "free")["notes"]
    assert any("SCHEMA_DRIFT" in note and "by_hand" in note for note in notes)


def test_pending(make: Callable[..., Project]):
    """`status --check` tells that something is pending by its code."""
    project = make(ENV)
    answer = project.json("status", "--check", "--env", "production")
    assert answer.code == 1
    assert "PENDING" in answer.err
    assert answer.document("status")["pending"]
