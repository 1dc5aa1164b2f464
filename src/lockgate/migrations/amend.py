"""Changes of the history by people: adopt, accept, forget, down. Each leaves an event with who, why, before and after.

All of it happens under the guard, in one transaction with the event, and the hash chain is made anew from the row that
changed. The append-only trigger lets a change pass only when the event was written in that very transaction.
"""

from collections.abc import Sequence

import msgspec

from lockgate.errors import Refused, RunFailed
from lockgate.migrations.contract import Prepared
from lockgate.migrations.history import CANONICAL, History, Row
from lockgate.migrations.limits import Limits
from lockgate.migrations.session import WorkSession
from lockgate.postgres import concurrent
from lockgate.postgres.concurrent import State
from lockgate.postgres.guard import Guard
from lockgate.postgres.script import Statement
from lockgate.postgres.sqlstate import ServerError, reason_of
from lockgate.postgres.wire import Call, Wire
from lockgate.record.reasons import Exit

_EVENT = """
INSERT INTO lockgate.history_event (kind, revision_id, actor, reason, before, after, run_id, head_before)
SELECT $1, $2, $3, $4, $5::jsonb, $6::jsonb, $7, f.head FROM lockgate.fence f WHERE f.epoch = $8::bigint FOR UPDATE RETURNING id::text
"""

_MOVE_FENCE = """
UPDATE lockgate.fence SET head = $1, ordinal = $2::bigint,
       compat_floor = COALESCE((SELECT pg_catalog.max(revision_id) FROM lockgate.migration_history WHERE phase = 'contract'), '')
"""


class Amendment(msgspec.Struct, frozen=True):
    """Who changes the history, and why. Both are required and recorded."""

    actor: str
    reason: str

    def __post_init__(self) -> None:
        if not self.actor.strip() or not self.reason.strip():
            raise Refused(
                "a change of the history needs an actor and a reason",
                "USAGE",
                next="Give --actor and --reason.",
            )


def _open(guard: Guard, kind: str, revision: str, who: Amendment, before: object, after: object) -> Wire:
    """Begin the transaction of one amendment and write its event. Raises ``RunFailed`` when a newer run holds the fence."""
    wire = guard.work
    event = (
        kind, revision, who.actor, who.reason, msgspec.json.encode(before).decode(), msgspec.json.encode(after).decode(),
        guard.identity.run_id, str(guard.epoch),
    )  # fmt: skip
    replies = wire.batch([Call("BEGIN"), Call(_EVENT, event)], label="amend")
    if not replies[1].rows:
        _undo(wire)
        raise RunFailed("a newer run holds the fence; nothing was changed", "FENCED")
    wire.one("SELECT pg_catalog.set_config('lockgate.history_event', $1, true)", replies[1].rows[0][0])
    return wire


def _undo(wire: Wire) -> None:
    if wire.alive and wire.in_transaction:
        wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")


def _rechain(wire: Wire) -> None:
    """Number the rows and link them anew, then set the fence to the new head."""
    rows = [
        row[0] or ""
        for row in wire.one("SELECT revision_id FROM lockgate.migration_history h ORDER BY h.ordinal").rows
    ]
    head = ""
    # Two passes: ordinals are unique, and a shifted one must not meet its neighbour's old one.
    wire.one("UPDATE lockgate.migration_history SET ordinal = -ordinal")
    for number, revision in enumerate(rows, 1):
        wire.one(
            "UPDATE lockgate.migration_history SET ordinal = $2::bigint, prev_hash = $3 WHERE revision_id = $1",
            revision,
            str(number),
            head,
        )
        sealed = f"UPDATE lockgate.migration_history SET row_hash = pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({CANONICAL}, 'UTF8')), 'hex') WHERE revision_id = $1 RETURNING row_hash"  # noqa: S608 - built from constants
        head = wire.value(sealed, revision) or ""
    wire.one(_MOVE_FENCE, head, str(len(rows)))


def _change(
    guard: Guard,
    kind: str,
    revision: str,
    who: Amendment,
    before: object,
    after: object,
    statements: Sequence[Call],
) -> None:
    wire = _open(guard, kind, revision, who, before, after)
    try:
        wire.batch(statements, label="amend")
        _rechain(wire)
        wire.batch([Call("COMMIT")], uncancellable=True, label="commit")
    except BaseException:
        _undo(wire)
        raise


def adopt(guard: Guard, items: Sequence[Prepared], who: Amendment) -> None:
    """Record files as ``adopted``: their effects are there already. All or none of them."""
    session = WorkSession(guard)
    names = [p.migration.file for p in items]
    wire = _open(guard, "baseline", items[-1].revision, who, None, {"adopted": names})
    try:
        for item in items:
            reply = wire.batch(
                [
                    session.record_call(item.migration, item.directives.phase, state="adopted"),
                    Call("DELETE FROM lockgate.migration_step WHERE revision_id = $1", (item.revision,)),
                ],
                label="adopt",
            )
            if not reply[0].rows:
                raise RunFailed("a newer run holds the fence; nothing was changed", "FENCED")
        wire.batch([Call("COMMIT")], uncancellable=True, label="commit")
    except BaseException:
        _undo(wire)
        raise


def accept_file(guard: Guard, item: Prepared, row: Row, who: Amendment) -> None:
    """Let an edited file stand as what was applied: its checksum and text replace those of the history."""
    m = item.migration
    _change(
        guard, "repair", m.revision, who, {"checksum": row.checksum}, {"checksum": m.checksum},
        [Call("UPDATE lockgate.migration_history SET checksum = $2, source_text = $3, name = $4 WHERE revision_id = $1", (m.revision, m.checksum, m.text, m.name))],
    )  # fmt: skip


def forget(guard: Guard, row: Row, who: Amendment) -> None:
    """Take the newest row out of the history: its effects are not there (any more)."""
    delete = [
        Call("DELETE FROM lockgate.migration_history WHERE revision_id = $1", (row.revision,)),
        Call("DELETE FROM lockgate.migration_step WHERE revision_id = $1", (row.revision,)),
    ]
    _change(guard, "repair", row.revision, who, msgspec.to_builtins(row), None, delete)


def accept_schema(
    guard: Guard, revision: str, who: Amendment, before: object, after: object, kind: str = "repair"
) -> None:
    """Record that the live schema may stand, ``after`` saying what it is now; the caller records the schema itself.

    ``kind`` is ``move`` where the switch of a data move changed it.
    """
    _change(guard, kind, revision, who, before, after, [])


def accept_chain(guard: Guard, history: History, who: Amendment) -> None:
    """Make the chain anew over the rows as they stand, after a person has looked at what was changed."""
    _change(
        guard,
        "repair",
        history.newest,
        who,
        {"broken": history.broken, "head": history.head},
        {"accepted": len(history.rows)},
        [],
    )


def discard_journal(guard: Guard, revision: str, who: Amendment) -> None:
    """Drop the journal of a half-done file: the next ``up`` starts it at its first statement."""
    steps = guard.work.one(
        "SELECT number::text, state, statement FROM lockgate.migration_step WHERE revision_id = $1 ORDER BY migration_step.number",
        revision,
    ).rows
    if not steps:
        raise Refused(f"there is no journal of {revision}", "USAGE", next="lockgate status --steps")
    _change(
        guard,
        "repair",
        revision,
        who,
        {"steps": steps},
        None,
        [Call("DELETE FROM lockgate.migration_step WHERE revision_id = $1", (revision,))],
    )


def down(guard: Guard, item: Prepared, row: Row, who: Amendment, limits: Limits) -> None:
    """Run the down section of the newest file and take its row out, in one transaction where it can hold.

    Statements that no transaction can hold run first, one by one, without a lock time-out; each looks whether it is done
    already, so a ``down`` that was cut off is simply repeated. Raises ``RunFailed`` that tells what is undone.
    """
    if not item.down:
        raise Refused(
            f"{item.migration.file} has no `-- lockgate: down` section",
            "USAGE",
            next="Write a new migration that goes forward.",
        )
    wire = guard.work
    outside: list[str] = []
    try:
        for statement in item.down:
            if statement.alone is not None:
                _undo_alone(wire, statement, limits)
                outside.append(" ".join(statement.text.split())[:80])
        inside = [Call(s.text) for s in item.down if s.alone is None]
        _change(
            guard, "down", row.revision, who, msgspec.to_builtins(row), None, [*inside, *_gone(row.revision)]
        )
    except ServerError as error:
        _undo(wire)
        told = (
            f"Of its down section this has run and stays: {'; '.join(outside)}."
            if outside
            else "Nothing of its down section stays."
        )
        raise RunFailed(
            f"the down section of {item.migration.file} failed: {error.message}",
            reason_of(error.sqlstate),
            state=told,
            exit=Exit.FAILED,
            details={"sqlstate": error.sqlstate, "revision": row.revision, "outside": outside},
        ) from None


def _undo_alone(wire: Wire, statement: Statement, limits: Limits) -> None:
    assert statement.alone is not None
    found = concurrent.examine(wire, statement.alone, statement.text, resumed=True)
    wire.batch(
        [
            Call("SET lock_timeout = 0"),
            Call(f"SET statement_timeout = '{limits.concurrent_timeout.setting()}'"),
        ]
    )
    try:
        for heal in found.heal:
            wire.alone(heal)
        if found.state is not State.DONE and not found.then_done:
            wire.alone(statement.text)
    finally:
        if wire.alive:
            back = (limits.lock_timeout.setting(), limits.statement_timeout.setting())
            wire.batch(
                [Call(f"SET lock_timeout = '{back[0]}'"), Call(f"SET statement_timeout = '{back[1]}'")],
                uncancellable=True,
            )


def _gone(revision: str) -> list[Call]:
    return [
        Call("DELETE FROM lockgate.migration_history WHERE revision_id = $1", (revision,)),
        Call("DELETE FROM lockgate.migration_step WHERE revision_id = $1", (revision,)),
    ]
