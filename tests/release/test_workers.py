"""Paused workers: shown to have stopped, always let go again where that is safe, and held loudly where it is not."""

import json
import signal
from collections.abc import Callable

import psycopg
import pytest

from lockgate.config.release import Workers
from lockgate.record.verdict import Verdict
from lockgate.release.workers import preset, read_count
from lockgate.release.workers_judge import Footing, may_resume
from release.conftest import SHA
from release.stage import running_workers, workers_toml
from support import processes
from support.calls import Project, finish

ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n'


def pause_row(url: str) -> tuple:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT state, owner <> '', reason FROM lockgate.worker_pause").fetchone()
        assert row is not None
        return row


@pytest.mark.postgres("18")
@pytest.mark.parametrize("deaf", [True, False])
def test_workers_that_do_not_stop(make: Callable[..., Project], database: str, deaf: bool):
    """Workers that ignore the pause, or of which nobody can tell: nothing is applied, and they are let go again."""
    project = make()
    if deaf:
        project.configure(ENV + workers_toml(project.root, pause="deaf", timeout="300ms"))
    else:
        project.configure(ENV + workers_toml(project.root, status="broken", timeout="300ms"))
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert project.ok("status", "status", "--env", "production")["applied"] == []
    assert running_workers(project.root) == 3
    if not deaf:
        # Found in the preflight, before anybody was asked to stop.
        assert answer.code == 4
        answer.error("COMMAND_FAILED")
        assert not (project.root / "workers.log").exists()  # the status command fails before it writes there
        return
    assert answer.code == 3
    assert answer.error("WORKERS_NOT_STOPPED")["details"]["workers"] == "resumed"
    assert pause_row(database)[0] == "resumed"


@pytest.mark.postgres("18")
def test_a_failing_expand_file_lets_them_go(make: Callable[..., Project], database: str):
    """The migration fails after the pause: the old workers fit what is there, so they run again; a resume pauses them anew."""
    project = make()
    project.configure(ENV + workers_toml(project.root))
    project.write("broken", "SELECT 1/0;\n")
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 3
    assert answer.error("MIGRATION_EXECUTION_FAILED")["details"]["workers"] == "resumed"
    assert running_workers(project.root) == 3
    project.write("broken", "SELECT 1;\n", revision=1_700_000_000_003)
    project.ok("release", "release", "resume", "--env", "production")
    assert running_workers(project.root) == 3
    assert (project.root / "workers.log").read_text().split().count("pause") == 2


@pytest.mark.postgres("18")
def test_held_after_a_contract_file(make: Callable[..., Project], database: str):
    """What the old workers need is gone and the release failed: they stay stopped, with an owner, and every output shouts it."""
    project = make()
    project.configure(ENV + workers_toml(project.root))
    project.ok("release", "release", "--sha", "a" * 40, "--env", "production")
    project.write(
        "drop",
        '-- lockgate: phase=contract\n-- lockgate: allow=col-drop until=2099-01-01 reason="unused since r7"\nALTER TABLE customers DROP COLUMN email;\n',
    )
    project.write("broken", "SELECT 1/0;\n")
    project.configure(ENV + '[policy]\nprofile = "early-stage"\n' + workers_toml(project.root))
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 3, answer
    document = answer.error("MIGRATION_EXECUTION_FAILED")
    assert document["details"]["workers"].startswith("held")
    assert "THE WORKERS STAY STOPPED" in document["state"]
    assert running_workers(project.root) == 0
    assert pause_row(database)[:2] == ("held", True)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT lockgate.workers_paused()").fetchone() == (True,)
    recovery = project.ok("release-recover", "release", "recover", "--env", "production")
    assert recovery["workers"].startswith("held")
    assert next(w for w in recovery["ways"] if w["id"] == "previous-image")["possible"] is False
    project.write("broken", "SELECT 1;\n", revision=1_700_000_000_004)
    held = project.json("release", "resume", "--env", "production")
    # Nothing is rolled out by lockgate here, so nobody has shown that the workers are new ones.
    assert held.code == 3
    held.error("WORKERS_HELD")


@pytest.mark.postgres("18")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_them_go(make: Callable[..., Project], database: str, number: signal.Signals):
    """A signal in the middle of the migration: the statement is cancelled, rolled back, and the workers run again."""
    project = make()
    project.configure(ENV + workers_toml(project.root))
    project.write("slow", "CREATE TABLE slow (id int);\nSELECT pg_sleep(50);\n")
    process = project.start("release", "--sha", SHA, "--env", "production", "--format", "json")
    with psycopg.connect(database, autocommit=True) as connection:
        busy = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        processes.until(lambda: connection.execute(busy).fetchone())
        assert running_workers(project.root) == 0
        process.send_signal(number)
        answer = finish(process)
        assert answer.code == 128 + number, answer
        assert connection.execute("SELECT state FROM lockgate.release").fetchone() == ("cancelled",)
    assert running_workers(project.root) == 3
    assert pause_row(database)[0] == "resumed"


@pytest.mark.postgres("18")
def test_the_lease_as_a_flag(make: Callable[..., Project], database: str):
    """Workers that ask lockgate's own flag stop while it is set; the count of jobs in hand is the proof."""
    project = make()
    project.configure(
        ENV
        + '[workers]\nprovider = "lease"\nstatus_sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = \'job\'"\ntimeout = "300ms"\npoll_interval = "20ms"\n'
    )
    with psycopg.connect(database, autocommit=True, application_name="job"):
        answer = project.json("release", "--sha", SHA, "--env", "production")
        assert answer.code == 3
        assert "1 still run" in answer.error("WORKERS_NOT_STOPPED")["message"]
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT lockgate.workers_paused()").fetchone() == (False,)


FOOTING = [
    ("nobody can read the history", Footing(False), Verdict.HOLD),
    ("nothing applied", Footing(True), Verdict.PASS),
    ("expand files applied", Footing(True, ("1",)), Verdict.PASS),
    ("half a file", Footing(True, ("1",), (), ("2",)), Verdict.FAIL),
    ("half a file, though rolled out", Footing(True, ("1",), (), ("2",), True, True), Verdict.FAIL),
    ("a contract file", Footing(True, ("1", "2"), ("2",)), Verdict.FAIL),
    (
        "a contract file, all applied and rolled out",
        Footing(True, ("1", "2"), ("2",), (), True, True),
        Verdict.PASS,
    ),
    (
        "a contract file, rolled out and not all applied",
        Footing(True, ("1", "2"), ("2",), (), True, False),
        Verdict.FAIL,
    ),
    ("a migration that runs still", Footing(True, migrating="server process 7"), Verdict.HOLD),
]


@pytest.mark.parametrize(("footing", "answer"), [c[1:] for c in FOOTING], ids=[c[0] for c in FOOTING])
def test_may_resume(footing: Footing, answer: Verdict):
    """Workers go on only where they are known to fit."""
    assert may_resume(footing).answer is answer


def test_counts():
    """A status is a number, nothing, or a word that is known; anything else cannot tell."""
    assert [read_count(s) for s in ("0", "3\n", "", '"2"', "inactive", "active", "what?", "-1")] == [0, 3, 0, 2, 0, 1, None, None]  # fmt: skip
    assert read_count("a1\nb2\n", lines=True) == 2


@pytest.mark.parametrize("name", ["kubectl", "containerapp", "systemctl", "compose"])
def test_presets(name: str):
    """Each preset has all of its commands, with the name of the workers in every one (not run against a platform here)."""
    commands = preset(Workers(preset=name, name="mailer", namespace="shop"))
    for command in (commands.pause, commands.status, commands.resume):
        assert "mailer" in json.dumps(command)
        assert command[0] in ("kubectl", "az", "systemctl", "docker")
