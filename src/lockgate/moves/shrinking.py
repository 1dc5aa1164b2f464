"""Before the lock of a turn: the tables may be read, and little is left to drain. Short attempts throughout, and who is in the way is told at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lockgate.errors import Refused
from lockgate.moves.opened import Opened
from lockgate.postgres.link import PINNED
from lockgate.postgres.moves import switch
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.moves.relay import Relay
from lockgate.postgres.sqlstate import ServerError


def limits_of(move: Opened) -> switch.Limits:
    """How a move asks for locks."""
    d = move.declared.limits
    return switch.Limits(d.lock_attempt_ms, d.lock_patience_seconds, d.block_ms)


def readable(move: Opened, row: MoveRow, tell: switch.Tell) -> None:
    """Wait until nobody keeps both tables from being read: what is asked before the lock, and the drain, would hang behind him in silence.

    Raises ``Busy`` (``MOVE_LOCK``) that names him.
    """
    for link, oid in ((move.home, row.source_oid), (move.far, row.target_oid)):
        if not link.rows("SELECT 1 FROM pg_catalog.pg_class WHERE oid = $1::oid", oid):
            continue  # a table that is gone is told by who looks whether it changed
        with switch.locked(link, [oid], "ACCESS SHARE", limits_of(move), move.rng, tell=tell):
            pass


def shrink(move: Opened, relay: Relay, tell: switch.Tell, clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
    """Drain until little is left, so that little is left to do under the lock. Patience is for who is in the way, not for the draining. Raises ``Busy`` and ``Refused`` (``MOVE_LOCK``)."""
    limits = move.declared.limits
    row = move.row()
    forward = relay.mapping.feed == "forward"
    origin, destination = (row.source_oid, row.target_oid) if forward else (row.target_oid, row.source_oid)
    patience = switch.Patience(limits_of(move), move.rng, tell, clock)
    rounds = 0
    while rounds < 200:
        try:
            with _short_waits(relay, limits.lock_attempt_ms):
                relay.drain(limits.relay_rows, until=limits.outbox_rows, most=50)
            if relay.backlog() <= limits.outbox_rows:
                return
            rounds += 1
            patience = switch.Patience(limits_of(move), move.rng, tell, clock)
        except ServerError as error:
            if error.sqlstate != "55P03":
                raise
            patience.failed(
                switch.who_holds(relay.origin, [origin], "ACCESS SHARE")
                + switch.who_holds(relay.destination, [destination], "ROW EXCLUSIVE")
            )
    raise Refused(
        f"the outbox does not shrink below {limits.outbox_rows} entries: writers are faster than the relay",
        "MOVE_LOCK",
        next="Cut over at a quieter time, or raise limits.outbox_rows.",
    )


def keep_small(move: Opened, relay: Relay) -> None:
    """Take away what was written while an attempt for the lock failed and was slept over: every entry that is left is applied while writers wait.

    Who holds the table so that nobody may even read it lets nothing pile up, and is not waited for here.
    """
    limits = move.declared.limits
    try:
        with _short_waits(relay, limits.lock_attempt_ms):
            relay.drain(limits.relay_rows, until=limits.outbox_rows, most=50, seconds=1)
    except ServerError as error:
        if error.sqlstate != "55P03":
            raise


@contextmanager
def _short_waits(relay: Relay, milliseconds: int) -> Iterator[None]:
    """No statement of the relay waits longer for a lock inside the block."""
    links = (relay.origin, relay.destination)
    try:
        for link in links:
            link.run(f"SET lock_timeout = '{milliseconds}ms'")
        yield
    finally:
        for link in links:
            if link.alive:
                link.run(f"SET lock_timeout = '{PINNED['lock_timeout']}'")
