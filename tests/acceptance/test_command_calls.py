"""How lockgate is called: help, options, exit code 2, and which database a call means."""

import os
import subprocess
from pathlib import Path

import pytest

from lockgate.cli.main import COMMANDS
from lockgate.migrations.scaffold import create
from lockgate.postgres.embedded import Embedded
from support import servers
from support.calls import COMMAND, FIRST, Project

pytestmark = pytest.mark.postgres("18")

CONFIGURED = '[env.staging]\nurl_env = "STAGING_URL"\n'


@pytest.fixture
def plain(tmp_path) -> Project:
    """A project without a database."""
    made = Project(tmp_path)
    made.write("first", "CREATE TABLE first (id int);\n")
    return made


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["release", "show"]], ids=" ".join)
def test_help(plain: Project, command):
    """--help of every command exits 0 and describes every option."""
    answer = plain.text(*command, "--help")
    assert answer.code == 0
    assert "Usage: lockgate" in answer.out
    for line in answer.out.splitlines():
        assert line.strip() not in ("--format", "--config"), "an option without a word of help"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["up", "--nonsense"],
        ["up", "extra"],
        ["new"],
        ["up", "--lock-wait", "soon"],
        ["check", "--format", "xml"],
        ["release"],
        ["release", "show"],
    ],
    ids=" ".join,
)
def test_usage(plain: Project, arguments):
    """A wrong call exits 2, and a program gets the error document."""
    assert plain.text(*arguments).code == 2
    answer = plain.json(*arguments) if "--format" not in arguments else plain.run(*arguments)
    assert answer.code == 2
    if "--format" not in arguments:
        answer.error("USAGE")


def test_no_command(plain: Project):
    """Without a command the help is shown and the exit code is 2."""
    answer = plain.text()
    assert answer.code == 2
    assert "Commands:" in answer.out + answer.err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[migrations]\nlock_timeot = '3s'\n", "lock_timeot"),
        ("[migrations]\nlock_timeout = 'soon'\n", "migrations.lock_timeout"),
        ("[migrations\n", "lockgate.toml"),
        ("[env.production]\nprotected = true\n", "url_env"),
        ("[embedded]\nversion = 12\n", "embedded.version"),
    ],
)
def test_bad_configuration(plain: Project, text, named):
    """A wrong key or value exits 2 and is named."""
    plain.configure(text)
    answer = plain.json("check")
    assert answer.code == 2
    assert named in answer.error("CONFIG")["message"]


def test_bad_time_limit_in_the_environment(plain: Project):
    """MIGRATION_TIMEOUT_SECONDS that is no number exits 2, also where a database is configured."""
    answer = plain.json("check", MIGRATION_TIMEOUT_SECONDS="an hour")
    assert answer.code == 2
    assert "MIGRATION_TIMEOUT_SECONDS" in answer.error("CONFIG")["message"]


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["--env", "staging"], {}),
        (["--env", "staging"], {"STAGING_URL": ""}),
        (["--env", "nowhere"], {"STAGING_URL": "postgresql://h/d"}),
        (["--env", "staging"], {"STAGING_URL": "postgresql://h/d", "DATABASE_URL": "postgresql://h/other"}),
        (["--env", "staging", "--database-url", "postgresql://h/d"], {"STAGING_URL": "postgresql://h/d"}),
        (["--database-url", ""], {}),
        ([], {"DATABASE_URL": ""}),
        ([], {"DATABASE_URL": "   "}),
        (["--database-url", ""], {"DATABASE_URL": "postgresql://h/d"}),
        ([], {"DATABASE_URL": "mysql://h/d"}),
    ],
)
@pytest.mark.parametrize("command", [["up"], ["status"]], ids=" ".join)
def test_a_missing_or_doubled_url_never_falls_back(plain: Project, command, arguments, environ):
    """--env with another URL, an empty URL, an environment whose URL is not set: exit 2, and no embedded server starts."""
    plain.configure(CONFIGURED)
    answer = plain.json(*command, *arguments, **environ)
    assert answer.code == 2, answer
    assert answer.document("error")["reasonCode"] in ("CONFIG", "USAGE")
    assert not (plain.root / ".lockgate").exists()


def test_which_url_is_taken(shop: Project, databases):
    """DATABASE_URL is used; --database-url goes before it; --env names its own variable and may be equal to DATABASE_URL."""
    shop.configure(CONFIGURED)
    first, second = shop.environ["DATABASE_URL"], databases()
    assert shop.text("up").code == 0
    assert len(shop.ok("status", "status")["applied"]) == 3
    assert shop.ok("status", "status", "--database-url", second)["applied"] == []
    assert len(shop.ok("status", "status", "--env", "staging", STAGING_URL=first)["applied"]) == 3
    del shop.environ["DATABASE_URL"]
    assert shop.ok("status", "status", "--env", "staging", STAGING_URL=second)["applied"] == []
    assert not (shop.root / ".lockgate").exists()


def test_a_password_in_the_process_list_is_told(shop: Project):
    """A password given with --database-url is warned about on stderr, and shown nowhere."""
    answer = shop.text("status", "--database-url", "postgresql://nobody:s3cr3t-canary@127.0.0.1:1/none")
    assert answer.code == 69
    assert "process list" in answer.err
    assert "s3cr3t-canary" not in answer.out + answer.err


def test_no_configuration_at_all(bare: Project, session_directory: Path):
    """A folder with db/migrations and nothing else: up works on the embedded server in .lockgate, status finds it there, stop stops that of rehearsals, too."""
    bare.write("first", "CREATE TABLE first (id int);\n")
    stopped = bare.json("embedded", "status")
    assert (stopped.code, stopped.document("embedded")["running"]) == (1, False)
    assert [f["name"] for f in bare.ok("up", "up")["applied"]] == ["first"]
    document = bare.ok("embedded", "embedded", "status")
    assert document["running"] is True
    assert bare.text("embedded", "url").out.strip() == document["url"]
    assert bare.ok("status", "status")["clean"] is True
    assert bare.ok("embedded", "embedded", "start")["pid"] == document["pid"]
    servers.seed(session_directory, bare.root / ".lockgate" / "rehearsal", "16")
    rehearsals = Embedded.ensure(bare.root / ".lockgate" / "rehearsal", version=16)
    assert bare.ok("embedded", "embedded", "stop")["running"] is False
    assert Embedded.running(bare.root / ".lockgate" / "rehearsal") == (), rehearsals
    assert bare.text("embedded").out == "not running\n"
    assert len(bare.ok("status", "status")["applied"]) == 1, "the data is still there after a stop"


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_init_then_the_first_up(project: Project, ci):
    """init makes a project that checks and applies as it is, with a CI workflow; a second init leaves everything alone."""
    document = project.ok("init", "init", "--ci", ci)
    assert document["kept"] == []
    workflow = next(p for p in document["made"] if p.endswith(".yml"))
    lines = (project.root / workflow).read_text().splitlines()
    assert not any("\t" in line for line in lines), "YAML knows no tabs"
    for line in lines:
        indent = len(line) - len(line.lstrip())
        assert indent % 2 == 0, line
        words = line.strip()
        assert not words or words.startswith(("#", "- ")) or ":" in words, line
    assert any("lockgate release --sha" in line for line in lines)
    assert any("lockgate check" in line for line in lines)
    before = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    assert {".gitignore", "lockgate.toml"} <= {p.name for p in before}
    told = project.text("init", "--ci", ci)
    assert told.code == 0
    assert "made  " not in told.out
    assert {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()} == before
    assert project.text("check").code == 0
    assert len(project.ok("up", "up")["applied"]) == 1
    assert project.ok("down", "down")["undone"]


def test_new(plain: Project):
    """new writes a file with a name in lower case and enters it into the ledger; it waits for its SQL as FILE_EMPTY."""
    document = plain.ok("new", "new", "Add orders: note!")
    assert document["file"].endswith(f"{document['revision']}_add_orders_note.sql")
    answer = plain.json("check")
    assert answer.code == 1
    errors = [f["id"] for f in answer.document("check")["findings"] if f["severity"] == "error"]
    assert errors == ["FILE_EMPTY"]
    assert plain.text("new", "next").out.strip().endswith("_next.sql")
    assert plain.json("new", "!!!").code == 2


def test_new_without_a_project(tmp_path):
    """new where there is no migrations directory refuses and says: lockgate init."""
    answer = Project(tmp_path).json("new", "first")
    assert answer.error("NO_FILES")["next"] == "lockgate init"


def test_new_twice_in_one_millisecond(plain: Project):
    """Two `new` in the same millisecond give two files of two revisions, both in the ledger."""
    one = create(plain.directory, "same", "SELECT 1;\n", now=lambda: FIRST + 500)
    two = create(plain.directory, "same", "SELECT 2;\n", now=lambda: FIRST + 500)
    assert [path.name[:13] for path in (one, two)] == [str(FIRST + 500), str(FIRST + 501)]
    assert plain.json("check").code == 0


def test_no_color_and_dumb_terminals(shop: Project):
    """In a pipe there is no colour, with and without NO_COLOR, whatever TERM says."""
    for environ in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "xterm-256color", "FORCE_COLOR": "1"}):
        assert shop.text("plan", **environ).code == 0


def test_a_reader_that_goes_away(shop: Project):
    """`lockgate up | head -1` applies everything although nobody reads on."""
    process = subprocess.Popen(
        [*COMMAND, "up"],
        cwd=shop.root,
        env={**os.environ, **shop.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.wait(60) == 0
    process.stderr.close()
    assert len(shop.ok("status", "status")["applied"]) == 3


def test_demo_outside_of_a_checkout(plain: Project):
    """The demo needs an example project: without one it exits 2 and says how to call it; DATABASE_URL is ignored."""
    answer = plain.json("demo", DATABASE_URL="postgresql://h/d")
    assert answer.code == 2
    assert "make demo" in answer.error("USAGE")["next"]


def test_demo(bare: Project):
    """The demo is a release of its example on the embedded server, whatever DATABASE_URL says; the second is a no-op."""
    bare.write("first", "CREATE TABLE first (id int);\n")
    bare.configure("")
    elsewhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    told = bare.text("demo", "--example", ".", "--sha", "abcdef0", **elsewhere)
    assert told.code == 0, told
    assert "1 applied" in told.out
    assert "migration.json" in told.out
    again = bare.text("demo", "--example", ".", "--sha", "abcdef0", **elsewhere)
    assert "no-op" in again.out
    assert bare.ok("release", "demo", "--example", ".", "--sha", "abcdef0", **elsewhere)["applied"] == []
