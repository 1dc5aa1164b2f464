"""Columns that a Python function makes: the same value on both sides, of one version, and rows that it refuses put aside."""

from pathlib import Path

import msgspec
import pytest

from lockgate.errors import LockgateError
from lockgate.moves.dual import drive, turning
from lockgate.moves.dual.copy import backfill, retry
from lockgate.moves.dual.declaration import DualDeclaration, problems
from lockgate.moves.dual.declaration import Place as Side
from lockgate.moves.executors import executor_of
from lockgate.moves.transforms import Transform
from lockgate.stores.neutral import of_python, to_python
from lockgate.stores.table import ANY
from stores import made
from stores.hand import Hand, row
from stores.test_conformance import ROWS
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
COLUMNS = {
    "n": Transform("stores.made:doubled", "1", ("n",)),
    "u": Transform("stores.made:marked", "2", ("u", "id")),
}
REVERSE = {
    "n": Transform("stores.made:halved", "1", ("n",)),
    "u": Transform("stores.made:unmarked", "1", ("u",)),
}


@pytest.fixture
def mended():
    """The words that ``marked`` refuses, as they were before the test."""
    before = set(made.refused)
    yield made.refused
    made.refused.clear()
    made.refused.update(before)


def both_ways(hand, one: str, other: str) -> Hand:
    """A move with functions in both directions that needs no writer to be seen."""
    return hand(one, other, columns=COLUMNS, reverse=REVERSE, writers=0)


@pytest.mark.parametrize(
    ("one", "other"),
    [("postgres", "mysql"), ("mysql", "postgres"), ("postgres", "postgres"), ("sqlite", "postgres")],
)
def test_both_sides_hold_what_the_function_says(hand, one: str, other: str):
    """Planned, copied, written, proven, switched and back: the target always holds the function's value, the source its own, and a changed row is found."""
    move = both_ways(hand, one, other)
    planned = move.call(drive.plan)
    files = [url.removeprefix("sqlite:///") for url in move.places.both if url.startswith("sqlite")]
    assert planned.problems == []
    assert [note.partition(" counts no sessions")[0] for note in planned.notes] == files
    assert planned.columns["u"] == "stores.made:marked 2"
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.put(row(500, "by the application"))
        assert move.call(backfill).rows == len(ROWS) + 1
        writer.put({"id": 3, "u": "three"})
        assert move.call(drive.reconcile).verified.equal
        seen = {k.removeprefix("i:"): image[0] for k, image in move.state("target").items()}
        expected = {str(r[0]): None if r[9] is None else f"{r[0] % 7}:{r[9]}" for r in ROWS}
        expected |= {"500": f"{500 % 7}:by the application", "3": "3:three"}
        assert {k: v and v.removeprefix("s:") for k, v in seen.items()} == expected
        with move.open() as opened:
            target = opened.pair.target
            target.speaker.do("UPDATE t SET u = 'changed behind it' WHERE id = 7")
        with pytest.raises(LockgateError) as caught:
            move.call(drive.reconcile)
        assert caught.value.code == "MOVE_DIVERGED"
        move.call(drive.resume)
        assert move.call(drive.reconcile, repair=True).repaired == 1
        move.call(turning.turn, forward=True)
        writer.put({"id": 3, "u": "3:there"})
        assert writer.failed == 0
        move.call(turning.turn, forward=False)
    words = {
        k.removeprefix("i:"): image[0] and image[0].removeprefix("s:")
        for k, image in move.state("source").items()
    }
    assert (words["3"], words["7"], words["5"]) == ("there", "u7", None)


def test_rows_that_a_function_refuses(hand, database: str, mended: set[str]):
    """A row that it raises for stands in quarantine with the reason, copied or written; the application's write stands; mended and retried, everything is there."""
    move = both_ways(hand, "postgres", "sqlite")
    with move.open() as opened:
        opened.pair.source.speaker.do("UPDATE t SET u = 'poison' WHERE id IN (8, 90)")
    assert "2 of the first 119 rows are refused" in move.call(drive.plan).notes[0]
    move.call(drive.start, operator="t")
    assert move.call(backfill).rows == len(ROWS)
    held = run_sql(database, "SELECT key, message FROM lockgate.move_quarantine ORDER BY key")
    assert [k for k, _ in held] == [["8"], ["90"]]
    assert "u raised ValueError: poison has no mark" in held[0][1]
    with pytest.raises(LockgateError) as caught:
        move.call(drive.reconcile)
    assert caught.value.code == "MOVE_QUARANTINE"
    with move.writer() as writer:
        writer.put(row(500, "poison"))
        writer.put({"id": 9, "u": "poison"})
        writer.put({"id": 9, "u": "nine"})
        writer.put({"id": 10, "u": "poison"})
        writer.delete({"id": 10})
        assert writer.failed == 3
        assert move.state("source")["500"][0] == "poison"
        move.call(drive.relay)
        held = run_sql(database, "SELECT key FROM lockgate.move_quarantine WHERE sqlstate = 'second leg'")
        assert held == [(["500"],)], "9 and 10 were made of what the rows became"
        mended.clear()
        assert move.call(retry) == 3
        move.call(drive.relay)
        assert move.call(drive.reconcile).verified.equal
    state = move.state("target")
    assert {state[k][0] for k in ("8", "90", "500")} == {"1:poison", "6:poison", "3:poison"}
    assert state["9"][0] == "2:nine"
    assert "10" not in state


def test_versions_that_are_not_the_same(hand):
    """Code of another version, or of none, is refused before a row is made: in plan, in workers, in the application; a declaration of another version is not the one that was started."""
    move = both_ways(hand, "postgres", "sqlite")
    move.call(drive.start, operator="t")
    good = move.declared
    for python, version, word in (
        ("stores.made:marked", "1", "of version '2'"),
        ("stores.made:unversioned", "1", "says no version"),
        ("stores.made:nothing", "1", "cannot be loaded"),
        ("stores.nowhere:f", "1", "cannot be loaded"),
        ("stores.made:refused", "1", "is no function"),
    ):
        move.declared = msgspec.structs.replace(good, columns={"u": Transform(python, version, ("u", "id"))}, reverse={}, one_way=True)  # fmt: skip
        planned = move.call(drive.plan)
        assert word in planned.problems[0]["what"]
        assert planned.problems[0]["fix"]
        for call in (move.writer, lambda: move.call(lambda opened: opened.pair)):
            with pytest.raises(LockgateError) as caught:
                call()
            assert caught.value.code == "MOVE_TRANSFORM"
            assert word in caught.value.message
    move.declared = msgspec.structs.replace(good, columns={**COLUMNS, "n": Transform("stores.made:halved", "1", ("n",))})  # fmt: skip
    with pytest.raises(LockgateError) as caught:
        move.call(backfill)
    assert caught.value.code == "MOVE_CHANGED"
    assert move.state("target") == {}


def test_code_that_changes_while_the_move_runs(hand, monkeypatch: pytest.MonkeyPatch):
    """A worker that meets another version of the function than the move was declared with copies nothing more, and says so."""
    move = both_ways(hand, "postgres", "sqlite")
    move.call(drive.start, operator="t")
    monkeypatch.setattr(made.marked, "lockgate_version", "3")
    with pytest.raises(LockgateError) as caught:
        move.call(backfill)
    assert caught.value.code == "MOVE_TRANSFORM"
    assert caught.value.next
    assert caught.value.details["found"] == "3"


def test_what_a_plan_finds_of_functions(hand):
    """A function that does not give the same twice, a way back that loses, columns that are not there: each is named before the start."""

    def plan(columns: dict, reverse: dict, **more: object) -> list[dict[str, str]]:
        move = hand("sqlite", "sqlite", columns=columns, reverse=reverse, **more)
        return move.call(drive.plan).problems

    u = lambda name, *of: {"u": Transform(f"stores.made:{name}", "1", of or ("u",))}  # noqa: E731
    assert "does not give the same twice" in plan(u("counted"), {}, one_way=True)[0]["what"]
    assert "the way back is lossy" in plan(u("lossy"), u("lossy"))[0]["what"]
    assert "has no column x" in plan(u("lossy", "x"), u("lossy"))[0]["what"]


def test_functions_are_given_values_of_python(hand):
    """Each kind of column arrives as the value of Python that fits it, whatever the engine."""
    of = ("s", "b", "n", "f", "ok", "d", "ts", "j")
    for one in ("postgres", "mysql"):
        move = hand(
            one,
            "postgres",
            columns={"u": Transform("stores.made:kinds", "1", of)},
            one_way=True,
            writers=0,
            name=f"from_{one}",
        )
        move.call(drive.start, operator="t")
        move.call(backfill)
        assert {image[0] for image in move.state("target").values()} == {""}, one
    for value, family in (
        (None, "text"),
        (1, ANY),
        ("a", ANY),
        (b"\x01", ANY),
        (0.5, ANY),
        (True, "boolean"),
    ):
        assert to_python(of_python(value, family), family) == value


def test_workers_of_their_own_make_the_same(hand):
    """Processes that load the function themselves copy what a thread would."""
    move = both_ways(hand, "postgres", "sqlite")
    move.call(drive.start, operator="t")
    with executor_of("processes", 2) as pool:
        assert move.call(backfill, executor=pool).rows == len(ROWS)
    assert move.call(drive.reconcile).verified.equal


def test_files(places, database: str, tmp_path: Path):
    """The command loads a function from the project's folder; wrong parts are named."""
    source, target = places("postgres"), places("postgres")
    source.fill(ROWS[:20])
    project = Project(tmp_path, database)
    project.environ |= {"ONE": source.url, "OTHER": target.url}
    (tmp_path / "moves").mkdir()
    (tmp_path / "shop_words.py").write_text(
        "from lockgate.moves.transforms import transform\n\n@transform(version='2026-11')\ndef longer(u):\n    return (u or 'none') + '!'\n"
    )
    columns = '[columns]\nu = { python = "shop_words:longer", version = "2026-11", of = ["u"] }\n'
    file = tmp_path / "moves" / "things.toml"
    file.write_text(
        'kind = "dual-write"\nwriters = 0\none_way = true\n[source]\ntable = "t"\nurl_env = "ONE"\n[target]\ntable = "t"\nurl_env = "OTHER"\n'
        + columns
    )
    assert (
        project.ok("move", "move", "plan", "things")["result"]["columns"]["u"] == "shop_words:longer 2026-11"
    )
    assert project.ok("move", "move", "run", "things", "--executor", "processes")["stage"] == "reconciled"
    assert run_sql(target.url, "SELECT u FROM t WHERE id IN (4, 5) ORDER BY id") == [("u4!",), ("none!",)]
    place = Side("t", "ONE")
    for wrong in (Transform("no", "1", ("u",)), Transform("a:b", "", ("u",)), Transform("a:b", "1", ())):
        assert (
            len(problems(DualDeclaration("dual-write", place, place, columns={"u": wrong}, one_way=True)))
            == 1
        )
