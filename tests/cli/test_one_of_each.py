"""What there is one of is told as one, on the way from the first file to a restored backup."""

import re
from pathlib import Path

import pytest

from lockgate.record.words import agree, counted, lasting, several
from support.calls import Project

WORDS = (
    "files|rows|tables|statements|objects|findings|samples|attempts|looks|connections|steps|queries|instances|conditions|probes|"
    "revisions|sections|sessions|workers|times|notes|errors|warnings|assertions|bytes|problems|indexes|batches|changes"
)
WRONG = re.compile(rf"(?<![\w.,/:-])1 (?:[a-z]+ )?(?:{WORDS})\b")


def test_the_words():
    """One is singular, everything else plural, with the verb that fits; times are told in a unit that a person reads."""
    assert [counted(n, "query") for n in (0, 1, 2, 0.5)] == [
        "0 queries",
        "1 query",
        "2 queries",
        "0.5 queries",
    ]
    assert [several(noun) for noun in ("file", "index", "batch", "day", "class", "pending file")] == [
        "files", "indexes", "batches", "days", "classes", "pending files",
    ]  # fmt: skip
    assert [lasting(s) for s in (-1, 4.21, 61, 150, 8000, 100_000, 200_000)] == [
        "0.0 s", "4.2 s", "61 s", "2 min", "2 h", "28 h", "2 d",
    ]  # fmt: skip
    assert [agree(n, "is", "are") for n in (0, 1, 2)] == ["are", "is", "are"]


@pytest.mark.postgres("18")
def test_one_file_one_table_one_row(tmp_path: Path, database: str):
    """No command of a project with one file, and no page it leaves, speaks of "1 files" or "1 rows"."""
    project = Project(tmp_path, database)
    project.configure('[backup]\nprovider = "pg_dump"\n[release]\nrehearsal = true\n')
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    calls = [
        ("check",), ("check", "--verbose"), ("plan",), ("status",), ("rehearse", "--rows", "1"), ("gate", "contract"), ("release", "--sha", "0a1b2c3"),
        ("verify",), ("status",), ("gate",), ("doctor",), ("instances",), ("backup", "take"), ("backup", "list"), ("backup", "drill"), ("up",),
        ("release", "show", "0a1b2c3"), ("release", "recover"), ("release", "bundle", "0a1b2c3"), ("readonly", "status"), ("snapshot",), ("down",),
    ]  # fmt: skip
    told = {}
    for call in calls:
        answer = project.text(*call)
        told[" ".join(call)] = answer.out + answer.err
    for path in (tmp_path / ".artifacts").rglob("*"):
        if path.suffix in (".json", ".html", ".md"):
            told[path.name] = path.read_text("utf-8")
    found = {name: match[0] for name, text in told.items() if (match := WRONG.search(text))}
    assert not found, found


@pytest.mark.parametrize(("call", "near"), [("chekc", "check"), ("move pln", "plan"), ("zzz", "")])
def test_a_command_that_nearly_is_one(tmp_path: Path, call: str, near: str):
    """A mistyped command is answered with the nearest one, once, at the top as in groups, in text and in JSON; a strange word is not."""
    project = Project(tmp_path)
    text, document = project.text(*call.split()), project.json(*call.split())
    assert text.code == document.code == 2
    assert text.err.count("Did you mean") == document.err.count("Did you mean") == (1 if near else 0)
    assert not near or f"'{near}'" in text.err
