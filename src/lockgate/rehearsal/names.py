"""What was said of a table under other names, said under those that it has now: columns and tables are known by their numbers.

A file may rename a column and put another in its place, so a name alone does not tell what a check, a figure or a
statement from before the file speaks of. Pure text.
"""

from collections.abc import Mapping

import msgspec

from lockgate.postgres.tables import Table, quote
from lockgate.rehearsal.likeness import Likeness


class Proven(msgspec.Struct, frozen=True):
    """A check that every row satisfies; ``columns`` are the numbers of those that it speaks of, 0 for the whole row."""

    text: str
    columns: tuple[int, ...] = ()


class Named(msgspec.Struct, frozen=True):
    """A table as it is called at one moment, its columns by number, and what is proven of its rows."""

    oid: int
    schema: str
    name: str
    columns: dict[int, str]
    checks: tuple[Proven, ...] = ()

    @property
    def quoted(self) -> str:
        """The name as SQL takes it."""
        return f"{quote(self.schema)}.{quote(self.name)}"


def under(check: Proven, before: Named, now: Named) -> str | None:
    """The check as an expression over the table as it is called now; None where a column is gone, or the whole row is meant."""
    pairs = [(before.columns.get(number, ""), now.columns.get(number)) for number in check.columns]
    if all(old == new for old, new in pairs):
        return check.text
    if any(new is None or not old for old, new in pairs):
        return None
    listed = ", ".join(f"{quote(new or '')} AS {quote(old)}" for old, new in pairs)
    return f"(SELECT {check.text} FROM (SELECT {listed}) lockgate_row)"  # noqa: S608 - the server's own text, names quoted


def as_now(table: Table, now: Named) -> Table:
    """The table with the names that its columns have now; without those that are gone."""
    columns = [
        msgspec.structs.replace(column, name=now.columns[column.number])
        for column in table.columns
        if column.number in now.columns
    ]
    return msgspec.structs.replace(table, columns=tuple(columns))


def figures(known: Mapping[str, Likeness], table: Table, now: Named) -> dict[str, Likeness]:
    """What is known of the columns of ``table``, under the names that they have now."""
    return {
        now.columns[column.number]: known[column.name]
        for column in table.columns
        if column.name in known and column.number in now.columns
    }


def renaming(before: Named, now: Named) -> tuple[list[str], list[str]]:
    """Statements that give a table its names from before, and those that take them back; of what is gone, nothing."""
    changed = [
        (old, now.columns[number])
        for number, old in before.columns.items()
        if now.columns.get(number, old) != old
    ]
    there: list[str] = []
    back: list[str] = []
    # By way of names that nobody has: two columns may have changed places, or another stands where one was.
    taken = {
        name: f"lockgate_{number}"
        for number, name in now.columns.items()
        if name in {old for old, _ in changed} or name in {new for _, new in changed}
    }
    for name, aside in taken.items():
        there.append(_column(now.quoted, name, aside))
    for old, new in changed:
        there.append(_column(now.quoted, taken[new], old))
        back.append(_column(now.quoted, old, taken[new]))
    back += [_column(now.quoted, aside, name) for name, aside in taken.items()]
    if before.name != now.name:
        there.append(_table(now.schema, now.name, before.name))
        back.insert(0, _table(now.schema, before.name, now.name))
    return there, back


def _column(table: str, old: str, new: str) -> str:
    return f"ALTER TABLE {table} RENAME COLUMN {quote(old)} TO {quote(new)}"


def _table(schema: str, old: str, new: str) -> str:
    return f"ALTER TABLE {quote(schema)}.{quote(old)} RENAME TO {quote(new)}"
