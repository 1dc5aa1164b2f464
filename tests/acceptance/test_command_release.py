"""release: the artifact tells what happened, on success and on every failure."""

import json
import signal
from pathlib import Path

import psycopg
import pytest

from lockgate.postgres.target import Target
from support import processes
from support.calls import Project, finish

pytestmark = pytest.mark.postgres("18")

SHA = "0123456789abcdef0123456789abcdef01234567"
CHECKS = [
    "history-chain",
    "history-equals-plan",
    "no-partial-file",
    "no-invalid-index",
    "schema-drift",
    "second-apply-is-noop",
]


def test_release_and_its_second_run(shop: Project):
    """A release applies, verifies and writes migration.json; releasing the same sha again changes nothing and says so."""
    document = shop.ok("release", "release", "--sha", SHA)
    assert document["artifact"].endswith(f".artifacts/deploy/{SHA}/migration.json")
    first = shop.artifact(SHA)
    assert (first["status"], first["reasonCode"], first["executionStatus"]) == ("pass", "", "succeeded")
    assert [m["state"] for m in first["migrations"]] == ["applied"] * 3
    assert [c["id"] for c in first["checks"]] == CHECKS
    assert all(c["pass"] for c in first["checks"])
    assert [e["status"] for e in first["statusTimeline"]] == [
        "checking",
        "applying",
        "applied",
        "applied",
        "applied",
        "verifying",
        "verified",
    ]
    assert (first["before"], first["after"]) == ("", first["migrations"][-1]["revision"])
    assert first["databaseIdentity"]["systemIdentifier"]
    assert document["runId"] == first["runId"]
    again = shop.text("release", "--sha", SHA)
    assert again.code == 0
    assert "nothing to apply: every migration is in the history already" in again.out
    second = shop.artifact(SHA)
    assert (second["status"], second["migrations"], second["epoch"]) == ("pass", [], 0)
    assert second["previousArtifactHash"]
    assert second["planHash"] == shop.ok("plan", "plan")["planHash"]


def test_show_and_rebuild(shop: Project):
    """release show prints the artifact; --rebuild makes it again from the database with the same facts."""
    shop.ok("release", "release", "--sha", SHA)
    path = shop.root / ".artifacts" / "deploy" / SHA / "migration.json"
    written = shop.artifact(SHA)
    shown = shop.ok("release-show", "release", "show", SHA)
    assert (
        Path(shown["artifact"]).resolve()
        if Path(shown["artifact"]).is_absolute()
        else (shop.root / shown["artifact"]).resolve()
    ) == path
    assert shown["content"] == written
    told = shop.text("release", "show", SHA)
    assert told.code == 0
    assert "pass" in told.out
    path.unlink()
    missing = shop.json("release", "show", SHA)
    assert missing.code == 2
    missing.error("USAGE")
    shop.ok("release-show", "release", "show", SHA, "--rebuild")
    rebuilt = shop.artifact(SHA)
    assert rebuilt["logsSource"] == "rebuilt from the database"
    assert facts(rebuilt) == facts(written)


def facts(artifact: dict) -> dict:
    """What both the run itself and the tables know of a release."""
    same = (
        "headSha",
        "status",
        "reasonCode",
        "reason",
        "executionStatus",
        "runId",
        "planHash",
        "before",
        "after",
        "operator",
        "epoch",
    )
    files = [
        (m["revision"], m["state"], m["durationMs"])
        for m in artifact["migrations"]
        if m["state"] != "pending"
    ]
    applied = [e for e in artifact["statusTimeline"] if e["status"] == "applied"]
    return {**{key: artifact[key] for key in same}, "files": files, "applied": applied}


def test_rebuild_of_a_failed_release(shop: Project):
    """A failed release can be rebuilt too: same verdict, same reason, same applied files."""
    shop.write("broken", "SELECT 1/0;\n")
    assert shop.json("release", "--sha", SHA).code == 3
    written = shop.artifact(SHA)
    shop.ok("release-show", "release", "show", SHA, "--rebuild")
    assert facts(shop.artifact(SHA)) == facts(written)


def failed(project: Project, code: int, reason: str, *arguments: str, **environ: str) -> dict:
    """Release, which fails with this exit and reason code; the artifact, which says the same as stdout, its commands with the address of the database."""
    answer = project.json("release", "--sha", SHA, *arguments, **environ)
    assert answer.code == code, answer
    document = answer.error(reason)
    artifact = project.artifact(SHA)
    assert (artifact["status"], artifact["reasonCode"]) == (document["status"], reason)
    address = Target(project.environ["DATABASE_URL"], source="DATABASE_URL").address
    assert (artifact["reason"], artifact["state"]) == (document["message"], document["state"])
    assert artifact["next"].replace(f" --database-url {address}", "") == document["next"]
    assert artifact["statusTimeline"]
    assert document["details"]["artifact"].endswith("migration.json")
    return artifact


def test_bad_sql(shop: Project):
    """A statement fails on the server: the artifact names file, line and sqlstate, what is applied and what is not."""
    revision = shop.write("broken", "SELECT 1/0;\n")
    artifact = failed(shop, 3, "MIGRATION_EXECUTION_FAILED")
    assert [m["state"] for m in artifact["migrations"]] == ["applied"] * 3 + ["pending"]
    assert (
        artifact["failure"]["revision"],
        artifact["failure"]["sqlstate"],
        artifact["failure"]["line"],
    ) == (revision, "22012", 1)
    assert artifact["after"] < revision


def test_broken_file(shop: Project):
    """A file that breaks its contract: refused before the database was touched, with every finding in the artifact."""
    shop.write("half", "CREATE TABLE (;\n")
    artifact = failed(shop, 4, "FILE_SYNTAX")
    assert [f["id"] for f in artifact["failure"]["findings"]] == ["FILE_SYNTAX"]
    assert shop.ok("status", "status")["applied"] == []


def test_ledger_drift(shop: Project):
    """A file that is not what was reviewed: refused, and the artifact says which one."""
    first = next(shop.directory.glob("*_customers.sql"))
    first.write_text(first.read_text() + "\n")
    artifact = failed(shop, 4, "LEDGER_DRIFT")
    assert artifact["failure"]["findings"][0]["file"] == first.name


def test_checksum_mismatch(shop: Project):
    """An applied file was edited: refused, with the diff in the artifact."""
    shop.ok("up", "up")
    first = next(shop.directory.glob("*_customers.sql"))
    first.write_text(first.read_text().replace("text NOT NULL", "text"))
    shop.lock()
    artifact = failed(shop, 4, "CHECKSUM_MISMATCH")
    assert "email text NOT NULL" in artifact["failure"]["diff"]


def test_unreachable(shop: Project):
    """The server does not answer: exit 69, and the artifact is there all the same, without the password."""
    artifact = failed(
        shop, 69, "UNREACHABLE", DATABASE_URL="postgresql://nobody:s3cr3t-canary@127.0.0.1:1/none"
    )
    assert artifact["databaseIdentity"] == {}
    assert "s3cr3t-canary" not in json.dumps(artifact)


def test_drift_fails_the_release(shop: Project, database: str):
    """A change by hand is found after the run: the release fails with SCHEMA_DRIFT although nothing was to apply."""
    shop.ok("up", "up")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE by_hand (id int)")
    artifact = failed(shop, 3, "SCHEMA_DRIFT")
    assert [c["id"] for c in artifact["checks"] if not c["pass"]] == ["schema-drift"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal(shop: Project, database: str, number: signal.Signals, code: int):
    """A signal cancels the statement, rolls the file back and records it, in the artifact and in the database."""
    revision = shop.write("slow", "CREATE TABLE slow (id int);\nSELECT pg_sleep(50);\n")
    process = shop.start("release", "--sha", SHA, "--format", "json")
    with psycopg.connect(database, autocommit=True) as connection:
        busy = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        processes.until(lambda: connection.execute(busy).fetchone())
        process.send_signal(number)
        answer = finish(process)
        assert answer.code == code, answer
        assert answer.error("CANCELLED")["pending"] == [revision]
        artifact = shop.artifact(SHA)
        assert (artifact["status"], artifact["reasonCode"], artifact["migrations"][-1]["state"]) == (
            "fail",
            "CANCELLED",
            "pending",
        )
        assert connection.execute("SELECT to_regclass('slow')").fetchone() == (None,)
        assert connection.execute(
            "SELECT state, reason_code FROM lockgate.run ORDER BY epoch DESC LIMIT 1"
        ).fetchone() == ("cancelled", "CANCELLED")


def test_artifact_cannot_be_written(shop: Project):
    """Where the artifact cannot be written the release has failed with ARTIFACT_FAILED: at once where that shows, else with the database as the truth."""
    lost = '["sh", "-c", "rm -r evidence && echo a file > evidence"]'
    shop.configure(f'[artifacts]\ndirectory = "evidence"\n[release]\nrollout = {lost}\n')
    (shop.root / "evidence").write_text("a file where the folder should be")
    early = shop.json("release", "--sha", SHA)
    assert early.code == 3
    assert early.error("ARTIFACT_FAILED")["state"] == "Nothing was changed."
    assert shop.ok("status", "status")["applied"] == []
    (shop.root / "evidence").unlink()
    answer = shop.json("release", "--sha", SHA)
    assert answer.code == 3
    document = answer.error("ARTIFACT_FAILED")
    assert f"release show {SHA} --rebuild" in document["next"] or "--rebuild" in document["next"]
    assert len(shop.ok("status", "status")["applied"]) == 3
    (shop.root / "evidence").unlink()
    shop.ok("release-show", "release", "show", SHA, "--rebuild")


@pytest.mark.parametrize("sha", ["", "../../etc", "HEAD", "0123456", "0" * 65])
def test_what_is_no_sha(shop: Project, sha: str):
    """A sha is 7 to 64 hex digits; anything else is refused before anything starts, and no path leaves the folder."""
    answer = shop.json("release", "--sha", sha)
    if sha == "0123456":
        assert answer.code == 0
        return
    assert answer.code == 2, answer
    answer.error("USAGE")
    assert shop.ok("status", "status")["applied"] == []


def test_contract_phase_is_held(shop: Project, database: str):
    """A held contract file fails the release with exit 4; the artifact lists it as pending."""
    shop.ok("up", "up")
    contract = shop.write(
        "drop_email", "-- lockgate: phase=contract\nALTER TABLE customers DROP COLUMN email;\n"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO lockgate.instance (instance_id, service, schema_max, ttl_seconds) VALUES ('web-1', 'web', '1700000000001', 600)"
        )
    artifact = failed(shop, 4, "CONTRACT_TOO_EARLY")
    assert [(m["revision"], m["state"]) for m in artifact["migrations"]] == [(contract, "pending")]
