"""A paused move stays paused: only `resume`, or a repair where rows differ, lets it go on, and each refusal names the one that does."""

import re
import threading

import msgspec
import pytest

from lockgate.errors import LockgateError
from lockgate.postgres.moves import ledger
from moves.hand import Hand, make
from support.calls import Project
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def test_backfill_does_not_resume(project: Project, database: str):
    """`move backfill`, with --retry too, of a move that a person paused exits 5 with the reason and the real `move resume`, and leaves stage, reason and note; resumed as printed it goes on."""
    project.ok("move", "move", "start", "items")
    project.ok("move", "move", "pause", "items", "--reason", "lunch")
    for words in ((), ("--retry",)):
        error = project.json("move", "backfill", "items", *words).error("MOVE_PAUSED")
        assert (error["exitCode"], "lunch" in error["message"]) == (5, True)
        assert "lockgate move resume items" in error["next"]
    (told,) = project.ok("move", "move", "status", "items")["moves"]
    assert (told["stage"], told["reason"], told["job"]["migrated_rows"]) == ("paused", "lunch", 0)
    assert "paused since" in told["note"]
    project.ok("move", "move", "resume", "items")
    assert project.ok("move", "move", "backfill", "items")["result"]["complete"]


def test_backfill_does_not_paint_over_a_difference(project: Project, database: str):
    """Paused because rows differ, backfill exits 5 and names `move verify --repair`, which works as printed."""
    project.ok("move", "move", "run", "items")
    run_sql(database, "BEGIN; SET LOCAL lockgate.feed = 'items'; DELETE FROM item_new WHERE u = 9; COMMIT")
    assert project.json("move", "verify", "items").error("MOVE_DIVERGED")["exitCode"] == 1
    error = project.json("move", "backfill", "items").error("MOVE_PAUSED")
    (way,) = re.findall(r"lockgate (move \w+ items[^.]*?--repair)", error["next"])
    assert project.ok("move", "move", "status", "items")["moves"][0]["stage"] == "paused"
    assert project.ok("move", *way.split())["result"]["repaired"] == 1


def test_paused_from_another_terminal(database: str):
    """A backfill that somebody pauses while it waits ends with MOVE_PAUSED, his reason and the real name in the next command."""
    make(database, 300)
    day = run_sql(database, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '3 days', 'Dy')")[0][0]  # fmt: skip
    hand = Hand(database)
    hand.declared = msgspec.structs.replace(
        hand.declared,
        limits=msgspec.structs.replace(hand.declared.limits, windows=(f"{day} 00:00-23:59 UTC",), max_wait_seconds=0),
    )  # fmt: skip
    hand.start()
    caught: list[LockgateError] = []

    def copy() -> None:
        try:
            hand.backfill()
        except LockgateError as error:
            caught.append(error)

    worker = threading.Thread(target=copy)
    worker.start()
    try:
        until(lambda: "outside its windows" in run_sql(database, "SELECT reason FROM lockgate.move")[0][0])
    finally:
        with hand.open() as move:
            ledger.pause(move.home, "items", "enough for today", {})
        worker.join()
    (error,) = caught
    assert (error.code, "enough for today" in error.message) == ("MOVE_PAUSED", True)
    assert "lockgate move resume items" in error.next
