"""What a run tells while it goes on, and what it leaves when it ends."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """One change of status, with the time it was seen."""

    at: str
    status: str
    detail: str = ""


class AppliedFile(msgspec.Struct, frozen=True, rename="camel"):
    """One file that this run brought into the history."""

    revision: str
    name: str
    state: str
    duration_ms: int
    attempts: int = 1
    note: str = ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Log:
    """Collects events and applied files, and passes each on to whoever shows them.

    A file is told as applied when its COMMIT is known to be on disk. ``committed`` are those whose COMMIT the server answered
    before that: a crash of the server may still take them back, whole. ``landed`` counts all that ever were.
    """

    def __init__(
        self, listener: Callable[[Event], None] | None = None, now: Callable[[], str] = _now
    ) -> None:
        self.events: list[Event] = []
        self.applied: list[AppliedFile] = []
        self.committed: list[AppliedFile] = []
        self.landed = 0
        self.in_flight: str = ""
        self._lock = threading.RLock()
        self.lock_waited = 0.0
        """Seconds that statements stood in lock queues."""
        self._listener = listener
        self._now = now

    def tell(self, status: str, detail: str = "") -> None:
        """Record a change of status."""
        with self._lock:
            event = Event(self._now(), status, detail)
            self.events.append(event)
            if self._listener is not None:
                self._listener(event)

    def commit(self, file: AppliedFile, *, flushed: bool = False) -> None:
        """Record a file whose COMMIT the server answered; where that waited for the disk, all is told that is committed."""
        with self._lock:
            self.committed.append(file)
            self.landed += 1
            if flushed:
                self.harden(self.landed)

    def mark(self, note: str) -> None:
        """Put ``note`` to every file that is committed and not told."""
        with self._lock:
            self.committed = [msgspec.structs.replace(f, note=f.note or note) for f in self.committed]

    def harden(self, landed: int) -> None:
        """All up to the file that made ``landed`` so many is on disk: tell it. The warden's thread calls this too."""
        with self._lock:
            while self.committed and self.landed - len(self.committed) < landed:
                self.done(self.committed.pop(0))

    def done(self, file: AppliedFile) -> None:
        """Record an applied file."""
        self.applied.append(file)
        self.tell(
            "applied",
            f"{file.revision}_{file.name} in {file.duration_ms} ms"
            + (f" ({file.note})" if file.note else ""),
        )
