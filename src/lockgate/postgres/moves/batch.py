"""One range of the backfill: keep the relay out, copy, digest both sides, write the ledger.

No row of the origin is locked. What a batch read may be changed by a writer at once; the key is then in the outbox, and the
relay cannot apply it before the batch has committed, because the batch took the shared lock before it read.
"""

import time
from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.postgres.link import Link
from lockgate.postgres.moves import dangling, made
from lockgate.postgres.moves.dangling import Dangling, Reference
from lockgate.postgres.moves.mapping import Mapping, lock_key
from lockgate.postgres.moves.relay import DATA_ERRORS, NESTED, copy_format
from lockgate.postgres.moves.replica import Replica
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.points import point

KEPT = "SET LOCAL work_mem = '32MB'"
"""The rows of a batch are read once and used twice, to insert and to digest; as long as they fit they need no file."""


LATER = "SET LOCAL synchronous_commit = off"
"""What the ledger says of a range may lose its last moment in a crash, together with all that was committed behind it: the range is copied once
more then. So its commits do not wait for the disk; the target's of another database do, before the ledger hears of them."""


class Range(NamedTuple):
    """Keys above ``low`` (None: from the beginning) up to and including ``high``, as texts."""

    number: int
    low: tuple[str, ...] | None
    high: tuple[str, ...]


class Copied(NamedTuple):
    """What a batch found on both sides. Unequal digests mean that an entry of the outbox is on its way, or a divergence: the reconcile tells."""

    rows_source: int
    rows_target: int
    digest_source: str
    digest_target: str
    dangling: tuple[Dangling, ...] = ()

    @property
    def equal(self) -> bool:
        """True when both sides hold the same rows for these keys."""
        return (self.rows_source, self.digest_source) == (self.rows_target, self.digest_target)


class Poisoned(LockgateError):
    """The destination refuses data of this range; ``error`` is what the server said."""

    default_reason = "MOVE_QUARANTINE"

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.message)
        self.error = error


def boundary(
    link: Link, mapping: Mapping, after: tuple[str, ...] | None, rows: int
) -> tuple[str, ...] | None:
    """The key at which the next range of about ``rows`` rows ends; None when there is nothing above ``after``."""
    texts = _texts(mapping)
    where = f"WHERE {_above(mapping)}" if after else ""
    ordered = f"SELECT {mapping.origin_key} FROM {mapping.origin} {where} ORDER BY {mapping.origin_key}"
    found = link.rows(f"SELECT {texts} FROM ({ordered} LIMIT 1 OFFSET {rows - 1}) q", *(after or ()))
    if not found:
        descending = ", ".join(f"{c} DESC" for c in _names(mapping))
        found = link.rows(
            f"SELECT {texts} FROM (SELECT {mapping.origin_key} FROM {mapping.origin} {where} ORDER BY {descending} LIMIT 1) q",
            *(after or ()),
        )
    return tuple(found[0]) if found else None


def _names(mapping: Mapping) -> list[str]:
    from lockgate.postgres.quoting import identifier

    return [identifier(k.origin) for k in mapping.key]


def _texts(mapping: Mapping) -> str:
    return ", ".join(f"{name}::text" for name in _names(mapping))


def _above(mapping: Mapping) -> str:
    # A row-value comparison: (a, b) > (x, y). Taking it apart by hand is where tools lose rows.
    bound = ", ".join(f"${i + 1}::text::{k.type}" for i, k in enumerate(mapping.key))
    return f"({mapping.origin_key}) > ({bound})"


def copy_range(
    mapping: Mapping, origin: Link, destination: Link, piece: Range, ledger: str, owner: str, references: tuple[Reference, ...] = (), replica: Replica | None = None,
) -> Copied:  # fmt: skip
    """Copy one range and write its row of the ledger: in one transaction in one database, behind the copy across two.

    Across two databases rows are read from ``replica``, where there is one, once it is past all that was relayed before.
    What dangles by ``references`` is told, from the same transaction. Raises ``Poisoned`` when the destination refuses data; nothing of the range is copied then.
    """
    parameters = [*piece.high, *(piece.low or ())]
    begin = time.monotonic()
    try:
        if mapping.same_database:
            with origin.transaction():
                origin.run(f"SELECT pg_advisory_xact_lock_shared({lock_key(mapping.move, 'apply')})")
                origin.run(f"SET LOCAL lockgate.feed = '{mapping.move}'; {LATER}; {KEPT}")
                copied = _in_one(mapping, origin, piece, parameters, references)
                record(origin, mapping, piece, copied, ledger, owner, begin)
                point("move:batch:commit")
            return copied
        if replica is not None:
            replica.past()  # the long wait, if there is one, keeps nobody out
        # The destination's lock comes before the origin's snapshot; the other way round a delete could slip in between.
        with destination.transaction():
            destination.run(f"SELECT pg_advisory_xact_lock_shared({lock_key(mapping.move, 'apply')})")
            destination.run(f"SET LOCAL lockgate.feed = '{mapping.move}'")
            # So the point that a replica has to be past is asked for under the lock, too.
            read = origin if replica is None else replica.past()
            with read.transaction("ISOLATION LEVEL REPEATABLE READ" + ("" if mapping.made else " READ ONLY")):
                copied = _across(mapping, read, destination, piece, parameters, references)
            point("move:batch:destination-commit")
        # Killed here, the range is copied and the ledger does not know: it is copied once more, and inserts nothing.
        with origin.transaction():
            origin.run(LATER)
            record(origin, mapping, piece, copied, ledger, owner, begin)
        return copied
    except ServerError as error:
        if error.sqlstate[:2] in DATA_ERRORS:
            raise Poisoned(error) from None
        raise


def _in_one(
    mapping: Mapping, link: Link, piece: Range, parameters: list[str], references: tuple[Reference, ...]
) -> Copied:
    m = mapping
    where = m.in_range("origin", low=piece.low is not None)
    # A row that changes before the next statement may have other inputs: then that one fails, and the range is copied again.
    made.fill(link, m, f"WHERE {where}", *parameters)
    digest = m.digest("s")
    rows_source, digest_source = link.rows(
        f"WITH s AS MATERIALIZED (SELECT {m.select} FROM {m.origin} WHERE {where}),"
        f" put AS (INSERT INTO {m.destination} ({m.columns}) OVERRIDING SYSTEM VALUE SELECT * FROM s{_unless_there(link, m, piece, parameters)})"
        f" {digest}",
        *parameters,
    )[0]
    if m.same_order:
        there = f"(SELECT {m.columns} FROM {m.destination} WHERE {m.in_range('destination', low=piece.low is not None)}) t"
    else:
        there = f"(SELECT {m.columns} FROM {m.destination} WHERE ({m.destination_key}) IN (SELECT {m.origin_key} FROM {m.origin} WHERE {where})) t"
    rows_target, digest_target = link.rows(m.digest(there), *parameters)[0]
    lost = _dangling(link, references, m, there, parameters)
    return Copied(rows_source, rows_target, digest_source, digest_target, lost)


def _unless_there(link: Link, m: Mapping, piece: Range, parameters: list[str]) -> str:
    """What keeps a batch from writing a key twice. Nothing has to where the range is empty: looking for each key, and marking each row first,
    is half of an insert. Nobody else writes to the range meanwhile, and a key that came in all the same is refused, and copied by another turn.
    """
    if m.same_order:
        # Ordered, so that it is one look into the index of the key, whatever is known of the table.
        inside = f"{m.destination} WHERE {m.in_range('destination', low=piece.low is not None)} ORDER BY {m.destination_key} LIMIT 1"
        if not link.rows(f"SELECT 1 FROM {inside}", *parameters):
            return ""
    return f" ON CONFLICT ({m.destination_key}) DO NOTHING"


def _across(
    mapping: Mapping, origin: Link, destination: Link, piece: Range, parameters: list[str], references: tuple[Reference, ...],
) -> Copied:  # fmt: skip
    m = mapping
    where = m.in_range("origin", low=piece.low is not None)
    made.fill(origin, m, f"WHERE {where}", *parameters)
    rows_source, digest_source = origin.rows(
        m.digest(f"(SELECT {m.select} FROM {m.origin} WHERE {where}) s"),
        *parameters,
    )[0]
    form = copy_format(origin, destination)
    bounds = _literal_range(m, piece)
    select = f"COPY (SELECT {m.select} FROM {m.origin} WHERE {bounds}) TO STDOUT {form}"
    destination.run("SAVEPOINT direct")
    try:
        # Straight into the table while nothing of the range is there yet: twice as fast as by way of a staging table.
        destination.copy_in(f"COPY {m.destination} ({m.columns}) FROM STDIN {form}", origin.copy_out(select))
        staged = False
    except ServerError as error:
        if error.sqlstate != "23505":
            raise
        destination.run("ROLLBACK TO SAVEPOINT direct")
        staged = True
    if staged or not m.same_order:
        destination.run(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS lockgate_staging (LIKE {m.destination}) ON COMMIT DELETE ROWS"
        )
        destination.copy_in(
            f"COPY pg_temp.lockgate_staging ({m.columns}) FROM STDIN {form}", origin.copy_out(select)
        )
        destination.run(
            f"INSERT INTO {m.destination} ({m.columns}) OVERRIDING SYSTEM VALUE SELECT {m.columns} FROM pg_temp.lockgate_staging ON CONFLICT ({m.destination_key}) DO NOTHING"
        )
    if m.same_order:
        there = f"(SELECT {m.columns} FROM {m.destination} WHERE {m.in_range('destination', low=piece.low is not None)}) t"
        own = parameters
    else:
        there = f"(SELECT {m.columns} FROM {m.destination} WHERE ({m.destination_key}) IN (SELECT {m.destination_key} FROM pg_temp.lockgate_staging)) t"
        own = []
    rows_target, digest_target = destination.rows(m.digest(there), *own)[0]
    lost = _dangling(destination, references, m, there, own)
    return Copied(rows_source, rows_target, digest_source, digest_target, lost)


def _dangling(link: Link, references: tuple[Reference, ...], m: Mapping, there: str, parameters: list[str]) -> tuple[Dangling, ...]:  # fmt: skip
    if not references:
        return ()
    link.run(
        NESTED
    )  # a few thousand rows beside a table of any size; nothing but the ledger follows in this transaction
    return dangling.look(link, references, m.key, there, *parameters)


def _literal_range(mapping: Mapping, piece: Range) -> str:
    """The range with its bounds written out: COPY takes no parameters."""
    from lockgate.postgres.quoting import literal

    def bound(key: tuple[str, ...]) -> str:
        return ", ".join(f"{literal(v)}::{k.type}" for v, k in zip(key, mapping.key, strict=True))

    high = f"({mapping.origin_key}) <= ({bound(piece.high)})"
    return f"{high} AND ({mapping.origin_key}) > ({bound(piece.low)})" if piece.low else high


def record(
    link: Link, mapping: Mapping, piece: Range, copied: Copied, ledger: str, owner: str, begin: float
) -> None:
    """Write the range into the ledger; in one database in the transaction that copies it."""
    link.run(
        ledger, mapping.move, piece.number, owner, copied.rows_source, copied.rows_target, copied.digest_source, copied.digest_target, copied.equal,
        time.monotonic() - begin,
    )  # fmt: skip


def count(link: Link, mapping: Mapping, piece: Range) -> int:
    """How many rows of the origin are in the range now."""
    where = mapping.in_range("origin", low=piece.low is not None)
    return int(
        link.value(f"SELECT count(*) FROM {mapping.origin} WHERE {where}", *piece.high, *(piece.low or ()))
    )
