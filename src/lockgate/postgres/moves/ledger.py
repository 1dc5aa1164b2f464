"""The rows of a move in the schema ``lockgate``: the only truth about where it stands."""

import msgspec

from lockgate.errors import ConfigError, LockgateError
from lockgate.postgres.link import Link
from lockgate.postgres.moves.batch import Range

LEASE_SECONDS = 60
RECORD = """
UPDATE lockgate.move_range SET state = 'copied', rows_source = $4::bigint, rows_target = $5::bigint, digest_source = $6, digest_target = $7, equal = $8,
       algorithm = 'hash64', lease_owner = $3, lease_until = NULL, message = '', finished_at = clock_timestamp(),
       seconds = $9::double precision
 WHERE move = $1 AND number = $2
"""


class MoveRow(msgspec.Struct, frozen=True):
    """Where a move stands."""

    name: str
    stage: str
    resume_stage: str | None
    reason: str
    switching: str
    declaration: dict[str, object]
    declaration_hash: str
    source_oid: int
    target_oid: int
    same_database: bool
    target_created: bool
    source_shape: str
    target_shape: str
    epoch: int
    round: int
    cursor_done: bool
    rows_estimate: int
    operator: str
    started_at: str
    stage_at: str
    reconciled_at: str | None = None
    cutover_at: str | None = None
    cutover_ms: float | None = None
    rollback_until: str | None = None
    window_open: bool = False
    finished_at: str | None = None


_ROW = """
SELECT pg_catalog.jsonb_build_object('name', name, 'stage', stage, 'resume_stage', resume_stage, 'reason', reason, 'switching', switching, 'declaration', declaration,
  'declaration_hash', declaration_hash, 'source_oid', source_oid::bigint, 'target_oid', target_oid::bigint, 'same_database', same_database, 'target_created', target_created, 'source_shape', source_shape,
  'target_shape', target_shape, 'epoch', epoch, 'round', round, 'cursor_done', cursor_done, 'rows_estimate', rows_estimate, 'operator', operator, 'started_at', started_at,
  'stage_at', stage_at, 'reconciled_at', reconciled_at, 'cutover_at', cutover_at, 'cutover_ms', cutover_ms, 'rollback_until', rollback_until,
  'window_open', COALESCE(rollback_until > clock_timestamp(), false), 'finished_at', finished_at)::text FROM lockgate.move
"""


def exists(link: Link) -> bool:
    """True when this database has the tables of moves."""
    return bool(link.value("SELECT pg_catalog.to_regclass('lockgate.move') IS NOT NULL"))


def read(link: Link, name: str) -> MoveRow:
    """The row of the move ``name``. Raises ``ConfigError`` (``MOVE_UNKNOWN``)."""
    found = read_if_there(link, name)
    if found is None:
        raise ConfigError(
            f"{link.target} knows no move {name}", "MOVE_UNKNOWN", next=f"lockgate move start {name}"
        )
    return found


def read_if_there(link: Link, name: str) -> MoveRow | None:
    """The row of the move ``name``, or None."""
    text = link.value(_ROW + " WHERE name = $1", name) if exists(link) else None
    return msgspec.json.decode(text, type=MoveRow) if text else None


def read_all(link: Link) -> list[MoveRow]:
    """Every move of this database, oldest first."""
    if not exists(link):
        return []
    return [msgspec.json.decode(row[0], type=MoveRow) for row in link.rows(_ROW + " ORDER BY started_at")]


def insert(link: Link, row: dict[str, object]) -> None:
    """Write a new move. Inside the transaction that registers its capture."""
    names = list(row)
    link.run(
        f"INSERT INTO lockgate.move ({', '.join(names)}) VALUES ({', '.join(f'${i + 1}' for i in range(len(names)))})",
        *row.values(),
    )


def step(
    link: Link,
    name: str,
    before: str,
    after: str,
    why: str,
    evidence: dict[str, object],
    *,
    also: str = "",
    operator: str = "",
) -> None:
    """Move from stage to stage, with its evidence; ``also`` is more to set. Raises ``LockgateError`` (``MOVE_BUSY``) when somebody else was faster."""
    changed = link.run(
        f"UPDATE lockgate.move SET stage = $3, stage_at = clock_timestamp(), reason = '', resume_stage = NULL{', ' + also if also else ''} WHERE name = $1 AND stage = $2",
        name, before, after,
    )  # fmt: skip
    if not changed:
        raise LockgateError(
            f"the move {name} is not {before} any more: another process moved it on", "MOVE_BUSY"
        )
    event(link, name, "step", why, evidence, before=before, after=after, operator=operator)


def event(
    link: Link,
    name: str,
    kind: str,
    reason: str,
    evidence: dict[str, object],
    *,
    before: str = "",
    after: str = "",
    operator: str = "",
) -> None:
    """Add to the events of a move."""
    link.run(
        "INSERT INTO lockgate.move_event (move, kind, from_stage, to_stage, reason, operator, evidence)"
        " VALUES ($1, $2, $3, $4, $5, COALESCE(NULLIF($6, ''), session_user), $7::jsonb)",
        name, kind, before, after, reason, operator, msgspec.json.encode(evidence).decode(),
    )  # fmt: skip


def pause(link: Link, name: str, reason: str, evidence: dict[str, object]) -> None:
    """Pause a move that has not switched, from whatever stage it is in. Nothing happens when it is paused already, or while a switch is half done: only its repetition leads on."""
    row = read(link, name)
    if row.stage in ("paused", "cut_over", "tail", "finished", "aborted", "rolled_back", "planned"):
        return
    with link.transaction():
        changed = link.run(
            "UPDATE lockgate.move SET resume_stage = stage, stage = 'paused', reason = $2, stage_at = clock_timestamp() WHERE name = $1 AND stage = $3 AND switching = ''",
            name, reason, row.stage,
        )  # fmt: skip
        if changed:
            event(link, name, "step", reason, evidence, before=row.stage, after="paused")


def hold(link: Link, name: str, reason: str, *, event_too: bool) -> None:
    """Write down why the backfill waits, or with an empty ``reason`` that it goes on. The stage stays: no cause has to be mended first."""
    with link.transaction():
        changed = link.run(
            "UPDATE lockgate.move SET reason = $2 WHERE name = $1 AND stage = 'backfilling' AND reason <> $2",
            name, reason,
        )  # fmt: skip
        if changed and event_too:
            event(link, name, "throttle", reason or "the backfill goes on", {})


# -- ranges -----------------------------------------------------------------------------------------


_OF_OWNER = "pg_catalog.hashtextextended('lockgate.move.owner ' || {}, 0)"
"""The advisory lock that a session holds as long as it lives under the name of an owner."""


def show_life(link: Link, owner: str) -> None:
    """Let the session of ``link`` stand for ``owner``: while it lives, nobody else takes over what is leased to it."""
    link.run(f"SELECT pg_catalog.pg_advisory_lock({_OF_OWNER.format('$1::text')})", owner)


def claim_abandoned(link: Link, name: str, owner: str) -> Range | None:
    """A range whose owner is dead, whose lease ran out, or that failed before; leased to ``owner`` now.

    The lease is for owners that hang. One that was killed has lost its session's lock, so nobody has to wait for its end.
    """
    rows = link.rows(
        "UPDATE lockgate.move_range r SET state = 'leased', lease_owner = $2, lease_until = clock_timestamp() + make_interval(secs => $3::double precision), attempt = attempt + 1"
        " WHERE r.move = $1 AND r.number = (SELECT x.number FROM lockgate.move_range x WHERE x.move = $1 AND x.state <> 'copied' AND (x.lease_until IS NULL OR x.lease_until < clock_timestamp()"
        f" OR x.lease_owner <> $2 AND pg_catalog.pg_try_advisory_xact_lock({_OF_OWNER.format('x.lease_owner')}))"
        " ORDER BY x.number LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING r.number, r.low, r.high",
        name, owner, float(LEASE_SECONDS),
    )  # fmt: skip
    return (
        Range(rows[0][0], None if rows[0][1] is None else tuple(rows[0][1]), tuple(rows[0][2]))
        if rows
        else None
    )


def open_cursor(link: Link, name: str) -> tuple[tuple[str, ...] | None, bool]:
    """Lock the cursor of the backfill and read it: the last boundary, and whether all ranges are known. Inside a transaction."""
    key, done = link.rows(
        "SELECT cursor_key, cursor_done FROM lockgate.move WHERE name = $1 FOR UPDATE", name
    )[0]
    return (None if key is None else tuple(key)), done


def add_range(
    link: Link, name: str, owner: str, low: tuple[str, ...] | None, high: tuple[str, ...], epoch: int
) -> Range:
    """Write the next range, leased to ``owner``, and move the cursor to its end. In the transaction of ``open_cursor``."""
    number = link.value(
        "INSERT INTO lockgate.move_range (move, number, low, high, state, lease_owner, lease_until, attempt, epoch)"
        " SELECT $1, COALESCE(max(number), 0) + 1, $3::text[], $4::text[], 'leased', $2, clock_timestamp() + make_interval(secs => $5::double precision), 1, $6::bigint"
        " FROM lockgate.move_range WHERE move = $1 RETURNING number",
        name, owner, None if low is None else list(low), list(high), float(LEASE_SECONDS), epoch,
    )  # fmt: skip
    link.run("UPDATE lockgate.move SET cursor_key = $2::text[] WHERE name = $1", name, list(high))
    return Range(number, low, high)


def close_cursor(link: Link, name: str) -> None:
    """All ranges are known."""
    link.run("UPDATE lockgate.move SET cursor_done = true WHERE name = $1", name)


def fail_range(link: Link, name: str, number: int, message: str) -> None:
    """Write down that a range could not be copied; it is free to be claimed again at once."""
    link.run(
        "UPDATE lockgate.move_range SET state = 'failed', lease_until = NULL, message = $3 WHERE move = $1 AND number = $2 AND state <> 'copied'",
        name, number, message,
    )  # fmt: skip


def split_range(
    link: Link, name: str, owner: str, piece: Range, middle: tuple[str, ...], epoch: int
) -> Range:
    """Cut a range in two: the first half stays ours, the second becomes a new range that anybody may claim."""
    with link.transaction():
        link.rows("SELECT 1 FROM lockgate.move WHERE name = $1 FOR UPDATE", name)
        link.run(
            "UPDATE lockgate.move_range SET high = $3::text[] WHERE move = $1 AND number = $2",
            name,
            piece.number,
            list(middle),
        )
        link.run(
            "INSERT INTO lockgate.move_range (move, number, low, high, state, epoch) SELECT $1, max(number) + 1, $2::text[], $3::text[], 'failed', $4::bigint FROM lockgate.move_range WHERE move = $1",
            name, list(middle), list(piece.high), epoch,
        )  # fmt: skip
    return Range(piece.number, piece.low, middle)


def waiting(link: Link, name: str) -> tuple[int, int]:
    """(ranges that are not copied, ranges that are leased right now)."""
    row = link.rows(
        "SELECT count(*) FILTER (WHERE state <> 'copied'), count(*) FILTER (WHERE state = 'leased' AND lease_until >= clock_timestamp()) FROM lockgate.move_range WHERE move = $1",
        name,
    )[0]  # fmt: skip
    return row[0], row[1]


def job(link: Link, name: str) -> dict[str, object]:
    """The row of ``lockgate.backfill_jobs``."""
    text = link.value("SELECT to_jsonb(b)::text FROM lockgate.backfill_jobs b WHERE move = $1", name)
    return dict(msgspec.json.decode(text)) if text else {}


def count_quarantined(link: Link, name: str) -> int:
    """How many rows stand in quarantine."""
    return int(link.value("SELECT count(*) FROM lockgate.move_quarantine WHERE move = $1", name))


def quarantined(link: Link, name: str) -> list[dict[str, object]]:
    """Rows that stand in quarantine."""
    return [
        {"feed": feed, "key": list(key), "sqlstate": state, "message": message}
        for feed, key, state, message in link.rows(
            "SELECT feed, key, sqlstate, message FROM lockgate.move_quarantine WHERE move = $1 ORDER BY feed, key LIMIT 1000",
            name,
        )
    ]


def events(link: Link, name: str) -> list[dict[str, object]]:
    """The events of a move, oldest first."""
    return [
        dict(msgspec.json.decode(row[0]))
        for row in link.rows(
            "SELECT to_jsonb(e)::text FROM lockgate.move_event e WHERE move = $1 ORDER BY id", name
        )
    ]
