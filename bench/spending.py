"""What a piece of work took: by the clock, and in processor time of the server and of the client, which other work beside it moves less."""

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from server import Server


class Spent(NamedTuple):
    """Seconds by the clock, and processor seconds of server and client together."""

    clock: float
    processor: float

    def times(self, factor: float) -> "Spent":
        """What so many times the work would have taken."""
        return Spent(self.clock * factor, self.processor * factor)


def _client() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@contextmanager
def spending(server: Server, seen: list[Spent], factor: float = 1.0) -> Iterator[None]:
    """Add to ``seen`` what the block takes, ``factor`` times."""
    clock, processor = time.perf_counter(), server.processor_seconds() + _client()
    yield
    took = Spent(time.perf_counter() - clock, server.processor_seconds() + _client() - processor)
    seen.append(took.times(factor))


def median(seen: Sequence[Spent]) -> Spent:
    """The median of each."""
    return Spent(statistics.median(s.clock for s in seen), statistics.median(s.processor for s in seen))


def faster(ours: Spent, theirs: Spent) -> str:
    """How many times as fast as theirs ours is."""
    return f"{theirs.clock / ours.clock:.2f} x (by processor time {theirs.processor / ours.processor:.2f} x)"


def in_turns(times: int, *works: Callable[[], object]) -> None:
    """Run all ``works`` one after the other, so many times."""
    for _ in range(times):
        for work in works:
            work()
