"""Capture from the server's log instead of triggers: a logical slot, read by SQL functions, whose changed keys go into the outbox.

A batch of the log is looked at (``peek``), its keys are committed into the outbox, and only then does the slot advance: cut
off between both, the same keys come again, which is harmless. Writers pay nothing beyond ``wal_level = logical``.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.postgres.link import Link
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.quoting import identifier
from lockgate.postgres.relation import Relation
from lockgate.postgres.sqlstate import ServerError

ROWS_AT_ONCE = 20_000
"""So many changes are asked for at once; the server gives whole transactions, so it may be more."""

Key = tuple[str | None, ...]


class Change(NamedTuple):
    """One change: ``I``, ``U``, ``D`` with a key, or ``T`` for a TRUNCATE."""

    op: str
    key: Key


def publication(move: str) -> str:
    """The publication of a move, which says of which table the log is read."""
    return f"lockgate_{move}"


_SLOT = "(SELECT 'lockgate_' || $1::text || '_' || oid FROM pg_catalog.pg_database WHERE datname = current_database())"
"""The slot of a move: slots belong to the whole server, moves to one database."""
_OF_SLOT = f"FROM pg_catalog.pg_replication_slots WHERE slot_name = {_SLOT}"


def unfit(link: Link, relation: Relation, key: Sequence[str]) -> str:
    """Why the log cannot be read for this table; empty when it can."""
    level, slots, used, may = link.rows(
        "SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int, (SELECT count(*) FROM pg_catalog.pg_replication_slots),"
        " (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)"
    )[0]  # fmt: skip
    if level != "logical":
        return f"wal_level is {level}, not logical"
    if not may:
        return "this role may not replicate (REPLICATION)"
    if used >= slots:
        return f"all {slots} replication slots are taken"
    if relation.kind != "r":
        return f"{relation.name} is partitioned"
    primary = next((u.columns for u in relation.uniques if u.primary), ())
    if relation.replica_identity == "f" or (relation.replica_identity == "d" and set(primary) == set(key)):
        return ""
    return f"the replica identity of {relation.name} is not its key"


def create(link: Link, move: str, table: str) -> None:
    """Make publication and slot: every change that commits after this call is kept for the move."""
    drop(link, move)
    link.run(f"CREATE PUBLICATION {identifier(publication(move))} FOR TABLE {table}")
    # Waits for transactions that write now; what they wrote is seen by the backfill, or by the slot.
    link.rows(f"SELECT pg_catalog.pg_create_logical_replication_slot({_SLOT}, 'pgoutput')", move)


def drop(link: Link, move: str) -> None:
    """Take slot and publication away; nothing happens where they are not there."""
    link.rows(f"SELECT pg_catalog.pg_drop_replication_slot(slot_name) {_OF_SLOT}", move)
    link.run(f"DROP PUBLICATION IF EXISTS {identifier(publication(move))}")


def exists(link: Link, move: str) -> bool:
    """True when the move's slot is there. Raises ``LockgateError`` (``MOVE_PAUSED``) when the server has thrown its log away."""
    rows = link.rows(f"SELECT COALESCE(wal_status, '') {_OF_SLOT}", move)
    if rows and rows[0][0] == "lost":
        raise LockgateError(
            f"the slot of the move {move} was invalidated: what was written since is unknown", "MOVE_PAUSED",
            next=f"lockgate move abort {move}, then start it anew; raise max_slot_wal_keep_size.",
        )  # fmt: skip
    return bool(rows)


def lag(link: Link, move: str) -> int | None:
    """How many bytes of the log the slot holds back; None without a slot."""
    value = link.value(
        f"SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::bigint {_OF_SLOT}",
        move,
    )
    return None if value is None else int(value)


def come_near(link: Link) -> None:
    """Let the server write down which transactions run, so that the log is read from here on and not from up to 15 s before; where it may be asked to."""
    with suppress(ServerError):
        link.rows("SELECT pg_catalog.pg_log_standby_snapshot()")


def flush(link: Link) -> None:
    """Bring everything that is committed to the disk, where the log can be asked for it: writers need not have waited. Outside a transaction."""
    link.rows("SELECT pg_catalog.pg_logical_emit_message(true, 'lockgate', '')")


def pump(link: Link, mapping: Mapping, *, advance: bool = True) -> int:
    """Bring changed keys from the log into the outbox, until the log is read; how many.

    Without ``advance``, inside a transaction, the slot stays where it is, so that a rollback loses nothing and the keys
    come again: call it once there.
    """
    move, total = mapping.move, 0
    if advance:
        come_near(link)
        flush(link)
    while True:
        # What is flushed now is decoded below; without changes for this table the slot may go there.
        before = link.value("SELECT pg_catalog.pg_current_wal_flush_lsn()::text")
        try:
            rows = link.rows(
                f"SELECT lsn::text, data FROM pg_catalog.pg_logical_slot_peek_binary_changes({_SLOT}, NULL, $2::int, 'proto_version', '1', 'publication_names', $3)",
                move, ROWS_AT_ONCE if advance else None, identifier(publication(move)),
            )  # fmt: skip
        except ServerError as error:
            if error.sqlstate == "55006":
                raise LockgateError(
                    f"another session reads the log of the move {move}", "MOVE_BUSY"
                ) from None
            raise
        if advance:
            _until_visible(link, rows)
        changes = list(keys_of([bytes(row[1]) for row in rows], [k.origin for k in mapping.key]))
        if changes:
            _put(link, mapping, changes)
            total += len(changes)
        if not advance:
            return total
        end = rows[-1][0] if rows else before
        link.rows(f"SELECT pg_catalog.pg_replication_slot_advance({_SLOT}, $2::pg_lsn)", move, end)
        if len(rows) < ROWS_AT_ONCE:
            return total


def _until_visible(link: Link, rows: Sequence[tuple[object, ...]]) -> None:
    """Wait until everybody sees the transactions in ``rows``: a commit stands in the log a moment before it is visible,
    and the relay reads the rows again. A key that was taken out too early would be brought over as it was."""
    wanted = {int.from_bytes(bytes(data)[17:21], "big") for _, data in rows if bytes(data)[:1] == b"B"}  # type: ignore[call-overload]
    while wanted:
        _, top, running = str(link.value("SELECT pg_catalog.pg_current_snapshot()::text")).split(":")
        still = {int(x) & 0xFFFFFFFF for x in running.split(",") if x}
        # Numbers of 32 bits go round: what is less than half the circle ahead of the snapshot's end has not been seen yet.
        wanted = {x for x in wanted if x in still or 0 <= ((x - int(top)) & 0xFFFFFFFF) < 1 << 31}


def _put(link: Link, mapping: Mapping, changes: list[Change]) -> None:
    names = ", ".join(mapping.batch_columns)
    items = ", ".join(f"k{i}::{k.type}" for i, k in enumerate(mapping.key))
    arrays = ", ".join(f"${i + 2}::text[]" for i in range(len(mapping.key)))
    columns = ", ".join(f"k{i}" for i in range(len(mapping.key)))
    seen = list(dict.fromkeys(changes))  # a key that changed often is brought over once
    link.run(
        f'INSERT INTO {mapping.outbox} (op, {names}) SELECT op::"char", {items} FROM unnest($1::text[], {arrays}) AS u (op, {columns})',
        [c.op for c in seen], *([c.key[i] if c.key else None for c in seen] for i in range(len(mapping.key))),
    )  # fmt: skip


# -- the messages of pgoutput, version 1 ----------------------------------------------------------------


def keys_of(messages: Sequence[bytes], key: Sequence[str]) -> Iterator[Change]:
    """The changed keys in messages of the output plugin. Pure. Raises ``LockgateError`` for what it does not know."""
    places: dict[int, list[int]] = {}
    for message in messages:
        kind, data = message[:1], message[1:]
        relation = int.from_bytes(data[:4], "big")
        if kind == b"R":
            names = _columns(data)
            places[relation] = [names.index(k) for k in key]
        elif kind == b"I":
            yield Change("I", _pick(_tuple(data, 5)[0], places[relation]))
        elif kind == b"U":
            place, old = 4, None
            if data[place : place + 1] in (b"K", b"O"):
                old, place = _tuple(data, place + 1)
            new = _tuple(data, place + 1)[0]
            if old is not None:  # an unchanged value that is stored apart is sent in the old row only
                new = [o if n is _UNCHANGED else n for o, n in zip(old, new, strict=True)]
            yield Change("U", _pick(new, places[relation]))
            if old is not None and _pick(old, places[relation]) != _pick(new, places[relation]):
                yield Change("D", _pick(old, places[relation]))
        elif kind == b"D":
            yield Change("D", _pick(_tuple(data, 5)[0], places[relation]))
        elif kind == b"T":
            yield Change("T", ())
        elif kind not in (b"B", b"C", b"O", b"Y", b"M"):
            raise LockgateError(f"the log holds a message that is not known: {kind!r}", "MOVE_QUERY_FAILED")


_UNCHANGED = "\0unchanged"


def _columns(data: bytes) -> list[str]:
    place = 4
    for _ in range(2):  # schema and name
        place = data.index(b"\0", place) + 1
    count = int.from_bytes(data[place + 1 : place + 3], "big")
    place += 3
    names = []
    for _ in range(count):
        end = data.index(b"\0", place + 1)
        names.append(data[place + 1 : end].decode())
        place = end + 9
    return names


def _tuple(data: bytes, place: int) -> tuple[list[str | None], int]:
    count = int.from_bytes(data[place : place + 2], "big")
    place += 2
    values: list[str | None] = []
    for _ in range(count):
        kind = data[place : place + 1]
        place += 1
        if kind == b"n":
            values.append(None)
        elif kind == b"u":
            values.append(_UNCHANGED)
        else:
            size = int.from_bytes(data[place : place + 4], "big")
            values.append(data[place + 4 : place + 4 + size].decode())
            place += 4 + size
    return values, place


def _pick(values: list[str | None], places: list[int]) -> Key:
    found = tuple(values[p] for p in places)
    if _UNCHANGED in found:
        raise LockgateError("the log does not hold the key of a changed row", "MOVE_QUERY_FAILED")
    return found
