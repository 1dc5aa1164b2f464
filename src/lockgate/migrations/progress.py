"""What a run tells while it goes on, and what it leaves when it ends."""

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
    """Collects events and applied files, and passes each on to whoever shows them."""

    def __init__(
        self, listener: Callable[[Event], None] | None = None, now: Callable[[], str] = _now
    ) -> None:
        self.events: list[Event] = []
        self.applied: list[AppliedFile] = []
        self.in_flight: str = ""
        self._listener = listener
        self._now = now

    def tell(self, status: str, detail: str = "") -> None:
        """Record a change of status."""
        event = Event(self._now(), status, detail)
        self.events.append(event)
        if self._listener is not None:
            self._listener(event)

    def done(self, file: AppliedFile) -> None:
        """Record an applied file."""
        self.applied.append(file)
        self.tell(
            "applied",
            f"{file.revision}_{file.name} in {file.duration_ms} ms"
            + (f" ({file.note})" if file.note else ""),
        )
