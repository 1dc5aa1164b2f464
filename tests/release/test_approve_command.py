"""Approvals from end to end: given on the command line, demanded by `up` and by `release`."""

import json
import re
import shlex
import tarfile
from collections.abc import Callable

import psycopg
import pytest

from release.conftest import ENV, PROTECTED, SHA
from release.stage import Service, service
from support.calls import Project, validate

pytestmark = pytest.mark.postgres("18")
BACKUP = '[backup]\nprovider = "pg_dump"\n'


def approve(project: Project, who: str, *more: str) -> dict:
    return project.ok("approve", "approve", "--env", "production", "--actor", who, *more)


def refused(project: Project, code: str, *arguments: str, **environ: str) -> dict:
    answer = project.json(*arguments, "--env", "production", **environ)
    assert answer.code == 4, answer
    document = answer.error(code)
    assert project.ok("status", "status", "--env", "production")["applied"] == []
    return document


def test_up_demands_approval_and_backup(make: Callable[..., Project]):
    """`up` on a protected environment: refused without approval, refused without backup, and then it says on what it rests."""
    project = make(BACKUP + PROTECTED)
    document = refused(project, "APPROVAL_MISSING", "up")
    plan = document["details"]["planHash"]
    assert f"--plan-hash {plan}" in document["next"]
    assert approve(project, "ann", "--role", "dba")["approval"]["planHash"] == plan
    refused(project, "BACKUP_MISSING", "up")
    project.ok("backup", "backup", "take", "--env", "production")
    done = project.ok("up", "up", "--env", "production")
    told = [e["detail"] for e in done["timeline"] if e["status"] == "authorised"]
    assert "approved by ann as dba" in told[0]
    assert told[1].startswith("backup ")


def test_a_protected_environment_wants_a_rehearsal(make: Callable[..., Project]):
    """Approved and backed up is not enough: `up` and `release` refuse a plan without a fresh rehearsal that passed, and take it with one."""
    project = make(BACKUP + PROTECTED.replace("require_rehearsal = false\n", "require_backup = false\n"))
    approve(project, "ann")
    refused(project, "REHEARSAL_MISSING", "release", "--sha", SHA)
    document = refused(project, "REHEARSAL_MISSING", "up")
    assert "lockgate rehearse --from-status" in document["next"]
    assert not project.ok("status", "status", "--env", "production")["applied"]
    (project.root / "status.json").write_text(project.json("status", "--env", "production").out)
    found = project.ok("rehearse", "rehearse", "--from-status", "status.json")
    proof = project.root / ".artifacts" / "rehearsal" / found["planHash"] / "rehearsal.json"
    whole = proof.read_text()
    proof.write_text(whole.replace('"verdict": "pass"', '"verdict": "fail"'))
    refused(project, "REHEARSAL_FAILED", "up")
    proof.write_text(whole.replace(found["generatedAt"], "2020-01-01T00:00:00Z"))
    refused(project, "REHEARSAL_STALE", "up")
    proof.write_text(whole)
    done = project.ok("up", "up", "--env", "production")
    assert any("rehearsed at" in e["detail"] for e in done["timeline"])


def _as_told(project: Project, told: str) -> dict:
    """Call `status` and `rehearse` with the words of an answer's `next`; what the rehearsal says."""
    calls = [shlex.split(c) for c in re.findall(r"lockgate (status [^>]*|rehearse [^;]*)", told)]
    status = next(c for c in calls if c[0] == "status")
    (project.root / "status.json").write_text(
        project.json(*[w for w in status if w not in ("--format", "json")]).out
    )
    return project.json(*next(c for c in calls if c[0] == "rehearse")).document("rehearse")


def test_not_valid_then_validate_goes_through(make: Callable[..., Project]):
    """A CHECK that is added NOT VALID and validated in the next file is released by following the words; a file that fails on made-up rows only, by the rehearsal without them that is named."""
    project = make(BACKUP + ENV + "[release]\nrehearsal = true\n")
    project.ok("up", "up", "--env", "production")
    add = "ALTER TABLE customers ADD CONSTRAINT mail CHECK (email ~ '^[a-z]+@shop[.]test$') NOT VALID;\n"
    project.write("mail", add)
    project.write("proven", "ALTER TABLE customers VALIDATE CONSTRAINT mail;\n")
    missing = project.json("release", "--sha", SHA, "--env", "production").error("REHEARSAL_MISSING")
    found = _as_told(project, str(missing["next"]))
    assert found["verdict"] == "pass", found
    assert any("SELECT count(*) FROM customers WHERE NOT" in note for note in found["notes"])
    project.ok("release", "release", "resume", SHA, "--env", "production")
    project.write(
        "always",
        "-- lockgate: transaction=off\nCREATE UNIQUE INDEX CONCURRENTLY never ON customers ((id * 0));\n",
    )
    second = SHA[::-1]
    missing = project.json("release", "--sha", second, "--env", "production").error("REHEARSAL_MISSING")
    held = _as_told(project, str(missing["next"]))
    assert held["reasonCode"] == "DATA_DEPENDENT", held
    answer = project.json("release", "resume", second, "--env", "production")
    assert answer.code == 5, answer
    told = answer.error("REHEARSAL_HELD")["next"]
    assert "--rows 0" in told
    assert _as_told(project, told)["verdict"] == "pass"
    project.ok("release", "release", "resume", second, "--env", "production")


def test_a_job_far_from_the_artifacts_reads_the_journal(make: Callable[..., Project], database: str):
    """Where `rehearsal.json` is not at hand, what the release under way wrote down of it counts, and only while it is under way."""
    project = make(BACKUP + PROTECTED.replace("require_rehearsal = false\n", "require_backup = false\n"))
    approve(project, "ann")
    plan = project.ok("plan", "plan", "--env", "production")["planHash"]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO lockgate.release (release_key, sha, environment, state, operator, host, token, plan_hash, tool_version)"
            " VALUES ('r', 'abcdef0', 'production', 'failed', 'ann', 'h', 1, %s, '0')",
            [plan],
        )
        connection.execute(
            "INSERT INTO lockgate.release_step (release_key, number, name, state, limit_seconds, finished_at, evidence)"
            " VALUES ('r', 4, 'approvals', 'done', 1, now(), '{\"rehearsal\": \"rehearsed yesterday\"}')"
        )
        refused(project, "REHEARSAL_MISSING", "up")
        connection.execute("UPDATE lockgate.release SET state = 'running'")
    done = project.ok("up", "up", "--env", "production")
    assert any("rehearsed yesterday" in e["detail"] for e in done["timeline"])


def test_nobody_approves_their_own(make: Callable[..., Project]):
    """The person who releases cannot be the one who approves, however the name is written."""
    project = make(BACKUP + PROTECTED)
    approve(project, "Ann")
    document = refused(project, "APPROVAL_MISSING", "up", LOCKGATE_ACTOR="ann")
    assert "nobody approves their own release" in document["message"]


def test_a_changed_plan_voids_approvals(make: Callable[..., Project]):
    """A file more, or another base, makes another plan: the approval of the old one is stale."""
    project = make(BACKUP + PROTECTED)
    approve(project, "ann")
    project.write("more", "CREATE TABLE more (id int);\n")
    refused(project, "APPROVAL_STALE", "up")


def test_expired(make: Callable[..., Project], database: str):
    """An approval whose end has passed by the server's clock does not count."""
    project = make(BACKUP + PROTECTED)
    approve(project, "ann", "--expires", "1h")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE lockgate.approval SET expires_at = now() - interval '1 second'")
    refused(project, "APPROVAL_EXPIRED", "up")


def test_two_people_and_a_role(make: Callable[..., Project]):
    """Two different people, one of them a dba, as the environment asks; taking one back leaves too few."""
    project = make(
        BACKUP + PROTECTED + 'approvals = { count = 2, roles = ["dba"] }\nrequire_backup = false\n'
    )
    approve(project, "ann", "--role", "dba")
    approve(project, "ann", "--role", "dev")
    refused(project, "APPROVAL_MISSING", "up")
    second = approve(project, "bob", "--role", "dev")["approval"]["approvalId"]
    project.ok("approve", "approve", "--env", "production", "--revoke", second)
    refused(project, "APPROVAL_MISSING", "up")
    approve(project, "cid", "--role", "dev")
    done = project.ok("up", "up", "--env", "production")
    assert any("NO BACKUP" in e["detail"] for e in done["timeline"])


@pytest.mark.parametrize("provider", ["in-process", "child"])
def test_break_glass_is_shouted(make: Callable[..., Project], provider: str):
    """Breaking the glass needs a reason and a second person, holds for a migration that runs apart, and stands in every artifact, the audit bundle's statement and the incident of one that fails."""
    own = f'approvals = {{ count = 3 }}\n[job]\nprovider = "{provider}"\n'
    with service() as seen:
        seen.release = SHA
        smoke = f'[smoke]\nbase_url = "{seen.url}"\nrelease_header = "X-Release-Sha"\nretry_delay = "50ms"\n'
        _shouted(make(BACKUP + PROTECTED + own + smoke), seen)


def _shouted(project: Project, seen: Service) -> None:
    assert project.json("approve", "--env", "production", "--break-glass").code == 2
    refused(project, "APPROVAL_MISSING", "release", "--sha", SHA, "--break-glass", "site is down")
    approve(project, "ann", "--break-glass", "--reason", "the index is missing")
    project.ok("release", "release", "--sha", SHA, "--env", "production", "--break-glass", "site is down")
    folder = project.root / ".artifacts" / "deploy" / SHA
    left = {
        p.name: p.read_text() for p in folder.iterdir() if p.name.count(".") == 1
    }  # not those of the refused call
    assert {"verification.json", "api-smoke.json", "comment.md"} <= left.keys()
    for name, text in left.items():
        assert "GLASS BROKEN: site is down" in text, name
    for name in ("api-smoke", "migration", "verification"):
        schema = name if name == "api-smoke" else f"{name}-artifact"
        validate(schema, json.loads(left[f"{name}.json"]))
    assert json.loads(left["release.json"])["breakGlass"] == "site is down"
    project.ok("release-bundle", "release", "bundle", SHA, "--env", "production", "--out", "b.tar.gz")
    with tarfile.open(project.root / "b.tar.gz") as archive:
        said = json.loads(archive.extractfile("statement.json").read())  # type: ignore[union-attr]
    assert any("GLASS BROKEN" in one for one in said["predicate"]["warnings"])
    project.write("more", "CREATE TABLE more (id bigint PRIMARY KEY);\n")
    approve(project, "ann", "--break-glass", "--reason", "the index is missing")
    seen.release = "elsewhere"
    other = "b" * 40
    call = ("release", "--sha", other, "--env", "production", "--break-glass", "still down")
    project.json(*call).error("API_SMOKE_ASSERTION_FAILED")
    incident = json.loads((folder.parent / other / "incident.json").read_text())
    validate("incident", incident)
    assert any("GLASS BROKEN: still down" in one for one in incident["warnings"])


def test_freeze_and_window(make: Callable[..., Project]):
    """A declared freeze refuses every release, a closed window a heavy one; broken glass goes through a freeze and says so."""
    freeze = 'freezes = [{ start = "2020-01-01T00:00Z", end = "2099-01-01T00:00Z", reason = "sale" }]\n'
    project = make('[env.production]\nurl_env = "PRODUCTION_URL"\n' + freeze)
    document = refused(project, "FROZEN", "release", "--sha", SHA)
    assert "sale" in document["message"]
    project.ok("release", "release", "--sha", SHA, "--env", "production", "--break-glass", "hotfix")
    assert "GLASS BROKEN over FROZEN" in json.dumps(project.artifact(SHA)["notes"])
    project.configure(
        '[env.production]\nurl_env = "PRODUCTION_URL"\nwindows = ["Mon 00:00-00:01"]\nwindow_impact = "high"\n'
    )
    project.write("heavy", "-- lockgate: estimate rows=5000000 seconds=600\nCREATE TABLE heavy (id int);\n")
    answer = project.json("release", "--sha", "a" * 40, "--env", "production")
    if answer.code != 0:  # but for one minute in a week
        answer.error("OUTSIDE_WINDOW")


def test_signed_files(make: Callable[..., Project]):
    """A signed approval works without a database at hand; one that was edited, or signed with another key, does not count."""
    project = make()
    key = project.ok("approve", "approve", "--new-key", "ann.pem")["publicKey"]
    assert (project.root / "ann.pem").stat().st_mode & 0o777 == 0o600
    other = project.ok("approve", "approve", "--new-key", "eve.pem")
    assert other["publicKey"] != key
    approvers = f'[approvers.ann]\nroles = ["dba"]\nkey = "{key}"\n'
    project.configure(
        BACKUP + approvers + PROTECTED + "approvals = { signed = true }\nrequire_backup = false\n"
    )
    plan = project.ok("plan", "plan", "--env", "production")["planHash"]
    offline = {"PRODUCTION_URL": "postgresql://nobody@127.0.0.1:1/none"}
    call = ["approve", "--env", "production", "--actor", "ann", "--role", "dba", "--plan-hash", plan]
    # Whoever signs with a key that will not count is told so, and nothing is written.
    assert (
        "not the key configured for ann"
        in project.json(*call, "--sign", "eve.pem", **offline).error("CONFIG")["message"]
    )
    assert not (project.root / "db" / "approvals").exists()
    project.configure(BACKUP + PROTECTED)
    told = project.json(*call, "--sign", "eve.pem", **offline)
    assert "it will not count until lockgate.toml has [approvers.ann] key" in told.err
    forged = told.document("approve")["approval"]["file"]
    project.configure(
        BACKUP + approvers + PROTECTED + "approvals = { signed = true }\nrequire_backup = false\n"
    )
    (project.root / "db" / "approvals" / "notes.json").write_text("{}")
    message = refused(project, "APPROVAL_MISSING", "up")["message"]
    assert f"{forged.rpartition('/')[2]}: its signature is not that of the key configured for ann" in message
    assert "notes.json: it is no signed approval" in message
    listed = project.ok("approve", "approve", "--env", "production", "--list")
    assert [i["file"] for i in listed["ignored"]] == sorted([forged.rpartition("/")[2], "notes.json"])
    (project.root / forged).unlink()
    good = project.root / project.ok("approve", *call, "--sign", "ann.pem", **offline)["approval"]["file"]
    text = good.read_text()
    envelope = json.loads(text)
    import base64

    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["expiresAt"] = "2099-01-01T00:00:00Z"
    envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    good.write_text(json.dumps(envelope))
    refused(project, "APPROVAL_MISSING", "up")
    good.write_text(text)
    # A row of the table is not signed; here only signed ones count.
    project.ok("up", "up", "--env", "production")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--env", "nowhere"],
        ["--env", "production", "--expires", "soon"],
        ["--env", "production", "--expires", "0s"],
        ["--env", "production", "--plan-hash", "abc"],
        ["--env", "production", "--actor", " "],
        ["--env", "production", "--sign", "missing.pem", "--plan-hash", "0" * 64],
        ["--env", "production", "--revoke", "a-none"],
    ],
)
def test_bad_calls(make: Callable[..., Project], arguments: list[str]):
    """A wrong call says what is wrong and exits 2."""
    project = make(PROTECTED)
    project.ok("approve", "approve", "--env", "production", "--actor", "zoe")
    answer = project.json("approve", *arguments)
    assert answer.code == 2, answer
    assert answer.document("error")["next"]
