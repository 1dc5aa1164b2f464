"""A pipeline that is killed goes on where it was: at every step, the end is that of an undisturbed release."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from lockgate.release.steps import STEPS
from release.conftest import PROTECTED, SHA
from release.stage import TOKEN, rollout_toml, running_workers, service, smoke_toml, workers_toml
from support.calls import Answer, Project, finish

pytestmark = pytest.mark.postgres("18")

RUNNER = Path(__file__).parent.parent / "faults" / "runner.py"
CONFIG = '[env.production]\nurl_env = "PRODUCTION_URL"\n[backup]\nprovider = "pg_dump"\n'
POINTS = [
    "release:leased",
    "release:window:acted",
    "release:proof:ended",
    "backup:taken",
    "release:pause:written",
    "release:migrate:begun",
    "release:migrate:acted",
    "release:verify:ended",
    "release:rollout:commanded",
    "release:smoke:acted",
    "release:resume:acted",
    "file:migration.json:rename",
]
"""Where the process dies: once in every step, where most hangs on it."""

REST = [
    "backup:begun",
    "backup:recorded",
    "release:pause:asked",
    "release:resume:asked",
    *(f"release:{step.name}:{part}" for step in STEPS for part in ("begun", "acted", "ended") if f"release:{step.name}:{part}" not in POINTS),
]  # fmt: skip
"""Every other moment of every step: in `make soak`."""


def hurt(project: Project, point: str, *arguments: str) -> Answer:
    """Run lockgate, killed at the point of that name."""
    fault = json.dumps({"kind": "kill", "at": 1, "name": point})
    return finish(project.python(str(RUNNER), *arguments, FAULT=fault, SMOKE_TOKEN=TOKEN), 120)


def world(project: Project, url: str, *, smoked: bool = True) -> dict:
    """What a release leaves, without ids and times."""
    with psycopg.connect(url) as connection:

        def rows(sql: str) -> list:
            return connection.execute(sql).fetchall()

        return {
            "history": rows("SELECT revision_id, checksum, state FROM lockgate.migration_history ORDER BY 1"),
            "tables": rows(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
            ),
            "steps": rows(
                "SELECT s.name, s.state FROM lockgate.release_step s JOIN lockgate.release r USING (release_key)"
                " WHERE r.sequence = (SELECT max(sequence) FROM lockgate.release) ORDER BY s.number"
            ),
            "release": rows(
                "SELECT sha, state, reason_code FROM lockgate.release ORDER BY sequence DESC LIMIT 1"
            ),
            "running": rows("SELECT count(*) FROM lockgate.run WHERE state = 'running'"),
            "pause": rows("SELECT state FROM lockgate.worker_pause"),
            "verified": rows("SELECT count(*) > 0 FROM lockgate.backup WHERE state = 'verified'"),
            "workers": running_workers(project.root),
            "artifact": project.artifact(SHA)["status"],
            "smoke": json.loads(
                (project.root / ".artifacts" / "deploy" / SHA / "api-smoke.json").read_text()
            )["status"]
            if smoked
            else "",
        }


@pytest.mark.parametrize("point", [*POINTS, *(pytest.param(point, marks=pytest.mark.soak) for point in REST)])
def test_killed_and_resumed(make: Callable[..., Project], database: str, point: str):
    """kill -9 at a point of the pipeline, then `release resume`: history, journal, workers, backup and artifact are those of a quiet run."""
    with service() as web:
        web.release = SHA
        project = make()
        project.configure(CONFIG + workers_toml(project.root) + rollout_toml(project.root) + smoke_toml(web))
        killed = hurt(project, point, "release", "--sha", SHA, "--env", "production")
        assert killed.code == -9, killed
        answer = project.json("release", "resume", "--env", "production", SMOKE_TOKEN=TOKEN)
        assert answer.code == 0, answer
        after = world(project, database)
    assert len(after["history"]) == 2
    assert after == {
        "history": after["history"],
        "tables": [("customers",), ("orders",)],
        "steps": [
            ("window", "done"), ("candidate", "done"), ("proof", "done"), ("approvals", "skipped"), ("backup", "done"), ("pause", "done"),
            ("migrate", "done"), ("verify", "done"), ("rollout", "done"), ("smoke", "done"), ("watch", "skipped"), ("resume", "done"),
            ("indexes", "skipped"), ("index-watch", "skipped"),
        ],
        "release": [(SHA, "succeeded", "")],
        "running": [(0,)],
        "pause": [("resumed",)],
        "verified": [(True,)],
        "workers": 3,
        "artifact": "pass",
        "smoke": "pass",
    }  # fmt: skip
    rollouts = (project.root / "rollouts").read_text().split()
    # A command that was killed before its end was written is given once more: it has to be idempotent, and the page says so.
    assert len(rollouts) == (2 if point in ("release:rollout:commanded", "release:rollout:acted") else 1)


@pytest.mark.parametrize(
    ("point", "applied"), [(":prepare:send", 0), (":commit:received", 1), (":alone:send", 2), (":alone:received", 2), ("release:migrate:acted", 3)]
)  # fmt: skip
def test_recovered_where_a_rehearsal_is_demanded(
    make: Callable[..., Project], database: str, point: str, applied: int
):
    """kill -9 in a protected environment before, between and after the files: what `release recover` says, typed as it stands, ends the release well;
    where a part is applied the rest is rehearsed first, and without that the resume is refused."""
    project = make(PROTECTED.replace("require_rehearsal = false\n", "require_backup = false\n"))
    project.write("late", "-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY late ON orders (customer_id);\n")  # fmt: skip
    project.ok("approve", "approve", "--env", "production", "--actor", "ann")
    typed(project, "lockgate status --env production --format json > status.json")
    typed(project, "lockgate rehearse --from-status status.json")
    assert hurt(project, point, "release", "--sha", SHA, "--env", "production").code == -9
    with psycopg.connect(database) as connection:
        done = "SELECT count(*) FROM lockgate.migration_history WHERE state = 'applied'"
        assert connection.execute(done).fetchone() == (applied,)
    found = project.ok("release-recover", "release", "recover", "--env", "production")
    assert found["recommended"] == "resume"
    commands = next(way for way in found["ways"] if way["id"] == "resume")["commands"]
    part = 0 < applied < 3
    assert [c.split()[1] for c in commands] == (["status", "rehearse", "release"] if part else ["release"])
    if part:
        assert project.json(*commands[-1].split()[1:]).error("REHEARSAL_MISSING")
    for command in commands:
        typed(project, command)
    after = world(project, database, smoked=False)
    assert [state for _, _, state in after["history"]] == ["applied"] * 3
    assert (after["release"], after["running"]) == ([(SHA, "succeeded", "")], [(0,)])


def typed(project: Project, command: str) -> None:
    """Call a command as a person types it; it has to end well."""
    words, _, into = command.partition(" > ")
    answer = project.json(*[w for w in shlex.split(words)[1:] if w not in ("--format", "json")])
    assert answer.code == 0, (command, answer)
    if into:
        (project.root / into).write_text(answer.out)


def test_dead_release_shows_its_pause(make: Callable[..., Project], database: str):
    """A pipeline that dies with the workers paused leaves a row with an owner and an end; asking again shows it."""
    project = make()
    project.configure(CONFIG + workers_toml(project.root))
    assert hurt(project, "release:pause:acted", "release", "--sha", SHA, "--env", "production").code == -9
    assert running_workers(project.root) == 0
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT state, owner <> '', expires_at > now() FROM lockgate.worker_pause"
        ).fetchone()
        assert row == ("paused", True, True)
        assert connection.execute("SELECT lockgate.workers_paused()").fetchone() == (True,)
        connection.execute("UPDATE lockgate.worker_pause SET expires_at = now() - interval '1 second'")
        # Nobody renewed it: whoever reads the flag goes on.
        assert connection.execute("SELECT lockgate.workers_paused()").fetchone() == (False,)
    doctor = project.json("doctor", "--env", "production")
    told = {f["id"]: f for f in json.loads(doctor.out)["findings"]}
    assert told["workers-held"]["severity"] == "error"
    assert f"lockgate release resume {SHA} --env production" in told["release-abandoned"]["next"]
    project.ok("release", "release", "resume", "--env", "production")
    assert running_workers(project.root) == 3


def test_what_is_told_of_a_dead_release(make: Callable[..., Project]):
    """Of a release that was killed after its first file, `status` and the postmortem say that it died, what it left, and one next command; nothing is claimed that nobody wrote down, nor what came later."""
    project = make(CONFIG)
    assert hurt(project, "release:migrate:acted", "release", "--sha", SHA, "--env", "production").code == -9
    project.write("later", "CREATE TABLE later (id int);\n")
    seen = project.run("status", "--env", "production").out
    assert f"release   {SHA[:12]} died, last sign of life 20" in seen
    assert f"next: lockgate release resume {SHA} --env production" in seen
    assert "lockgate up" not in seen
    way = project.run("release", "recover", "--env", "production").out
    assert "died, last sign of life 20" in way
    documents = [
        project.ok("release-recover", "release", "recover", "--env", "production"),
        json.loads(project.run("status", "--env", "production", "--format", "json").out)["release"],
    ]
    assert [(d["state"], d["died"][:2]) for d in documents] == [("running", "20")] * 2
    made = project.ok("postmortem", "postmortem", "new", SHA, "--env", "production")
    page = (project.root / made["file"]).read_text()
    first, second = sorted(p.name[:13] for p in project.directory.glob("*.sql"))[:2]
    for told in (
        "- Last sign of life: 20",
        "- Outcome: fail: it died, for no end of it is written down; its last step, migrate, had begun",
        "- Failed step: migrate: it began and did not end",
        f"- Durably changed: migration {first} is applied, migration {second} is applied\n",
    ):
        assert told in page, page
    assert "State of the world" not in page
    project.ok("release", "release", "--sha", "b" * 40, "--env", "production")
    (project.root / made["file"]).unlink()
    project.ok("postmortem", "postmortem", "new", SHA, "--env", "production")
    again = (project.root / made["file"]).read_text()
    resume = f"- Told to do next: lockgate release resume {SHA} --env production\n"
    assert again == page.replace(resume, "- Told to do next: nothing\n")
