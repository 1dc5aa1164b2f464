"""down, baseline and repair: what a person changes is recorded with reason and actor."""

import getpass
import json

import psycopg
import pytest

from support.calls import Project

pytestmark = pytest.mark.postgres("18")


def events(url: str) -> list[tuple]:
    """The recorded changes by people: kind, revision, actor, reason."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(
            "SELECT kind, revision_id, actor, reason FROM lockgate.history_event ORDER BY id"
        ).fetchall()


def tables(url: str) -> set[str]:
    """The tables of schema public."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {
            row[0]
            for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        }


def test_down(shop: Project, database: str):
    """down undoes the newest files with their down sections, records who and why, and up brings them back."""
    shop.ok("up", "up")
    revisions = [r["revision"] for r in shop.ok("status", "status")["applied"]]
    document = shop.ok("down", "down", "--steps", "2", "--reason", "wrong column")
    assert document["undone"] == [revisions[2], revisions[1]]
    assert tables(database) == {"customers"}
    assert events(database) == [("down", r, getpass.getuser(), "wrong column") for r in document["undone"]]
    assert shop.text("down").out == f"undone {revisions[0]}\n"
    assert len(shop.ok("up", "up")["applied"]) == 3


def test_down_without_a_section(project: Project, database: str):
    """A file without a down section is not undone: exit 2, and nothing changed."""
    project.write("only_forward", "CREATE TABLE forward (id int);\n")
    project.ok("up", "up")
    answer = project.json("down")
    assert answer.code == 2
    answer.error("USAGE")
    assert tables(database) == {"forward"}
    assert events(database) == []


def test_down_in_a_protected_environment(shop: Project):
    """A protected environment has no down, and its up needs an approval that this version cannot verify: exit 4."""
    shop.configure('[env.production]\nurl_env = "PRODUCTION_URL"\nprotected = true\n')
    url = shop.environ.pop("DATABASE_URL")
    answer = shop.json("down", "--env", "production", PRODUCTION_URL=url)
    assert answer.code == 4
    answer.error("PROTECTED_ENVIRONMENT")
    refused = shop.json("up", "--env", "production", PRODUCTION_URL=url)
    assert refused.code == 4
    refused.error("APPROVAL_MISSING")
    assert shop.ok("status", "status", "--env", "production", PRODUCTION_URL=url)["applied"] == []


def test_baseline(shop: Project, database: str):
    """baseline records files as adopted without running them, with reason and actor; up applies only the rest."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL)")
    first = shop.ok("plan", "plan")["pending"][0]["revision"]
    document = shop.ok(
        "baseline", "baseline", "--until", first, "--reason", "the table is there", "--actor", "ada"
    )
    assert document["adopted"] == [first]
    assert events(database) == [("baseline", first, "ada", "the table is there")]
    assert [r["state"] for r in shop.ok("status", "status")["applied"]] == ["adopted"]
    assert len(shop.ok("up", "up")["applied"]) == 2
    again = shop.json("baseline", "--until", first, "--reason", "r", "--actor", "a")
    assert again.code == 2
    again.error("USAGE")


def test_repair_accepts_an_edited_file(shop: Project, database: str):
    """repair --accept-file lets an edited file stand, recorded, and the chain of the history holds afterwards."""
    shop.ok("up", "up")
    first = next(shop.directory.glob("*_customers.sql"))
    first.write_text(first.read_text() + "-- a remark\n")
    shop.lock()
    revision = first.name[:13]
    document = shop.ok(
        "repair", "repair", "--accept-file", revision, "--reason", "only a remark", "--actor", "ada"
    )
    assert (document["repair"], document["revisions"]) == ("--accept-file", [revision])
    assert events(database) == [("repair", revision, "ada", "only a remark")]
    assert shop.ok("verify", "verify")["verdict"] == "pass"


def test_repair_forgets_the_newest(shop: Project, database: str):
    """repair --forget takes the newest revision out of the history, and only that one."""
    shop.ok("up", "up")
    rows = [r["revision"] for r in shop.ok("status", "status")["applied"]]
    wrong = shop.json("repair", "--forget", rows[0], "--reason", "r", "--actor", "a")
    assert wrong.code == 2
    wrong.error("USAGE")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP INDEX orders_customer")
    told = shop.text("repair", "--forget", rows[2], "--reason", "the index is gone", "--actor", "ada")
    assert told.code == 0
    assert "recorded in lockgate.history_event" in told.out
    assert events(database) == [("repair", rows[2], "ada", "the index is gone")]
    assert [f["revision"] for f in shop.ok("up", "up")["applied"]] == [rows[2]]


def test_tampering_is_found_and_accepted_by_a_person(shop: Project, database: str):
    """A row changed behind lockgate's back stops everything with HISTORY_TAMPERED until a person accepts it."""
    shop.ok("up", "up")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE lockgate.migration_history DISABLE TRIGGER USER")
        connection.execute("UPDATE lockgate.migration_history SET operator = 'mallory' WHERE ordinal = 2")
        connection.execute("ALTER TABLE lockgate.migration_history ENABLE TRIGGER USER")
    shop.write("next", "CREATE TABLE next (id int);\n")
    answer = shop.json("up")
    assert answer.code == 4
    answer.error("HISTORY_TAMPERED")
    shop.ok("repair", "repair", "--accept-chain", "--reason", "compared with the artifact", "--actor", "ada")
    assert [e[2:] for e in events(database)] == [("ada", "compared with the artifact")]
    assert len(shop.ok("up", "up")["applied"]) == 1


def test_repair_discards_a_journal(shop: Project, database: str):
    """repair --discard-journal drops the journal of a half-done file; the next up starts at its first statement."""
    revision = shop.write(
        "half",
        "-- lockgate: transaction=off\nCREATE TABLE half (id int);\nCREATE INDEX CONCURRENTLY half_x ON half (missing);\n",
    )
    assert shop.json("up").code == 3
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP TABLE half")
    (shop.directory / f"{revision}_half.sql").write_text(
        "-- lockgate: transaction=off\nCREATE TABLE half (id int);\n"
    )
    shop.lock()
    shop.ok("repair", "repair", "--discard-journal", revision, "--reason", "undone by hand", "--actor", "ada")
    assert shop.ok("up", "up")["after"] == revision
    assert tables(database) >= {"half"}


@pytest.mark.parametrize("arguments", [[], ["--forget", "1700000000001", "--accept-chain"]])
def test_repair_does_one_thing(shop: Project, arguments):
    """repair with no action or with two is refused as usage."""
    answer = shop.json("repair", *arguments, "--reason", "r", "--actor", "a")
    assert answer.code == 2
    answer.error("USAGE")


@pytest.mark.parametrize(
    "command", [["baseline", "--until", "1700000000001"], ["repair", "--forget", "1700000000001"]]
)
@pytest.mark.parametrize("who", [["--reason", " ", "--actor", "a"], ["--reason", "r", "--actor", ""]])
def test_blank_reason_or_actor(shop: Project, command, who):
    """A blank reason or actor is no reason and no actor: exit 2."""
    answer = shop.json(*command, *who)
    assert answer.code == 2
    answer.error("USAGE")


def test_a_drifted_schema_is_accepted(shop: Project, database: str):
    """repair --accept-schema lets the live schema stand, with who, why and what differed; nothing to accept is exit 2."""
    shop.ok("up", "up")
    accept = ("repair", "--accept-schema", "--reason", "made in the incident", "--actor", "ada")
    assert shop.json(*accept).code == 2
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE customers ADD COLUMN by_hand int")
    assert shop.json("verify").code == 1
    shop.ok("repair", *accept)
    assert shop.json("verify").code == 0
    assert events(database)[-1][2:] == ("ada", "made in the incident")
    with psycopg.connect(database, autocommit=True) as connection:
        (after,) = connection.execute(
            "SELECT after FROM lockgate.history_event ORDER BY id DESC LIMIT 1"
        ).fetchone() or ({},)
    assert [c["identity"] for c in after["changes"]] == ["column public.customers.by_hand"]


def test_another_repair_does_not_hide_drift(shop: Project, database: str):
    """A repair of the history leaves the recorded schema as it was: what was changed by hand is still drift after it."""
    shop.ok("up", "up")
    newest = shop.ok("status", "status")["applied"][-1]["revision"]
    path = next(shop.directory.glob(f"{newest}_*"))
    path.write_text(path.read_text() + "-- a comment\n")
    shop.lock()
    repair = ("repair", "--accept-file", newest, "--reason", "a comment", "--actor", "ada")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE customers ADD COLUMN by_hand int")
    shop.ok("repair", *repair)
    answer = shop.json("verify")
    assert answer.code == 1
    assert "by_hand" in answer.out


def test_up_tells_drift_before_it_applies(shop: Project, database: str):
    """up names what somebody changed by hand and goes on, and it stays drift; a release with something to apply refuses before it."""
    shop.ok("up", "up")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE by_hand (id int)")
    shop.write("more", "CREATE TABLE more (id bigint PRIMARY KEY);\n")
    refused = shop.json("release", "--sha", "c" * 40)
    assert refused.code == 4, refused
    assert "SCHEMA_DRIFT" in refused.err
    assert "by_hand" in refused.err
    assert "more" not in tables(database)
    document = shop.ok("up", "up")
    assert any("SCHEMA_DRIFT" in note and "by_hand" in note for note in document["notes"])
    verified = shop.json("verify")
    assert verified.code == 1
    assert "by_hand" in verified.out
    assert (
        "more"
        not in next(c for c in json.loads(verified.out)["checks"] if c["id"] == "schema-drift")["details"]
    )
    shop.write(
        "take_over", "ALTER TABLE by_hand ADD COLUMN note text;\nCOMMENT ON TABLE by_hand IS 'ours';\n"
    )
    shop.ok("up", "up")
    assert "column public.by_hand.id" in shop.json("verify").out, "what no file touched stays drift"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP TABLE by_hand")
    shop.ok("repair", "repair", "--accept-schema", "--reason", "undone by hand", "--actor", "ann")
    assert shop.json("verify").code == 0


@pytest.mark.parametrize(
    "refused",
    [
        ("repair", "--forget", "1700000000001", "--reason", "r", "--actor", "a"),
        ("baseline", "--until", "1999999999999", "--reason", "r", "--actor", "a"),
        ("down", "--steps", "9"),
    ],
)
def test_a_refused_amendment_records_nothing(shop: Project, database: str, refused: tuple[str, ...]):
    """What was changed by hand is still drift after an amendment that was refused."""
    shop.ok("up", "up")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE by_hand (id int)")
    assert shop.json(*refused).code in (2, 4)
    assert shop.json("verify").code == 1
