"""The readiness of a running service: a table of allowed moves with one reason per arrow. Pure, without a clock."""

from typing import NamedTuple

from lockgate.gate.report import Report


class State:
    """The states. ``READY`` and ``STALE`` serve; ``STALE`` is ready with a database that does not answer."""

    STARTING = "starting"
    READY = "ready"
    STALE = "stale"
    CLOSED = "closed"
    STOPPING = "stopping"


YES, NO, UNKNOWN, STOP = "yes", "no", "unknown", "stop"

MOVES: dict[tuple[str, str], tuple[str, str]] = {
    (State.STARTING, YES): (State.READY, "the first check that passes opens the gate"),
    (State.STARTING, NO): (State.STARTING, "strict until the first success"),
    (State.STARTING, UNKNOWN): (State.STARTING, "strict until the first success: unknown is not ready"),
    (State.READY, YES): (State.READY, "nothing new"),
    (State.READY, NO): (State.CLOSED, "a definite mismatch closes the gate at once"),
    (State.READY, UNKNOWN): (State.STALE, "an unreachable database keeps the last verdict, and warns"),
    (State.STALE, YES): (State.READY, "the database answers again"),
    (State.STALE, NO): (State.CLOSED, "the database answers again, with a definite mismatch"),
    (State.STALE, UNKNOWN): (State.STALE, "the last verdict is kept as long as nobody says otherwise"),
    (State.CLOSED, YES): (State.READY, "the mismatch is mended"),
    (State.CLOSED, NO): (State.CLOSED, "the mismatch stands"),
    (State.CLOSED, UNKNOWN): (State.CLOSED, "the last verdict is kept: it was no"),
    **{
        (state, STOP): (State.STOPPING, "the process is ending")
        for state in (State.STARTING, State.READY, State.STALE, State.CLOSED)
    },
    **{(State.STOPPING, event): (State.STOPPING, "an end is final") for event in (YES, NO, UNKNOWN, STOP)},
}
"""(state, event) → (next state, why)."""


class Readiness(NamedTuple):
    """Where a service stands: its state, whether it was ever ready, and why it came here."""

    state: str = State.STARTING
    started: bool = False
    reason: str = "no check has passed yet"

    @property
    def serves(self) -> bool:
        """True when traffic may flow."""
        return self.state in (State.READY, State.STALE)

    def after(self, event: str) -> "Readiness":
        """The readiness after ``event`` (``YES``, ``NO``, ``UNKNOWN``, ``STOP``)."""
        state, reason = MOVES[self.state, event]
        return Readiness(state, self.started or state == State.READY, reason)


def event_of(report: Report) -> str:
    """The event that a report is: a clear yes, a clear no, or neither."""
    return YES if report.ready else NO if report.definite else UNKNOWN
