"""Which changes of the schema a file made before it stopped half way: its journal says which statements were begun.

Such a change is no drift. Nothing else is recorded at the moment of a kill, so it is told by names: the changed object is
named in a statement of the journal, or has the name that PostgreSQL itself gives to what such a statement makes.
"""

import re
from collections.abc import Iterable

from lockgate.postgres.fingerprint import Change
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tree.lexing import names, without_texts
from lockgate.postgres.wire import Wire

_STEPS = """SELECT s.statement FROM lockgate.migration_step s
 WHERE NOT EXISTS (SELECT FROM lockgate.migration_history h WHERE h.revision_id = s.revision_id) ORDER BY s.revision_id, s.number"""
_UNNAMED = re.compile(
    r"^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?ON\b|^\s*CREATE\s+TABLE\b|\bDETACH\s+PARTITION\b",
    re.IGNORECASE,
)
"""What makes objects whose names PostgreSQL gives; a concurrent detach leaves the bound as a check of the partition."""
GIVEN = frozenset({"index", "constraint", "sequence"})
"""Kinds to which PostgreSQL gives a name that begins with that of their table."""


def begun_statements(wire: Wire) -> list[str]:
    """The statements that files without a history row have in the journal; none where there is no journal. Raises ``ServerError``."""
    try:
        return [row[0] or "" for row in wire.one(_STEPS).rows]
    except ServerError as error:
        if error.sqlstate in ("42P01", "3F000"):
            return []
        raise


def made_by(changes: Iterable[Change], statements: Iterable[str]) -> frozenset[str]:
    """The identities of those ``changes`` that one of ``statements`` made. Pure."""
    known = [(names_in(text), bool(_UNNAMED.search(without_texts(text)))) for text in statements]
    return frozenset(c.identity for c in changes if any(_made(c.identity, said, un) for said, un in known))


def _made(identity: str, said: frozenset[str], unnamed: bool) -> bool:
    kind, parts = parts_of(identity)
    if not parts:
        return False
    if (
        kind in ("column", "constraint", "trigger", "policy", "rule")
        and parts[-2:-1]
        and parts[-2] not in said
    ):
        return False  # a like-named part of another table
    own = parts[-1]
    return own in said or (unnamed and kind in GIVEN and any(own.startswith(f"{name}_") for name in said))


def parts_of(identity: str) -> tuple[str, list[str]]:
    """The kind of an object of a fingerprint, and its name from the schema down to its own."""
    kind, _, rest = identity.partition(" ")
    return kind, names(rest.partition("(")[0] if kind in ("function", "aggregate", "procedure") else rest)


def names_in(text: str) -> frozenset[str]:
    """The identifiers of a statement, as the catalogue spells them; strings, comments and bodies left out."""
    return frozenset(names(text))
