"""The relay: takes keys out of an outbox and brings the destination to what the origin holds for them."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from lockgate.errors import Busy
from lockgate.postgres.link import Link
from lockgate.postgres.moves import log, made
from lockgate.postgres.moves.mapping import Mapping, lock_key
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.points import point

NESTED = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"
"""A batch is a few thousand keys beside a table of any size: looked up one by one, whatever the planner guesses."""
PUMP_SECONDS = 0.5
"""The log is read so often at most: each time the server goes through it from its last restart point."""
DATA_ERRORS = ("22", "23")
"""Classes of SQLSTATE that are about the data of some row, not about the server."""


class Applied(NamedTuple):
    """One batch: entries taken from the outbox, and rows written to the destination."""

    entries: int
    written: int
    quarantined: int = 0


class Relay:
    """One feed between two sessions (one and the same within one database). Only who holds ``exclusive`` may apply."""

    def __init__(self, mapping: Mapping, origin: Link, destination: Link) -> None:
        self.mapping = mapping
        self.origin = origin
        self.destination = destination
        self._ready = False
        self._logged: bool | None = None
        self._clock = time.monotonic
        self._pumped = float("-inf")

    @property
    def logged(self) -> bool:
        """True when the changes of this feed are read from the server's log."""
        if self._logged is None:
            self._logged = self.mapping.feed == "forward" and log.exists(self.origin, self.mapping.move)
        return self._logged

    def pump(self, *, advance: bool = True) -> int:
        """Bring what the log holds into the outbox; nothing where triggers do. See ``log.pump``."""
        if not self.logged:
            return 0
        if advance:
            self._pumped = self._clock()
        return log.pump(self.origin, self.mapping, advance=advance)

    @contextmanager
    def exclusive(self, wait_seconds: float = 10.0) -> Iterator[None]:
        """Be the only relay of this move. The lock belongs to the session that writes, so work of a dead one is over
        before another begins. Raises ``Busy`` (``MOVE_BUSY``)."""
        key = lock_key(self.mapping.move, "relay")
        self._lock(key, wait_seconds)
        try:
            yield
        finally:
            if self.destination.alive:
                self.destination.run(f"SELECT pg_advisory_unlock({key})")

    def _lock(self, key: int, seconds: float) -> None:
        self.destination.run(f"SET lock_timeout = '{max(1, round(seconds * 1000))}ms'")
        try:
            self.destination.run(f"SELECT pg_advisory_lock({key})")
        except ServerError as error:
            if error.sqlstate != "55P03":
                raise
            raise Busy(f"another process relays the move {self.mapping.move}", "MOVE_BUSY") from None
        finally:
            if self.destination.alive:
                self.destination.run("SET lock_timeout = '30s'")

    def backlog(self) -> int:
        """How many entries wait in the outbox."""
        return int(self.origin.value(f"SELECT count(*) FROM {self.mapping.outbox}"))

    def waits(self) -> bool:
        """True when the outbox holds anything."""
        return bool(self.origin.value(f"SELECT EXISTS (SELECT FROM {self.mapping.outbox})"))

    def drain(
        self, rows: int, *, until: int = 0, most: int = 1_000_000, seconds: float = float("inf")
    ) -> Applied:
        """Apply batches until at most ``until`` entries wait, ``most`` batches are done or ``seconds`` have passed. Under ``exclusive`` only."""
        begin = self._clock()
        total = Applied(0, 0)
        for _ in range(most):
            if self._clock() - self._pumped >= PUMP_SECONDS:
                self.pump()
            done = self.apply(rows)
            total = Applied(
                total.entries + done.entries,
                total.written + done.written,
                total.quarantined + done.quarantined,
            )
            if self.logged:  # one batch took everything up to its snapshot
                break
            if (done.entries < rows and self.backlog() <= until) or self._clock() - begin > seconds:
                break
        return total

    def apply(self, rows: int) -> Applied:
        """Apply one batch in one transaction (two, when two databases take part; the outbox's commits last)."""
        apply_key = lock_key(self.mapping.move, "apply")
        self._prepare()
        self.destination.run(f"SELECT pg_advisory_lock({apply_key})")
        try:
            # The log is behind the rows that a snapshot shows, so a part of it is never consistent: take all, up to the snapshot.
            first = 2_000_000_000 if self.logged else rows
            try:
                return self._once(first, fresh=self.logged)
            except ServerError as error:
                if error.sqlstate == "40001":
                    return self._once(first, fresh=self.logged)
                if error.sqlstate[:2] not in DATA_ERRORS:
                    raise
            # Unique values may have wandered between rows of different batches: all that waits, at one snapshot, is consistent.
            try:
                return self._once(2_000_000_000, fresh=True)
            except ServerError as error:
                if error.sqlstate[:2] not in DATA_ERRORS:
                    raise
                return self._once(rows, one_by_one=True)
        finally:
            if self.destination.alive:
                self.destination.run(f"SELECT pg_advisory_unlock({apply_key})")

    def _prepare(self) -> None:
        if self._ready:
            return
        m = self.mapping
        columns = ", ".join(f"{c} {k.type}" for c, k in zip(m.batch_columns, m.key, strict=True))
        name = m.batch.removeprefix("pg_temp.")
        for link in {id(x): x for x in (self.origin, self.destination)}.values():
            link.run(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({columns}) ON COMMIT DELETE ROWS")
        self._ready = True

    def _once(self, rows: int, *, one_by_one: bool = False, fresh: bool = False) -> Applied:
        # REPEATABLE READ: which entries are seen and which rows are seen has to be one moment.
        with self.origin.transaction("ISOLATION LEVEL REPEATABLE READ"):
            if fresh and self.logged:
                self.origin.rows(
                    "SELECT 1"
                )  # the snapshot is taken; what it shows is brought to the disk, and then read from the log
                with closing(Link(self.origin.target, f"move {self.mapping.move} flush")) as other:
                    log.flush(other)
                self.pump(advance=False)
            if self.mapping.same_database:
                self.origin.run(f"SET LOCAL lockgate.feed = '{self.mapping.move}'")
                return self.within(rows, one_by_one=one_by_one)
            with self.destination.transaction():
                self.destination.run(f"SET LOCAL lockgate.feed = '{self.mapping.move}'")
                done = self.within(rows, one_by_one=one_by_one)
                point("move:relay:destination-commit")
            point("move:relay:origin-commit")
            return done

    def within(self, rows: int, *, one_by_one: bool = False) -> Applied:
        """Apply one batch inside the transactions that are open. The cutover calls it under its table lock."""
        m = self.mapping
        names = ", ".join(m.batch_columns)
        for link in {id(x): x for x in (self.origin, self.destination)}.values():
            link.run(NESTED.replace("SET LOCAL enable_seqscan = off", "SELECT 1"))
        entries, keys, truncated = self.origin.rows(
            f"WITH gone AS (DELETE FROM {m.outbox} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {m.outbox} LIMIT {rows})) RETURNING op, {names}),"
            f" kept AS (INSERT INTO {m.batch} ({names}) SELECT DISTINCT {names} FROM gone WHERE op <> 'T' RETURNING 1)"
            " SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM kept), EXISTS (SELECT FROM gone WHERE op = 'T')"
        )[0]
        if not entries:
            return Applied(0, 0)
        which = "" if truncated else f"WHERE ({m.origin_key}) IN (SELECT {names} FROM {m.batch})"
        made.fill(self.origin, m, which)
        if truncated:
            return Applied(entries, self._everything())
        if one_by_one:
            return self._each(entries, keys)
        return Applied(entries, self._batch())

    def _batch(self) -> int:
        m = self.mapping
        self.origin.run(NESTED)
        if self.destination is not self.origin:
            self.destination.run(NESTED)
            out = self.origin.copy_out(f"COPY (SELECT {', '.join(m.batch_columns)} FROM {m.batch}) TO STDOUT")
            self.destination.copy_in(f"COPY {m.batch} ({', '.join(m.batch_columns)}) FROM STDIN", out)
        self.destination.run(
            f"DELETE FROM {m.destination} WHERE ({m.destination_key}) IN (SELECT {', '.join(m.batch_columns)} FROM {m.batch})"
        )
        return self._insert(f"WHERE ({m.origin_key}) IN (SELECT {', '.join(m.batch_columns)} FROM {m.batch})")

    def _everything(self) -> int:
        """After TRUNCATE: the destination is emptied and gets what the origin holds now."""
        self.destination.run(f"DELETE FROM {self.mapping.destination}")
        return self._insert("")

    def _insert(self, where: str) -> int:
        m = self.mapping
        select = f"SELECT {m.select} FROM {m.origin} {where}"
        if self.destination is self.origin:
            return self.destination.run(
                f"INSERT INTO {m.destination} ({m.columns}) OVERRIDING SYSTEM VALUE {select}"
            )
        form = copy_format(self.origin, self.destination)
        out = self.origin.copy_out(f"COPY ({select}) TO STDOUT {form}")
        return self.destination.copy_in(f"COPY {m.destination} ({m.columns}) FROM STDIN {form}", out)

    def _each(self, entries: int, keys: int) -> Applied:
        """One key at a time, each in a savepoint: what the destination refuses goes to quarantine, the rest goes on."""
        m = self.mapping
        names = ", ".join(m.batch_columns)
        texts = ", ".join(f"{c}::text" for c in m.batch_columns)
        every = self.origin.rows(f"SELECT {texts} FROM {m.batch}")
        written = quarantined = 0
        values = ", ".join(f"${i + 1}::text::{k.type}" for i, k in enumerate(m.key))
        links = {id(x): x for x in (self.origin, self.destination)}.values()
        for key in every:
            for link in links:
                link.run("SAVEPOINT one")
                link.run(f"DELETE FROM {m.batch}")
            self.origin.run(f"INSERT INTO {m.batch} ({names}) VALUES ({values})", *key)
            try:
                written += self._batch()
            except ServerError as error:
                if error.sqlstate[:2] not in DATA_ERRORS:
                    raise
                quarantined += 1
                for link in links:
                    link.run("ROLLBACK TO SAVEPOINT one")
                quarantine(self.origin if m.feed == "forward" else self.destination, m, list(key), error)
            for link in links:
                link.run("RELEASE SAVEPOINT one")
        return Applied(entries, written, quarantined)


def quarantine(home: Link, mapping: Mapping, key: list[str], error: ServerError) -> None:
    """Write down that the destination refused the row of ``key``. ``home`` is the session of the source, where the ledger is."""
    from lockgate.record.redact import redact

    home.run(
        "INSERT INTO lockgate.move_quarantine (move, feed, key, sqlstate, message) VALUES ($1, $2, $3::text[], $4, $5)"
        " ON CONFLICT (move, feed, key) DO UPDATE SET sqlstate = excluded.sqlstate, message = excluded.message, at = clock_timestamp()",
        mapping.move, mapping.feed, key, error.sqlstate, redact(error.message),
    )  # fmt: skip


def copy_format(origin: Link, destination: Link) -> str:
    """How rows travel between two servers: binary within one major version, else text, which no version reads otherwise."""
    return "(FORMAT binary)" if origin.version // 10000 == destination.version // 10000 else ""
