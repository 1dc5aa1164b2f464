"""The workers of a backfill in an executor: started, started again when they gave their place back, and asked what they did."""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any, NamedTuple

from lockgate.errors import LockgateError
from lockgate.postgres.sqlstate import ServerError


class Outcome(NamedTuple):
    """What one worker did. ``held``: it gave its place back because no batch may begin now, and is to be started again when one may."""

    ranges: int
    rows: int
    waited: str = ""
    held: bool = False


class Done(NamedTuple):
    """What all of them did together. ``waited`` is why one stopped early; ``error`` what the first that failed raised."""

    ranges: int
    rows: int
    waited: str
    error: LockgateError | ServerError | None


class Crew:
    """``count`` workers that do ``work`` with ``order``. Nothing is lost when one dies: what it had claimed is claimed again."""

    def __init__(self, pool: Executor, work: Callable[[Any], Outcome], order: object, count: int) -> None:
        self._pool, self._work, self._order = pool, work, order
        self._ended: list[Outcome] = []
        self._futures: list[Future[Outcome]] = [pool.submit(work, order) for _ in range(count)]

    @property
    def at_work(self) -> bool:
        """True while one of them works, or waits to be started again."""
        return any(not f.done() or _gave_back(f) for f in self._futures)

    def start_again(self) -> None:
        """Start those that gave their place back: a batch may begin."""
        gave = [f for f in self._futures if _gave_back(f)]
        self._ended += [f.result() for f in gave]
        self._futures = [f for f in self._futures if f not in gave]
        self._futures += [self._pool.submit(self._work, self._order) for _ in gave]

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until one ends, at most so long; where all that is left gave their places back, until ``stop``."""
        working = [f for f in self._futures if not f.done()]
        if working:
            wait(working, timeout=seconds, return_when=FIRST_COMPLETED)
        elif self.at_work:
            stop.wait(seconds)

    def done(self) -> Done:
        """What they did, once none is at work. What nobody here raises on purpose goes on to the caller."""
        ended, error = list(self._ended), None
        for future in self._futures:
            try:
                ended.append(future.result())
            except (LockgateError, ServerError) as failed:
                error = error or failed
        return Done(
            sum(o.ranges for o in ended), sum(o.rows for o in ended),
            next((o.waited for o in ended if o.waited and not o.held), ""), error,
        )  # fmt: skip


def _gave_back(future: "Future[Outcome]") -> bool:
    """A worker that may not hold a place of the executor while it waits is gone, and is to be started again."""
    return future.done() and future.exception() is None and future.result().held
