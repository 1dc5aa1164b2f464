"""Shadow reads: the application answers from the old side; now and then the new side is asked too, and both are compared.

The caller gets the old answer at once. The new side is read, compared and written down by one thread behind a bounded
queue: when it is full, or the budget of the last seconds is spent, observations are dropped and counted, never awaited.
A difference is data; an error of the new side, or of the shadow itself, never reaches the caller.

What is in the way of a caller is the interpreter's lock, which the thread holds while it works, and being woken to give it
up. So a sampled read puts its item down and wakes nobody: the thread looks every ``PAUSE`` seconds and takes all there is.
And its budget is less than the hundredth of reads that lie above a 99th percentile: that stays where it was.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from lockgate.record.redact import redact

T = TypeVar("T")
LONGEST = 300
"""Characters of a difference that are kept."""
PAUSE = 0.05
"""Seconds between two looks at the queue."""
Item = tuple[str, Any, float, Callable[[], Any], Callable[[Any, Any], bool]]
"""Query, old answer, milliseconds it took, how to read the new side, comparator."""


class Observation(NamedTuple):
    """What one shadow read saw. ``equal`` is None when the new side could not be asked. Times are in milliseconds."""

    query: str
    equal: bool | None
    old_ms: float
    new_ms: float
    difference: str
    error: str


def same(old: Any, new: Any) -> bool:
    """The strict comparator: equal values of equal types, rows in the same order."""
    return type(old) is type(new) and bool(old == new)


def same_rows(old: Iterable[Any], new: Iterable[Any]) -> bool:
    """The comparator for answers whose order says nothing."""
    return sorted(map(repr, old)) == sorted(map(repr, new))


def describe(old: Any, new: Any) -> str:
    """What differs, without the values: types and sizes, and where the first difference is. Values may be secrets."""
    words = f"old {_shape(old)}, new {_shape(new)}"
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        place = next(
            (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
        )
        words += f", first difference at {place}"
    return words[:LONGEST]


def _shape(value: Any) -> str:
    return (
        f"{type(value).__name__}[{len(value)}]"
        if isinstance(value, (list, tuple, dict, str, bytes))
        else type(value).__name__
    )


class Shadow:
    """Shadow reads for one move. ``record`` takes observations, in the shadow's own thread.

    ``sample`` is the share of reads that are shadowed (0.0 to 1.0), ``budget`` the share of one core that asking the new
    side, comparing and recording may take of this process (waiting for an answer takes none), ``waiting`` how many answers
    may be queued. ``clock`` gives the time and ``used`` the processor time of the calling thread, both in seconds. Close it
    at the end; as a context manager it closes itself and waits for what is queued.
    """

    def __init__(
        self,
        record: Callable[[Observation], None],
        *,
        sample: float = 0.01,
        budget: float = 0.005,
        waiting: int = 1000,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        self._record = record
        self._sample = sample
        self._budget = budget
        self._rng = rng or random.Random()  # noqa: S311 - sampling, not a secret
        self._clock = clock
        self._used = used
        self._waiting = waiting
        self._items: deque[Item] = deque()
        self._closing = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._spent = 0.0
        self._since = clock()
        self.dropped = 0
        self.failed = 0

    def __call__(
        self,
        read_old: Callable[[], T],
        read_new: Callable[[], Any],
        *,
        query: str = "",
        compare: Callable[[Any, Any], bool] = same,
    ) -> T:
        """The answer of ``read_old``, whatever becomes of the shadow. ``read_new`` must not write; it runs in another thread."""
        if self._rng.random() >= self._sample:
            return read_old()
        begin = self._clock()
        old = read_old()
        took = (self._clock() - begin) * 1000
        if len(self._items) >= self._waiting or not self._working():
            self.dropped += 1
            return old
        self._items.append(
            (query or getattr(read_new, "__qualname__", "query"), old, took, read_new, compare)
        )
        return old

    def _working(self) -> bool:
        """True when the thread runs; it is started at the first sampled read. A process that ends starts none."""
        if self._thread is not None:
            return True
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="lockgate-shadow", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
        return True

    def _work(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(PAUSE)
            while self._items:
                self._handle(self._items.popleft())

    def _handle(self, item: Item) -> None:
        if self._spent > self._budget * (self._clock() - self._since + 1.0):
            self.dropped += 1
            return
        begin = self._used()
        try:
            self._record(self._observe(*item))
        except Exception:  # the ledger may be down; the application must not notice
            self.failed += 1
        self._spent += self._used() - begin

    def _observe(
        self,
        query: str,
        old: Any,
        old_ms: float,
        read_new: Callable[[], Any],
        compare: Callable[[Any, Any], bool],
    ) -> Observation:
        begin = self._clock()
        try:
            new = read_new()
        except Exception as error:
            return Observation(
                query,
                None,
                old_ms,
                (self._clock() - begin) * 1000,
                "",
                redact(f"{type(error).__name__}: {error}")[:LONGEST],
            )
        new_ms = (self._clock() - begin) * 1000
        try:
            equal = compare(old, new)
        except Exception as error:
            return Observation(
                query,
                None,
                old_ms,
                new_ms,
                "",
                redact(f"comparator: {type(error).__name__}: {error}")[:LONGEST],
            )
        return Observation(query, equal, old_ms, new_ms, "" if equal else describe(old, new), "")

    def close(self) -> None:
        """Stop taking observations and wait for what is queued."""
        if self._thread is not None:
            self._closing.set()
            self._thread.join()
            self._thread = None
            self._closing.clear()

    def __enter__(self) -> "Shadow":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
