"""Cutover and rollback of a dual-written move: what the comparison behind the barrier finds stays until it is mended or taken by name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lockgate.errors import LockgateError
from lockgate.moves.dual import drive, turning
from lockgate.moves.dual.comparing import unlike
from lockgate.moves.dual.copy import backfill
from lockgate.moves.gates import key_words, note_barred, taken
from lockgate.record import points
from stores.hand import Hand
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


class Died(BaseException):
    """The process ends here."""


def proven(hand: Callable[..., Hand], one: str, other: str) -> Hand:
    """A move whose sides were compared and are equal."""
    move = hand(one, other, writers=0)
    move.call(drive.start, operator="t")
    move.call(backfill)
    move.call(drive.reconcile)
    return move


@contextmanager
def changed_behind_the_barrier(move: Hand, forward: bool, *, dies: bool = False) -> Iterator[None]:
    """Row 7 is written once more when the barrier is up, and changed on the side that comes as soon as it was carried; there the process may die."""
    serving, coming = ("source", "target") if forward else ("target", "source")
    seen: list[str] = []

    def hook(name: str) -> None:
        if name == "dual:barred":
            with move.open() as late:
                drive.write_again(
                    getattr(late.pair, serving),
                    [("7" if late.pair.source.key[0].family == "integer" else "i:7",)],
                )
        if name == "dual:done" and "dual:barred" in seen and name not in seen:
            with move.open() as late:
                getattr(late.pair, coming).speaker.do("UPDATE t SET u = 'changed behind it' WHERE id = 7")
        seen.append(name)
        if dies and name == "dual:done" and "dual:barred" in seen:
            raise Died

    points.install(hook)
    try:
        yield
    finally:
        points.install(None)


def refused(move: Hand, work: Callable[..., object], **more: object) -> LockgateError:
    with pytest.raises(LockgateError) as caught:
        move.call(work, **more)
    return caught.value


@pytest.mark.parametrize(("one", "other"), [("postgres", "sqlite"), ("sqlite", "mysql")])
def test_a_rollback_that_found_differences_is_refused_until_they_are_mended(hand, one: str, other: str):
    """A row that differs behind the barrier of a rollback stops that call and every later one, and the end of the window, until verify --repair has written it again; then the way back loses nothing."""
    move = proven(hand, one, other)
    move.call(turning.turn, forward=True)
    with changed_behind_the_barrier(move, False):
        assert refused(move, turning.turn, forward=False).code == "MOVE_DIVERGED"
    for _ in range(2):
        again = refused(move, turning.turn, forward=False)
        assert (again.code, again.details["unlike"]) == ("MOVE_DIVERGED", 1)
    assert "verify things --repair" in (refused(move, drive.finish, now=False).next or "")
    assert refused(move, drive.reconcile).code == "MOVE_DIVERGED"
    assert move.call(lambda m: m.row().stage) == "tail"
    assert "verify things --repair" in (refused(move, turning.turn, forward=False).next or "")
    assert move.call(drive.reconcile, repair=True).repaired == 1
    assert move.call(turning.turn, forward=False).serves == "source"
    words = [{key: row[0] for key, row in move.state(side).items()} for side in ("source", "target")]
    assert words[0] == words[1]


def test_differences_that_went_away_let_the_rollback_pass(hand):
    """The keys that were found to differ are compared again by the next call: mended by a write of the application, they hold nobody up."""
    move = proven(hand, "postgres", "sqlite")
    move.call(turning.turn, forward=True)
    with changed_behind_the_barrier(move, False):
        assert refused(move, turning.turn, forward=False).code == "MOVE_DIVERGED"
    with move.writer() as writer:
        writer.put({"id": 7, "u": "by the application"})
    done = move.call(turning.turn, forward=False)
    assert (done.serves, done.checked) == ("source", 1)
    assert move.state("source") == move.state("target")


def test_a_difference_is_taken_by_name(hand, database: str):
    """A person may go back with a row that differs by naming it; another name does not help, and the record says what was taken."""
    move = proven(hand, "sqlite", "postgres")
    move.call(turning.turn, forward=True)
    with changed_behind_the_barrier(move, False):
        assert refused(move, turning.turn, forward=False).code == "MOVE_DIVERGED"
    assert refused(move, turning.turn, forward=False, accept=("8",)).code == "MOVE_DIVERGED"
    name = refused(move, turning.turn, forward=False).details["keys"][0]
    assert move.call(turning.turn, forward=False, accept=(name,)).serves == "source"
    told = run_sql(
        database, "SELECT evidence -> 'accepted' FROM lockgate.move_event WHERE to_stage = 'rolled_back'"
    )
    assert told == [([name],)]


def test_what_a_comparison_found_is_taken_by_name(hand, database: str):
    """Rows that verify finds after the cutover hold the rollback until each is named: the refusal tells who serves, what --repair would write where, and which keys are left; then the source keeps its own row, and the record names what was taken."""
    move = proven(hand, "postgres", "postgres")
    move.call(turning.turn, forward=True)
    before = move.state("source")
    with move.open() as opened_:
        opened_.pair.target.speaker.do("UPDATE t SET u = 'out of band' WHERE id IN (7, 8)")
    for found in (refused(move, drive.reconcile), refused(move, turning.turn, forward=False)):
        assert found.code == "MOVE_DIVERGED"
        assert (found.state or "").startswith("The target serves")
        assert "verify things --repair writes the target's rows into the source" in (found.next or "")
        assert "rollback things --accept KEY" in (found.next or "")
    assert refused(move, turning.turn, forward=False, accept=("7",)).details["keys"] == ["8"]
    assert move.call(turning.turn, forward=False, accept=("8", "7")).serves == "source"
    assert move.state("source") == before
    told = run_sql(
        database, "SELECT evidence -> 'accepted' FROM lockgate.move_event WHERE to_stage = 'rolled_back'"
    )
    assert told == [(["7", "8"],)]
    assert refused(move, turning.turn, forward=True).code == "MOVE_STAGE", "forward it needs a proof"


def test_no_two_keys_have_one_name():
    """Commas in values, NULL and the word NULL, a text that looks like a list: each key has a name of its own, which a person may type with spaces and bare numbers."""
    keys = [("a,b", "c"), ("a", "b,c"), (None,), ("NULL",), ("null",), ("[null]",), ("7",), ("7", None), ("7", "NULL")]  # fmt: skip
    assert len({key_words(key) for key in keys}) == len(keys)
    for key in keys:
        assert taken(keys, [key_words(key)]) == ([key_words(key)], [k for k in keys if k != key])
    assert taken([("1", "b c")], ['[1,  "b c"]'])[1] == []
    assert taken([("[x",)], ["[x"])[1] == [("[x",)], "such a text is named as a list, as it is told"


def test_keys_of_earlier_calls_count_into_the_time_of_the_barrier(hand):
    """Very many keys that earlier calls left are compared behind the barrier only as long as block_ms allows: the call is refused with the way out, the old side serves on, and after a comparison of everything the next one passes."""
    move = proven(hand, "postgres", "sqlite")
    move.call(lambda m: note_barred(m.home, m.name, [(str(k),) for k in range(1, 2 * turning.PAGE + 2)]))
    looks: list[float] = []

    def clock() -> float:
        looks.append(move.declared.limits.block_ms / 2000)
        return sum(looks)

    late = refused(move, turning.turn, forward=True, clock=clock)
    assert (late.code, "earlier calls" in late.message) == ("MOVE_LOCK", True)
    assert "move verify things" in (late.next or "")
    with move.open() as opened_:
        held = opened_.pair.source.switch()
        assert held is not None
        assert held.serves == "source"
    with move.writer() as writer:
        writer.put({"id": 7, "u": "goes on"})
    move.call(drive.reconcile)
    assert move.call(turning.turn, forward=True).serves == "target"


@pytest.mark.parametrize("forward", [True, False], ids=["cutover", "rollback"])
def test_what_was_carried_before_a_crash_is_compared_by_the_next_call(hand, forward: bool):
    """Killed between the drain and the comparison, nothing waits any more; the next call compares the carried keys all the same, and finds what differs."""
    move = proven(hand, "postgres", "sqlite")
    if not forward:
        move.call(turning.turn, forward=True)
    with changed_behind_the_barrier(move, forward, dies=True), pytest.raises(Died):
        move.call(turning.turn, forward=forward)
    again = refused(move, turning.turn, forward=forward)
    assert (again.code, again.details["unlike"]) == ("MOVE_DIVERGED", 1)


def test_a_key_that_is_on_neither_side_is_not_equal_behind_the_barrier(hand):
    """A row that vanished from both sides after it was carried stops the cutover, since no delete explains it; a row that was deleted does not."""
    move = proven(hand, "postgres", "sqlite")
    with move.open() as opened_:
        source, target = opened_.pair.source, opened_.pair.target
        assert unlike(source, target, [("7",), ("5000",)]) == [("5000",)]
    with move.writer() as writer:
        writer.delete({"id": 8})
    seen: list[str] = []

    def hook(name: str) -> None:
        if name == "dual:barred":
            with move.open() as late:
                drive.write_again(late.pair.source, [("7",), ("8",)])
        if name == "dual:done" and "dual:barred" in seen and name not in seen:
            with move.open() as late:
                for side in (late.pair.source, late.pair.target):
                    side.speaker.do("DELETE FROM t WHERE id = 7")
        seen.append(name)

    points.install(hook)
    try:
        found = refused(move, turning.turn, forward=True)
    finally:
        points.install(None)
    assert (found.code, found.details["keys"]) == ("MOVE_DIVERGED", [["7"]])
    assert move.call(lambda m: m.row().stage) == "paused"
