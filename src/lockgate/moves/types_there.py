"""Whether another database knows the types of the columns that are to go there, and every label of those that are enumerated."""

import re
from collections.abc import Iterable

from lockgate.moves.layout import Problem
from lockgate.postgres.link import Link
from lockgate.postgres.relation import ColumnFacts

_LOOK = """
SELECT name, pg_catalog.to_regtype(name) IS NOT NULL,
       (SELECT pg_catalog.array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_catalog.pg_enum WHERE enumtypid = pg_catalog.to_regtype(name)::oid)
  FROM pg_catalog.unnest($1::text[]) name
"""


def type_problems(home: Link, far: Link, columns: Iterable[ColumnFacts], table: str) -> list[Problem]:
    """Types of ``columns`` that the database of ``far`` has not, or not with all their labels. Names must be qualified: with the search path taken away."""
    named: dict[str, list[str]] = {}
    for column in columns:
        for written in {column.type, column.base}:
            if "." in written:
                named.setdefault(re.sub(r"(\([^)]*\))?(\[\])*$", "", written), []).append(column.name)
    if not named:
        return []
    there = {name: (known, labels) for name, known, labels in far.rows(_LOOK, sorted(named))}
    found = []
    for name, _, labels in home.rows(_LOOK, sorted(named)):
        known, others = there[name]
        who = f"{table}.{', '.join(sorted(set(named[name])))}"
        if not known:
            found.append(
                Problem(
                    f"{who} is of the type {name}, which the target's database has not",
                    "Create it there by a migration before the move (CREATE TYPE, or the extension that has it).",
                )
            )
        elif lacking := [label for label in labels or () if label not in (others or ())]:
            found.append(
                Problem(
                    f"{who} is of the type {name}, which has not the labels {', '.join(lacking)} in the target's database: rows that hold one would be refused",
                    f"ALTER TYPE {name} ADD VALUE … there, in the same order.",
                )
            )
    return found
