"""The switch of a data move exchanges tables without a migration: that stands among what changed the history, and is no drift.

The schema is looked at before the switch. What was drift then stays drift; what was as the history left it is written down
anew after the switch, with an event of the kind ``move``: the objects of the move's two tables and those that name them,
as far as they were there before. What somebody else changes meanwhile stays drift.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from lockgate.config import Settings
from lockgate.errors import LockgateError
from lockgate.migrations import drift
from lockgate.migrations.amend import Amendment
from lockgate.migrations.limits import Limits
from lockgate.postgres import home
from lockgate.postgres.link import Link, refusal
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.points import point
from lockgate.record.verdict import Verdict
from lockgate.release.amend import Desk
from lockgate.release.project import Files


class _Noted(NamedTuple):
    """What stood before a switch, and since which event.

    ``objects`` has, for each database (by its place) whose schema was as the history left it, what of it the switch can
    change: address → ``"kind identity"``.
    """

    event: int
    objects: Mapping[int, Mapping[str, str]]


class _Book(NamedTuple):
    """What is needed to write the schema down."""

    home: Link
    move: MoveRow
    targets: Sequence[Target]
    settings: Settings
    who: Amendment


@contextmanager
def recorded(
    move_home: Link, move: str, targets: Sequence[Target], settings: Settings, who: Amendment
) -> Iterator[list[str]]:
    """Around the switch of a move: afterwards the schema of each of ``targets`` is recorded as the one that should be.

    What was found before stands among the move's events. So a call that was cut off between the switch and the record is
    made good by the next one, which finds the switch done and the record not. A call that was refused records nothing.
    Gives a list that holds what could not be recorded, in words, once the block has ended. Raises ``ConfigError``
    (``MOVE_UNKNOWN``) before anything is written when there is no such move.
    """
    book = _Book(move_home, ledger.read(move_home, move), targets, settings, who)
    noted = _noted(move_home, move)
    if not noted.objects or not _switched(move_home, move, noted.event):
        noted = _note(move_home, move, {i: o for i, t in enumerate(targets) if (o := _found(t, _tables(book.move, i)))})  # fmt: skip
    before = move_home.value(_LAST_SWITCH, move)
    notes: list[str] = []
    ended = False
    try:
        yield notes
        ended = True
    finally:
        if ended or _turned(targets[0], move, before):
            _record(book, noted, notes)


def make_good(
    move_home: Link, move: str, targets: Sequence[Target], settings: Settings, who: Amendment
) -> list[str]:
    """Record the schema of a switch whose command was cut off before it did, and nothing where there is none; gives what could not be recorded."""
    noted, notes = _noted(move_home, move), list[str]()
    if noted.objects and _switched(move_home, move, noted.event):
        _record(_Book(move_home, ledger.read(move_home, move), targets, settings, who), noted, notes)
    return notes


def _record(book: _Book, noted: _Noted, notes: list[str]) -> None:
    for place, before in noted.objects.items():
        target = book.targets[place]
        try:
            if _look(target) is Verdict.FAIL:
                now = _belongings(target, _tables(book.move, place))
                # By their addresses: what was made since on one of the tables is nobody's work but a person's.
                ours = {*before.values(), *(i for address, i in now.items() if address in before)}
                Desk(
                    target, Files((), ()), book.settings, Limits.of(book.settings.migrations), book.who
                ).accept_schema("move", ours)
        except LockgateError as error:
            notes.append(
                f"the schema after the switch could not be recorded ({error.message}); status tells drift until: lockgate repair --accept-schema --reason '{book.who.reason}' --actor ..."
            )
    point("move:schema:recorded")
    if noted.objects and not notes and book.home.alive and not book.home.in_transaction:
        _note(book.home, book.move.name, {})


def _tables(row: MoveRow, place: int) -> tuple[int, ...]:
    """The tables of the move in the database of ``place``: 0 is the source's."""
    if row.same_database:
        return (row.source_oid, row.target_oid)
    return ((row.source_oid,), (row.target_oid,))[place]


def _noted(link: Link, move: str) -> _Noted:
    rows = ledger.exists(link) and link.rows(
        "SELECT id, COALESCE(evidence -> 'objects', '{}')::text FROM lockgate.move_event WHERE move = $1 AND kind = 'schema' ORDER BY id DESC LIMIT 1", move,
    )  # fmt: skip
    return _Noted(rows[0][0], msgspec.json.decode(rows[0][1], type=dict[int, dict[str, str]])) if rows else _Noted(0, {})  # fmt: skip


def _note(link: Link, move: str, objects: Mapping[int, Mapping[str, str]]) -> _Noted:
    ledger.event(link, move, "schema", "databases whose schema was as the history left it, before the switch" if objects else "the schema is recorded", {"clean": list(objects), "objects": objects})  # fmt: skip
    return _noted(link, move)


_LAST_SWITCH = """
SELECT COALESCE(pg_catalog.max(id), 0)::text FROM lockgate.move_event WHERE move = $1 AND to_stage IN ('cut_over', 'rolled_back')
"""


def _turned(home_of_move: Target, move: str, before: str) -> bool:
    """True when a switch was made since ``before``; asked on a session of its own, since that of the move may be what broke."""
    try:
        wire = Wire(home_of_move, "move schema")
        try:
            return wire.value(_LAST_SWITCH, move) != before
        finally:
            wire.close()
    except (LockgateError, ServerError):
        return False  # the next call finds the switch done and the record not


def _switched(link: Link, move: str, since: int) -> bool:
    """True when a switch was made after the event ``since``, or is half done."""
    return bool(
        link.value(
            "SELECT EXISTS (SELECT FROM lockgate.move_event WHERE move = $1 AND id > $2::bigint AND to_stage IN ('cut_over', 'rolled_back'))"
            " OR EXISTS (SELECT FROM lockgate.move WHERE name = $1 AND switching <> '')",
            move, since,
        )
    )  # fmt: skip


def _found(target: Target, tables: Sequence[int]) -> dict[str, str]:
    """What a switch can change in ``target``; empty where its schema is not the one that the history left."""
    return _belongings(target, tables) if _look(target) is Verdict.PASS else {}


def _belongings(target: Target, tables: Sequence[int]) -> dict[str, str]:
    wire = Wire(target, "move schema")
    try:
        wire.one("SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)")
        rows = wire.one(query("moves/belongings"), f"{{{','.join(map(str, tables))}}}").rows
        return {address or "": identity or "" for address, identity in rows}
    except ServerError as error:
        raise refusal(error, "the record of the schema", target) from None
    finally:
        wire.close()


def _look(target: Target) -> Verdict:
    wire = Wire(target, "move schema")
    try:
        return drift.compare(wire).verdict if home.exists(wire) else Verdict.HOLD
    finally:
        wire.close()
