"""The write guard of a running service: no write goes into a schema that the code was not built for.

The live schema is read in the gate's thread, every ``every`` seconds and whenever the revision moves; a write reads one
attribute. As with the gate itself: strict until the first yes, a definite difference stops writes, doubt keeps the last
answer.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lockgate.errors import Busy, LockgateError, Refused, Unreachable
from lockgate.gate.readiness import NO, UNKNOWN, YES, Readiness
from lockgate.gate.signature import LiveSchema, Signature, WriteVerdict, judge_schema
from lockgate.migrations.drift import read_recorded
from lockgate.postgres.fingerprint import read_definitions
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Cancelled, Wire
from lockgate.record.redact import redact

if TYPE_CHECKING:
    from lockgate.postgres.target import Target

_EVENTS = {"pass": YES, "fail": NO, "unknown": UNKNOWN}
_REVISION = "SELECT COALESCE(pg_catalog.max(revision_id), '') FROM lockgate.migration_history"


def read_live_schema(target: "Target", *, timeout: float) -> LiveSchema:
    """Read the schema of ``target`` in one connection; it did not move while it was read.

    Raises ``LockgateError`` (``Unreachable``, ``Refused`` with HOME_OLDER or PRIVILEGE, ``Busy`` while it moves).
    """
    wire = Wire(target, "signature", connect_timeout=timeout)
    try:
        before, revision = read_recorded(wire), wire.value(_REVISION) or ""
        objects, basis = read_definitions(wire)
        if read_recorded(wire) != before or (wire.value(_REVISION) or "") != revision:
            raise Busy("a run wrote the history while the schema was read")
        return LiveSchema(revision, basis, objects, before)
    except Cancelled as error:
        raise Unreachable(str(error)) from None
    except ServerError as error:
        if error.sqlstate in ("3F000", "42P01"):
            raise Refused("there is no schema lockgate in this database", "HOME_OLDER") from None
        if error.sqlstate == "42501":
            raise Refused(
                f"the role may not read the schema lockgate: {error.message}", "PRIVILEGE"
            ) from None
        raise Busy(f"the schema could not be read: {error.sqlstate}: {error.message}") from None
    finally:
        wire.close()


class WriteGuard:
    """Says whether writes may flow. ``signature`` is the image's own, or None for what lockgate recorded.

    ``every`` is the time between two looks in seconds; a look costs the server some 30 ms of catalog reading.
    """

    def __init__(
        self,
        signature: Signature | None = None,
        *,
        every: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.signature = signature
        self.every = every
        self.readiness = Readiness()
        self.verdict = WriteVerdict("unknown", "the schema was not read yet")
        self._clock = clock
        self._at: float | None = None

    @property
    def open(self) -> bool:
        """True while writes may flow."""
        return self.readiness.serves

    def due(self) -> bool:
        """True when it is time to look again."""
        return self._at is None or not self.open or self._clock() - self._at >= self.every

    def look(self, target: "Target", *, timeout: float) -> WriteVerdict:
        """Look now and take the answer over. Never raises for what the database does."""
        try:
            verdict = judge_schema(read_live_schema(target, timeout=timeout), self.signature)
        except LockgateError as error:
            verdict = WriteVerdict("unknown", redact(error.message), next=error.next)
        self._at = self._clock()
        before = self.readiness
        self.readiness = before.after(_EVENTS[verdict.answer])
        if verdict.answer != "unknown" or not before.started:
            self.verdict = verdict
        return verdict

    def refusal(self) -> Refused:
        """Why writes are refused, with the diff in ``details``."""
        verdict = self.verdict
        return Refused(
            redact(verdict.evidence), "SCHEMA_SIGNATURE", next=verdict.next or None,
            details={"answer": verdict.answer, "departures": [str(one) for one in verdict.departures]},
        )  # fmt: skip
