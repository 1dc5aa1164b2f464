"""The rows that VALIDATE CONSTRAINT would fail on: which constraints are NOT VALID, and the query that counts what breaks each."""

import re

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.wire import Wire

_VALIDATES = re.compile(r"\bvalidate\s+constraint\b", re.I)
_NOT_NULL = re.compile(r'\(*("(?:[^"]|"")+"|\w+) IS NOT NULL\)*')
_OF_ROWS = frozenset({"23502", "23503", "23514"})


class Breakable(msgspec.Struct, frozen=True):
    """A constraint that holds for new rows only. ``table`` as reports show it, ``quoted`` as SQL takes it; ``check`` is the expression of a CHECK, else "".

    ``definition`` is what ADD CONSTRAINT takes, ``columns`` a JSON list of the names that it speaks of.
    """

    oid: str
    table: str
    name: str
    count: str
    check: str
    quoted: str = ""
    definition: str = ""
    columns: str = "[]"

    @property
    def broken(self) -> str:
        """The condition of a row that breaks it, "" for a foreign key, which one row alone does not show."""
        return "" if " NOT EXISTS (" in self.count else self.count.partition(" WHERE ")[2]

    @property
    def of_null(self) -> bool:
        """Whether it says that a column holds no NULL, and nothing more."""
        return self.definition.startswith("NOT NULL ") or _NOT_NULL.fullmatch(self.check) is not None


def read_breakable(wire: Wire) -> list[Breakable]:
    """The constraints of this database that its old rows may break."""
    return [Breakable(*(field or "" for field in row)) for row in wire.one(query("breaking")).rows]


def fails_to_validate(statement: object, sqlstate: object) -> bool:
    """Whether this statement was refused because rows break a constraint that it was to prove. Pure."""
    return sqlstate in _OF_ROWS and _VALIDATES.search(str(statement)) is not None


def validates(text: str) -> bool:
    """Whether a statement is to prove a constraint of the rows that are there. Pure."""
    return _VALIDATES.search(text) is not None


def named_in(statement: str, constraints: list[Breakable]) -> list[Breakable]:
    """Those that ``statement`` validates, by their names. Pure."""
    names = re.findall(r'\bvalidate\s+constraint\s+("(?:[^"]|"")+"|\w+)', statement, re.I)
    wanted = {n[1:-1].replace('""', '"') if n.startswith('"') else n.lower() for n in names}
    return [one for one in constraints if one.name in wanted]


def rows_in_the_way(wire: Wire, statement: object, sqlstate: object) -> str:
    """The SELECT that finds the rows on which ``statement`` failed to validate, or several; "" where the constraint is not known."""
    if not fails_to_validate(statement, sqlstate):
        return ""
    found = named_in(str(statement), read_breakable(wire))
    return " and ".join(one.count.replace("SELECT count(*)", "SELECT *", 1) for one in found)
