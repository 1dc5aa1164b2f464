"""The switch and the way back: which side serves, changed while nobody writes, in as short a time as can be."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from lockgate.errors import Busy, LockgateError
from lockgate.postgres.link import Link
from lockgate.postgres.moves import capture, log
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.moves.relay import Relay
from lockgate.postgres.quoting import identifier, qualified
from lockgate.postgres.relation import Relation, describe
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.points import point


class Limits(NamedTuple):
    """How locks are asked for: many short attempts, never one long wait, and how long writers may be held at most."""

    attempt_ms: int
    patience_seconds: float
    block_ms: int


class Switched(NamedTuple):
    """What the switch cost: attempts for the lock, milliseconds in which writers were held, entries drained under the lock."""

    attempts: int
    blocked_ms: float
    drained: int
    checked: int


_HOLDERS = """
SELECT DISTINCT a.pid, a.application_name, a.usename, COALESCE(round(EXTRACT(epoch FROM clock_timestamp() - a.xact_start))::text, '?') || ' s', left(a.query, 80)
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.relation = ANY ($1::oid[]) AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND l.granted AND a.pid <> pg_catalog.pg_backend_pid() AND l.mode = ANY ($2::text[]) ORDER BY 1 LIMIT 5
"""
_WRITES = ("RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")  # fmt: skip
_AGAINST = {
    "ACCESS SHARE": ("AccessExclusiveLock",),
    "ROW EXCLUSIVE": _WRITES[2:],
    "SHARE ROW EXCLUSIVE": _WRITES,
    "ACCESS EXCLUSIVE": ("AccessShareLock", "RowShareLock", *_WRITES),
}
"""Which locks of others keep one from being had."""
Tell = Callable[[str], None]
"""Hears what is waited for."""


def who_holds(link: Link, oids: list[int], mode: str) -> list[dict[str, object]]:
    """The sessions whose locks on the tables keep ``mode`` from being had now."""
    rows = link.rows(_HOLDERS, oids, list(_AGAINST[mode]))
    return [dict(zip(("pid", "application", "user", "age", "query"), row, strict=True)) for row in rows]


class Patience:
    """Short attempts with pauses that grow, until patience is at its end. Whoever is in the way is told at once, each once; without their queries, which hold values."""

    def __init__(
        self, limits: Limits, rng: random.Random, tell: Tell = lambda _: None,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._limits, self._rng, self._tell, self._clock, self._sleep = limits, rng, tell, clock, sleep
        self._deadline = clock() + limits.patience_seconds
        self._told: set[object] = set()
        self.attempts = 1

    def failed(self, holders: list[dict[str, object]]) -> None:
        """Wait before the next attempt. Raises ``Busy`` (``MOVE_LOCK``) that names who holds the tables."""
        who = ", ".join(f"pid {h['pid']} ({h['application'] or 'no name'}, {h['user']}, {h['age']})" for h in holders)  # fmt: skip
        if self._clock() >= self._deadline:
            raise Busy(
                f"the tables could not be locked in {self.attempts} attempts of {self._limits.attempt_ms} ms within {self._limits.patience_seconds:g} s" + (f": {who}" if who else ""),
                "MOVE_LOCK", details={"attempts": self.attempts, "holders": holders},
            )  # fmt: skip
        if new := {h["pid"] for h in holders} - self._told:
            self._told |= new
            self._tell(f"the tables are held by {who}; trying again for up to {self._limits.patience_seconds:g} s")  # fmt: skip
        self._sleep(self._limits.attempt_ms / 1000 * (1 + self._rng.random()) * min(self.attempts, 8))
        self.attempts += 1


@contextmanager
def locked(
    link: Link,
    oids: list[int],
    mode: str,
    limits: Limits,
    rng: random.Random,
    *,
    settings: str = "",
    between: Callable[[], object] = lambda: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[int]:
    """A transaction that holds ``mode`` on the tables, with more ``settings`` (SQL) made before it waits; gives the number of attempts. A waiter blocks everybody behind it,
    so each attempt is short and the pauses between them are longer. The tables are locked in their order, each within an attempt's time: the one
    with writers comes last, or they would wait for the others, too. ``between`` is called before each attempt but the first, outside of any
    transaction: for what piles up while others hold the tables, and would have to be done under the lock. Raises ``Busy`` (``MOVE_LOCK``) that names who holds them,
    and ``tell`` hears that at once.
    """
    patience = Patience(limits, rng, tell, clock, sleep)
    while True:
        link.run("BEGIN")
        try:
            link.run(f"SET LOCAL lock_timeout = '{limits.attempt_ms}ms'; {settings}")
            names = ", ".join(relation_name(link, oid) for oid in oids)
            link.run(f"LOCK TABLE {names} IN {mode} MODE")
            break
        except ServerError as error:
            link.rollback()
            if error.sqlstate not in ("55P03", "40P01"):
                raise
            patience.failed(who_holds(link, oids, mode))
        between()
    try:
        yield patience.attempts
        point("move:switch:commit")
        link.run("COMMIT")
    except BaseException:
        link.rollback()
        raise


def relation_name(link: Link, oid: int) -> str:
    """The name of the table of ``oid`` now, as SQL. Raises ``LockgateError`` when it is gone."""
    rows = link.rows(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid",
        oid,
    )
    if not rows:
        raise LockgateError(f"the table with the oid {oid} is gone", "MOVE_PAUSED")
    return qualified(*rows[0])


def prepare(relay: Relay) -> None:
    """Make what ``drain_and_check`` needs, before any lock: every statement under it holds writers up."""
    m = relay.mapping
    columns = ", ".join(f"{c} {k.type}" for c, k in zip(m.batch_columns, m.key, strict=True))
    relay._prepare()
    if relay.logged:
        relay.pump()
        relay.pump()  # the first one lets the slot move on to the point that was just written
    for link in {id(x): x for x in (relay.origin, relay.destination)}.values():
        link.run(f"CREATE TEMPORARY TABLE IF NOT EXISTS lockgate_changed ({columns}) ON COMMIT DELETE ROWS")


def drain_and_check(
    relay: Relay, limits: Limits, begin: float, clock: Callable[[], float]
) -> tuple[int, int]:
    """Under the lock, after ``prepare``: apply all that waits, then compare exactly the keys that were applied. (entries, keys compared).

    Raises ``LockgateError`` (``MOVE_DIVERGED``, or ``MOVE_LOCK`` when it takes longer than writers may be held).
    """
    m = relay.mapping
    drained = 0
    names = ", ".join(m.batch_columns)
    links = {id(x): x for x in (relay.origin, relay.destination)}.values()
    if relay.logged:
        # A writer that does not wait for the disk may have committed what the log cannot be asked for yet.
        if relay.mapping.same_database:
            with closing(Link(relay.origin.target, f"move {m.move} flush")) as other:
                log.flush(other)
        relay.pump(advance=False)
    while relay.waits():
        done = relay.within(2_000_000_000)
        for link in links:
            link.run(
                f"INSERT INTO pg_temp.lockgate_changed SELECT {names} FROM {m.batch}; DELETE FROM {m.batch}"
            )
        drained += done.entries
        if (clock() - begin) * 1000 > limits.block_ms:
            raise Busy(
                f"draining under the lock took longer than {limits.block_ms} ms ({drained} entries)",
                "MOVE_LOCK",
            )
    if not drained:
        return 0, 0
    origin = relay.origin.rows(
        m.digest(
            f"(SELECT {m.select} FROM {m.origin} WHERE ({m.origin_key}) IN (SELECT {names} FROM pg_temp.lockgate_changed)) s"
        )
    )[0]
    there = relay.destination.rows(
        m.digest(
            f"(SELECT {m.columns} FROM {m.destination} WHERE ({m.destination_key}) IN (SELECT {names} FROM pg_temp.lockgate_changed)) t"
        )
    )[0]
    if origin != there:
        raise LockgateError(
            f"after the drain the changed keys differ: {origin[0]} rows against {there[0]}", "MOVE_DIVERGED",
            details={"source": list(origin), "target": list(there)},
        )  # fmt: skip
    return drained, int(origin[0])


def advance_sequences(origin: Link, destination: Link, here: Relation, there: Relation) -> list[str]:
    """Bring the sequences of the new serving side to where the old side's stand, and hand over one that both share."""
    told = []
    columns = {c.name: c for c in there.columns}
    for column in here.columns:
        if not column.sequence:
            continue
        twin = columns.get(column.name)
        if twin is None:
            continue
        last, called = origin.rows(f"SELECT last_value, is_called FROM {column.sequence}")[0]
        increment = origin.value(
            "SELECT seqincrement FROM pg_catalog.pg_sequence WHERE seqrelid = $1::regclass", column.sequence
        )
        if twin.sequence and (twin.sequence != column.sequence or destination is not origin):
            order = ">" if increment > 0 else "<"
            destination.run(
                f"SELECT setval('{twin.sequence.replace(chr(39), chr(39) * 2)}'::regclass, $1::bigint, $2::boolean) FROM {twin.sequence} s WHERE $1::bigint {order}= s.last_value",
                last, called,
            )  # fmt: skip
            told.append(f"{twin.sequence} at {last}")
        elif destination is origin and twin.default and "nextval" in twin.default and not column.identity:
            # The default of both reads one sequence; it must not go when the old table goes.
            destination.run(f"ALTER SEQUENCE {column.sequence} OWNED BY {there.sql}.{identifier(twin.name)}")
            told.append(f"{column.sequence} handed over")
    return told


def swap_names_ddl(serving: Relation, coming: Relation, retired: str) -> str:
    """``coming`` takes the name of ``serving``, which becomes ``retired``. Both are locked."""
    return (
        f"ALTER TABLE {serving.sql} RENAME TO {identifier(retired)};"
        f"ALTER TABLE {coming.sql} RENAME TO {identifier(serving.name)};"
    )


def retired_name(name: str, move: str, suffix: str) -> str:
    """A name for the table that does not serve any more, within 63 bytes."""
    tail = f"__{move}_{suffix}"
    return name.encode()[: 63 - len(tail)].decode("utf-8", "ignore") + tail


def turn_ddl(
    mapping_off: Mapping, mapping_on: Mapping | None, off: Relation, on: Relation, move: str, *, owned: bool
) -> str:
    """In one database: ``off`` stops serving (barrier, no capture), ``on`` begins (capture of ``mapping_on``, no barrier).

    ``owned``: ``off`` is none of the schema's tables any more, but the move's.
    """
    ddl = capture.uncapture_ddl(mapping_off, off.sql) + capture.unbarrier_ddl(move, off.sql)
    ddl += capture.barrier_ddl(move, off.sql, owned=owned) + capture.unbarrier_ddl(move, on.sql)
    if mapping_on is not None:
        ddl += capture.uncapture_ddl(mapping_on, on.sql) + capture.capture_ddl(mapping_on, on.sql)
    return ddl


def fresh(link: Link, oid: int) -> Relation:
    """The relation of ``oid`` as it is now. Raises ``LockgateError`` when it is gone."""
    found = describe(link, oid)
    if found is None:
        raise LockgateError(f"the table with the oid {oid} is gone", "MOVE_PAUSED")
    return found


def serve(link: Link, move: str, side: str, epoch: int) -> None:
    """Write which side serves, and tell who listens."""
    link.run(
        "WITH told AS (INSERT INTO lockgate.move_switch (move, serves, epoch) VALUES ($1, $2, $3::bigint)"
        " ON CONFLICT (move) DO UPDATE SET serves = excluded.serves, epoch = excluded.epoch, switched_at = clock_timestamp() WHERE lockgate.move_switch.epoch <= excluded.epoch)"
        " SELECT pg_notify('lockgate_switch', $4)",
        move, side, epoch, f"{move} {side} {epoch}",
    )  # fmt: skip


def serves(link: Link, move: str) -> tuple[str, int]:
    """(side that serves, epoch) as this database says; ("source", 0) before any switch."""
    rows = link.rows("SELECT serves, epoch FROM lockgate.move_switch WHERE move = $1", move)
    return (rows[0][0], rows[0][1]) if rows else ("source", 0)
