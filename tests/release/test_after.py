"""What comes after a release: assertions of the project, the way back, the hand-off, the record and who is told."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest

from lockgate.errors import ConfigError
from lockgate.record.verdict import Verdict
from lockgate.release.assertions import judge, parse
from release.conftest import PROTECTED, SHA
from release.stage import PYTHON, rollout_toml, words, workers_toml
from support.calls import Project, validate

postgres = pytest.mark.postgres("18")
ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n'
BACKUP = '[backup]\nprovider = "pg_dump"\n'
LEFT = {
    "release.json": "release-artifact",
    "verification.json": "verification-artifact",
    "migration.json": "migration-artifact",
}


def left(project: Project, name: str, sha: str = SHA) -> dict:
    return json.loads((project.root / ".artifacts" / "deploy" / sha / name).read_text())


# -- assertions ---------------------------------------------------------------------------------------

JUDGED = [
    ("-- x\nSELECT 1", [], Verdict.PASS),
    ("SELECT 1", [("1",)], Verdict.FAIL),
    ("-- lockgate: expect=rows\nSELECT 1", [("1",)], Verdict.PASS),
    ("-- lockgate: expect=rows\nSELECT 1", [], Verdict.FAIL),
    ("-- lockgate: rows=2\nSELECT 1", [("1",), ("2",)], Verdict.PASS),
    ("-- lockgate: rows=2\nSELECT 1", [("1",), ("2",), ("3",)], Verdict.FAIL),
    ("-- lockgate: rows>=2\nSELECT 1", [("1",), ("2",), ("3",)], Verdict.PASS),
    ('-- lockgate: expect=value value="a b"\nSELECT 1', [("a b",)], Verdict.PASS),
    ("-- lockgate: value=42\nSELECT 1", [("41",)], Verdict.FAIL),
    ("-- lockgate: value=42\nSELECT 1", [(None,)], Verdict.FAIL),
    ("-- lockgate: value=42\nSELECT 1", [("42",), ("42",)], Verdict.FAIL),
]


@pytest.mark.parametrize(("text", "rows", "answer"), JUDGED)
def test_judged(text: str, rows: list, answer: Verdict):
    """What a query gives is compared with what its directives expect: empty, rows, a value."""
    assert judge(parse("n", text, "n.sql"), rows).answer is answer


@pytest.mark.parametrize(
    "text",
    [
        "-- lockgate: expect=nothing\nSELECT 1", "-- lockgate: exspect=empty\nSELECT 1", "-- lockgate: expect=value\nSELECT 1", "-- lockgate: expect=explain\nSELECT 1",
        "-- lockgate: rows=many\nSELECT 1", "-- lockgate: value>=3\nSELECT 1", "-- lockgate: expect=empty expect=rows\nSELECT 1", "-- only a comment", "-- lockgate:\nSELECT 1",
    ],
)  # fmt: skip
def test_unclear_assertions_are_errors(text: str):
    """A directive that is unknown, doubled or half is an error with its file: a check that means less than it says is none."""
    with pytest.raises(ConfigError, match=r"n\.sql"):
        parse("n", text, "n.sql")


@postgres
def test_assertions_on_a_server(make: Callable[..., Project]):
    """Declared assertions run read-only after the migration; a plan can be asserted; one that fails fails the release by name."""
    project = make(ENV)
    folder = project.root / "verify"
    folder.mkdir()
    (folder / "uses_key.sql").write_text(
        "-- lockgate: expect=explain uses=customers_pkey max_cost=100\nSELECT * FROM customers WHERE id = 7;\n"
    )
    (folder / "writes.sql").write_text("DELETE FROM customers RETURNING id;\n")
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 3
    assert "verify/writes" in answer.error("VERIFY_FAILED")["message"]
    checks = {c["id"]: c["pass"] for c in left(project, "verification.json")["checks"]}
    assert (checks["verify/uses_key"], checks["verify/writes"]) == (True, False)
    (folder / "writes.sql").unlink()
    project.ok("release", "release", "resume", "--env", "production")


# -- the record ---------------------------------------------------------------------------------------


@postgres
def test_artifacts_keep_their_schemas(make: Callable[..., Project]):
    """Every artifact of a release that passed, failed or was refused is valid by its published schema, and the page needs nothing else."""
    project = make(ENV + BACKUP + '[notify]\nowners = ["<b>team</b>"]\n')
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    for name, schema in LEFT.items():
        validate(schema, left(project, name))
    page = (project.root / ".artifacts" / "deploy" / SHA / "report.html").read_text()
    assert "<b>team</b>" not in page  # everything is escaped
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    project.write("broken", "SELECT 1/0;\n")
    assert project.json("release", "--sha", "b" * 40, "--env", "production").code == 3
    validate("release-artifact", left(project, "release.json", "b" * 40))
    validate("incident", left(project, "incident.json", "b" * 40))


@postgres
def test_rebuilt_from_the_journal(make: Callable[..., Project]):
    """A lost artifact is made again with images, approvals and backup; also that of a release that had nothing to apply or was refused."""
    project = make(BACKUP + PROTECTED)
    image = "shop/api@sha256:" + "a" * 64
    project.ok("approve", "approve", "--env", "production", "--actor", "ann")
    call = ("release", "--env", "production", "--image", image)
    project.ok("release", *call, "--sha", SHA)
    written = project.artifact(SHA)
    project.ok("release-show", "release", "show", SHA, "--rebuild", "--env", "production")
    rebuilt = project.artifact(SHA)
    for key in ("imageDigest", "approvals", "backup", "runId", "planHash"):
        assert rebuilt[key] == written[key], key
    project.ok("release", *call, "--sha", "c" * 40)
    project.ok("release-show", "release", "show", "c" * 40, "--rebuild", "--env", "production")
    assert project.artifact("c" * 40)["status"] == "pass"
    assert project.json(*call, "--sha", SHA).code == 4
    project.ok("release-show", "release", "show", SHA, "--rebuild", "--env", "production")


def read_by_openssl(envelope: dict, public: str, folder: Path) -> dict | None:
    """The statement in a DSSE envelope, where openssl takes its signature over what DSSE's specification says is signed; nothing of lockgate."""
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    (folder / "signed").write_bytes(signed)
    (folder / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    key = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(public)  # RFC 8410
    (folder / "key").write_bytes(key)
    call = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-keyform", "DER", "-rawin", "-in", "signed", "-sigfile", "signature"]  # fmt: skip
    good = subprocess.run(call, cwd=folder, check=False, capture_output=True).returncode == 0
    return json.loads(payload) if good else None


@postgres
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
def test_bundle(make: Callable[..., Project], tmp_path: Path):
    """The bundle holds artifacts, rehearsal, files, approvals and tables with their sums; its statement is signed, names the image by its digest, and others' programs read both."""
    project = make(ENV + BACKUP + workers_toml(tmp_path))
    image = "shop/api@sha256:" + "a" * 64
    (project.root / "verify").mkdir()
    (project.root / "verify" / "none.sql").write_text("SELECT 1 WHERE false\n")
    (project.root / "db" / "approvals").mkdir()
    (project.root / "db" / "approvals" / "of-somebody.json").write_text("{}")
    project.ok("rehearse", "rehearse")
    project.ok("release", "release", "--sha", SHA, "--env", "production", "--image", image)
    public = project.ok("approve", "approve", "--new-key", "k.pem")["publicKey"]
    made = project.ok(
        "release-bundle",
        "release",
        "bundle",
        SHA,
        "--env",
        "production",
        "--key",
        "k.pem",
        "--out",
        "b.tar.gz",
    )
    with tarfile.open(project.root / "b.tar.gz") as archive:
        content = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]
    assert made["files"].keys() == content.keys()
    for line in content["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ", 1)
        assert hashlib.sha256(content[name]).hexdigest() == digest
    assert {
        "artifacts/release.json",
        "artifacts/migration.json",
        "migrations/checksums.json",
        "lockgate.toml",
        "database.json",
        "rehearsal/rehearsal.json",
        "approvals/of-somebody.json",
        "verify/none.sql",
    } <= content.keys()
    tables = json.loads(content["database.json"])
    assert {name for name, rows in tables.items() if rows} == {
        "release",
        "release_step",
        "backup",
        "history",
        "run",
        "worker_pause",
    }
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xzf", project.root / "b.tar.gz", "-C", folder], check=True)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True
    )
    from lockgate.release.signing import STATEMENT_TYPE, opened

    envelope = json.loads(content["statement.dsse.json"])
    said = json.loads(opened(envelope, STATEMENT_TYPE, public) or b"null")
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicate"]["result"] == "PASSED"
    assert {"name": "shop/api", "digest": {"sha256": "a" * 64}} in said["subject"]
    assert read_by_openssl(envelope, public, folder) == said
    assert {one["name"]: one["digest"]["sha256"] for one in said["subject"] if one["name"] in content} == {
        name: hashlib.sha256(data).hexdigest()
        for name, data in content.items()
        if name not in ("SHA256SUMS", "statement.json", "statement.dsse.json")
    }
    envelope["payload"] = envelope["payload"][:-4] + "AAA="
    assert opened(envelope, STATEMENT_TYPE, public) is None
    assert read_by_openssl(envelope, public, folder) is None
    missing = project.json("release", "bundle", "e" * 40, "--env", "production")
    assert missing.code == 2
    missing.error("NO_RELEASE")


@postgres
def test_step_summary(make: Callable[..., Project]):
    """In GitHub the summary of the step has verdict, backup, run, every step and the checklist, with cells that cannot break the table."""
    project = make(ENV + BACKUP)
    summary = project.root / "summary.md"
    project.ok("release", "release", "--sha", SHA, "--env", "production", GITHUB_STEP_SUMMARY=str(summary))
    text = summary.read_text()
    assert f"Release `{SHA[:12]}` to production: pass" in text
    assert left(project, "release.json")["backup"]["backupId"] in text
    assert "- [x] The migrations are applied" in text
    assert "- [ ] The new release is live: skipped" in text
    project.write("broken", "SELECT 1/0;\n")
    failed = project.json(
        "release",
        "--sha",
        "b" * 40,
        "--env",
        "production",
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert "::error title=lockgate MIGRATION_EXECUTION_FAILED::" in failed.err
    failed.error("MIGRATION_EXECUTION_FAILED")  # stdout stays one document


def test_runbook(tmp_path: Path):
    """The runbook says what is configured and what is not, without a database."""
    project = Project(tmp_path)
    project.configure(
        PROTECTED
        + 'windows = ["Mon-Fri 09:00-17:00"]\napprovals = { count = 2, roles = ["dba"] }\n[notify]\nowners = ["team-shop"]\n'
    )
    text = project.ok("runbook", "runbook", "--env", "production")["text"]
    for words_ in (
        "team-shop",
        "2 people approve",
        "among them dba",
        "Mon-Fri 09:00-17:00",
        "NOT CONFIGURED",
        "lockgate release recover --env production",
    ):
        assert words_ in text
    assert project.json("runbook", "--env", "nowhere").code == 2


# -- the way back -------------------------------------------------------------------------------------


def ways(project: Project, *more: str) -> dict[str, dict]:
    recovery = project.ok("release-recover", "release", "recover", "--env", "production", *more)
    return {**{w["id"]: w for w in recovery["ways"]}, "": recovery}


@postgres
def test_recover(make: Callable[..., Project], database: str):
    """The ways back carry the recorded ids; which one is possible follows from what was applied; the choice is recorded for good."""
    project = make()
    project.configure(ENV + BACKUP + rollout_toml(project.root))
    project.ok(
        "release", "release", "--sha", "a" * 40, "--env", "production", "--image", "shop@sha256:" + "1" * 64
    )
    project.write("more", "CREATE TABLE more (id int);\n\n-- lockgate: down\nDROP TABLE more;\n")
    fail = words(PYTHON, "-c", "import sys; sys.exit('no such image')")
    project.configure(ENV + BACKUP + f"[release]\nrollout = {fail}\n")
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 3
    answer.error("ROLLOUT_FAILED")
    backup = left(project, "release.json")["backup"]
    found = ways(project)
    assert found[""]["recommended"] == "previous-image"
    assert "--image shop@sha256:" + "1" * 64 in " ".join(found["previous-image"]["commands"])
    assert "a" * 40 in " ".join(found["previous-image"]["commands"])
    assert f"lockgate backup restore {backup['backupId']}" in " ".join(found["restore"]["commands"])
    assert backup["lsn"] in found[""]["writesLost"]
    assert found["down"]["commands"] == ["lockgate down --env production"]
    assert ways(project, "--choose", "previous-image", "--actor", "ann")[""]["chosen"] == "previous-image"
    assert project.json("release", "recover", "--env", "production", "--choose", "prayer").code == 2
    with psycopg.connect(database, autocommit=True) as connection:
        assert connection.execute("SELECT kind, actor FROM lockgate.release_event").fetchall() == [
            ("recover:previous-image", "ann")
        ]
        with pytest.raises(psycopg.Error, match="append-only"):
            connection.execute("DELETE FROM lockgate.release_event")
    # The commands that were printed are ones that work.
    restore = next(c for c in found["restore"]["commands"] if " restore " in c).split()[1:]
    into = restore[restore.index("--into") + 1]
    try:
        assert project.ok("backup", *restore)["restored"]["equal"] is True
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{into}" WITH (FORCE)')
    project.configure(ENV + BACKUP + rollout_toml(project.root))
    replay = found["previous-image"]["commands"][-1]
    import shlex

    project.ok("release", *shlex.split(replay)[1:])


@postgres
def test_nothing_to_recover(make: Callable[..., Project]):
    """Without a release there is nothing to resume, continue or recover; a release that succeeded has nothing to go on with."""
    project = make(ENV)
    for call in (["resume"], ["continue"], ["recover"]):
        answer = project.json("release", *call, "--env", "production")
        assert answer.code == 2, answer
        answer.error("NO_RELEASE")
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    project.json("release", "resume", "--env", "production").error("NO_RELEASE")


@postgres
def test_hand_off(make: Callable[..., Project]):
    """With hand_off the release stops after the verification, says so, and `release continue` goes on once it is rolled out."""
    project = make(ENV + "[release]\nhand_off = true\n")
    first = project.ok("release", "release", "--sha", SHA, "--env", "production")
    assert first["handedOff"] is True
    assert left(project, "release.json")["handedOff"] is True
    second = project.ok("release", "release", "continue", "--env", "production")
    assert second["handedOff"] is False
    assert second["releaseKey"] == first["releaseKey"]
    assert project.json("release", "continue", "--env", "production").code == 2


# -- proof --------------------------------------------------------------------------------------------


@postgres
def test_proof_of_ci_rehearsal_and_staging(make: Callable[..., Project], databases: Callable[[], str]):
    """A named CI result, a rehearsal and the plan on staging are demanded where configured; each is refused when it is missing or of something else."""
    staging = databases()
    project = make()
    project.environ["STAGING_URL"] = staging
    project.configure(
        '[release]\nci_results = ["ci/{sha}.json"]\nrehearsal = true\n[env.staging]\nurl_env = "STAGING_URL"\n'
        + ENV
        + 'same_plan_on = "staging"\n'
    )
    call = ("release", "--sha", SHA, "--env", "production")

    def refused(code: str) -> None:
        answer = project.json(*call)
        assert answer.code == 4, answer
        answer.error(code)

    refused("CI_RESULT_MISSING")
    (project.root / "ci").mkdir()
    result = project.root / "ci" / f"{SHA}.json"
    for text in ("[]", "{}", '{"status": "fail"}', '{"status": "pass", "headSha": "' + "e" * 40 + '"}'):
        result.write_text(text)
        refused("CI_RESULT_MISSING")
    result.write_text(json.dumps({"status": "pass", "headSha": SHA}))
    refused("REHEARSAL_MISSING")
    project.ok("rehearse", "rehearse")
    refused("PLAN_NOT_STAGED")
    project.ok("up", "up", "--env", "staging")
    project.ok("release", *call)
    assert left(project, "rehearsal.json")["verdict"] == "pass"


@postgres
def test_no_headroom(make: Callable[..., Project]):
    """Where the server has too few free connections, the release does not take the last ones."""
    project = make(ENV + "[release]\nmin_free_connections = 9999\n")
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 4
    answer.error("NO_HEADROOM")
    assert project.ok("status", "status", "--env", "production")["applied"] == []


@postgres
def test_waits_for_heartbeats(make: Callable[..., Project], database: str):
    """With wait_for_instances the rollout is done only when the new release is seen and the old one drained."""
    project = make(ENV)
    project.ok("up", "up", "--env", "production")
    code = (
        "import os, psycopg\nwith psycopg.connect(os.environ['PRODUCTION_URL'], autocommit=True) as c:\n"
        " c.execute('DELETE FROM lockgate.instance')\n c.execute(\"INSERT INTO lockgate.instance (instance_id, service, release_id) VALUES ('n', 'web', %s)\", [os.environ['LOCKGATE_SHA']])"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO lockgate.instance (instance_id, service, release_id, ttl_seconds) VALUES ('o', 'web', 'old', 600)"
        )
    stuck = words(PYTHON, "-c", "pass")
    project.configure(
        ENV + f'[release]\nwait_for_instances = true\nrollout_timeout = "1s"\nrollout = {stuck}\n'
    )
    answer = project.json("release", "--sha", SHA, "--env", "production")
    assert answer.code == 3
    assert "no instance of the new release" in answer.error("ROLLOUT_FAILED")["message"]
    project.configure(ENV + f"[release]\nwait_for_instances = true\nrollout = {words(PYTHON, '-c', code)}\n")
    project.ok("release", "release", "resume", "--env", "production")


# -- who is told ----------------------------------------------------------------------------------------


@postgres
def test_notifications(make: Callable[..., Project]):
    """A webhook and a command hear of plan, end and failure with owners and next command; one that fails never costs the release."""
    heard: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        project = make(ENV + '[notify]\nwebhook_env = "HOOK"\nowners = ["team-shop"]\n')
        hook = {"HOOK": f"http://127.0.0.1:{server.server_port}/x"}
        project.ok("release", "release", "--sha", SHA, "--env", "production", **hook)
        project.write("broken", "-- lockgate: estimate rows=10 seconds=7\nSELECT 1/0;\n")
        assert project.json("release", "--sha", "b" * 40, "--env", "production", **hook).code == 3
        server.shutdown()
        thread.join(5)
    assert [h["event"] for h in heard] == ["planned", "started", "finished", "planned", "started", "failed"]
    assert heard[0]["pending"] == 2
    assert [h["estimateSeconds"] for h in heard[:4]] == [0, 0, 0, 7]
    assert heard[5]["reasonCode"] == "MIGRATION_EXECUTION_FAILED"
    assert heard[5]["owners"] == ["team-shop"]
    bad = words(PYTHON, "-c", "raise SystemExit('no pager')")
    project.configure(ENV + f"[notify]\ncommand = {bad}\n")
    project.write("broken", "SELECT 1;\n", revision=1_700_000_000_003)
    project.ok("release", "release", "--sha", "c" * 40, "--env", "production")
    assert any(
        "not told (planned): notify.command ended with 1" in note
        for note in left(project, "release.json", "c" * 40)["notes"]
    )
