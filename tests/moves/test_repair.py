"""`move verify --repair` of many rows: in batches, with progress, and safe to cut off."""

import pytest

from lockgate.cli.waiting import _left
from lockgate.errors import LockgateError
from lockgate.moves import reconcile
from moves.hand import Hand, make
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def spoiled(database: str, monkeypatch) -> Hand:
    """A move of which every second of 3000 rows differs in the target; keys are put into the outbox by hundreds."""
    monkeypatch.setattr(reconcile, "AGAIN_ROWS", 100)
    make(database, 3000)
    hand = Hand(database)
    hand.there()
    run_sql(database, "SET session_replication_role = replica", "SET lockgate.feed = 'items'", "UPDATE item_new SET v = 'spoiled' WHERE u % 2 = 0")  # fmt: skip
    return hand


def test_a_repair_tells_how_far_it_is(spoiled: Hand):
    """While it repairs, each batch is told with how much of all is done, both when keys are put into the outbox and when they are carried; then both sides are equal."""
    told: list[tuple[str, float]] = []
    done = spoiled.reconcile(repair=True, report=lambda doing, part: told.append((doing, part)))
    again = [part for doing, part in told if doing == "copying again"]
    assert len(again) == -(-done.repaired // 100) > 10
    assert again == sorted(again)
    carried = [part for doing, part in told if doing == "carrying what waits"]
    assert (again[-1], carried[-1]) == (1.0, 1.0)
    assert sum(0 < part < 1 for part in carried) > 5
    assert spoiled.stage == "reconciled"


def test_a_repair_that_is_cut_off(spoiled: Hand):
    """A repair that is cut off between two batches leaves the keys that it has put into the outbox there; the next call carries them, finds the rest, and both sides are equal."""

    def cut(doing: str, part: float) -> None:
        if doing == "copying again" and part > 0.5:
            raise LockgateError("cut off", "CANCELLED")

    with pytest.raises(LockgateError, match="cut off"):
        spoiled.reconcile(repair=True, report=cut)
    done = spoiled.reconcile(repair=True)
    assert 0 < done.repaired < 1000
    assert done.equal


@pytest.mark.parametrize(
    ("done", "since", "first", "now", "words"),
    [
        (0.5, 0.0, 0.0, 60.0, ", about 60 s left"),
        (0.75, 0.0, 0.5, 300.0, ", about 5 min left"),
        (0.5, 0.0, 0.5, 60.0, ""),
        (1.0, 0.0, 0.0, 60.0, ""),
        (0.5, 59.5, 0.0, 60.0, ""),
    ],
)
def test_how_long_the_rest_takes(done: float, since: float, first: float, now: float, words: str):
    """In a pipe the rest is told at the pace so far, and nothing where no pace is known."""
    assert _left(done, since, first, now) == words
