"""What is looked at before anything is touched: disk, the time of contract-phase files, and what later steps will need."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from lockgate.postgres import disk
from lockgate.postgres.disk import Disk, Volume
from lockgate.postgres.settings import FACTS, read_facts
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.verdict import Verdict
from lockgate.release.authorise import Instance
from lockgate.release.contract_judge import Cutover, judge_contract
from lockgate.release.disk_judge import room_for_backup, room_on_server
from release.conftest import SHA
from release.stage import running_workers, service, smoke_toml, workers_toml
from support.calls import Project

ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n'
GB = 10**9
DROP = '-- lockgate: phase=contract\n-- lockgate: allow=col-drop until=2099-01-01 reason="unused since r7"\nALTER TABLE customers DROP COLUMN email;\n'


@pytest.mark.parametrize(
    ("provider", "sizes", "free", "last", "answer"),
    [
        ("pg_dump", (100 * GB, None), 50 * GB, 40 * GB, Verdict.FAIL),
        ("pg_dump", (100 * GB, None), 61 * GB, 40 * GB, Verdict.PASS),
        ("pg_dump", (100 * GB, None), 9 * GB, None, Verdict.FAIL),
        ("pg_dump", (100 * GB, None), 50 * GB, None, Verdict.HOLD),
        ("pg_dump", (100 * GB, None), 101 * GB, None, Verdict.PASS),
        ("pg_basebackup", (1, 100 * GB), 99 * GB, None, Verdict.FAIL),
        ("pg_basebackup", (1, None), 99 * GB, None, Verdict.HOLD),
        ("command", (100 * GB, None), 0, None, Verdict.PASS),
    ],
)
def test_room_for_a_backup(
    provider: str, sizes: tuple[int, int | None], free: int, last: int | None, answer: Verdict
):
    """The backup before, else the size of the database, says what is wanted; where neither can, that is said and refuses nothing."""
    seen = room_for_backup(provider, Disk(*sizes, None, "not seen"), Volume(free, 200 * GB), last)
    assert seen.answer is answer, seen
    assert ("cannot tell" in seen.told) == (answer is Verdict.HOLD)


def test_room_on_the_server():
    """A share of the server's volume has to be free where the volume is seen; where it is not, the reason is told."""
    assert room_on_server(Disk(1, 1, Volume(4, 100), ""), 5).answer is Verdict.FAIL
    assert room_on_server(Disk(1, 1, Volume(5, 100), ""), 5).answer is Verdict.PASS
    far = room_on_server(Disk(1, 1, None, "its data is not on this machine"), 5)
    assert (far.answer, far.told) == (Verdict.HOLD, "cannot tell: its data is not on this machine")
    assert room_for_backup("pg_dump", Disk(1, 1, None, ""), None, None).answer is Verdict.HOLD


def test_the_servers_volume_is_seen_only_when_it_is_its_own(database: str, tmp_path: Path):
    """On this machine the folder is known by the identifier in pg_control; another server's folder, or none, is not taken for it."""
    wire = Wire(Target(database, source="test"), "test")
    try:
        identifier = read_facts(wire.one(FACTS)).system_identifier
        seen = disk.read_disk(wire, identifier)
        assert seen.database > 1_000_000
        assert (seen.cluster or 0) >= seen.database
        assert seen.server is not None, seen.why
        assert 0 <= seen.server.free <= seen.server.total
        other = disk.read_disk(wire, "1")
        assert other.server is None
        assert "another server" in other.why
    finally:
        wire.close()
    assert disk.volume_of(tmp_path / "not" / "there") == disk.volume_of(tmp_path)


LIVE = (Instance("web-1", "shop", "r1", "5"),)


@pytest.mark.parametrize(
    ("fresh", "cutover", "instances", "answer", "waits"),
    [
        (True, Cutover(), LIVE, Verdict.PASS, False),
        (False, Cutover("a" * 40, 7200.0), (), Verdict.PASS, False),
        (False, Cutover("a" * 40, 3599.0), (), Verdict.FAIL, True),
        (False, Cutover(), (), Verdict.FAIL, True),
        (False, Cutover("a" * 40, 7200.0), LIVE, Verdict.FAIL, False),
        (False, Cutover("a" * 40, 7200.0, "the rollout of b began"), (), Verdict.FAIL, False),
    ],
)
def test_the_time_of_a_contract_file(
    fresh: bool, cutover: Cutover, instances: tuple[Instance, ...], answer: Verdict, waits: bool
):
    """Full cutover, an hour of stability, nobody alive who needs it; only missing time may be broken through."""
    seen = judge_contract(["6"], fresh=fresh, cutover=cutover, stable=3600.0, instances=instances)
    assert (seen.answer, seen.waits) == (answer, waits), seen
    assert (
        judge_contract([], fresh=False, cutover=Cutover(), stable=9.0, instances=LIVE).answer is Verdict.PASS
    )


@pytest.mark.postgres("18")
def test_contract_files_wait_for_cutover_and_stability(make: Callable[..., Project], database: str):
    """In a release: too early after the release before, while an older instance lives, or after a rollout that failed: refused before anything is paused."""
    project = make()
    toml = (
        ENV
        + '[policy]\nprofile = "early-stage"\n[release]\ncontract_after = "1h"\nrollout = {}\n'
        + workers_toml(project.root)
    )
    project.configure(toml.format('["true"]'))
    project.ok("release", "release", "--sha", "a" * 40, "--env", "production")
    project.write("drop", DROP)

    def refused(told: str) -> str:
        answer = project.json("release", "--sha", SHA, "--env", "production")
        assert answer.code == 4, answer
        error = answer.error("CONTRACT_TOO_EARLY")
        assert told in error["message"], error
        assert error["state"] == "Nothing was changed."
        assert running_workers(project.root) == 3
        return str(error["next"])

    assert f"lockgate release --sha {SHA} --env production --break-glass REASON" in refused(
        "the stability period is 60 min"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "UPDATE lockgate.release SET finished_at = finished_at - interval '2 hours' WHERE state = 'succeeded'"
        )
        connection.execute(
            "INSERT INTO lockgate.instance (instance_id, service, release_id, schema_min, schema_max, ttl_seconds) VALUES ('w1', 'shop', 'r1', '', '1700000000002', 600)"
        )
        assert "break the glass" not in refused("live instance still needs")
        connection.execute("DELETE FROM lockgate.instance")
        # A release in between whose rollout began and failed: nobody knows what is live.
        (project.directory / "1700000000003_drop.sql").rename(project.root / "drop.sql")
        project.lock()
        project.configure(toml.format('["false"]'))
        project.json("release", "--sha", "b" * 40, "--env", "production").error("ROLLOUT_FAILED")
        (project.root / "drop.sql").rename(project.directory / "1700000000003_drop.sql")
        project.lock()
        project.configure(toml.format('["true"]'))
        assert "break the glass" not in refused("no full cutover")
        connection.execute(
            "UPDATE lockgate.release SET state = 'superseded' WHERE sha = $1".replace("$1", f"'{'b' * 40}'")
        )
        connection.execute("DELETE FROM lockgate.release_step WHERE name = 'rollout' AND state <> 'done'")
    project.ok("release", "release", "--sha", SHA, "--env", "production")


@pytest.mark.postgres("18")
def test_too_little_disk(make: Callable[..., Project]):
    """A server whose volume is fuller than allowed is refused before anything is touched; usually both figures stand in the evidence."""
    project = make(ENV + "[release]\nmin_free_disk_percent = 100\n")
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 4, answer
    assert "100 % wanted" in answer.error("DISK_SPACE")["message"]
    project.configure(ENV + "[release]\nmin_free_disk_percent = 0\n" + '[backup]\nprovider = "pg_dump"\n')
    project.ok("release", "release", "resume", "--env", "production")
    steps = json.loads((project.root / ".artifacts" / "deploy" / SHA / "release.json").read_text())["steps"]
    told = next(s for s in steps if s["name"] == "proof")["evidence"]["disk"]
    assert "free in the backup folder" in told[0]
    assert "free on the server's volume" in told[1]


@pytest.mark.postgres("18")
def test_what_later_steps_need_is_missed_at_once(make: Callable[..., Project]):
    """A token that is not set and an artifact folder that cannot be written are found before anything is paused or applied."""
    with service() as web:
        project = make()
        project.configure(ENV + workers_toml(project.root) + smoke_toml(web))
        answer = project.json("release", "--sha", SHA, "--env", "production", SMOKE_TOKEN="")
        assert answer.code == 2
        assert answer.error("CONFIG")["state"] == "Nothing was changed."
        assert not (project.root / "workers.log").exists()
    (project.root / ".artifacts").rename(project.root / "gone")
    (project.root / ".artifacts").write_text("a file where a folder has to be")
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 3
    error = answer.error("ARTIFACT_FAILED")
    assert error["state"] == "Nothing was changed."
    assert f"--sha {SHA}" in error["next"]


@pytest.mark.postgres("18")
def test_workers_by_hand(make: Callable[..., Project], database: str):
    """An operator pauses the workers and lets them go: counted, under the lease, with the reason recorded for good."""
    project = make()
    project.configure(ENV + workers_toml(project.root))
    project.ok("release", "release", "--sha", SHA, "--env", "production")

    def workers(*more: str) -> dict:
        return project.ok("release-workers", "release", "workers", *more, "--env", "production")

    assert workers("status")["running"] == 3
    assert project.json("release", "workers", "pause", "--env", "production").code == 2
    paused = workers("pause", "--reason", "going back", "--actor", "ann")
    assert (paused["running"], paused["pause"]["state"]) == (0, "paused")
    assert running_workers(project.root) == 0
    text = project.text("release", "workers", "--env", "production").out
    assert "paused since" in text
    assert "going back" in text
    assert workers("resume", "--reason", "they fit", "--actor", "bob")["running"] == 3
    again = project.json("release", "workers", "resume", "--reason", "x", "--env", "production")
    assert again.code == 2
    with psycopg.connect(database) as connection:
        kinds = connection.execute("SELECT kind, actor FROM lockgate.release_event ORDER BY id").fetchall()
    assert kinds == [("workers:pause", "ann"), ("workers:resume", "bob")]


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("sql", "code", "exit"),
    [
        ("CREATE EXTENSION no_such_thing;\n", "EXTENSION_MISSING", 4),
        ("ALTER TABLE theirs ADD COLUMN x int;\n", "PRIVILEGE", 77),
    ],
    ids=["extension", "owner"],
)
def test_what_the_role_lacks_is_missed_before_anybody_is_paused(
    make: Callable[..., Project], database: str, sql: str, code: str, exit: int
):
    """An extension that the server has not, and a table of another owner: refused in the proof; no worker was asked to stop, nothing was backed up."""
    role = f"migrator_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        try:
            connection.execute("CREATE TABLE theirs (id int)")
            connection.execute(f"GRANT CREATE ON DATABASE {connection.info.dbname} TO {role}")
            connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
            project = make(files=False)
            project.configure(ENV + workers_toml(project.root) + '[backup]\nprovider = "pg_dump"\n')
            project.environ["PRODUCTION_URL"] = make_conninfo(database, user=role)
            project.write("needs", sql)
            answer = project.json("release", "--sha", SHA, "--env", "production")
            assert answer.code == exit, answer
            error = answer.error(code)
            assert error["details"]["steps"][-1]["name"] == "proof"
            log = project.root / "workers.log"
            assert "pause" not in (log.read_text() if log.exists() else "")
            assert not (project.root / ".lockgate" / "backups").exists()
        finally:
            connection.execute(f"DROP OWNED BY {role} CASCADE")
            connection.execute(f"DROP ROLE {role}")
