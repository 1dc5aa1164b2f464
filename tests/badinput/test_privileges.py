"""Rows 61-63 and LOCKGATE_ROLE: who may not change the schema is told which role lacks which grant, before anything is applied."""

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from asking import ask, made_nothing
from psycopg import sql

from lockgate.cli.main import COMMANDS
from support.calls import Project

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def role(database: str) -> Iterator[Callable[..., str]]:
    """A function that makes a role with these statements run for it (``{}`` is its name) and returns its name; dropped at the end."""
    made: list[str] = []

    def make(*statements: str, attributes: str = "LOGIN") -> str:
        name = f"lg_test_{uuid.uuid4().hex[:10]}"
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} " + attributes).format(sql.Identifier(name)))
            made.append(name)
            for statement in statements:
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
        return name

    yield make
    with psycopg.connect(database, autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def as_role(url: str, name: str) -> str:
    """``url`` for the role ``name``."""
    return url.replace("postgres@", f"{name}@", 1)


def name_of(url: str) -> str:
    """The database of ``url``."""
    return url.rsplit("/", 1)[1]


def test_no_right_to_make_the_schema(project: Project, database: str, role: Callable[..., str]):
    """61: a role without CREATE on the database: exit 77, the role and the grant are named, nothing is applied."""
    who = role()
    project.write("a", "CREATE TABLE a (id int PRIMARY KEY);\n")
    answer = project.json("up", DATABASE_URL=as_role(database, who))
    assert answer.code == 77, answer
    document = answer.error("PRIVILEGE")
    assert who in document["message"] + document["next"]
    assert "GRANT" in document["next"] + document["message"] or "CREATE SCHEMA" in document["next"]
    assert made_nothing(database)


@pytest.mark.parametrize(
    ("statement", "grant"),
    [
        ("CREATE TABLE public.a (id int PRIMARY KEY);", 'CREATE ON SCHEMA "public"'),
        ("CREATE SCHEMA other;", None),
        ("CREATE EXTENSION vector;", "CREATE EXTENSION"),
        ("ALTER TABLE public.theirs ADD COLUMN x int;", "postgres"),
    ],
)
def test_no_right_for_a_statement(
    project: Project, database: str, role: Callable[..., str], statement: str, grant: str | None
):
    """61: what a file needs and the role lacks is asked for before the first file runs; role and grant are named; nothing is applied."""
    who = role("CREATE SCHEMA lockgate AUTHORIZATION {}", "REVOKE CREATE ON SCHEMA public FROM {}")
    ask(database, "CREATE TABLE public.theirs (id int PRIMARY KEY)")
    project.write("fine", "SELECT 1;\n")
    project.write("bad", statement + "\n")
    answer = project.json("up", DATABASE_URL=as_role(database, who))
    assert answer.code == 77, answer
    document = answer.error("PRIVILEGE")
    text = document["message"] + document["next"]
    assert who in text
    assert grant is None or grant in text
    assert document["applied"] == []
    assert ask(database, "SELECT count(*) FROM lockgate.migration_history") == [(0,)]


def test_a_missing_extension(project: Project, database: str):
    """61: an extension that the server does not have is named before anything runs."""
    project.write("a", "CREATE TABLE a (id int PRIMARY KEY);\n")
    project.write("ext", "CREATE EXTENSION no_such_extension;\n")
    answer = project.json("up")
    assert answer.code in (3, 4), answer
    assert "no_such_extension" in answer.document("error")["message"]
    assert ask(database, "SELECT to_regclass('a') IS NULL") == [(True,)]


def test_history_of_somebody_else(project: Project, database: str, role: Callable[..., str]):
    """61: a role that may not even read the history is refused with 77 by every command that needs it."""
    project.write("a", "CREATE TABLE a (id int PRIMARY KEY);\n")
    assert project.json("up").code == 0
    who = role()
    for command in ("up", "plan", "status"):
        answer = project.json(command, DATABASE_URL=as_role(database, who))
        assert answer.code == 77, answer
        assert who in answer.error("PRIVILEGE")["message"]


def test_a_role_that_cannot_log_in(project: Project, database: str, role: Callable[..., str]):
    """61: a login that the server refuses is a privilege, not an unreachable server; the URL's user is named."""
    who = role(attributes="NOLOGIN")
    project.write("a", "SELECT 1;\n")
    for name in (who, "no_such_role_here"):
        answer = project.json("up", DATABASE_URL=as_role(database, name))
        assert answer.code == 77, answer
        assert name in answer.error("PRIVILEGE")["message"]


def test_roles_that_are_too_strong_or_own_too_much(project: Project, database: str, role: Callable[..., str]):
    """62, 63: doctor names an application role that is a superuser or a member of the migrator, and objects of a wrong owner."""
    migrator, app, stranger = (
        role("GRANT CREATE ON DATABASE {}".replace("{}", name_of(database)) + " TO {}"),
        role(attributes="LOGIN SUPERUSER"),
        role(),
    )
    owner = role(attributes="NOLOGIN")
    ask(database, f"GRANT {migrator} TO {app}")
    ask(database, f"CREATE TABLE stray (id int PRIMARY KEY); ALTER TABLE stray OWNER TO {stranger}")
    project.configure(
        f'[roles]\nowner = "{owner}"\nmigrator = "{migrator}"\napp = "{app}"\nreader = "{stranger}"\n'
    )
    project.write("a", "SELECT 1;\n")
    assert project.json("up").code == 0
    answer = project.json("doctor")
    assert answer.code == 1, answer
    found = answer.document("doctor")["findings"]
    text = "\n".join(f"{f['message']} {f['evidence']} {f['next']}" for f in found)
    assert "NOSUPERUSER" in text
    assert app in text
    assert "stray" in text
    assert stranger in text


# -- an application never migrates --------------------------------------------------------------------

CHANGING = {
    "up": [["up"]],
    "release": [
        ["release", "--sha", "abcdef0"], ["release", "resume"], ["release", "continue"], ["release", "replay", "abcdef0", "--reason", "r"],
        ["release", "recover", "--choose", "restore"],
    ],
    "approve": [["approve", "--env", "production"]],
    "backup": [["backup", "take"], ["backup", "verify", "b"], ["backup", "restore", "b", "--into", "n"], ["backup", "drill"]],
    "down": [["down"]],
    "baseline": [["baseline", "--until", "1700000000001", "--reason", "r", "--actor", "a"]],
    "repair": [
        ["repair", option, "1700000000001", "--reason", "r", "--actor", "a"] for option in ("--forget", "--accept-file", "--discard-journal")
    ] + [["repair", "--accept-chain", "--reason", "r", "--actor", "a"]],
    "demo": [["demo", "--example", "."]],
    "readonly": [["readonly", "on", "--reason", "r"], ["readonly", "off"]],
    "gate": [["gate", "secrets", "accept", "s1", "--reason", "r"], ["gate", "secrets", "retire", "s1", "--reason", "r"]],
    "bootstrap": [["bootstrap", "--env", "live"]],
    "move": [["move", word, "items"] for word in ("start", "backfill", "cutover", "rollback", "finish", "abort", "pause", "resume", "run", "verify")],
    "index": [
        ["index", "build", "docs", "--records", "r.jsonl"],
        ["index", "swap", "docs", "--to", "0001"],
        ["index", "rollback", "docs"],
        ["index", "gc", "docs"],
    ],
}  # fmt: skip
READING = {
    "run",
    "instances",
    "parity",
    "metrics",
    "serve",
    "drift",
    "gold",
    "init",
    "new",
    "promote",
    "check",
    "plan",
    "status",
    "verify",
    "doctor",
    "roles",
    "rehearse",
    "queries",
    "embedded",
    "runbook",
    "postmortem",
    "policy",
    "explain",
    "snapshot",
}
"""What changes files of the project, or reads, or runs the developer's own server."""


def test_every_command_is_sorted():
    """A new command has to be sorted into those that an application may call and those that it may not."""
    assert set(COMMANDS) <= set(CHANGING) | READING
    assert set(CHANGING) <= set(COMMANDS)


@pytest.mark.parametrize(
    "command", [c for many in CHANGING.values() for c in many], ids=lambda c: " ".join(c[:2])
)
def test_an_application_changes_nothing(project: Project, database: str, command: list[str]):
    """LOCKGATE_ROLE=app: exit 4, nothing in the database, whatever the letters' case."""
    project.write("a", "CREATE TABLE a (id int PRIMARY KEY);\n\n-- lockgate: down\nDROP TABLE a;\n")
    project.configure("")
    answer = project.json(*command, LOCKGATE_ROLE=" App ")
    assert answer.code == 4, answer
    assert "application" in answer.error("ROLE_REFUSED")["message"]
    assert made_nothing(database)
    assert not (project.root / ".lockgate").exists(), "not even a server was started"
