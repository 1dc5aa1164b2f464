"""The whole release on real parts: database, backup, workers behind commands, a service on loopback."""

import json
import subprocess
from collections.abc import Callable

import psycopg
import pytest

from release.conftest import SHA
from release.stage import (
    TOKEN,
    job_toml,
    rollout_toml,
    running_workers,
    service,
    smoke_toml,
    workers_toml,
)
from support.calls import Project

pytestmark = pytest.mark.postgres("18")

ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n'
BACKUP = '[backup]\nprovider = "pg_dump"\n'
STEPS = ["window", "candidate", "proof", "approvals", "backup", "pause", "migrate", "verify", "indexes", "rollout", "smoke", "watch", "resume", "index-watch"]  # fmt: skip


def release_json(project: Project, name: str = "release.json") -> dict:
    return json.loads((project.root / ".artifacts" / "deploy" / SHA / name).read_text())


def states(project: Project) -> dict[str, str]:
    return {s["name"]: s["state"] for s in release_json(project)["steps"]}


def test_all_steps(make: Callable[..., Project]):
    """A release with everything configured does every step in order; its artifacts tell each with its evidence."""
    with service() as web:
        web.release = SHA
        project = make()
        project.configure(
            ENV + BACKUP + workers_toml(project.root) + rollout_toml(project.root) + smoke_toml(web)
        )
        verify = project.root / "verify"
        verify.mkdir()
        (verify / "orders.sql").write_text(
            "-- lockgate: expect=rows rows=2\nSELECT relname FROM pg_class WHERE relname IN ('customers', 'orders');\n"
        )
        document = project.ok("release", "release", "--sha", SHA, "--env", "production", SMOKE_TOKEN=TOKEN)
    assert [s["name"] for s in document["steps"]] == STEPS
    assert states(project) == {
        **dict.fromkeys(STEPS, "done"),
        "approvals": "skipped",
        "indexes": "skipped",
        "watch": "skipped",
        "index-watch": "skipped",
    }
    assert running_workers(project.root) == 3
    assert (project.root / "workers.log").read_text().split() == ["status", "pause", "status", "resume"]
    assert (project.root / "rollouts").read_text() == f"{SHA}\n"
    migration = project.artifact(SHA)
    assert migration["backup"]["backupId"]
    assert migration["backup"]["sha256"]
    assert [c["pass"] for c in release_json(project, "verification.json")["checks"]] == [True] * 9
    smoke = release_json(project, "api-smoke.json")
    assert smoke["status"] == "pass"
    assert {name: r["status"] for name, r in smoke["responses"].items()} == {
        "health": 200,
        "unauthorized": 401,
        "authorized": 200,
    }
    assert TOKEN not in json.dumps([smoke, migration, release_json(project)])
    assert "<h1>Release" in (project.root / ".artifacts" / "deploy" / SHA / "report.html").read_text()


def test_nothing_configured_is_told(make: Callable[..., Project]):
    """Without configuration the steps that need one are skipped, and the record says why."""
    project = make(ENV)
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    told = {s["name"]: s["message"] for s in release_json(project)["steps"] if s["state"] == "skipped"}
    assert told["backup"] == "no [backup] provider is configured"
    assert told["pause"] == "no [workers] are configured"
    assert told["rollout"].startswith("no release.rollout is configured")
    assert told["smoke"] == "no [smoke] is configured"
    assert [i["done"] for i in release_json(project)["checklist"] if i["state"] == "skipped"] == [False] * 7


def test_a_release_that_changes_nothing_leaves_its_trace(make: Callable[..., Project]):
    """Nothing is pending, so no run of `up` is recorded; the journal holds the release all the same, and `status` tells it."""
    project = make(ENV)
    assert project.ok("status", "status", "--env", "production")["release"] is None
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    project.ok("release", "release", "--sha", "b" * 40, "--env", "production")
    newest = project.ok("status", "status", "--env", "production")["release"]
    assert (newest["sha"], newest["state"]) == ("b" * 40, "succeeded")
    assert f"release   {'b' * 12} succeeded" in project.text("status", "--env", "production").out


def test_the_record_of_a_resumed_release_is_whole(make: Callable[..., Project], database: str):
    """Rows stop a release, are mended, and it is resumed: its record lists the files of both attempts, from the base of the first."""
    project = make(ENV)
    project.ok("release", "release", "--sha", "a" * 40, "--env", "production")
    base = release_json_of(project, "a" * 40)["after"]
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO orders VALUES (1, -1)")
    check = "ALTER TABLE orders ADD CONSTRAINT known CHECK (customer_id > 0) NOT VALID;\n"
    files = [
        project.write("known", check),
        project.write("validate", "ALTER TABLE orders VALIDATE CONSTRAINT known;\n"),
    ]
    refused = project.json("release", "--sha", SHA, "--env", "production").error("MIGRATION_EXECUTION_FAILED")
    assert f"lockgate release resume {SHA} --env production" in refused["next"]
    ways = {
        w["id"]: w for w in project.ok("release-recover", "release", "recover", "--env", "production")["ways"]
    }
    assert ways["resume"]["possible"]
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE orders SET customer_id = 1")
    project.ok("release", "release", "resume", "--env", "production")
    told, migration = release_json(project), release_json(project, "migration.json")
    assert len(told["migrations"]) == len(files) == 2
    assert told["migrations"] == [m["revision"] for m in migration["migrations"]]
    assert (told["before"], told["after"]) == (base, told["migrations"][-1])
    assert (migration["before"], migration["after"]) == (base, told["migrations"][-1])
    project.ok("release-show", "release", "show", SHA, "--env", "production", "--rebuild")
    rebuilt = release_json(project, "migration.json")
    assert rebuilt["before"] == base
    assert [m["revision"] for m in rebuilt["migrations"]] == told["migrations"]


def release_json_of(project: Project, sha: str) -> dict:
    return json.loads((project.root / ".artifacts" / "deploy" / sha / "release.json").read_text())


def test_second_run_changes_nothing(make: Callable[..., Project]):
    """The same sha again: no backup, no pause, no second rollout; it says since when the sha is live."""
    project = make()
    project.configure(ENV + BACKUP + workers_toml(project.root) + rollout_toml(project.root))
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    again = release_json(project)
    assert {s["name"] for s in again["steps"] if s["state"] == "done"} == {
        "window",
        "candidate",
        "migrate",
        "verify",
    }
    assert "is live since release" in again["steps"][1]["message"]
    assert (project.root / "rollouts").read_text() == f"{SHA}\n"
    assert project.ok("backup", "backup", "list", "--env", "production")["backups"][1:] == []


@pytest.mark.parametrize(
    ("script", "code", "reason", "applied"),
    [
        ({"words": ["Running", "Succeeded"]}, 0, "", 2),
        ({"words": ["!not found", "Processing", "!429 too many", "Unknown", "Succeeded"]}, 0, "", 2),
        ({"words": ["Succeeded"], "migrate": False}, 3, "STATUS_DISAGREES", 0),
        ({"words": ["Failed"]}, 5, "STATUS_DISAGREES", 2),
        ({"words": ["Failed"], "migrate": False}, 3, "MIGRATION_EXECUTION_FAILED", 0),
        pytest.param(
            {"words": ["Degraded"], "migrate": False},
            3,
            "MIGRATION_EXECUTION_FAILED",
            0,
            marks=pytest.mark.soak,
        ),
        ({"words": ["Levitating"], "migrate": False}, 5, "UNKNOWN_STATUS", 0),
        pytest.param({"words": ["Levitating"]}, 5, "UNKNOWN_STATUS", 2, marks=pytest.mark.soak),
        pytest.param(
            {"words": ["!not found"], "migrate": False}, 5, "UNKNOWN_STATUS", 0, marks=pytest.mark.soak
        ),
        ({"words": ["Running"], "migrate": False}, 3, "MIGRATION_EXECUTION_TIMEOUT", 0),
        ({"words": ["!503 service unavailable"], "migrate": False}, 5, "MIGRATION_EXECUTION_QUERY_ERROR", 0),
        ({"words": ["Succeeded"], "retries": 1}, 4, "JOB_UNSAFE", 0),
        pytest.param({"words": ["Succeeded"], "parallelism": 2}, 4, "JOB_UNSAFE", 0, marks=pytest.mark.soak),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_job_on_a_platform(
    make: Callable[..., Project], database: str, script: dict, code: int, reason: str, applied: int
):
    """The verdict on a job comes from the history: only success with a complete history passes, every other mix fails or holds."""
    project = make()
    project.configure(ENV + workers_toml(project.root) + job_toml(project.root, script))
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == code, answer
    migration = json.loads((project.root / ".artifacts" / "deploy" / SHA / "migration.json").read_text())
    assert migration["reasonCode"] == reason
    assert len([m for m in migration["migrations"] if m["state"] == "applied"]) == applied
    if reason != "JOB_UNSAFE":
        assert (migration["jobName"], migration["executionName"]) == ("migrate", "job-1")
        assert migration["logs"] == ["line one", "line two"]
    if reason == "MIGRATION_EXECUTION_TIMEOUT":
        assert (project.root / "stops").read_text() == "1"  # stopped, not only abandoned
    # Nothing of these plans is of the contract phase, so the workers run again, whatever came of it.
    assert running_workers(project.root) == 3


def test_image_is_set_and_read_back(make: Callable[..., Project]):
    """The job runs the candidate's own image: it is set, read back, and another one is refused."""
    image = "shop/api@sha256:" + "a" * 64
    project = make()
    program = project.root / "job.py"
    extra = f'set_image = ["python3", "{program}", "{project.root}", "set-image", "{{image}}"]\nread_image = ["python3", "{program}", "{project.root}", "read-image"]'
    project.configure(
        ENV + job_toml(project.root, {"words": ["Succeeded"], "image": "shop/api:latest"}, extra)
    )
    refused = project.json("release", "--sha", SHA, "--env", "production", "--image", image)
    assert refused.code == 4
    refused.error("JOB_UNSAFE")
    (project.root / "job.json").write_text('{"words": ["Succeeded"]}')
    project.ok("release", "release", "--sha", SHA, "--env", "production", "--image", image)
    assert (project.root / "image").read_text() == image
    assert project.artifact(SHA)["imageDigest"] == image


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--image", "shop/api:latest"], "CANDIDATE_IMAGE"),
        (["--rollback-image", "shop/api@sha256:abc"], "CANDIDATE_IMAGE"),
        (["--no-migrations"], "MIGRATIONS_REQUIRED"),
    ],
)
def test_candidates_that_are_refused(make: Callable[..., Project], arguments: list[str], reason: str):
    """A tag, a cut digest, and a claim that no migrations are needed while some are pending: exit 4, nothing applied."""
    project = make(ENV)
    answer = project.json("release", "--sha", SHA, "--env", "production", *arguments)
    assert answer.code == 4, answer
    answer.error(reason)
    assert project.ok("status", "status", "--env", "production")["applied"] == []


def test_stale_candidate(make: Callable[..., Project]):
    """A sha that was live before the one that is live now is refused; a replay with a reason rolls it out again."""
    newer = "f" * 40
    project = make()
    project.configure(ENV + rollout_toml(project.root))
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    project.ok("release", "release", "--sha", newer, "--env", "production")
    stale = project.json("release", "--sha", SHA, "--env", "production")
    assert stale.code == 4
    stale.error("CANDIDATE_STALE")
    project.ok("release", "release", "replay", SHA, "--reason", "newer one leaks", "--env", "production")
    assert (project.root / "rollouts").read_text().split() == [SHA, newer, SHA]
    assert release_json(project)["replayReason"] == "newer one leaks"
    never = project.json("release", "replay", "e" * 40, "--reason", "x", "--env", "production")
    assert never.code == 2 or never.code == 4
    never.error("NO_RELEASE")


def test_a_sha_that_git_does_not_know_is_told(make: Callable[..., Project]):
    """In a whole clone a sha of no commit (a slip of the pen) is told, on the first release too; that of a commit is not, nor is any where there is no past to look at."""
    project = make()
    project.configure(ENV)

    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
        return subprocess.run(["git", *identity, *words], cwd=project.root, check=True, capture_output=True, text=True).stdout.strip()  # fmt: skip

    def told(sha: str) -> bool:
        document = project.ok("release", "release", "--sha", sha, "--env", "production")
        return any("has no commit" in note for note in document["notes"])

    assert not told("1" * 40), "no repository"
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert told("2" * 40)
    assert not told(git("rev-parse", "HEAD"))


def test_rollback_image_that_would_not_fit(make: Callable[..., Project]):
    """A contract-phase file above the rollback image's window is refused before anything is touched: there would be no way back."""
    project = make(ENV)
    project.ok("up", "up", "--env", "production")
    contract = project.write(
        "drop", "-- lockgate: phase=contract\nALTER TABLE customers DROP COLUMN email;\n"
    )
    window = {
        "schemaVersion": "1",
        "release_id": "r1",
        "schema": {"min": "1700000000001", "max": "1700000000002"},
    }
    (project.root / "old.json").write_text(json.dumps(window))
    refused = project.json("release", "--sha", SHA, "--env", "production", "--rollback-contract", "old.json")
    assert refused.code == 4, refused
    refused.error("ROLLBACK_IMAGE_INCOMPATIBLE")
    window["schema"]["max"] = contract
    (project.root / "old.json").write_text(json.dumps(window))
    ahead = {**window, "schema": {"min": "1900000000000", "max": "1900000000000"}}
    (project.root / "new.json").write_text(json.dumps(ahead))
    behind = project.json(
        "release",
        "--sha",
        SHA,
        "--env",
        "production",
        "--rollback-contract",
        "old.json",
        "--contract",
        "new.json",
    )
    assert behind.code == 4
    behind.error("CANDIDATE_INCOMPATIBLE")


def test_only_one_release_at_a_time(make: Callable[..., Project], database: str):
    """While another release holds the lease, a second one waits and then gives up with exit 75, naming the holder."""
    project = make(ENV)
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    from lockgate.postgres.guard import RELEASE_KEY

    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [RELEASE_KEY])
        busy = project.json("release", "--sha", SHA, "--env", "production", "--lock-wait", "0.2")
    assert busy.code == 75
    assert busy.error("RELEASE_BUSY")["details"]["holder"]["pid"]
