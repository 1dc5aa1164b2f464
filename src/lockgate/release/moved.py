"""The switch of a data move exchanges tables without a migration: that stands among what changed the history, and is no drift.

The schema is looked at before the switch. What was drift then stays drift; what was as the history left it is written down
anew after the switch, with an event of the kind ``move``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from lockgate.config import Settings
from lockgate.errors import LockgateError
from lockgate.migrations import drift
from lockgate.migrations.amend import Amendment
from lockgate.migrations.limits import Limits
from lockgate.postgres import home
from lockgate.postgres.link import Link
from lockgate.postgres.moves import ledger
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.points import point
from lockgate.record.verdict import Verdict
from lockgate.release.amend import Desk
from lockgate.release.project import Files


class _Noted(NamedTuple):
    """What stood before a switch: which databases (by their place) had the schema that the history left, and since which event."""

    event: int
    clean: tuple[int, ...]


@contextmanager
def recorded(
    move_home: Link, move: str, targets: list[Target], settings: Settings, who: Amendment
) -> Iterator[list[str]]:
    """Around the switch of a move: afterwards the schema of each of ``targets`` is recorded as the one that should be.

    What was found before stands among the move's events. So a call that was cut off between the switch and the record is
    made good by the next one, which finds the switch done and the record not. Gives a list that holds what could not be
    recorded, in words, once the block has ended.
    """
    noted = _noted(move_home, move)
    if not noted.clean or not _switched(move_home, move, noted.event):
        noted = _note(move_home, move, tuple(i for i, t in enumerate(targets) if _look(t) is Verdict.PASS))
    notes: list[str] = []
    try:
        yield notes
    finally:
        for place in noted.clean:
            try:
                if _look(targets[place]) is Verdict.FAIL:
                    Desk(
                        targets[place], Files((), ()), settings, Limits.of(settings.migrations), who
                    ).accept_schema("move")
            except LockgateError as error:
                notes.append(
                    f"the schema after the switch could not be recorded ({error.message}); status tells drift until: lockgate repair --accept-schema --reason '{who.reason}' --actor ..."
                )
        point("move:schema:recorded")
        if noted.clean and not notes and move_home.alive and not move_home.in_transaction:
            _note(move_home, move, ())


def _noted(link: Link, move: str) -> _Noted:
    rows = ledger.exists(link) and link.rows(
        "SELECT id, evidence ->> 'clean' FROM lockgate.move_event WHERE move = $1 AND kind = 'schema' ORDER BY id DESC LIMIT 1", move,
    )  # fmt: skip
    return _Noted(rows[0][0], msgspec.json.decode(rows[0][1], type=tuple[int, ...])) if rows else _Noted(0, ())  # fmt: skip


def _note(link: Link, move: str, clean: tuple[int, ...]) -> _Noted:
    ledger.event(link, move, "schema", "databases whose schema was as the history left it, before the switch" if clean else "the schema is recorded", {"clean": list(clean)})  # fmt: skip
    return _noted(link, move)


def _switched(link: Link, move: str, since: int) -> bool:
    """True when a switch was made after the event ``since``, or is half done."""
    return bool(
        link.value(
            "SELECT EXISTS (SELECT FROM lockgate.move_event WHERE move = $1 AND id > $2::bigint AND to_stage IN ('cut_over', 'rolled_back'))"
            " OR EXISTS (SELECT FROM lockgate.move WHERE name = $1 AND switching <> '')",
            move, since,
        )
    )  # fmt: skip


def _look(target: Target) -> Verdict:
    wire = Wire(target, "move schema")
    try:
        return drift.compare(wire).verdict if home.exists(wire) else Verdict.HOLD
    finally:
        wire.close()
