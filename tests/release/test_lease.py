"""One release at a time: who lost the lease changes nothing any more, who only lost a connection takes it back."""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from release.conftest import SHA
from release.stage import PYTHON, job_toml, running_workers, words, workers_toml
from support import processes
from support.calls import Answer, Project, finish

pytestmark = pytest.mark.postgres("18")
ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n'
NEWER = "f" * 40
WAIT = """
import pathlib, sys, time
folder, sha = pathlib.Path(sys.argv[1]), sys.argv[2]
(folder / ("rolling-" + sha)).write_text("")
end = time.monotonic() + 60
while sha[0] != "f" and not (folder / "go").exists():
    if time.monotonic() > end: sys.exit("nobody said go")
    time.sleep(0.02)
with (folder / "rollouts").open("a") as file: file.write(sha + "\\n")
"""


def waiting(folder: Path) -> str:
    """``[release]`` with a rollout that waits for the test, but for the newer sha."""
    return f"[release]\nrollout = {words(PYTHON, '-c', WAIT, folder, '{sha}')}\n"


def cut(url: str) -> int:
    """End the lease's session on the server; how many there were."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'lockgate/release' AND datname = current_database()"
        ).fetchone()
        assert row is not None
        return int(row[0])


def test_a_lost_connection_is_replaced(make: Callable[..., Project], database: str):
    """The lease's session is cut in the middle of the rollout: the release takes the lease back and ends well."""
    project = make()
    project.configure(ENV + workers_toml(project.root) + waiting(project.root))
    process = project.start("release", "--sha", SHA, "--env", "production", "--format", "json")
    processes.until(lambda: (project.root / f"rolling-{SHA}").exists())
    assert cut(database) == 1
    (project.root / "go").write_text("")
    answer = finish(process)
    assert answer.code == 0, answer
    assert running_workers(project.root) == 3
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT state FROM lockgate.release").fetchall() == [("succeeded",)]


def test_who_was_taken_over_is_fenced(make: Callable[..., Project], database: str):
    """A release that lost its lease to another one writes nothing more: FENCED, and the newer release's journal is untouched."""
    project = make()
    project.configure(ENV + workers_toml(project.root) + waiting(project.root))
    old = project.start("release", "--sha", SHA, "--env", "production", "--format", "json")
    processes.until(lambda: (project.root / f"rolling-{SHA}").exists())
    assert running_workers(project.root) == 0
    assert cut(database) == 1
    project.ok("release", "release", "--sha", NEWER, "--env", "production")
    # The newer release found the pause of the older one and let the workers go at its end.
    assert running_workers(project.root) == 3
    (project.root / "go").write_text("")
    answer = finish(old)
    assert answer.code == 3, answer
    answer.error("FENCED")
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT sha, state FROM lockgate.release ORDER BY sequence").fetchall()
        assert rows == [(SHA, "superseded"), (NEWER, "succeeded")]
        rollout = connection.execute(
            "SELECT s.state FROM lockgate.release_step s JOIN lockgate.release r USING (release_key) WHERE r.sha = %s AND s.name = 'rollout'",
            [SHA],
        ).fetchone()
        assert rollout == ("running",)
    assert running_workers(project.root) == 3


def test_a_job_that_starts_twice(make: Callable[..., Project], database: str):
    """The platform starts the job twice at the same moment: each revision is applied once, and the release passes."""
    project = make()
    project.configure(ENV + job_toml(project.root, {"words": ["Running", "Running", "Succeeded"]}))
    twin = project.start("up", "--format", "json", DATABASE_URL=database)
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert finish(twin).code == 0
    assert answer.code == 0, answer
    with psycopg.connect(database) as connection:
        assert connection.execute(
            "SELECT count(*), count(DISTINCT revision_id) FROM lockgate.migration_history"
        ).fetchone() == (2, 2)


def test_a_job_that_lives_on(make: Callable[..., Project], database: str):
    """The wrapper gave up while its container still migrates: the next release does not end it blindly, it names who holds the lock."""
    project = make(ENV)
    project.write("slow", "SELECT pg_sleep(60);\n")
    left = project.start("up", "--format", "json", DATABASE_URL=database)
    with psycopg.connect(database, autocommit=True) as connection:
        busy = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        processes.until(lambda: connection.execute(busy).fetchone())
        answer = project.json("release", "--sha", SHA, "--env", "production", "--lock-wait", "0.3")
        assert answer.code == 75, answer
        assert "lockgate/" in answer.error("LOCK_BUSY")["message"]
        assert connection.execute(busy).fetchone(), "it was not ended"
    left.terminate()
    assert finish(left).code == 143


@pytest.mark.parametrize("skew", ["86400", "-86400", "back"])
def test_wrong_clocks(make: Callable[..., Project], database: str, skew: str):
    """A client's clock that is a day off or runs backwards: order and ages come from the server, so the same releases pass and the stale one is refused."""
    project = make(ENV + '[backup]\nprovider = "pg_dump"\n')
    runner = Path(__file__).parent.parent / "faults" / "runner.py"

    def run(sha: str) -> Answer:
        words = ("release", "--sha", sha, "--env", "production", "--format", "json")
        return finish(project.python(str(runner), *words, FAULT_SKEW=skew))

    assert run(SHA).code == 0
    assert run(NEWER).code == 0
    stale = run(SHA)
    assert stale.code == 4
    assert json.loads(stale.out)["reasonCode"] == "CANDIDATE_STALE"
