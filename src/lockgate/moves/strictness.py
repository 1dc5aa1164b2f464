"""Does a target that is there demand more of a row than its source does? Looked for before anything is begun, in the rows that are there.

Read-only and with a limit on time. What no row breaks yet is a note: a later write may, and would stand in quarantine.
"""

from typing import NamedTuple

from lockgate.moves.declaration import Declaration
from lockgate.moves.functions import functions_of
from lockgate.moves.layout import Layout, Problem
from lockgate.moves.probing import LIMIT_MS, Probed, listed, of_sql, still
from lockgate.postgres.link import Link
from lockgate.postgres.queries import query
from lockgate.postgres.quoting import identifier
from lockgate.postgres.relation import Relation
from lockgate.postgres.sqlstate import ServerError

KIND = "constraints"
"""What ``accept`` of a declaration calls it."""


class Demand(NamedTuple):
    """Something that each row of the target has to be: a condition over its columns, and how people call it."""

    words: str
    condition: str
    loosen: str
    """The statement that takes the demand away."""
    columns: tuple[str, ...]
    """The columns that the condition reads."""


def stricter(
    home: Link, far: Link, declared: Declaration, made: Layout, source: Relation, target: Relation
) -> Probed:
    """NOT NULL and CHECK of ``target`` that ``source`` does not promise: a problem where a row breaks one, else a note."""
    found = Probed([], [])
    rows = f"SELECT {listed(of_sql(made.forward, declared.columns))} FROM {made.forward.origin}"
    key = ", ".join(f"{identifier(k.destination)}::text" for k in made.forward.key)
    given = {v.destination for v in made.forward.values}
    called = functions_of(declared.columns).keys()
    for demand in _demands(home, far, declared, source, target, given):
        if blind := sorted({*demand.columns} & called | {*demand.columns} - given):
            how = "is made by a function" if blind[0] in called else "is filled in by the target"
            found.notes.append(f"{demand.words}, which the source does not promise; {blind[0]} {how}, so whether its rows hold it shows when they are copied: rows that do not go to quarantine, and block the end")  # fmt: skip
            continue
        try:
            with still(home):
                broken = home.rows(f"WITH f AS ({rows}) SELECT {key} FROM f WHERE NOT ({demand.condition}) LIMIT 1")  # fmt: skip
        except ServerError as error:
            why = f"took longer than {LIMIT_MS} ms" if error.sqlstate == "57014" else error.message
            found.notes.append(f"{demand.words}, which the source does not promise; whether its rows hold it was not found out ({why}): rows that do not go to quarantine, and block the end")  # fmt: skip
            continue
        if broken:
            found.problems.append(
                Problem(
                    f"{demand.words}, and rows of {source.name} break it, such as the one with the key ({', '.join(broken[0])})",
                    f"Mend the rows, give the column another expression in [columns], or {demand.loosen}; accept = ['{KIND}'] puts such rows into quarantine, where they block the end.",
                    KIND,
                )
            )
        else:
            found.notes.append(f"{demand.words}, which the source does not promise: no row breaks it now, and one that is written later would go to quarantine, and block the end")  # fmt: skip
    return found


def _demands(
    home: Link, far: Link, declared: Declaration, source: Relation, target: Relation, given: set[str]
) -> list[Demand]:
    loose = {row[0] for row in home.rows(query("moves/unproven_not_null"), source.oid)}
    kept = {c.name for c in source.columns if c.not_null and c.name not in declared.columns} - loose
    found = [
        Demand(
            f"{target.name}.{c.name} is NOT NULL", f"{identifier(c.name)} IS NOT NULL",
            f"ALTER TABLE {target.sql} ALTER COLUMN {identifier(c.name)} DROP NOT NULL", (c.name,),
        )
        for c in target.columns
        if c.not_null and c.name in given and c.name not in kept
    ]  # fmt: skip
    same = (
        set()
        if source.oid == target.oid
        else {condition for _, condition, _, proven in home.rows(query("moves/checks"), source.oid) if proven}
    )
    for name, condition, columns, _ in far.rows(query("moves/checks"), target.oid):
        if condition in same and not set(columns) & declared.columns.keys():
            continue
        # NULL satisfies a check.
        found.append(
            Demand(
                f"{target.name} has the constraint {name} CHECK ({condition})", f"COALESCE(({condition}), true)",
                f"ALTER TABLE {target.sql} DROP CONSTRAINT {identifier(name)}", tuple(columns),
            )
        )  # fmt: skip
    return found
