"""While a part of a range is written into an index, the next one is read: what is read ahead is nowhere until it is written."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from indexes.test_moving import Hand, hand  # noqa: F401 - the fixture
from lockgate.indexes.moving import drive
from lockgate.indexes.moving.opened import Inline
from lockgate.indexes.moving.side import IndexSide
from lockgate.moves.dual import copy as copying
from lockgate.moves.dual import drive as shared
from lockgate.moves.dual.copy import backfill
from lockgate.postgres.link import Link, numbers
from lockgate.postgres.target import Target
from lockgate.record import points
from lockgate.stores.ahead import ahead
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
PART = 7
KILLED = """
import os, signal, sys, threading
from pathlib import Path
from lockgate.indexes.moving.opened import Inline, opened_index
from lockgate.indexes.moving.side import IndexSide
from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.into import parse_index
from lockgate.moves.dual.pair import Urls
from lockgate.postgres.target import Target
from lockgate.record import points

file, ledger, source, part = sys.argv[1:]
IndexSide.ahead_rows = int(part)
read, second = [0], threading.Event()

def hook(name):
    if name == "dual:batch:read":
        read[0] += 1
        if read[0] == 2:
            second.set()
    if name == "dual:batch:part":
        assert second.wait(60)
        os.kill(os.getpid(), signal.SIGKILL)

points.install(hook)
with opened_index(parse_index(Path(file), "into"), Target(ledger, source="test"), Urls(source, ""), "test") as move:
    backfill(move, executor=Inline())
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Parts of a few rows."""
    monkeypatch.setattr(IndexSide, "ahead_rows", PART)
    yield
    points.install(None)


def test_killed_with_a_part_read_ahead(hand, database: str):  # noqa: F811
    """kill -9 once the first part of a range is written and the second is read: the ledger counts no row of the range, nothing of the second part is in the index or has a revision, and the same call copies all of it."""
    move: Hand = hand("fts", "postgres")
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        words = [str(move.file), move.ledger, move.source, str(PART)]
        killed = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, timeout=120)
        assert killed.returncode == -signal.SIGKILL
        assert run_sql(database, "SELECT state, rows_source IS NULL OR rows_source = 0 FROM lockgate.move_range") == [("leased", True)]  # fmt: skip
        assert run_sql(database, "SELECT ranges_copied FROM lockgate.backfill_jobs") == [(0,)]
        assert sorted(move.held("0001"), key=int) == [str(n) for n in range(1, PART + 1)]
        assert run_sql(database, "SELECT count(*) FROM lockgate.into_into_new_rev") == [(PART,)]
        move.copy()
    assert run_sql(database, "SELECT sum(rows_source) FROM lockgate.move_range WHERE equal") == [(90,)]
    done = move.call(drive.reconcile)
    assert (done.source.records, done.source.root) == (90, done.held.root)
    assert move.held("0001") == move.texts()


def test_what_is_read_ahead_is_older_than_what_is_written_meanwhile(hand, small: None):  # noqa: F811
    """Rows of the part that is read ahead are changed and deleted, and that is carried before the part is written: the index keeps the change and the tombstone."""
    move: Hand = hand("fts", "postgres")
    move.call(drive.start, operator="t")
    read = [0]
    with move.writer() as writer:
        writer.beat()

        def hook(name: str) -> None:
            if name != "dual:batch:read":
                return
            read[0] += 1
            if read[0] == 2:
                assert threading.current_thread() is not threading.main_thread()
                points.install(None)
                writer.put({"id": 9, "body": "newer"})
                writer.delete({"id": 10})
                move.call(shared.relay)

        points.install(hook)
        with move.open() as opened:
            assert backfill(opened, executor=Inline()).rows == 90
    assert read == [2]
    held = move.held("0001")
    assert held["9"] == "newer"
    assert "10" not in held
    assert held == move.texts()
    assert move.call(drive.reconcile).source.records == 89


def test_the_ledger_waits_for_the_disk_for_all_parts(
    hand,  # noqa: F811
    small: None,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
):
    """The parts of a range do not wait for the disk, and the row of the ledger that counts them does: whatever was committed of them is on it by then."""
    move: Hand = hand("fts", "postgres")
    move.call(drive.start, operator="t")
    written: list[bool] = []
    flushed: list[bool] = []
    link = Link(Target(database, source="test"), "test")
    last = [""]

    def hook(name: str) -> None:
        if name == "dual:batch:destination-commit":
            last[0] = link.value("SELECT pg_current_wal_insert_lsn()::text")
            written.append(True)

    def told(*_: object) -> None:
        flushed.append(link.value("SELECT pg_current_wal_flush_lsn() >= $1::pg_lsn", last[0]))

    monkeypatch.setattr(copying.references, "tell", told)
    points.install(hook)
    try:
        with move.writer() as writer:
            writer.beat()
            with move.open() as opened:
                backfill(opened, executor=Inline())
    finally:
        link.close()
    assert len(written) == len(flushed) >= 2
    assert all(flushed)


def test_one_part_ahead_and_no_more():
    """The next part is made while one is worked on, never a second one; what making it raises comes out in its place, and who leaves early waits until the thread is at rest."""
    made: list[int] = []
    taken: list[int] = []

    def parts() -> Iterator[int]:
        for number in range(5):
            assert number <= len(taken) + 1
            made.append(number)
            yield number
        raise ValueError("no more")

    def take_all() -> None:
        with ahead(parts()) as coming:
            for number in coming:
                taken.append(number)

    with pytest.raises(ValueError, match="no more"):
        take_all()
    assert made == taken == [0, 1, 2, 3, 4]
    made.clear()
    taken.clear()
    with ahead(parts()) as coming:
        assert next(coming) == 0
    assert made == [0, 1]


@pytest.mark.parametrize("values", [[], [0, -1, 2**62, -(2**63)]])
def test_numbers_travel_whole(database: str, values: list[int]):
    """An array of whole numbers in the server's binary form comes out as it went in."""
    link = Link(Target(database, source="test"), "test")
    try:
        assert link.rows("SELECT $1::bigint[]", numbers(values)) == [(values,)]
    finally:
        link.close()
