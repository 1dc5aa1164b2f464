"""What an operator of a dual-written move is told: rows that are refused, and the command that brings it on."""

import re
from pathlib import Path

import pytest

from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.drive import plan, start
from stores.hand import declared
from stores.test_conformance import ROWS
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def test_rows_that_are_refused(places, database: str, tmp_path: Path):
    """The plan names NOT NULL that the source does not promise, with a row; backfill exits 1 and names the quarantine, the row and --retry, which brings the rows over once the target is mended; then the next command is verify."""
    source, target = places("sqlite"), places("postgres")
    source.fill(ROWS)
    run_sql(target.url, "ALTER TABLE t ALTER COLUMN u SET NOT NULL")
    nulls = sum(row[-1] is None for row in ROWS)
    project = declared(tmp_path, database, source, target)
    planned = project.text("move", "plan", "things")
    assert re.search(r"t.u is NOT NULL and t.u may be NULL, such as the one with the key \(\d+\)", planned.out)  # fmt: skip
    assert project.json("move", "start", "things").code == 0
    told = project.text("move", "backfill", "things")
    assert told.code == 1
    assert f"{nulls} rows were refused and stand in quarantine, the first (" in told.out
    assert re.search(r"^next   lockgate move backfill things --retry", told.out, re.MULTILINE)
    again = project.json("move", "backfill", "things", "--retry")
    assert again.code == 1
    assert len(again.document("move")["result"]["quarantine"]) == min(nulls, 20)
    assert (
        project.json("move", "verify", "things")
        .error("MOVE_QUARANTINE")["next"]
        .endswith("lockgate move backfill things --retry")
    )
    run_sql(target.url, "ALTER TABLE t ALTER COLUMN u DROP NOT NULL")
    out = project.text("move", "backfill", "things", "--retry")
    assert out.code == 0
    assert re.search(r"^next   lockgate move verify things$", out.out, re.MULTILINE)
    assert project.text("move", "verify", "things").code == 0
    turned = project.text("move", "cutover", "things").out
    assert not re.search(r"\b0 (changes?|rows?|operations?|attempts?)\b", turned), turned


@pytest.mark.parametrize(
    ("one", "other", "column", "back", "told"),
    [
        ("postgres", "sqlite", "nothere || u", "u", "[columns]"),
        ("mysql", "postgres", "nothere", "u", "[columns]"),
        ("sqlite", "postgres", "nothere || u", "u", "[columns]"),
        ("postgres", "mysql", "u || clock_timestamp()::text", "u", "does not give the same twice"),
        ("sqlite", "postgres", "u || random()", "u", "does not give the same twice"),
        ("postgres", "postgres", "upper(u)", "u", "the way back is lossy"),
        ("postgres", "postgres", "upper(u)", "lower(u)", ""),
        ("sqlite", "postgres", "u || '!'", "u", ""),
        ("postgres", "sqlite", "upper(u)", "u", ""),
    ],
)  # fmt: skip
def test_expressions_are_tried(hand, one: str, other: str, column: str, back: str, told: str):
    """An expression that does not run, that does not give the same twice, and a way back in PostgreSQL that loses are problems of the plan; one that brings everything back is none, nor is one that only the proof can judge."""
    problems = hand(one, other, columns={"u": column}, reverse={"u": back}).call(plan).problems
    assert [told in p["what"] for p in problems] == ([True] if told else [])
    assert all(p["fix"] for p in problems)


def test_a_file_that_is_yet_to_be_made(places, database: str, tmp_path: Path):
    """With create = true a file of SQLite that is not there is named with the command that makes it, which works as printed; a source that is not there never is."""
    source, target = places("sqlite"), places("sqlite")
    source.fill(ROWS)
    project = declared(tmp_path, database, source, target, side="create = true\n")
    file = tmp_path / "to be.db"
    project.environ["OTHER"] = f"sqlite:///{file}"
    error = project.json("move", "plan", "things").error("UNREACHABLE")
    assert error["next"] == f"Where the path is the one that is meant: touch '{file}'; then lockgate move plan things"  # fmt: skip
    file.touch()
    planned = project.ok("move", "move", "plan", "things")["result"]
    assert (planned["targetExists"], planned["problems"]) == (False, [])
    project.environ["ONE"] = f"sqlite:///{tmp_path}/slip.db"
    error = project.json("move", "plan", "things").error("UNREACHABLE")
    assert "Check the path" in error["next"]
    assert "touch" not in error["next"]


def test_a_kind_that_is_none(places, database: str, tmp_path: Path):
    """A slip in `kind` is told with every kind there is, before anything that belongs to the kind that was meant."""
    project = declared(tmp_path, database, places("sqlite"), places("postgres"))
    file = tmp_path / "moves" / "things.toml"
    file.write_text(file.read_text().replace('"dual-write"', '"dualwrite"'))
    error = project.json("move", "plan", "things").error("MOVE_DECLARATION")
    assert "'dualwrite' is none of copy, in-place, dual-write, index" in error["message"]


def test_the_copy_tells_its_rows(hand):
    """While it copies a backfill says how many rows there are in the target, whatever it takes for the whole."""
    move = hand("sqlite", "postgres", writers=0)
    told: list[str] = []
    move.call(start, operator="t")
    move.call(backfill, report=lambda words, _: told.append(words))
    assert told
    assert all(re.fullmatch(r"copying, \d+ rows? so far", words) for words in told), told


def test_rows_that_differ_are_named(places, database: str, tmp_path: Path):
    """`move verify` says in its text which rows differ and how, before and after the cutover; repaired, both sides have as many rows."""
    source, target = places("sqlite"), places("postgres")
    source.fill(ROWS)
    project = declared(tmp_path, database, source, target)
    project.ok("move", "move", "run", "things")
    run_sql(target.url, "UPDATE t SET u = 'x' WHERE id = 7", "DELETE FROM t WHERE id = 8", "INSERT INTO t (id) VALUES (1007)")  # fmt: skip
    found = project.json("move", "verify", "things").error("MOVE_DIVERGED")
    assert re.search(
        r"the first: .*7.* \(changed\).*8.* \(on one side only\).*1007.* \(on one side only\)",
        found["message"],
    )
    rows = project.ok("move", "move", "verify", "things", "--repair")["result"]["rows"]
    assert rows == {"source": len(ROWS), "target": len(ROWS)}
    project.ok("move", "move", "cutover", "things")
    source.run("DELETE FROM t WHERE id = 9")
    assert (
        "9 (on one side only)" in project.json("move", "verify", "things").error("MOVE_DIVERGED")["message"]
    )
