"""Rows 64-68: missing secrets, secrets that must not show, TLS, names that are SQL, names that are paths."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import postgast
import psycopg
import pytest
from asking import ask, made_nothing, told
from psycopg import sql

from lockgate.config import Roles
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.script import split
from lockgate.release.roles import roles_sql
from support.calls import Project
from support.processes import until

pytestmark = pytest.mark.postgres("18")
CANARY = "C4n4ryB1rd"
PASSWORD = f"{CANARY}/p@ss'w\"rd %41 \\{{}}"
HEAD = "CREATE TABLE a (id int PRIMARY KEY);\n"
ALLOWED = (
    '-- lockgate: allow=rep-secret-or-psql-meta until=2099-12-31 reason="what the policy would refuse"\n'
)
PROTECTED = '[env.production]\nurl_env = "PRODUCTION_URL"\nprotected = true\n\n[env.staging]\nurl_env = "STAGING_URL"\n'


# -- 64: a secret that is missing ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["--env", "staging"], {}, "STAGING_URL is not set"),
        (["--env", "staging"], {"STAGING_URL": ""}, "STAGING_URL is empty"),
        (["--env", "staging"], {"STAGING_URL": "  "}, "is empty"),
        (
            ["--env", "staging"],
            {"STAGING_URL": "postgresql://u@h/d", "DATABASE_URL": "postgresql://u@other/d"},
            "two targets",
        ),
        (
            ["--env", "staging", "--database-url", "postgresql://u@h/d"],
            {"STAGING_URL": "postgresql://u@h/d"},
            "two targets",
        ),
        (["--env", "nowhere"], {}, "there is no environment 'nowhere'"),
        (["--env", ""], {}, "there is no environment ''"),
        (["--env", "staging'; DROP TABLE a; --"], {}, "there is no environment"),
        (["--database-url", ""], {}, "--database-url is empty"),
        ([], {"DATABASE_URL": ""}, "DATABASE_URL is empty"),
        ([], {"DATABASE_URL": "${SECRET}"}, "DATABASE_URL is not a PostgreSQL URL"),
    ],
)
def test_a_missing_secret_never_falls_back(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], says: str
):
    """No URL, an empty one, or two: exit 2 with the variable's name; no other target is taken and no server started."""
    project = Project(tmp_path)
    project.write("a", HEAD)
    project.configure(PROTECTED)
    answer = project.json("up", *arguments, **environ)
    assert answer.code == 2, answer
    document = answer.document("error")
    assert document["reasonCode"] in ("CONFIG", "USAGE")
    assert says in document["message"]
    assert not (tmp_path / ".lockgate").exists()


def test_a_wrong_password_is_refused_before_the_lock(guarded: "Guarded"):
    """A password that is wrong, or missing: exit 77 before anything is locked or written, and the wrong one is not repeated."""
    guarded.project.write("a", HEAD)
    for url in (
        guarded.url.replace(quote(PASSWORD, safe=""), f"wrong{CANARY}"),
        guarded.url.replace(":" + quote(PASSWORD, safe=""), ""),
    ):
        answer = guarded.project.json("up", DATABASE_URL=url)
        assert answer.code == 77, answer
        assert "refused the login" in answer.error("PRIVILEGE")["message"]
        assert CANARY not in told(answer)
    assert made_nothing(guarded.admin)


# -- 65: the canary -----------------------------------------------------------------------------------


class Guarded:
    """A project whose role logs in with a password that must never show."""

    def __init__(self, project: Project, url: str, admin: str) -> None:
        self.project, self.url, self.admin = project, url, admin


@pytest.fixture
def guarded(tmp_path: Path, own_server: Callable[..., Embedded]) -> Guarded:
    """A private server that asks the role `canary` for its password (SCRAM), and a project with its URL."""
    server = own_server("18")
    admin = server.url("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE canary LOGIN PASSWORD {}").format(PASSWORD))
        connection.execute("CREATE DATABASE guarded OWNER canary")
        (file,) = connection.execute("SELECT current_setting('hba_file')").fetchone()
        connection.execute(
            sql.SQL(
                "COPY (SELECT unnest(ARRAY['local all canary scram-sha-256', 'local all all trust'])) TO {}"
            ).format(file)
        )
        connection.execute("SELECT pg_reload_conf()")
    url = server.url("guarded").replace("postgres@", f"canary:{quote(PASSWORD, safe='')}@")

    def asked() -> bool:
        try:
            psycopg.connect(url.replace(quote(PASSWORD, safe=""), "x")).close()
        except psycopg.OperationalError as error:
            return "password authentication failed" in str(error)
        return False

    until(asked)
    return Guarded(Project(tmp_path, url), url, server.url("guarded"))


def everywhere(guarded: Guarded) -> Iterator[tuple[str, str]]:
    """(place, text) of all that a run leaves: files of the project, and every row of every table of ours."""
    for path in guarded.project.root.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes().decode("utf-8", "replace")
    with psycopg.connect(guarded.admin, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'lockgate'::regnamespace AND c.relkind = 'r'"
        ).fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f"SELECT t::text FROM {table} t"):
                yield table, row


def test_the_canary_while_it_runs(guarded: Guarded):
    """While `release` waits in a file: no process's command line, no session of the server shows the password; nor does anything it leaves."""
    guarded.project.write("a", HEAD)
    guarded.project.write(
        "waits", "SELECT pg_advisory_xact_lock(77);\nCREATE TABLE b (id int PRIMARY KEY);\n"
    )
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND usename = 'canary'"
    with psycopg.connect(guarded.admin, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(77)")
        guarded.project.cold = True  # with a command line of its own
        process = guarded.project.start("release", "--sha", "abcdef0", "--verbose")
        until(lambda: holder.execute(waiting).fetchone() == (1,) or process.poll() is not None)
        for pid in [p.name for p in Path("/proc").iterdir() if p.name.isdigit()]:
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            # Another test may hand the canary in on purpose, at an address where nothing listens.
            assert CANARY.encode() not in line or b"127.0.0.1:1/" in line, pid
        sessions = holder.execute("SELECT a::text FROM pg_stat_activity a").fetchall()
        assert len([s for (s,) in sessions if "lockgate/" in s]) >= 2
        assert not [s for (s,) in sessions if CANARY in s]
        holder.execute("SELECT pg_advisory_unlock(77)")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert CANARY not in out + err
    places = list(everywhere(guarded))
    assert any("migration.json" in place for place, _ in places)
    assert any("migration_history" in place for place, _ in places)
    assert [place for place, text in places if CANARY in text] == []


def test_the_canary_in_failures(guarded: Guarded):
    """The server's error repeats a URL and a SQL password that the process never knew: both are masked in text, JSON, artifact and tables."""
    secret = "0therB1rd"
    guarded.project.write("a", HEAD)
    guarded.project.write(
        "fails",
        f"{ALLOWED}DO $$ BEGIN RAISE EXCEPTION 'cannot reach postgresql://u:{secret}@host/d', '' USING DETAIL = 'password={secret}', HINT = 'PGPASSWORD={secret} psql'; END $$;\n".replace(
            ", ''", ""
        ),
    )
    for arguments in (
        ["up"],
        ["up", "--format", "json"],
        ["release", "--sha", "abcdef1"],
        ["release", "--sha", "abcdef1", "--format", "json", "--verbose"],
        ["status", "--format", "json"],
    ):
        answer = guarded.project.run(*arguments)
        assert answer.code == (0 if arguments[0] == "status" else 3), answer
        assert secret not in told(answer)
        assert CANARY not in told(answer)
    shown = [place for place, text in everywhere(guarded) if secret in text]
    assert [place for place in shown if not place.endswith("_fails.sql")] == []


def test_a_role_made_with_a_password(guarded: Guarded):
    """A statement with a password that fails is shown masked, however long it is."""
    secret = "0therB1rd"
    guarded.project.write("a", HEAD + f"{ALLOWED}ALTER ROLE nobody_of_that_name PASSWORD '{secret}';\n")
    guarded.project.write("b", "SELECT 1;\n")
    for arguments in (["up"], ["up", "--format", "json"]):
        answer = guarded.project.run(*arguments)
        assert answer.code in (3, 77), answer
        assert secret not in told(answer)
    guarded.project.write(
        "a",
        HEAD
        + "-- "
        + "x" * 400
        + f"\n{ALLOWED}ALTER ROLE nobody_of_that_name\n{' ' * 450} PASSWORD '{secret}{'y' * 200}';\n",
        revision=1_700_000_000_001,
    )
    assert secret not in told(guarded.project.json("up"))


def test_the_canary_in_a_traceback(guarded: Guarded):
    """A bug whose message and arguments hold the URL: the trace under --verbose is masked too, exit 70."""
    program = (
        "import sys, os\n"
        "import lockgate.release.project as project\n"
        "def broken(settings):\n"
        "    url = os.environ['DATABASE_URL']\n"
        "    import psycopg\n"
        "    raise RuntimeError(f'{url} and {psycopg.conninfo.conninfo_to_dict(url)}')\n"
        "project.read_files = broken\n"
        "sys.argv[0] = 'lockgate'\n"
        "from lockgate.cli.main import main\n"
        "main()\n"
    )
    for more in ([], ["--format", "json"]):
        done = subprocess.run(
            [sys.executable, "-c", program, "status", "--verbose", *more],
            cwd=guarded.project.root,
            env={**os.environ, "DATABASE_URL": guarded.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 70, done
        assert "RuntimeError" in done.stderr
        assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("form", "arguments"),
    [
        ("text", ["up", "URL"]),
        ("text", ["URL"]),
        ("text", ["up", "--format", "URL"]),
        ("text", ["up", "--no-such-option", "URL"]),
        ("text", ["release", "--sha", "URL"]),
        ("text", ["up", "--env", "URL"]),
        ("text", ["up", "--config", "URL"]),
        ("text", ["new", "URL"]),
        ("text", ["baseline", "--until", "URL", "--reason", "r", "--actor", "a"]),
        ("json", ["up", "URL"]),
        ("json", ["URL"]),
        ("json", ["up", "--config", "URL"]),
        ("json", ["new", "URL"]),
    ],
)
def test_a_url_in_the_wrong_place(tmp_path: Path, form: str, arguments: list[str]):
    """A URL that was pasted where it does not belong is not repeated with its password."""
    project = Project(tmp_path, "postgresql://u@127.0.0.1:1/d")
    project.write("a", HEAD)
    given = ["postgresql://u:P4steB1rd@127.0.0.1:1/d" if word == "URL" else word for word in arguments]
    answer = project.run(*given, *(["--format", form] if "--format" not in given else []))
    if arguments[0] != "new":
        assert answer.code != 0
    assert "P4steB1rd" not in told(answer)


# -- 66: TLS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode",
    ["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca"],
)
def test_a_protected_environment_wants_verify_full(tmp_path: Path, mode: str):
    """Anything that can be downgraded or intercepted is refused before a connection, exit 2, with what to write instead."""
    project = Project(tmp_path)
    project.write("a", HEAD)
    project.configure(PROTECTED)
    url = f"postgresql://u:{CANARY}@db.example.invalid/d{mode}"
    answer = project.json("up", "--env", "production", PRODUCTION_URL=url)
    assert answer.code == 2, answer
    document = answer.error("CONFIG")
    assert "sslmode=" in document["message"]
    assert "sslmode=verify-full" in document["next"]
    assert CANARY not in told(answer)


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("host=/tmp,db.example.invalid dbname=d", {}),
        ("host=localhost hostaddr=203.0.113.7 dbname=d", {}),
        ("postgresql:///d", {"PGHOST": "db.example.invalid"}),
        ("postgresql:///d", {"PGHOSTADDR": "203.0.113.7"}),
        ("postgresql://db.example.invalid/d", {"PGSSLMODE": "require"}),
    ],
)
def test_no_way_around_it(tmp_path: Path, url: str, environ: dict[str, str]):
    """A second host, an address beside the name, or the environment do not make a far server look near."""
    project = Project(tmp_path)
    project.write("a", HEAD)
    project.configure(PROTECTED)
    answer = project.json("up", "--env", "production", PRODUCTION_URL=url, **environ)
    assert answer.code == 2, answer
    assert "sslmode=verify-full" in answer.error("CONFIG")["next"]


def test_verify_full_against_a_server_without_tls(tmp_path: Path, own_server: Callable[..., Embedded]):
    """A server that cannot do TLS fails closed: exit 69, nothing applied; the mode is never lowered."""
    server = own_server("18", settings={"listen_addresses": "127.0.0.1", "port": "5432"})
    with psycopg.connect(server.url(), autocommit=True) as connection:
        (port,) = connection.execute("SHOW port").fetchone()
    project = Project(tmp_path)
    project.write("a", HEAD)
    project.configure(PROTECTED)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=verify-full"
    answer = project.json("up", "--env", "staging", STAGING_URL=url)
    assert answer.code in (2, 69), answer
    assert made_nothing(server.url())


def test_a_near_protected_database_is_refused_without_approval(project: Project, database: str):
    """On this machine no TLS is asked for; a protected environment still applies nothing without an approval."""
    project.write("a", HEAD)
    project.configure(PROTECTED)
    answer = project.json("up", "--env", "production", PRODUCTION_URL=database, DATABASE_URL=database)
    assert answer.code == 4, answer
    assert answer.error("APPROVAL_MISSING")
    assert ask(database, "SELECT to_regclass('a') IS NULL") == [(True,)]


# -- 67: names that are SQL ---------------------------------------------------------------------------

EVIL = "x\"; DROP TABLE victim; --'$$\\"


def test_names_in_the_roles_script_are_quoted():
    """Role, schema and database names that hold SQL stay names: the script has the same statements as with plain names."""
    plain = _words_of(roles_sql(Roles(), "app"))
    evil = Roles(
        owner=EVIL + "o", migrator=EVIL + "m", app=EVIL + "a", reader=EVIL + "r", schemas=(EVIL + "s",)
    )
    assert _words_of(roles_sql(evil, EVIL)) == plain


def _words_of(script: str) -> list[str]:
    """What the one DO block of the script is made of, as PostgreSQL's own parsers read it: kinds, and the kind of each SQL in it."""
    (block,) = split(script)
    body = re.search(r"\nDO (\$\w*\$)\n(.*)\n\1;", script, re.DOTALL)
    assert body is not None
    assert block.kind == "do_stmt"
    text = f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS {body[1]}{body[2]}{body[1]}"
    found: list[str] = []

    def walk(node: object) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if key == "query" and isinstance(value, str):
                verb = value.split()[0]
                whole = ("ALTER", "CREATE", "GRANT", "REVOKE", "SELECT", "SET")
                sql = value if verb in whole else f"SELECT {value}"
                found.extend(s.kind for s in split(sql))
            elif isinstance(value, dict | list):
                found.append(str(key))
                walk(value)

    walk(postgast.parse_plpgsql(text))
    assert len(found) > 20
    return found


def test_the_operator_is_data(project: Project, database: str):
    """The operator's name, the release's and the reason of a repair reach the tables as they are."""
    ask(database, "CREATE TABLE victim (id int PRIMARY KEY)")
    project.write("a", HEAD)
    answer = project.json("up", LOGNAME=EVIL, USER=EVIL)
    assert answer.code == 0, answer.err
    assert ask(database, "SELECT operator FROM lockgate.migration_history") == [(EVIL,)]
    answer = project.json("repair", "--forget", "1700000000001", "--reason", EVIL, "--actor", EVIL)
    assert answer.code == 0, answer.err
    assert ask(database, "SELECT actor, reason FROM lockgate.history_event") == [(EVIL, EVIL)]
    assert ask(database, "SELECT to_regclass('victim') IS NOT NULL") == [(True,)]
    for evil in (EVIL, "1' OR '1'='1"):
        assert project.json("baseline", "--until", evil, "--reason", "r", "--actor", "a").code in (2, 4)


def test_a_database_with_such_a_name(project: Project, server: Embedded):
    """A database whose name holds quotes and a semicolon is migrated like any other, and shown by its name."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(EVIL)))
        try:
            project.write("a", HEAD)
            answer = project.json("up", DATABASE_URL=server.url(EVIL))
            assert answer.code == 0, answer.err
            assert answer.document("up")["databaseIdentity"]["database"] == EVIL
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(EVIL)))


# -- 68: names that are paths -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sha",
    [
        "../../../etc",
        "abcdef0/../../..",
        "/etc",
        "..",
        ".",
        "",
        "HEAD",
        "ABCDEF0",
        "abcdef0\n",
        "abcdef",
        "~root",
        "%2e%2e",
        "abcdef0;rm -rf",
        "-rf",
    ],
)
def test_a_sha_that_is_none(tmp_path: Path, sha: str):
    """Only hex digits name a release: exit 2 before a connection, and nothing is written anywhere."""
    project = Project(tmp_path, "postgresql://u@127.0.0.1:1/d")
    project.write("a", HEAD)
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    answer = project.json("release", f"--sha={sha}")
    assert answer.code == 2, answer
    assert answer.document("error")["reasonCode"] == "USAGE"
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before


def test_an_artifact_folder_that_leads_outside(project: Project, tmp_path_factory: pytest.TempPathFactory):
    """A link in the artifact folder that leads out of it is refused; nothing is written behind it."""
    outside = tmp_path_factory.mktemp("outside")
    project.write("a", HEAD)
    (project.root / ".artifacts" / "deploy").mkdir(parents=True)
    (project.root / ".artifacts" / "deploy" / "abcdef0").symlink_to(outside)
    answer = project.json("release", "--sha", "abcdef0")
    assert answer.code == 2, answer
    assert "leaves the folder" in answer.document("error")["message"]
    assert list(outside.iterdir()) == []
    assert json.loads(answer.out)["state"] == "Nothing was changed."


@pytest.mark.parametrize(
    "url", ["postgresql://u:pa@0therB1rd@127.0.0.1/db", "postgresql://u:p/0therB1rd@127.0.0.1/db"]
)
@pytest.mark.parametrize("command", [["status"], ["up"], ["status", "--format", "json"]])
def test_a_password_that_spills_over(tmp_path, url: str, command: list[str]):
    """A password with an unescaped @ or / would be read as host or database: refused, exit 2, and no part of it is shown."""
    answer = Project(tmp_path).run(*command, DATABASE_URL=url)
    assert answer.code == 2, answer
    assert "0therB1rd" not in answer.out + answer.err
    assert "%40" in answer.err
