"""What hangs on a table and would not follow its rows: partitions, heirs, publications, privileges. Pure."""

from collections.abc import Collection, Sequence

from lockgate.moves.declaration import Declaration
from lockgate.moves.layout import Problem, Surroundings
from lockgate.postgres.moves.dangling import ForeignKey
from lockgate.postgres.relation import Relation


def lineage_problems(declared: Declaration, around: Surroundings, here: Relation, there: Relation, *, create: bool) -> list[Problem]:  # fmt: skip
    """Of the source: heirs, whose rows no trigger of it sees; a parent, which would keep the old table; partitions, which a created table has not."""
    found = []
    if around.heirs and here.kind != "p":
        found.append(
            Problem(
                f"{here.name} has heirs ({', '.join(around.heirs)}): a read of it gives their rows too, and nothing of the move captures writes to them",
                "ALTER TABLE … NO INHERIT before the move, and move each table for itself.",
            )
        )
    if around.parents and declared.switch == "rename":
        found.append(
            Problem(
                f"{here.name} is part of {', '.join(around.parents)}: after the rename the old table would still be",
                "DETACH PARTITION (or NO INHERIT) before the move, and attach the new table after it; or move the whole.",
            )
        )
    if here.partition_key and create:
        found.append(
            Problem(
                f"{here.name} is partitioned by {here.partition_key}, and a created table is one plain table",
                f"Make {there.name} with its partitions by a migration, without create = true; or accept = ['partitions'] for one plain table.",
                "partitions",
            )
        )
    return found


def lineage_notes(around: Surroundings, here: Relation, there: Relation, theirs: Surroundings | None, roles: Collection[str] | None = None) -> list[str]:  # fmt: skip
    """What a person has to see to. ``theirs`` is what stands around a target that is there, ``roles`` the roles of a server where one is to be made."""
    notes = []
    if around.publications:
        alters = "; ".join(f"ALTER PUBLICATION {p} ADD TABLE {here.name}" for p in around.publications)
        notes.append(
            f"{here.name} is in the publications {', '.join(around.publications)}, which follow the old table through the switch: subscribers see nothing of what is written to the new one. After it: {alters}, and copy there what they missed"
        )
    if theirs is not None and here.partition_key != there.partition_key:
        notes.append(f"{here.name} is {_cut(here)}, {there.name} {_cut(there)}")
    if theirs is not None and (lacks := [g for g in around.grants if g not in theirs.grants]):
        notes.append(f"{there.name} lacks privileges that {here.name} gives: {', '.join(lacks)}")
    if roles is not None and (strange := sorted({role for role in around.grantees if role not in roles})):
        notes.append(f"the target's server has no role {', '.join(strange)}: their privileges on {here.name} are not copied")  # fmt: skip
    return notes


def lacking_keys(names: Collection[str], source: str, move: str, *, created: bool) -> list[str]:
    """Foreign keys of the source that the target has not. On a target that does not serve one would be looked at by each writer of the table that it points at, so none is added before the end."""
    if not names:
        return []
    why = "are not copied to a created table" if created else "are not on the target"
    return [
        f"foreign keys of {source} ({', '.join(names)}) {why}: until lockgate move finish {move} nothing but the move checks them, at the proof, the cutover and the end, and up refuses to add any (MOVE_FROZEN)."
        f" A migration adds them after it: ALTER TABLE {source} ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT"
    ]


def holding_keys(source: Sequence[ForeignKey], target: Sequence[ForeignKey], here: str, there: str, *, across: bool) -> tuple[list[Problem], list[str]]:  # fmt: skip
    """Foreign keys of the side that does not serve, to other tables: (those that let no row of them go, those that keep some).

    That side is behind, and closed: what the server does for ON DELETE CASCADE meets the barrier even where there is no row to delete.
    """
    problems, notes = [], []
    until = (
        "also after the end, for as long as it stands" if across else "until the end of the move drops them"
    )
    for keys, when in (
        (source, f"behind the switch the old table keeps the foreign keys of {here}, {until}"),
        (target, f"until the switch {there} has foreign keys of its own"),
    ):  # fmt: skip
        if acting := [k for k in keys if k.acts]:
            problems.append(
                Problem(
                    f"{when} ({_told(acting)}, ON DELETE CASCADE, SET NULL or SET DEFAULT): EVERY DELETE there fails, since what it does to the closed side meets the barrier",
                    "Drop them by a migration before the move, with [[references]] in their place, and add them after the end; or accept = ['keys'] where nobody deletes there.",
                    "keys",
                )
            )
        if keeping := [k for k in keys if not k.acts]:
            notes.append(
                f"{when} ({_told(keeping)}): a DELETE there, or a change of the key, fails where that side still has a row that points at it."
                " Where the application does that, drop them by a migration before the move, with [[references]] in their place"
                + (", and the old table soon after the end" if across else "")
            )
    return problems, notes


def _told(keys: Sequence[ForeignKey]) -> str:
    return ", ".join(f"{k.name} to {k.schema}.{k.table}" for k in keys)


def _cut(relation: Relation) -> str:
    return f"partitioned by {relation.partition_key}" if relation.partition_key else "one plain table"
