"""Rows 42 and 46-51: what lies in the migrations directory and may not. Told by file, line and fix; nothing is applied."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from asking import apply_here, ask, findings, made_nothing

from lockgate.config import Settings
from lockgate.migrations.files import read_directory
from lockgate.migrations.ledger import write_ledger
from lockgate.release.project import read_files
from support import servers
from support.calls import Answer, Project

pytestmark = pytest.mark.postgres("18")

HEAD = "CREATE TABLE t (id int);\n"


def put(directory: Path, name: str | bytes, content: bytes = HEAD.encode()) -> None:
    """Write a file of any name and content."""
    (directory / os.fsdecode(name)).write_bytes(content)


def zoo(directory: Path) -> None:
    """Every kind of file that may not be there, beside one that may."""
    directory.mkdir(parents=True)
    put(directory, "1700000000001_good.sql")
    put(directory, "1700000000002_utf16.sql", HEAD.encode("utf-16"))
    put(directory, "1700000000003_bom.sql", b"\xef\xbb\xbf" + HEAD.encode())
    put(directory, "1700000000004_nul.sql", b"SELECT 1;\nSELECT '\0';\n")
    put(directory, "1700000000005_latin1.sql", b"SELECT 1;\nSELECT 2;\nSELECT 'caf\xe9';\n")
    put(directory, "1700000000006_surrogate.sql", b"SELECT '\xed\xa0\x80';\n")
    put(directory, "1700000000007_utf16le.sql", HEAD.encode("utf-16-le"))
    put(directory, "1700000000011_Upper.sql")
    put(directory, "1700000000012_with space.sql")
    put(directory, "1700000000013_line\nend.sql")
    put(directory, "1700000000014_cafe\u0301.sql")
    put(directory, "1700000000015_caf\u00e9.sql")
    put(directory, b"1700000000016_\xff.sql")
    put(directory, "170000000017_short.sql")
    put(directory, "\uff11700000000018_wide.sql")
    put(directory, "1700000000019_upper.SQL")
    put(directory, "1700000000020_mjs.mjs")
    put(directory, "README.md")
    put(directory, "'; DROP TABLE x; --.sql")
    (directory / "1700000000031_link.sql").symlink_to(directory / "1700000000001_good.sql")
    (directory / "1700000000032_outside.sql").symlink_to("/etc/passwd")
    (directory / "1700000000033_nowhere.sql").symlink_to("/nowhere")
    (directory / "1700000000034_folder.sql").mkdir()
    os.mkfifo(directory / "1700000000035_pipe.sql")
    put(directory, "1700000000036_everybody.sql")
    (directory / "1700000000036_everybody.sql").chmod(0o666)
    put(directory, "1700000000041_big.sql", b"")
    os.truncate(directory / "1700000000041_big.sql", 100_000_000)
    put(directory, "1700000000042_empty.sql", b"")
    put(directory, "1700000000043_comment.sql", b"-- nothing yet\n/* really /* nothing */ */\n;\n")
    put(directory, "1700000000051_one.sql", b"SELECT 1;\n")
    put(directory, "1700000000051_other.sql", b"SELECT 2;\n")
    write_ledger(directory, {p.name: "0" * 64 if p.stat().st_size > 10**7 else hashlib.sha256(p.read_bytes()).hexdigest() for p in directory.iterdir() if p.is_file() and not p.is_symlink() and p.name.isascii() and p.name.isprintable()})  # fmt: skip


WANTED = [
    ("1700000000002_utf16.sql", "FILE_BOM", 1, "byte 0", "UTF-8 without BOM"),
    ("1700000000003_bom.sql", "FILE_BOM", 1, "byte 0", "UTF-8 without BOM"),
    ("1700000000004_nul.sql", "FILE_NUL", 2, "byte 18", "Remove the byte"),
    ("1700000000005_latin1.sql", "FILE_ENCODING", 3, "byte 31", "UTF-8"),
    ("1700000000006_surrogate.sql", "FILE_ENCODING", 1, "byte 8", "UTF-8"),
    ("1700000000007_utf16le.sql", "FILE_NUL", 1, "byte 1", "Remove the byte"),
    ("1700000000011_Upper.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("1700000000012_with space.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("1700000000013_line\\nend.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("1700000000014_cafe\u0301.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("1700000000015_caf\u00e9.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("1700000000016_\\udcff.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("170000000017_short.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("\uff11700000000018_wide.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("1700000000019_upper.SQL", "FILE_TYPE", 0, "not a .sql file", "Move it"),
    ("1700000000020_mjs.mjs", "FILE_TYPE", 0, "not a .sql file", "Move it"),
    ("README.md", "FILE_TYPE", 0, "not a .sql file", "Move it"),
    ("'; DROP TABLE x; --.sql", "FILE_NAME", 0, "<13 digits>", "Rename"),
    ("1700000000031_link.sql", "FILE_SYMLINK", 0, "symbolic link", "the file itself"),
    ("1700000000032_outside.sql", "FILE_SYMLINK", 0, "symbolic link", "the file itself"),
    ("1700000000033_nowhere.sql", "FILE_SYMLINK", 0, "symbolic link", "the file itself"),
    ("1700000000034_folder.sql", "FILE_TYPE", 0, "not a regular file", "Move it"),
    ("1700000000035_pipe.sql", "FILE_TYPE", 0, "not a regular file", "Move it"),
    ("1700000000036_everybody.sql", "FILE_PERMISSIONS", 0, "writable by everybody", "chmod"),
    ("1700000000041_big.sql", "FILE_SIZE", 0, "max_file_bytes", "Split it"),
    ("1700000000051_other.sql", "DUPLICATE_REVISION", 0, "1700000000051_one.sql", "lockgate new"),
]
ONLY_CHECK = [
    ("1700000000042_empty.sql", "FILE_EMPTY", 1, "no statement", "delete the file"),
    ("1700000000043_comment.sql", "FILE_EMPTY", 1, "no statement", "delete the file"),
]
"""These can be told only by splitting, which `up` does for pending files after it has read the history."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, server) -> Iterator[dict[str, Any]]:
    """`check` for programs and for people, and `up`, each run once on the same directory."""
    with servers.fresh_database(server, "zoo") as url:
        project = Project(tmp_path_factory.mktemp("zoo"), url)
        zoo(project.directory)
        yield {
            "json": project.json("check"),
            "text": project.text("check"),
            "up": project.json("up"),
            "plan": project.json("plan"),
            "url": url,
        }


@pytest.mark.parametrize("wanted", WANTED + ONLY_CHECK, ids=lambda w: ascii(w[0])[1:-1])
def test_each_is_told(answers: dict[str, Any], wanted: tuple[str, str, int, str, str]):
    """`check` names file, line, construct and fix, for programs and for people; `up` refuses with the same words."""
    file, code, line, says, fix = wanted
    told = [f for f in findings(answers["json"].document("check")) if f["file"] == file]
    assert [(f["id"], f["line"]) for f in told] == [(code, line)]
    assert says in told[0]["message"]
    assert fix in told[0]["fix"]
    where = f"{file}:{line}" if line else file
    assert f"{where}: {code}: " in answers["text"].out
    if wanted in WANTED:
        refused = [f for f in findings(json.loads(answers["up"].out)) if f["file"] == file]
        assert [(f["id"], f["line"], f["message"], f["fix"]) for f in refused] == [
            (code, line, told[0]["message"], told[0]["fix"])
        ]


def test_all_at_once_and_nothing_applied(answers: dict[str, Any]):
    """Everything is told in one go, nothing but that; the commands exit with 1 (check) and 4, and the database is untouched."""
    check: Answer = answers["json"]
    assert check.code == 1
    wanted = {(w[0], w[1]) for w in WANTED + ONLY_CHECK}
    # Files that are there but broken are not stale in the ledger; broken names and doubles are told once.
    assert {(f["file"], f["id"]) for f in findings(check.document("check"))} == wanted
    for command in ("up", "plan"):
        assert answers[command].code == 4
        assert answers[command].document("error")["state"] == "Nothing was changed."
    assert made_nothing(answers["url"])


# -- 42: two files of one revision ----------------------------------------------------------------


def test_duplicate_revision_alone(project: Project, database: str):
    """Two branches took one revision: both files are named, exit 4, nothing applied."""
    project.write("mine", HEAD, revision=1_700_000_000_001)
    project.write("theirs", "CREATE TABLE u (id int);\n", revision=1_700_000_000_001)
    answer = project.json("up")
    assert answer.code == 4
    document = answer.error("DUPLICATE_REVISION")
    assert "1700000000001_mine.sql" in document["message"]
    assert "1700000000001_theirs.sql" in document["message"]
    assert "lockgate new" in answer.err
    assert made_nothing(database)


# -- 49: what was read is what runs -----------------------------------------------------------------


def test_read_once(project: Project, database: str):
    """A file that is replaced after it was read changes nothing: the bytes that were judged are those that run and are kept."""
    revision = project.write("first", HEAD)
    files = read_files(Settings(root=project.root))
    project.write("first", "CREATE TABLE evil (id int);\n", revision=int(revision))
    apply_here(project, files)
    assert ask(
        database,
        "SELECT to_regclass('t')::text, to_regclass('evil')::text, (SELECT source_text FROM lockgate.migration_history)",
    ) == [("t", None, HEAD)]
    assert project.json("plan").document("plan")["obstacles"][0]["code"] == "CHECKSUM_MISMATCH"


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file that grows behind its size is read to the end, or to the limit and no further."""
    put(tmp_path, "1700000000001_a.sql", b"SELECT 1;\n" * 100)
    real = os.fstat

    class Small:
        def __init__(self, status: os.stat_result) -> None:
            self.st_mode, self.st_size = status.st_mode, 10

    monkeypatch.setattr(os, "fstat", lambda descriptor: Small(real(descriptor)))
    (migration,) = read_directory(tmp_path).migrations
    assert migration.text == "SELECT 1;\n" * 100
    assert len(read_directory(tmp_path, max_file_bytes=100).migrations[0].text) < 300


# -- 50: nothing at all ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "ledger only"])
def test_no_files(project: Project, database: str, kind: str):
    """A directory that is missing, empty or none: NO_FILES with the next command, exit 4 of up and 1 of check."""
    if kind == "file":
        (project.root / "db").mkdir()
        project.directory.write_text("")
    elif kind != "missing":
        project.directory.mkdir(parents=True)
        if kind == "ledger only":
            project.lock()
    answer = project.json("up")
    assert answer.code == 4
    assert "lockgate init" in answer.error("NO_FILES")["next"]
    assert made_nothing(database)


def test_a_folder_below_the_project(project: Project):
    """In a folder of a project `check` names the way to it, and starts no other project there."""
    (project.root / "lockgate.toml").touch()
    below = Project(project.root / "db" / "deeper")
    below.root.mkdir(parents=True)
    (found,) = below.json("check").document("check")["findings"]
    assert (found["id"], found["fix"]) == ("NO_FILES", "cd ../..: lockgate.toml is there")


def test_a_table_of_before_lockgate(project: Project, database: str):
    """A database that was made by other means: the error names the command that takes it over."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id bigint)")
    project.write("orders", "CREATE TABLE orders (id bigint PRIMARY KEY);\n")
    answer = project.json("up")
    assert "lockgate baseline" in answer.error("MIGRATION_EXECUTION_FAILED")["next"]


def test_comment_only_file(project: Project, database: str):
    """A file of comments is refused by up too, after the plan and before the lock."""
    project.write("nothing", "-- later\n")
    answer = project.json("up")
    assert answer.code == 4
    (finding,) = findings(answer.error("FILE_EMPTY"))
    assert (finding["file"], finding["line"]) == ("1700000000001_nothing.sql", 1)
    assert made_nothing(database)


# -- 51: size ---------------------------------------------------------------------------------------

_PEAK = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, '-m', 'lockgate', *sys.argv[1:]], capture_output=True, text=True, check=False)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
print(done.stdout + done.stderr)
"""


def peak(project: Project, *arguments: str) -> tuple[int, int, str]:
    """Exit code, peak memory in MB and output of one command."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *arguments],
        cwd=project.root,
        env={**os.environ, **project.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    first, output = done.stdout.split("\n", 1)
    code, megabytes = first.split()
    return int(code), int(megabytes), output


def test_huge_file(project: Project, database: str):
    """100 MB are refused by their size alone: they are not read, and memory stays small."""
    project.write("good", HEAD)
    project.directory.joinpath("1700000000009_big.sql").touch()
    os.truncate(project.directory / "1700000000009_big.sql", 100_000_000)
    code, megabytes, output = peak(project, "up")
    assert code == 4
    assert (
        "1700000000009_big.sql: FILE_SIZE: 100000000 bytes; the limit is 5000000 (migrations.max_file_bytes)"
        in output
    )
    assert megabytes < 100
    assert made_nothing(database)


def test_many_statements(project: Project, database: str):
    """50,000 statements are refused with the limit's name; with the limit raised 30,000 of them run in bounded memory."""
    project.write("many", "INSERT INTO t VALUES (1);\n" * 50_000)
    code, megabytes, output = peak(project, "up")
    assert code == 4
    assert "FILE_SIZE: 50000 statements; the limit is 20000 (migrations.max_statements)" in output
    assert megabytes < 250
    assert made_nothing(database)
    project.configure("[migrations]\nmax_statements = 40000\n")
    project.write("many", HEAD + "INSERT INTO t VALUES (1);\n" * 30_000, revision=1_700_000_000_001)
    code, megabytes, output = peak(project, "up")
    assert (code, ask(database, "SELECT count(*) FROM t")) == (0, [(30_000,)]), output
    assert megabytes < 250


def test_long_line_and_deep_expression(project: Project, database: str):
    """A line of 1 MB runs; an expression as deep as it is long is refused instead of crashing the process."""
    project.write("wide", f"{HEAD}INSERT INTO t SELECT length('{'x' * 1_000_000}');\n")
    code, megabytes, output = peak(project, "up")
    assert (code, ask(database, "SELECT id FROM t")) == (0, [(1_000_000,)]), output
    assert megabytes < 150
    project.write("deep", "SELECT 1;\nSELECT 1" + "+1" * 100_000 + ";\n")
    answer = project.json("up")
    assert answer.code == 4
    (finding,) = findings(answer.error("FILE_SIZE"))
    assert (finding["file"], finding["line"]) == ("1700000000002_deep.sql", 2)
    project.write("deep", "SELECT " + " || ".join(["'a'"] * 400) + ";\n", revision=1_700_000_000_002)
    assert project.run("up").code == 0, "400 terms are an ordinary expression"
