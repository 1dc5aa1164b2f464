"""The proof that both sides are equal while writes go on: all rows, both directions, exact.

In one database both tables and the outbox are read from one snapshot. Across two the relay is held while they are read,
so the target stands still. Either way a difference is explained by an entry that waits in the outbox, or by nothing.
"""

from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.moves.opened import Opened, Report
from lockgate.moves.references import refuse_dangling
from lockgate.moves.stages import Stage, why
from lockgate.moves.verify import Difference, Verified, verify
from lockgate.postgres.link import Link, texts
from lockgate.postgres.moves import ledger, made
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.moves.relay import Relay
from lockgate.postgres.relation import Relation
from lockgate.record.words import agree, counted
from lockgate.stores.postgres import PostgresStore

ALLOWED = (Stage.BACKFILLING, Stage.RECONCILED, Stage.SHADOWING, Stage.READY)


class Reconciled(NamedTuple):
    """What a comparison of a move found. ``unexplained`` are differences that no write in flight accounts for."""

    verified: Verified
    in_flight: int
    unexplained: tuple[Difference, ...]
    repaired: int

    @property
    def equal(self) -> bool:
        """True when everything that differs is on its way."""
        return not self.unexplained and not self.verified.truncated


def refuse_incomplete(move: Opened) -> None:
    """Raise where the ledger has gaps or rows stand in quarantine: nothing to compare yet."""
    waiting, _ = ledger.waiting(move.home, move.name)
    if waiting or not move.row().cursor_done:
        raise LockgateError(f"{waiting} ranges of the move {move.name} are not copied" if waiting else f"the move {move.name} has not seen all of its rows", "MOVE_INCOMPLETE")  # fmt: skip
    held = ledger.quarantined(move.home, move.name)
    if held:
        raise LockgateError(
            f"{counted(len(held), 'row')} {agree(len(held), 'stands', 'stand')} in quarantine, the first ({', '.join(map(str, held[0]['key']))}): {held[0]['message']}", "MOVE_QUARANTINE",  # type: ignore[call-overload]
            details={"quarantine": held[:20]},
        )  # fmt: skip


def compare_feed(
    move: Opened, mapping: Mapping, origin: Relation, destination: Relation, relay: Relay, report: Report
) -> tuple[Verified, tuple[Difference, ...], int]:
    """Compare what ``mapping`` makes of the origin with the destination: (all, unexplained, in flight)."""
    replica = move.replica if mapping.feed == "forward" else None
    read = move.places.source if replica is None else replica.target
    places = (read, move.places.target or read)
    left = PostgresStore(places[0] if mapping.feed == "forward" else places[1], f"move {move.name} compare")
    try:
        right = PostgresStore(
            places[1] if mapping.feed == "forward" else places[0], f"move {move.name} compare"
        )
    except BaseException:
        left.close()
        raise
    try:
        names = tuple(v.destination for v in mapping.values)
        query = f"(SELECT {mapping.select} FROM {mapping.origin}) s"
        tables = (
            left.describe_as(origin, destination, names, query),
            right.describe_as(
                destination, destination, names, f"(SELECT {mapping.columns} FROM {mapping.destination}) t"
            ),
        )
        key = tuple(k.destination for k in mapping.key)
        if mapping.made:
            made.refuse_other_values(relay.origin, mapping)
            made.fill(relay.origin, mapping)
            left.link.run("SET SESSION lockgate.compare = 'on'")
        with _still(mapping, relay, move.declared.limits.lock_patience_seconds):
            if replica is not None:
                replica.past()
            found = verify(left, right, tables, key, progress=lambda p: report(p.doing, p.done), unique=True)
            texts = ", ".join(f"{c}::text" for c in mapping.batch_columns)
            # The origin's snapshot is still open: these are the entries that were waiting in that very moment. What the log
            # holds comes into the outbox now; nobody takes it out, as the relay is held.
            relay.pump()
            new = made.unmade(left.link, mapping)
            asked = relay.origin if relay.logged else left.link
            waiting = (
                asked.rows(f"SELECT DISTINCT {texts} FROM {mapping.outbox}") if found.differing or new else []
            )
        keys = {tuple(row) for row in waiting}
        everything = any(row[0] is None for row in keys)  # a TRUNCATE is on its way
        unexplained = (
            ()
            if everything
            else tuple(d for d in found.differing if tuple(str(k) for k in d.key) not in keys)
            # Rows whose inputs came after the functions were called, though no entry waits for them: they are equal to nothing.
            + tuple(
                Difference(k, "changed")
                for k in sorted(new - keys)
                if k not in {tuple(map(str, d.key)) for d in found.differing}
            )
        )
        return found, unexplained, len(keys)
    finally:
        left.close()
        right.close()


class _still:  # noqa: N801 - reads as a word: with _still(...)
    """Across two databases, hold the relay while both are read; in one database one snapshot is enough, but for changes that the log holds."""

    def __init__(self, mapping: Mapping, relay: Relay, seconds: float) -> None:
        self._held = None if mapping.same_database and not relay.logged else relay.exclusive(seconds)

    def __enter__(self) -> None:
        if self._held is not None:
            self._held.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._held is not None:
            self._held.__exit__(*error)  # type: ignore[arg-type]


def reconcile(
    move: Opened, *, repair: bool = False, report: Report = lambda _d, _p: None, operator: str = ""
) -> Reconciled:
    """Drain, compare everything, and step to ``reconciled`` when both sides are equal.

    With ``repair`` unexplained differences are copied again (through the outbox) and compared once more. Without it a
    divergence pauses the move or, where it is declared so, aborts it. Raises ``MOVE_DIVERGED``.
    """
    row = move.row()
    move.refuse_other_declaration(row)
    if row.stage not in ALLOWED:
        why(Stage(row.stage), Stage.RECONCILED)
    move.refuse_half_done(row)
    refuse_incomplete(move)
    move.stop_if_changed(row)
    mapping = move.layout(row).forward
    source, target = move.relations(row)
    relay = move.relay(mapping)
    repaired = 0
    for attempt in (0, 1):
        drain(move, relay, report)
        found, unexplained, in_flight = compare_feed(move, mapping, source, target, relay, report)
        if not unexplained or not repair or attempt:
            break
        repaired = len(unexplained)
        copy_again(move.home, mapping, unexplained, report)
    done = Reconciled(found, in_flight, unexplained, repaired)
    evidence: dict[str, object] = {
        "rowsSource": found.source_rows, "rowsTarget": found.target_rows, "differing": len(found.differing), "inFlight": in_flight, "repaired": repaired,
        "unexplained": [{"key": [str(k) for k in d.key], "kind": d.kind} for d in unexplained[:50]], "lane": found.comparison.lane, "replica": str(move.places.replica or ""), "seconds": round(found.seconds, 3),
    }  # fmt: skip
    if not done.equal:
        ledger.event(
            move.home,
            move.name,
            "divergence",
            "rows differ and no write in flight explains it",
            evidence,
            operator=operator,
        )
        if move.declared.gates.on_divergence == "pause":
            ledger.pause(
                move.home,
                move.name,
                f"{counted(len(unexplained), 'row')} {agree(len(unexplained), 'differs', 'differ')} and no write in flight explains it",
                evidence,
            )
        raise LockgateError(
            f"{counted(len(unexplained), 'row')} of the move {move.name} {agree(len(unexplained), 'differs', 'differ')} and no write in flight explains it, the first: {told(unexplained)}", "MOVE_DIVERGED", details=evidence
        )  # fmt: skip
    move.stop_if_changed(row)
    evidence["references"] = refuse_dangling(move, source, target, mapping, lambda: drain(move, relay))
    move.refuse_half_done(move.row())
    ledger.step(move.home, move.name, row.stage, Stage.RECONCILED, why(Stage(row.stage), Stage.RECONCILED), evidence, also="reconciled_at = clock_timestamp()", operator=operator)  # fmt: skip
    return done


def drain(move: Opened, relay: Relay, report: Report = lambda _d, _p: None) -> None:
    """Relay what waits, until little does."""
    limits = move.declared.limits
    with relay.exclusive(limits.lock_patience_seconds):
        waits = relay.backlog()
        first = max(1, waits)
        for _ in range(1000):
            done = relay.drain(limits.relay_rows, until=limits.outbox_rows, most=1)
            short = done.entries < limits.relay_rows
            # To count is to read the whole outbox: only where it may be the end.
            waits = relay.backlog() if short else max(0, waits - done.entries)
            report("carrying what waits", min(1.0, max(0.0, 1 - waits / first)))
            if relay.logged or (short and waits <= limits.outbox_rows):
                break


def told(differences: tuple[Difference, ...]) -> str:
    """The first difference, for people."""
    return (
        f"({', '.join(map(str, differences[0].key))}) {differences[0].kind}"
        if differences
        else "more than can be listed"
    )


AGAIN_ROWS = 1000
"""So many keys are put into the outbox at once."""


def copy_again(link: Link, mapping: Mapping, differences: tuple[Difference, ...], report: Report = lambda _d, _p: None) -> None:  # fmt: skip
    """Put the keys of these rows into the outbox of a feed, on a session of its origin: the relay makes them what the origin gives.

    Each batch is committed for itself: cut off between two, the keys that are there are carried all the same, and the next comparison finds the others.
    """
    names = ", ".join(mapping.batch_columns)
    columns = ", ".join(f"a.{c}::{k.type}" for c, k in zip(mapping.batch_columns, mapping.key, strict=True))
    arrays = ", ".join(f"${i + 1}::text[]" for i in range(len(mapping.key)))
    for first in range(0, len(differences), AGAIN_ROWS):
        part = differences[first : first + AGAIN_ROWS]
        keys = [texts([str(d.key[i]) for d in part]) for i in range(len(mapping.key))]
        link.run(f"INSERT INTO {mapping.outbox} (op, {names}) SELECT 'U', {columns} FROM unnest({arrays}) AS a ({names})", *keys)  # fmt: skip
        report("copying again", (first + len(part)) / len(differences))
