"""Shadow reads between two engines: equal values are equal whatever their drivers make of them, and gates of the cutover count them."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from lockgate.errors import LockgateError
from lockgate.moves.declaration import Gates
from lockgate.moves.dual import drive, turning
from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.declaration import DualDeclaration, Place, problems
from lockgate.moves.dual.shadowing import pairs_of, replay, same_values, same_values_in_any_order
from lockgate.moves.shadow import Observation, Shadow
from stores.hand import Hand, declared
from stores.test_conformance import ROWS
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
EVERYTHING = "SELECT id, s, b, n, f, ok, d, ts, j, u FROM t"


def copied(hand, one: str, other: str, **more: object) -> Hand:
    move = hand(one, other, writers=0, **more)
    move.call(drive.start, operator="t")
    move.call(backfill)
    move.call(drive.reconcile)
    return move


@pytest.mark.parametrize(
    ("one", "other"),
    [("postgres", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgres"), ("postgres", "sqlite")],
)
def test_two_engines_answer_alike(hand, database: str, one: str, other: str):
    """Every type of value of equal tables is equal, in order and without; a changed row and a query that fails are told without a value; nothing can be written."""
    move = copied(hand, one, other)
    queries = [EVERYTHING, f"{EVERYTHING} ORDER BY id", "SELECT count(*), sum(id), max(ts) FROM t"]
    done = move.call(replay, queries=queries)
    assert (done.queries, done.equal) == (3, 3), done.observations
    with move.open() as opened:
        opened.pair.target.speaker.do("UPDATE t SET u = 'secret' WHERE id = 7")
    told = move.call(
        replay, queries=[EVERYTHING, "SELECT nothing FROM t", "DELETE FROM t WHERE id = 8"]
    ).observations
    assert [o.equal for o in told] == [False, None, None]
    assert "secret" not in told[0].difference
    assert told[1].error
    assert len(move.state("source")) == len(move.state("target")) == len(ROWS)
    assert move.call(lambda m: m.row().stage) == "shadowing"
    assert run_sql(database, "SELECT count(*), count(*) FILTER (WHERE equal) FROM lockgate.move_shadow") == [
        (6, 3)
    ]


def test_a_query_in_the_words_of_both_engines(hand):
    """A line that begins with => says the query before it in the target's words, in files of lines and of longer queries."""
    assert pairs_of(["SELECT 1", "=> SELECT 2", "SELECT 3"]) == [
        ("SELECT 1", "SELECT 2"),
        ("SELECT 3", "SELECT 3"),
    ]
    assert pairs_of(["SELECT\n1\n=> SELECT\n2"]) == [("SELECT\n1", "SELECT\n2")]
    move = copied(hand, "postgres", "sqlite")
    words = ["SELECT id::text || '!' FROM t", "=> SELECT CAST(id AS TEXT) || '!' FROM t"]
    assert move.call(replay, queries=words).equal == 1


def test_values_of_two_drivers():
    """The comparators: numbers by value, times and JSON by what they say, NULL only like NULL, text exactly; order where it counts."""
    at = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    assert same_values(
        [(Decimal("1.50"), True, at, {"a": [1]})], [(1.5, 1, "2026-01-01 12:00:00", '{"a": [1]}')]
    )
    assert same_values([(dt.timedelta(hours=1), memoryview(b"x"))], [(dt.time(1), b"x")])
    assert not same_values([(1,), (2,)], [(2,), (1,)])
    assert same_values_in_any_order([(1,), (None,), (2,)], [(2,), (1,), (None,)])
    for one, other in (("a", "A"), (None, ""), (1, 2), ("1.0", "1.00"), (Decimal("0.1"), "x")):
        assert not same_values([(one,)], [(other,)])
    assert not same_values([(1,)], [(1,), (1,)])


def test_the_library_call_between_two_engines(hand):
    """`Shadow` with reads of two stores and the comparator of values sees equal answers, and a difference."""
    move = copied(hand, "mysql", "postgres")
    seen: list[Observation] = []
    with move.open() as opened:
        old, new = opened.pair.source.speaker, opened.pair.target.speaker
        with Shadow(seen.append, sample=1.0, budget=1000.0) as shadow:
            for words in (EVERYTHING, "SELECT count(*) FROM t"):
                rows = shadow(
                    lambda w=words: old.ask(w),
                    lambda w=words: new.ask(w),
                    query=words,
                    compare=same_values_in_any_order,
                )
                assert rows
            shadow(lambda: old.ask("SELECT 1"), lambda: new.ask("SELECT 2"), query="x", compare=same_values)
    assert [o.equal for o in seen] == [True, True, False]


def test_gates_of_the_cutover(hand, database: str):
    """So many equal shadow reads as declared, and the declared window: without them a dual-written move is not switched either."""
    move = copied(hand, "sqlite", "sqlite", gates=Gates(shadow_reads=2))
    with pytest.raises(LockgateError, match="shadow reads: 0 of 2 seen") as caught:
        move.call(turning.turn, forward=True)
    assert caught.value.code == "MOVE_STAGE"
    move.call(replay, queries=["SELECT count(*) FROM t", EVERYTHING])
    place = Place("t", "A")
    assert problems(DualDeclaration("dual-write", place, place, gates=Gates(cutover_windows=("whenever",))))
    another_day = run_sql(
        database, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '3 days', 'Dy')"
    )[0][0]
    good = move.declared
    move.declared = msgspec.structs.replace(
        good, gates=Gates(cutover_windows=(f"{another_day} 00:00-23:59 UTC",))
    )
    with pytest.raises(LockgateError) as caught:
        move.call(turning.turn, forward=True)
    assert caught.value.code == "OUTSIDE_WINDOW"
    move.declared = good
    assert move.call(turning.turn, forward=True).serves == "target"


def test_the_command(places, database: str, tmp_path: Path):
    """`lockgate move shadow` on a dual-written file: exit 0 and a valid document when all agree, 1 when one differs."""
    source, target = places("postgres"), places("mysql")
    source.fill(ROWS[:20])
    project = declared(tmp_path, database, source, target)
    project.ok("move", "move", "run", "things")
    (tmp_path / "q.sql").write_text(f"-- all of it\n{EVERYTHING}\nSELECT count(*) FROM t;\n")
    assert project.ok("move", "move", "shadow", "things", "--queries", "q.sql")["result"]["equal"] == 2
    target.run("DELETE FROM t WHERE id = 3")
    answer = project.json("move", "shadow", "things", "--queries", "q.sql")
    assert answer.code == 1
    assert answer.document("move")["result"]["differing"][0]["difference"]


@pytest.mark.parametrize("command", ["verify", "run"])
def test_divergence_aborts_by_itself_where_declared(places, database: str, tmp_path: Path, command: str):
    """on_divergence = abort: a row that differs ends the move, writers capture no more, and the incident file holds the key."""
    source, target = places("sqlite"), places("postgres")
    source.fill(ROWS)
    project = declared(tmp_path, database, source, target, more='[gates]\non_divergence = "abort"\n')
    project.ok("move", "move", "run", "things")
    target.run("DELETE FROM t WHERE id = 7")
    assert project.json("move", command, "things").error("MOVE_DIVERGED")["exitCode"] == 1
    assert project.ok("move", "move", "status", "things")["moves"][0]["stage"] == "aborted"
    incident = json.loads((tmp_path / ".artifacts" / "moves" / "things" / "incident.json").read_text())
    assert incident["details"]["unexplained"] == [{"key": ["7"], "kind": "missing"}]
