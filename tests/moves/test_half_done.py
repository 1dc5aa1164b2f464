"""A switch across two databases that was killed after the target opened and before that was written down: only its repetition leads on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.errors import Held, LockgateError
from lockgate.postgres.moves import capture, ledger
from lockgate.record import points
from moves.hand import Hand, declare, make
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


class Crash(BaseException):
    """The process is dead."""


def killed_at(name: str, call: Callable[[], object]) -> None:
    """Call, and die at the point ``name``."""

    def hook(point: str) -> None:
        if point == name:
            raise Crash

    points.install(hook)
    try:
        with pytest.raises(Crash):
            call()
    finally:
        points.install(None)


def killed_open(source: str, target: str) -> Hand:
    """A move whose cutover opened the target and died before the ledger heard of it."""
    make(source, 300)
    hand = Hand(source, target)
    hand.there()
    killed_at("move:across:opened", hand.cutover)
    assert standing(source) == ("ready", "cutover")
    return hand


def standing(source: str) -> tuple[object, ...]:
    """(stage, switching) of the move."""
    return run_sql(source, "SELECT stage, switching FROM lockgate.move")[0]


def test_nothing_but_the_cutover_leads_on(two):
    """Killed at `move:across:opened`, reconcile, resume, backfill and the look for a barrier close nothing and a pause does not come; the same cutover again ends it, and the target takes writes."""
    hand = killed_open(two.source, two.target)
    for call in (hand.reconcile, hand.resume, hand.backfill):
        with pytest.raises(Held) as caught:
            call()
        assert (caught.value.code, caught.value.next) == ("MOVE_STAGE", "lockgate move cutover items")
    with hand.open() as move:
        row = move.row()
        assert not move.barred(row)
        move.stop_if_changed(row)
        ledger.pause(move.home, "items", "lunch", {})
    assert standing(two.source) == ("ready", "cutover")
    assert run_sql(two.source, "SELECT count(*) FROM lockgate.move_event WHERE to_stage = 'paused'") == [(0,)]
    run_sql(two.target, "UPDATE item SET v = 'early' WHERE u = 1")
    assert hand.cutover().serves == "target"
    assert (hand.stage, hand.serving()) == ("tail", "target")
    run_sql(two.target, "UPDATE item SET v = 'late' WHERE u = 2")
    assert hand.rollback().serves == "source"
    assert run_sql(two.source, "SELECT v FROM item WHERE u IN (1, 2) ORDER BY u") == [("early",), ("late",)]


def test_a_row_that_was_read_before_the_switch(two):
    """Who read the row before the cutover, and looks for the barrier when the target is open or the stage has moved on, neither pauses the move nor says that others may have written."""
    make(two.source, 300)
    hand = Hand(two.source, two.target)
    hand.there()
    with hand.open() as move:
        before = move.row()
        killed_at("move:across:opened", hand.cutover)
        move.stop_if_changed(before)
        hand.cutover()
        move.stop_if_changed(before)
    assert standing(two.source) == ("tail", "")


def test_a_barrier_that_came_back(two):
    """A move that was paused half done by an earlier version is not resumed, which would close both sides; where the barrier came back to the open target all the same, the cutover takes it off."""
    hand = killed_open(two.source, two.target)
    run_sql(two.source, "UPDATE lockgate.move SET stage = 'paused', resume_stage = 'ready'")
    with pytest.raises(Held) as caught:
        hand.resume()
    assert caught.value.next == "lockgate move cutover items"
    run_sql(two.target, capture.barrier_ddl("items", "item"))
    assert hand.cutover().serves == "target"
    run_sql(two.target, "UPDATE item SET v = 'late' WHERE u = 2")
    assert standing(two.source) == ("tail", "")


def test_a_pause_that_was_faster(two):
    """A move that is paused while its cutover drains is not switched over the pause: the source serves, and resume and a new proof lead on."""
    make(two.source, 300)
    hand = Hand(two.source, two.target)
    hand.there()
    with hand.open() as move:

        def hook(_: str) -> None:
            if standing(two.source) == ("ready", ""):
                points.install(None)
                ledger.pause(move.home, "items", "lunch", {})

        points.install(hook)
        try:
            with pytest.raises(LockgateError) as caught:
                hand.cutover()
        finally:
            points.install(None)
    assert caught.value.code == "MOVE_BUSY"
    assert standing(two.source) == ("paused", "")
    run_sql(two.source, "UPDATE item SET v = 'still here' WHERE u = 1")
    hand.resume()
    hand.backfill()
    assert hand.reconcile().equal
    assert hand.cutover().serves == "target"


def test_no_end_of_a_rollback_that_is_half_done(two):
    """Killed after the source opened on the way back, `finish --now` does not seal a target that refuses writes; the same rollback again ends it."""
    make(two.source, 300)
    hand = Hand(two.source, two.target)
    hand.there()
    hand.cutover()
    killed_at("move:across:opened", hand.rollback)
    with pytest.raises(Held) as caught:
        hand.finish(now=True)
    assert caught.value.next == "lockgate move rollback items"
    assert hand.rollback().serves == "source"
    run_sql(two.source, "UPDATE item SET v = 'here' WHERE u = 1")


def test_the_commands_name_the_way(tmp_path: Path, two):
    """`move pause` of a move whose cutover is half done names that cutover and says nothing of a pause."""
    killed_open(two.source, two.target)
    project = Project(tmp_path, two.source)
    project.environ["ELSEWHERE"] = two.target
    declare(project, 'switch = "none"\n[source]\ntable = "item"\n[target]\ntable = "item"\nurl_env = "ELSEWHERE"\ncreate = true\n')  # fmt: skip
    error = project.json("move", "pause", "items").error("MOVE_STAGE")
    assert error["next"] == "lockgate move cutover items"
    assert standing(two.source) == ("ready", "cutover")
