"""Constraints that one file both adds NOT VALID and validates: they are never there while rows can be made to satisfy them.

Nothing cleans rows up between the two but the file itself, so production's rows satisfy the constraint before the file, or
it fails there. The constraint is put on for the time of filling, and taken off again before the file runs.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from lockgate.postgres.breaking import Breakable, named_in, read_breakable
from lockgate.postgres.script import Statement
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import quote, read_tables
from lockgate.postgres.wire import Call, Wire
from lockgate.record.redact import redact
from lockgate.rehearsal.older import TOUCHES_ROWS


def added_before(wire: Wire, statements: Sequence[Statement], failing: object) -> list[Breakable]:
    """What ``statements`` add NOT VALID before the one that failed (its text as the error tells it); they are rolled back."""
    texts = [statement.text for statement in _before(statements, failing)]
    there = {one.oid for one in read_breakable(wire)}
    try:
        wire.batch([Call("BEGIN"), *map(Call, texts)])
        return [one for one in read_breakable(wire) if one.oid not in there]
    except ServerError:
        return []  # what no transaction can hold, or fails by itself
    finally:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True)


@contextmanager
def put_on(wire: Wire, constraints: Iterable[Breakable]) -> Iterator[list[Breakable]]:
    """Hold new rows to ``constraints`` meanwhile: those that the tables of now can have."""
    held = []
    for one in constraints:
        try:
            wire.one(f"ALTER TABLE {one.quoted} ADD CONSTRAINT {quote(one.name)} {one.definition}")
        except ServerError:
            continue  # it speaks of what the file makes
        held.append(one)
    try:
        yield held
    finally:
        if wire.alive:
            for one in held:
                wire.one(f"ALTER TABLE {one.quoted} DROP CONSTRAINT {quote(one.name)}")


def breaks_for_any_row(
    wire: Wire, added: Sequence[Breakable], statements: Sequence[Statement], failing: object
) -> bool:
    """Whether VALIDATE fails whatever rows are there: it is about columns that the file adds and fills with one value for all rows."""
    columns = {table.key: {c.name for c in table.columns} for table in read_tables(wire, kinds="rp")}
    named = named_in(str(failing), list(added))
    if any(statement.kind in TOUCHES_ROWS for statement in _before(statements, failing)):
        return False
    spoken = [(one, json.loads(one.columns)) for one in named if one.check]
    return bool(spoken) and all(
        names and columns.get(one.table, set()).isdisjoint(names) for one, names in spoken
    )


def _before(statements: Sequence[Statement], failing: object) -> list[Statement]:
    for number, statement in enumerate(statements):
        if redact(statement.text[:500]) == failing:
            return list(statements[:number])
    return []
