"""What it costs to drain an outbox, and how long somebody in the way of it is waited for."""

import psycopg
import pytest

from lockgate.moves.reconcile import drain
from lockgate.moves.shrinking import shrink
from moves.hand import Hand, make
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def test_patience_is_for_who_is_in_the_way(database: str, monkeypatch: pytest.MonkeyPatch):
    """Draining that took longer than the patience of a lock does not use it up: the first short collision afterwards is told and waited for."""
    make(database, 300)
    hand = Hand(database).with_limits(relay_rows=1, outbox_rows=10)
    hand.there()
    run_sql(database, "UPDATE item SET v = 'late' WHERE u <= 80")
    now = [0.0]
    told: list[str] = []
    with hand.open() as move, psycopg.connect(database) as holder:
        relay = move.relay(move.layout(move.row()).forward)
        count = relay.backlog

        def after_a_round() -> int:
            waits = count()
            if not now[0]:
                now[0] = 10 * move.declared.limits.lock_patience_seconds
                holder.execute("LOCK TABLE item_new IN ACCESS EXCLUSIVE MODE")
            return waits

        def tell(words: str) -> None:
            told.append(words)
            holder.rollback()

        monkeypatch.setattr(relay, "backlog", after_a_round)
        with relay.exclusive(5):
            shrink(move, relay, tell, lambda: now[0])
        assert count() <= 10
    assert len(told) == 1


def test_the_outbox_is_not_counted_after_each_batch(database: str, monkeypatch: pytest.MonkeyPatch):
    """A drain of many batches counts the outbox at its beginning and where a batch was short, and what it reports goes up to the end."""
    make(database, 300)
    hand = Hand(database).with_limits(relay_rows=20, outbox_rows=10)
    hand.there()
    run_sql(database, "UPDATE item SET v = 'late'")
    counts: list[int] = []
    seen: list[float] = []
    with hand.open() as move:
        relay = move.relay(move.layout(move.row()).forward)
        count = relay.backlog

        def counted() -> int:
            counts.append(count())
            return counts[-1]

        monkeypatch.setattr(relay, "backlog", counted)
        drain(move, relay, lambda _, part: seen.append(part))
        assert count() == 0
    assert (counts[0], len(seen), len(counts)) == (300, 16, 3)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
