"""The thread that owns the guard connection while files run: heartbeat, flush, and an eye on the lock queue.

It never cancels anything itself. It tells the main thread, through the alarm and for one ticket only, and the main
thread cancels if that very batch is still under way.
"""

import threading
import time
from collections.abc import Callable

from lockgate.errors import LockgateError
from lockgate.postgres.alarm import Cause
from lockgate.postgres.blockers import Sighting, read_blockers
from lockgate.postgres.guard import Guard
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import FLUSHED, Call, Cancelled, Wire
from lockgate.record.words import agree, counted

HEARTBEAT = 5.0
"""Seconds between two heartbeats of a run."""
ANSWER = 10.0
"""Seconds that the server has to answer a look or a heartbeat."""


_BEAT = "UPDATE lockgate.run SET heartbeat_at = pg_catalog.clock_timestamp() WHERE run_id = $1 RETURNING 1"


def beat(
    wire: Wire,
    run_id: str,
    *,
    deadline: float | None = None,
    uncancellable: bool = False,
    label: str = "batch",
) -> bool:
    """The heartbeat of a run: a commit that waits, and so brings all before it to disk. True when it did.

    False when the run has no row any more (nothing was committed then), or when somebody cancelled the wait for a synchronous
    standby. Raises ``ServerError``, ``ConnectionLost`` and, unless ``uncancellable``, ``Cancelled``.
    """
    calls = [Call("BEGIN"), FLUSHED, Call(_BEAT, (run_id,)), Call("COMMIT")]
    try:
        replies = wire.batch(calls, deadline=deadline, uncancellable=uncancellable, label=label)
    except (ServerError, Cancelled):
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
        raise
    return bool(replies[2].rows) and not any(notice.severity == "WARNING" for notice in wire.notices)


class Warden:
    """Started around the files of a run. ``sighting`` is what was last seen while our statement stood in a queue;
    ``look`` is the time in seconds between two looks. ``landed`` counts the files that are committed; ``flushed`` is told how
    many of them are on disk."""

    def __init__(
        self,
        guard: Guard,
        max_victims: int,
        *,
        look: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
        landed: Callable[[], int] = lambda: 0,
        flushed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._landed = landed
        self._flushed = flushed
        self._guard = guard
        self._max_victims = max_victims
        self._every = look
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._busy_since: float | None = None
        self._ticket = 0
        self.sighting: Sighting | None = None
        self.most_victims = 0
        self.lock_waited = 0.0
        """Seconds in which a statement of ours stood in a lock queue, as far as looks showed it."""
        self.broken: str = ""
        self._thread = threading.Thread(target=self._run, name="lockgate-warden", daemon=True)

    def start(self) -> None:
        """Start the thread. From now until ``stop`` nobody else may use the guard connection."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; the guard connection is the caller's again."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=15)

    def begin(self, ticket: int) -> None:
        """A batch with this ticket goes under way."""
        with self._lock:
            self._busy_since, self._ticket, self.sighting = self._clock(), ticket, None

    def end(self) -> None:
        """No batch is under way."""
        with self._lock:
            self._busy_since = None

    def _run(self) -> None:
        wire, last, known = self._guard.guard, self._clock(), 0
        wire.deafen()
        try:
            while not self._stop.wait(self._every):
                landed = self._landed()
                if landed != known or self._clock() - last >= HEARTBEAT:
                    last = self._clock()
                    if self._beat(wire, last + ANSWER):
                        self._flushed(landed)
                        known = landed
                with self._lock:
                    since, ticket = self._busy_since, self._ticket
                if since is not None and self._clock() - since >= self._every:
                    self._look(ticket)
        except (LockgateError, ServerError) as error:
            # The session check before the next commit finds the lock gone; nothing is committed without it.
            self.broken = str(error)
        except Exception as error:
            self.broken = f"{type(error).__name__}: {error}"

    def _beat(self, wire: Wire, deadline: float) -> bool:
        try:
            return beat(wire, self._guard.identity.run_id, deadline=deadline)
        except ServerError:
            return False  # refused once: a lock on the row, a cancel. The next look tries again.

    def _look(self, ticket: int) -> None:
        wire, pid = self._guard.guard, self._guard.facts.backend_pid
        row = wire.one(query("watch"), str(pid), deadline=self._clock() + ANSWER).rows[0]
        wanted, victims = row[0] or "", int(row[1] or 0)
        if not wanted and not victims:
            return
        blockers = tuple(read_blockers(wire, pid, self._clock() + ANSWER)) if wanted else ()
        with self._lock:
            if self._ticket != ticket:
                return
            self.sighting = Sighting(wanted, victims, blockers)
            self.lock_waited += self._every if wanted else 0.0
            self.most_victims = max(self.most_victims, victims)
        if victims > self._max_victims:
            self._guard.alarm.ring(
                Cause(
                    "LOCK_VICTIMS",
                    f"{counted(victims, 'session')} {agree(victims, 'queues', 'queue')} behind our statement (limit {self._max_victims})",
                    ticket,
                )
            )
