"""Every command as a process, for people and for programs, with its exit codes."""

import json
import subprocess

import psycopg
import pytest

from support.calls import Project, validate

pytestmark = pytest.mark.postgres("18")


def ask(url: str, question: str) -> list[tuple]:
    """The rows that answer ``question``."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(question)
        return cursor.fetchall() if cursor.description else []


def test_check_clean(shop: Project):
    """A clean project: exit 0, no error, and every statement told by file and line; in text one line says so."""
    document = shop.ok("check", "check")
    assert document["files"] == 3
    assert {f["severity"] for f in document["findings"]} <= {"info"}
    assert [(s["kind"], s["transactional"]) for s in document["statements"]] == [
        ("CREATE TABLE", True),
        ("CREATE TABLE", True),
        ("CREATE INDEX", False),
    ]
    answer = shop.text("check")
    assert answer.code == 0
    assert answer.out.startswith("clean: 3 files, 3 statements")
    assert answer.out.count("\n") == 1


def test_check_findings(shop: Project):
    """Every problem is told at once with file, line and fix, and the exit code is 1."""
    shop.write("broken", "CREATE TABLE a (id int);\nCOMMIT;\n")
    (shop.directory / "notes.txt").write_text("not SQL")
    answer = shop.json("check")
    assert answer.code == 1
    found = {(f["id"], f["line"]) for f in answer.document("check")["findings"] if f["severity"] == "error"}
    assert found == {("FILE_TRANSACTION_CONTROL", 2), ("FILE_TYPE", 0)}
    told = shop.text("check")
    assert told.code == 1
    assert "_broken.sql:2: FILE_TRANSACTION_CONTROL: COMMIT" in told.out
    assert "fix: Remove it" in told.out


def test_check_since_refuses_edits(shop: Project):
    """An edited file that existed at the git revision is found, even with a ledger that was made to fit."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for call in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *call], cwd=shop.root, check=True)
    assert shop.text("check", "--since", "HEAD").code == 0
    first = next(shop.directory.glob("*_customers.sql"))
    first.write_text(first.read_text().replace("text NOT NULL", "text"))
    answer = shop.json("check", "--since", "HEAD", "--write-ledger")
    assert answer.code == 1
    errors = {f["id"] for f in answer.document("check")["findings"] if f["severity"] == "error"}
    assert errors == {"IMMUTABLE_EDITED"}
    assert shop.json("check", "--since", "no-such-revision").code == 2


def test_write_ledger(shop: Project):
    """check --write-ledger makes the ledger anew, and the ledger is what its schema says."""
    (shop.directory / "checksums.json").unlink()
    assert shop.text("check").code == 1
    assert shop.text("check", "--write-ledger").code == 0
    ledger = json.loads((shop.directory / "checksums.json").read_text())
    validate("ledger", ledger)
    assert len(ledger["files"]) == 3


def test_plan_up_status_verify(shop: Project):
    """The life of a change in JSON: planned, applied, told by status, verified; the hashes and revisions agree."""
    plan = shop.ok("plan", "plan")
    assert [p["name"] for p in plan["pending"]] == ["customers", "orders", "orders_customer"]
    assert [p["transactional"] for p in plan["pending"]] == [True, True, False]
    before = shop.ok("status", "status")
    assert (before["revision"], len(before["pending"]), before["clean"]) == ("", 3, False)
    up = shop.ok("up", "up")
    assert up["planHash"] == plan["planHash"] == before["planHash"]
    assert [f["revision"] for f in up["applied"]] == [p["revision"] for p in plan["pending"]]
    assert up["after"] == plan["goal"]
    after = shop.ok("status", "status")
    assert (after["revision"], after["pending"], after["clean"]) == (plan["goal"], [], True)
    assert [r["checksum"] for r in after["applied"]] == [p["checksum"] for p in plan["pending"]]
    verified = shop.ok("verify", "verify")
    assert (verified["verdict"], verified["reasonCode"]) == ("pass", "")
    assert all(c["answer"] == "pass" for c in verified["checks"])
    again = shop.ok("up", "up")
    assert (again["applied"], again["epoch"]) == ([], 0), "nothing to do takes no lock"


def test_plan_asks_the_policy(shop: Project, database: str):
    """What the policy refuses `up`, `plan` refuses too, exit 4, with the place and the fix, for programs and for people; nothing is changed by either."""
    shop.ok("up", "up")
    base = shop.ok("plan", "plan")["planHash"]
    shop.write("loud", "ALTER TABLE orders ADD COLUMN note text;\n")
    bad = shop.write("hides", "DROP TABLE orders;\n")
    planned = shop.json("plan")
    assert planned.code == 4
    document = planned.document("plan")
    assert document["planHash"] != base
    refused = [f for f in document["findings"] if f["severity"] == "error"]
    assert refused
    assert {f["file"][:13] for f in refused} == {bad}
    assert {(o["code"], o["revision"]) for o in document["obstacles"]} == {("POLICY_REFUSED", bad)}
    up = shop.json("up")
    assert up.code == 4
    assert {f["id"] for f in up.error("POLICY_REFUSED")["details"]["findings"]} == {f["id"] for f in refused}
    text = shop.text("plan")
    assert text.code == 4
    assert f"{bad}_hides.sql:1: {refused[0]['id']}" in text.out
    assert "fix:" in text.out
    assert shop.ok("status", "status")["revision"] < bad


def test_life_of_a_change_in_text(shop: Project):
    """The same for people: tables in a pipe are plain aligned text, and the last line says where the database is."""
    plan = shop.text("plan")
    assert "revision" in plan.out
    assert "journal" in plan.out
    status = shop.text("status")
    assert "none: lockgate was never run here" in status.out
    assert status.out.endswith("0 applied, 3 pending; next: lockgate up\n")
    up = shop.text("up")
    assert up.code == 0
    assert "3 applied" in up.out
    assert shop.text("status", "--all").out.endswith("3 applied, 0 pending\n")
    assert "nothing to do" in shop.text("plan").out
    assert "nothing to do" in shop.text("up").out
    verified = shop.text("verify")
    assert verified.code == 0
    assert verified.out.endswith("verdict: pass\n")


def test_status_check(shop: Project):
    """status --check exits 1 while something is pending and 0 afterwards; without --check it only tells."""
    assert shop.text("status").code == 0
    assert shop.text("status", "--check").code == 1
    assert shop.json("status", "--check").document("status")["pending"]
    shop.ok("up", "up")
    assert shop.text("status", "--check").code == 0


def test_failed_statement(shop: Project, database: str):
    """A failing statement exits 3 and is told with file, line and the server's words; what came before stays."""
    revision = shop.write("broken", "CREATE TABLE fine (id int);\n\nALTER TABLE missing ADD COLUMN x int;\n")
    answer = shop.json("up")
    assert answer.code == 3
    document = answer.error("MIGRATION_EXECUTION_FAILED")
    assert (document["details"]["line"], document["details"]["sqlstate"]) == (3, "42P01")
    assert document["details"]["revision"] == revision
    assert (len(document["applied"]), document["pending"]) == (3, [revision])
    assert ask(database, "SELECT to_regclass('fine') IS NULL") == [(True,)]
    told = shop.text("up")
    assert told.code == 3
    assert f"{revision}_broken.sql:3" in told.err
    assert "state:" in told.err
    assert "next:" in told.err


def test_half_done_file_is_shown(shop: Project):
    """A non-transactional file that stopped half way: status shows its journal, and the next up goes on there."""
    sql = "-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY orders_id ON orders (id, customer_id);\nCREATE UNIQUE INDEX CONCURRENTLY orders_once ON orders (customer_id);\n"
    revision = shop.write(
        "two_indexes",
        "-- lockgate: transaction=off\nINSERT INTO orders VALUES (1, 1), (2, 1);\n" + sql.split("\n", 1)[1],
    )
    assert shop.json("up").code == 3
    document = shop.ok("status", "status", "--steps")
    assert [s["state"] for s in document["partial"][revision]] == ["done", "done", "running"]
    told = shop.text("status", "--steps")
    assert f"{revision} stopped half way" in told.out
    with psycopg.connect(shop.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("DELETE FROM orders WHERE id = 2")
    assert [f["revision"] for f in shop.ok("up", "up")["applied"]] == [revision]
    assert shop.ok("status", "status")["partial"] == {}


def test_edited_applied_file(shop: Project):
    """An applied file that was edited is refused with a diff, by plan (4), status and verify (1) alike."""
    shop.ok("up", "up")
    first = next(shop.directory.glob("*_customers.sql"))
    first.write_text(first.read_text().replace("email text", "email varchar"))
    shop.lock()
    answer = shop.json("up")
    assert answer.code == 4
    document = answer.error("CHECKSUM_MISMATCH")
    assert (
        "+CREATE TABLE customers (id bigint PRIMARY KEY, email varchar NOT NULL);"
        in document["details"]["diff"]
    )
    plan = shop.json("plan")
    assert plan.code == 4
    assert [o["code"] for o in plan.document("plan")["obstacles"]] == ["CHECKSUM_MISMATCH"]
    assert shop.text("status", "--check").code == 1
    verified = shop.json("verify")
    assert verified.code == 1
    assert verified.document("verify")["reasonCode"] == "VERIFY_FAILED"


def test_verify_finds_drift(shop: Project, database: str):
    """A change by hand is found by verify, which names the object and exits 1."""
    shop.ok("up", "up")
    ask(database, "ALTER TABLE customers ADD COLUMN by_hand int")
    answer = shop.json("verify")
    assert answer.code == 1
    document = answer.document("verify")
    assert document["reasonCode"] == "SCHEMA_DRIFT"
    drift = next(c for c in document["checks"] if c["id"] == "schema-drift")
    assert (drift["answer"], "by_hand" in drift["details"] or "customers" in drift["details"]) == (
        "fail",
        True,
    )


def test_doctor_and_the_files(shop: Project):
    """doctor is not content where `up` would refuse: an edited file, sealed or not, and a file from before the newest one."""
    shop.ok("up", "up")
    first = sorted(shop.directory.glob("*.sql"))[0]
    kept = first.read_text()
    first.write_text(kept + "\n-- later\n")

    def told() -> dict[str, str]:
        answer = shop.json("doctor")
        assert answer.code == 1
        return {
            f["id"]: f["message"] for f in answer.document("doctor")["findings"] if f["severity"] == "error"
        }

    assert "LEDGER_DRIFT" in str(shop.json("doctor").document("doctor")["findings"])
    assert set(told()) >= {"files-refused"}
    shop.text("check", "--write-ledger", "--force")
    assert "CHECKSUM_MISMATCH" in told()["history-obstacle"]
    first.write_text(kept)
    (shop.directory / "1600000000000_older.sql").write_text("CREATE TABLE older (id bigint PRIMARY KEY);\n")
    shop.text("check", "--write-ledger")
    assert "OUT_OF_ORDER" in told()["history-obstacle"]


def test_doctor(shop: Project, database: str):
    """doctor is content with a healthy database, and names an invalid index with the command that mends it."""
    shop.ok("up", "up")
    healthy = shop.json("doctor")
    assert healthy.code == 0, healthy
    assert healthy.document("doctor")["healthy"] is True
    assert shop.text("doctor").code == 0
    ask(database, "INSERT INTO orders VALUES (1, 1), (2, 1)")
    with (
        psycopg.connect(database, autocommit=True) as connection,
        pytest.raises(psycopg.errors.UniqueViolation),
    ):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY leftover ON orders (customer_id)")
    answer = shop.json("doctor")
    assert answer.code == 1
    found = [
        f
        for f in answer.document("doctor")["findings"]
        if "leftover" in f["message"] + f["evidence"] + f["next"]
    ]
    assert found
    assert found[0]["next"]
    assert shop.text("doctor").code == 1


def test_roles(shop: Project, databases):
    """roles prints SQL that an administrator can run, twice."""
    sql = shop.ok("roles", "roles", "--database", "app")["sql"]
    assert sql.strip() == shop.text("roles", "--database", "app").out.strip()
    assert "current_database() <> 'app'" in sql
    assert "current_database() <> 'app'" not in shop.ok("roles", "roles")["sql"]  # the database of the target
    for role in ("app_owner", "app_migrator", "app_reader"):
        assert role in sql


def test_unreachable(shop: Project):
    """A server that does not answer: exit 69 with the error document, for every command that needs it."""
    nowhere = "postgresql://nobody:s3cr3t-canary@127.0.0.1:1/none"
    for command in (
        ["up"],
        ["status"],
        ["plan"],
        ["verify"],
        ["doctor"],
        ["down"],
        ["baseline", "--until", "1700000000001", "--reason", "r", "--actor", "a"],
    ):
        answer = shop.json(*command, DATABASE_URL=nowhere)
        assert answer.code == 69, (command, answer)
        answer.error("UNREACHABLE")
        assert "s3cr3t-canary" not in answer.out + answer.err


def test_busy(shop: Project, database: str):
    """Another runner holds the lock: up waits as long as it was told, then exits 75 and names the holder."""
    from lockgate.postgres.guard import GUARD_KEY

    with psycopg.connect(database, autocommit=True, application_name="the other one") as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [GUARD_KEY])
        answer = shop.json("up", "--lock-wait", "0.1")
        assert answer.code == 75
        assert answer.error("LOCK_BUSY")["details"]["holder"]["application"] == "the other one"
    assert shop.text("up", "--lock-wait", "0").code == 0


def test_contract_phase_is_held(shop: Project, database: str):
    """A live instance still needs what a contract file removes: exit 4, the files before it are applied."""
    shop.ok("up", "up")
    expand = shop.write("add_note", "ALTER TABLE orders ADD COLUMN note text;\n")
    contract = shop.write(
        "drop_email", "-- lockgate: phase=contract\nALTER TABLE customers DROP COLUMN email;\n"
    )
    late = shop.write("add_more", "ALTER TABLE orders ADD COLUMN more text;\n")
    ask(
        database,
        f"INSERT INTO lockgate.instance (instance_id, service, release_id, schema_max, ttl_seconds) VALUES ('web-1', 'web', 'r41', '{expand}', 600)",
    )
    planned = shop.json("plan")
    assert planned.code == 4  # the plan says what `up` will do
    told = planned.document("plan")["held"]
    assert [(one["code"], one["revision"]) for one in told] == [("CONTRACT_TOO_EARLY", contract)]
    answer = shop.json("up")
    assert answer.code == 4
    document = answer.error("CONTRACT_TOO_EARLY")
    assert "web-1" in document["message"]
    assert [f["revision"] for f in document["applied"]] == [expand]
    assert document["pending"] == [contract, late]
    assert ask(
        database, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'customers'"
    ) == [(2,)]
    ask(database, "DELETE FROM lockgate.instance")
    assert [f["revision"] for f in shop.ok("up", "up")["applied"]] == [contract, late]
    assert shop.ok("status", "status")["compatFloor"] == contract


def test_application_role_changes_nothing(shop: Project):
    """With LOCKGATE_ROLE=app every changing command refuses before it connects; reading ones work."""
    nowhere = {"LOCKGATE_ROLE": "app", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    changing = (
        ["up"], ["release", "--sha", "abcdef0"], ["down"], ["baseline", "--until", "1700000000001", "--reason", "r", "--actor", "a"],
        ["repair", "--forget", "1700000000001", "--reason", "r", "--actor", "a"],
    )  # fmt: skip
    for command in changing:
        answer = shop.json(*command, **nowhere)
        assert answer.code == 4, (command, answer)
        answer.error("ROLE_REFUSED")
    assert shop.json("status", LOCKGATE_ROLE="app").code == 0
