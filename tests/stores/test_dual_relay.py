"""The relay of a dual-written move: operations that the other store refuses keep nobody back, and stand aside in the end."""

import sqlite3
import threading
from pathlib import Path

import pytest

from lockgate.errors import LockgateError
from lockgate.moves.dual import drive, turning
from lockgate.moves.dual.copy import backfill, retry
from lockgate.moves.dual.second_leg import Carried, drain
from lockgate.postgres.metrics import read_figures
from lockgate.postgres.moves import home
from lockgate.postgres.target import Target
from lockgate.stores.side import REFUSALS
from stores.hand import LIMITS, Hand, row
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
REFUSING = "CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.id BETWEEN 500 AND 599 BEGIN SELECT RAISE(ABORT, 'not these'); END"


def waiting(move: Hand, *numbers: int, mark: str = "i:") -> None:
    """Rows written without their second legs: for the relay to carry. ``mark``: of the key's type, where the store has none."""
    with move.open() as opened_:
        source = opened_.pair.source
        for number in numbers:
            source.speaker.do(
                f"INSERT INTO t (id, u) VALUES ({number}, 'u{number}') ON CONFLICT (id) DO UPDATE SET u = t.u || '+'"
            )
            drive.write_again(source, [(f"{mark}{number}",)])


def test_a_poisoned_head_keeps_nobody_back(hand, database: str):
    """More refused operations than a batch holds stand at the head of the outbox: those behind them are carried by one call, and a later one of a refused key too, once it can be."""
    move: Hand = hand("sqlite", "sqlite", writers=0)
    move.call(drive.start, operator="t")
    target = Path(move.places.target.removeprefix("sqlite:///"))
    with sqlite3.connect(target) as db:
        db.execute(REFUSING)
    poisoned = range(500, 500 + 2 * LIMITS.relay_rows)
    waiting(move, *poisoned, *range(600, 630))
    done = move.call(drive.relay)
    assert (done.done, done.failed) == (30, len(poisoned))
    assert {k for k in move.state("target") if int(k[2:]) >= 500} == {f"i:{n}" for n in range(600, 630)}
    waiting(move, 500)
    with sqlite3.connect(target) as db:
        db.execute("DROP TRIGGER no")
    assert move.call(drive.relay).failed == 0
    assert move.state("target")["i:500"][0] == "s:u500+"
    with move.open() as opened_:
        assert opened_.pair.source.backlog() == (0, 0)


def test_retries_are_bounded(hand, database: str):
    """What is refused too often is set aside with its reason: tried no more, in quarantine, in the way of proof, cutover and finish, until it is tried again by hand or a later write of its key has overtaken it."""
    move: Hand = hand("sqlite", "sqlite", writers=0)
    move.call(drive.start, operator="t")
    move.call(backfill)
    move.call(drive.reconcile)
    target = Path(move.places.target.removeprefix("sqlite:///"))
    with sqlite3.connect(target) as db:
        db.execute(REFUSING)
    waiting(move, 500, 501)
    for _ in range(REFUSALS):
        assert move.call(drive.relay).failed == 2
    assert move.call(drive.relay) == Carried(0, 0)
    held = run_sql(database, "SELECT key, message FROM lockgate.move_quarantine ORDER BY key")
    assert [k for k, _ in held] == [["i:500"], ["i:501"]]
    assert "not these" in held[0][1]
    for step in (lambda: move.call(drive.reconcile), lambda: move.call(turning.turn, forward=True)):
        with pytest.raises(LockgateError, match="not these") as caught:
            step()
        assert caught.value.code == "MOVE_QUARANTINE"
    with sqlite3.connect(target) as db:
        db.execute("DROP TRIGGER no")
    waiting(move, 501)
    assert move.call(drive.relay).done == 1
    with move.open() as opened_:
        assert opened_.pair.source.backlog() == (1, 1), "its later write overtook the one of 501"
    assert move.call(retry) == 1
    with move.open() as opened_:
        assert opened_.pair.source.backlog() == (0, 0)
    move.call(drive.reconcile)
    move.call(turning.turn, forward=True)
    assert move.state("source") == move.state("target")


def test_what_is_set_aside_after_the_cutover_holds_the_way_back(hand):
    """Refused by the old side, an operation of the tail stands in the way of rollback and finish, and is tried again from there."""
    move: Hand = hand("sqlite", "sqlite", writers=0)
    move.call(drive.start, operator="t")
    move.call(backfill)
    move.call(drive.reconcile)
    move.call(turning.turn, forward=True)
    source = Path(move.places.source.removeprefix("sqlite:///"))
    with sqlite3.connect(source) as db:
        db.execute(REFUSING)
    with move.writer() as writer:
        writer.put(row(500, "refused"))
        for _ in range(REFUSALS):
            move.call(drive.relay)
        writer.put(row(600, "carried"))
    for step in (lambda: move.call(turning.turn, forward=False), lambda: move.call(drive.finish, now=False)):
        with pytest.raises(LockgateError) as caught:
            step()
        assert caught.value.code in ("MOVE_QUARANTINE", "MOVE_WINDOW")
    with sqlite3.connect(source) as db:
        db.execute("DROP TRIGGER no")
    assert move.call(retry) == 1
    assert move.call(turning.turn, forward=False).serves == "source"
    assert move.state("source") == move.state("target")


def test_while_the_other_store_is_away_nothing_is_held_against_a_row(hand):
    """A lock that outlasts every patience is no refusal: however often it was tried, the operations wait and are carried when the lock is gone."""
    move: Hand = hand("sqlite", "sqlite", writers=0)
    move.call(drive.start, operator="t")
    waiting(move, *range(500, 505))
    blocker = sqlite3.connect(Path(move.places.target.removeprefix("sqlite:///")), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with move.open() as opened_:
        source, target = opened_.pair.source, opened_.pair.target
        target.speaker.patience(1)
        for _ in range(REFUSALS + 2):
            done = drain(source, target, 2)
            assert (done.done, done.failed, done.away) == (0, 2, True)
        assert (source.aside(), source.backlog()[0]) == (0, 5)
        blocker.execute("ROLLBACK")
        blocker.close()
        assert drain(source, target, 2).done == 5


def test_writers_of_one_file_do_not_starve_the_relay(hand):
    """While two threads write through sessions of ours and take the file again the moment they let it go, a third session gets it within its patience, each time: SQLite's own waiting never did."""
    move: Hand = hand("sqlite", "sqlite", writers=0)
    move.call(drive.start, operator="t")
    stop, errors = threading.Event(), []
    written = [0, 0]

    def write(which: int) -> None:
        try:
            with move.open() as opened_:
                source = opened_.pair.source
                while not stop.is_set():
                    with source.transaction():
                        source.speaker.do("UPDATE t SET u = u WHERE id = 1")
                        stop.wait(0.002)  # the file is held for longer than it is free
                    written[which] += 1
        except LockgateError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(written), 60)
        with move.open() as opened_:
            source = opened_.pair.source
            source.speaker.patience(2000)
            for _ in range(60):
                with source.transaction():
                    pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors


def test_the_age_of_what_waits_is_a_figure(hand):
    """The metric of a move's lag has the age of the oldest operation that waits or was set aside in the outbox of the side that serves, wherever the ledger is, and none when all is carried or the move has ended."""
    move: Hand = hand("postgres", "sqlite", writers=0)
    move.call(drive.start, operator="t")
    move.call(backfill)
    source = Target(move.places.source, source="test")
    home.ensure(source)

    def lags() -> list[float]:
        figures = read_figures(source, timeout=60)
        assert figures.reached, figures.why
        return [f.value for f in figures.rows if f.name == "move_lag" and f.labels == {"move": "things"}]

    assert lags() == [0.0]
    waiting(move, 500, 501, mark="")
    run_sql(move.places.source, "UPDATE lockgate.dual_things_op SET at = at - 90")
    (lag,) = lags()
    assert 90 <= lag <= 900
    assert move.call(drive.relay).done == 2
    assert lags() == [0.0]
    waiting(move, 502, mark="")
    run_sql(move.places.source, "UPDATE lockgate.dual_things_op SET at = at - 90, state = 2 WHERE state = 0")
    assert lags()[0] >= 90
    move.call(drive.abort, reason="test")
    assert lags() == []
