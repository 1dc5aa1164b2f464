"""The algorithm of a move as a small model: every interleaving of a bounded instance is walked, crashes included.

Two databases, two keys, a writer, a backfill worker with one batch, a relay; each step below is one atomic step of the real
thing. In every quiescent state (nothing left to do) the target has to equal the source. docs/moves.md tells the design.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

KEYS = (0, 1)


class State(NamedTuple):
    """Everything there is. Values are version numbers; None is no row."""

    source: tuple[int | None, ...]
    target: tuple[int | None, ...]
    outbox: tuple[
        tuple[int, int], ...
    ]  # (entry number, key); numbers are given before commit, so they can come out of order
    todo: tuple[tuple[str, int], ...]  # what the writer will still do
    open_write: tuple[str, int, int] | None = None  # a write that has its entry number and is not committed
    worker: str = "idle"
    copied: tuple[int | None, ...] | None = None  # what the worker read
    in_target: bool = False  # the worker's transaction on the target is open, with the shared lock
    covered: bool = False  # the ledger has the range
    relay: str = "idle"
    seen: tuple[tuple[int, int], ...] = ()
    image: tuple[int | None, ...] = ()
    last: int = -1
    number: int = 0
    crashes: int = 1


class Rules(NamedTuple):
    """What the algorithm does; each False is a shortcut that some tool takes."""

    exclude: bool = True
    lock_before_reading: bool = True
    consume_by_deleting: bool = True


def steps(s: State, rules: Rules) -> Iterator[State]:
    """Every state that one step leads to."""
    yield from _writer(s)
    yield from _worker(s, rules)
    yield from _relay(s, rules)


def _put(rows: tuple[int | None, ...], key: int, value: int | None) -> tuple[int | None, ...]:
    return tuple(value if k == key else v for k, v in enumerate(rows))


def _writer(s: State) -> Iterator[State]:
    # Two transactions may be open at once, so that entry numbers and commits can come in different orders.
    if s.todo:
        (kind, key), rest = s.todo[0], s.todo[1:]
        if s.open_write is None:
            yield s._replace(todo=rest, open_write=(kind, key, s.number), number=s.number + 1)
        if s.open_write is None or s.open_write[1] != key:
            yield _commit(s._replace(todo=rest, number=s.number + 1), kind, key, s.number)
    if s.open_write is not None:
        kind, key, number = s.open_write
        yield _commit(s._replace(open_write=None), kind, key, number)


def _commit(s: State, kind: str, key: int, number: int) -> State:
    value = None if kind == "delete" else 10 + number
    return s._replace(source=_put(s.source, key, value), outbox=(*s.outbox, (number, key)))


def _worker(s: State, rules: Rules) -> Iterator[State]:
    free = not (rules.exclude and s.relay != "idle")
    if s.worker == "idle" and not s.covered and (free or not rules.lock_before_reading):
        yield s._replace(worker="read", copied=s.source, in_target=rules.lock_before_reading)
    if s.worker == "read":
        if s.in_target or free:
            yield s._replace(worker="ready", in_target=True)
        if s.crashes:  # killed before COMMIT was sent: rolled back
            yield s._replace(worker="idle", copied=None, in_target=False, crashes=0)
    if s.worker == "ready":
        yield s._replace(worker="committed", target=_inserted(s), in_target=False)
        if (
            s.crashes
        ):  # killed just after COMMIT was sent: it takes place later, and holds its lock until then
            yield s._replace(worker="orphan", crashes=0)
    if s.worker == "orphan":
        yield s._replace(worker="idle", target=_inserted(s), copied=None, in_target=False)
    if s.worker == "committed":
        yield s._replace(worker="idle", copied=None, covered=True)
        if s.crashes:  # killed between copy and ledger: the ledger does not know, so it is done again
            yield s._replace(worker="idle", copied=None, crashes=0)


def _inserted(s: State) -> tuple[int | None, ...]:
    assert s.copied is not None
    return tuple(t if t is not None else c for t, c in zip(s.target, s.copied, strict=True))


def _relay(s: State, rules: Rules) -> Iterator[State]:
    fresh = tuple(e for e in s.outbox if rules.consume_by_deleting or e[0] > s.last)
    if s.relay == "idle" and fresh and not (rules.exclude and s.in_target):
        for batch in {fresh, fresh[:1]}:
            yield s._replace(relay="seen", seen=batch, image=s.source)
    if s.relay == "seen":
        image = s.image
        target = s.target
        for _, key in s.seen:
            target = _put(target, key, image[key])
        yield s._replace(relay="applied", target=target)
        if s.crashes:
            yield s._replace(relay="idle", seen=(), image=(), crashes=0)
    if s.relay == "applied":
        outbox = tuple(e for e in s.outbox if e not in s.seen) if rules.consume_by_deleting else s.outbox
        yield s._replace(
            relay="idle", outbox=outbox, last=max([s.last, *(n for n, _ in s.seen)]), seen=(), image=()
        )
        if s.crashes:
            yield s._replace(relay="idle", seen=(), image=(), crashes=0)


def explore(rules: Rules, todo: tuple[tuple[str, int], ...]) -> tuple[int, list[State]]:
    """Walk every state; (how many there are, the quiescent ones in which both sides differ)."""
    begin = State(source=(1, 2), target=(None, None), outbox=(), todo=todo)
    seen = {begin}
    edge = [begin]
    wrong = []
    while edge:
        state = edge.pop()
        after = list(steps(state, rules))
        if not after and state.source != state.target:
            wrong.append(state)
        for one in after:
            if one not in seen:
                seen.add(one)
                edge.append(one)
    return len(seen), wrong


WRITES = (
    (("update", 0), ("delete", 0)),
    (("delete", 0), ("insert", 0)),
    (("delete", 0), ("update", 1), ("insert", 0)),
    (("update", 0), ("update", 1), ("delete", 1)),
    (("delete", 1), ("delete", 0), ("insert", 1)),
)


@pytest.mark.parametrize("writes", WRITES, ids=lambda w: "-".join(f"{k[0]}{n}" for k, n in w))
def test_every_interleaving_ends_equal(writes):
    """Whatever the order of steps and wherever one crash falls: when nothing is left to do, the target equals the source."""
    states, wrong = explore(Rules(), writes)
    assert states > 200
    assert wrong == []


@pytest.mark.parametrize("shortcut", ["exclude", "lock_before_reading", "consume_by_deleting"])
def test_each_shortcut_loses_something(shortcut):
    """The model is strong enough: without the exclusion, with a lock taken after reading, or with `id > last`, some interleaving ends with unequal sides."""
    assert any(explore(Rules()._replace(**{shortcut: False}), writes)[1] for writes in WRITES)
