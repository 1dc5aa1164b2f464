"""Row level security on both sides of a move: the table that serves after the switch has to hide what the one before it hid. Pure."""

import re
from collections.abc import Collection

from lockgate.moves.layout import Problem, Surroundings
from lockgate.postgres.moves.create import renamed
from lockgate.postgres.relation import Relation


def security_problems(sides: tuple[Surroundings, Surroundings], relations: tuple[Relation, Relation]) -> list[Problem]:  # fmt: skip
    """A target that is there and shows other rows than the source, or to others; both ways, since a rollback is a switch too."""
    (source, target), (here, there) = sides, relations
    mine, theirs = (
        _policies(around, relation.name) for around, relation in zip(sides, relations, strict=True)
    )
    flags = [
        f"row level security is {words} for {here.name} and not for {there.name}"
        if before
        else f"row level security is {words} for {there.name} and not for {here.name}"
        for words, before, after in (
            ("enabled", source.row_level, target.row_level),
            ("forced on its owner", source.row_forced, target.row_forced),
        )
        if before != after
    ]
    lacks = [name for name, rest in mine.items() if theirs.get(name) != rest]
    adds = [name for name, rest in theirs.items() if mine.get(name) != rest and name not in lacks]
    # Policies of a table that asks for none hide nothing.
    if lacks and source.row_level:
        flags.append(f"{there.name} has not the policies {', '.join(lacks)} of {here.name}, or other ones of that name")  # fmt: skip
    if adds and target.row_level:
        flags.append(f"{there.name} has the policies {', '.join(adds)}, which {here.name} has not")
    if not flags:
        return []
    return [
        Problem(
            f"the rows that people may see would change at the switch: {'; '.join(flags)}",
            f"Give {there.name} the same by a migration: ALTER TABLE {there.sql} {_switch(source)}; CREATE POLICY …; or accept = ['policies'].",
            "policies",
        )
    ]


def role_problems(around: Surroundings, relation: Relation, roles: Collection[str] | None) -> list[Problem]:  # fmt: skip
    """Roles that the policies of the source name and the server of a target to be made, with ``roles``, has not."""
    named = sorted({role for role in around.policy_roles if roles is not None and role not in roles})
    if not named:
        return []
    return [
        Problem(
            f"policies of {relation.name} are for {', '.join(named)}, and the target's server has no such role",
            "Create it there before the move: without it the policy cannot be copied.",
        )
    ]


def _policies(around: Surroundings, name: str) -> dict[str, str]:
    """By name, with the table's own name, which stands before columns inside subqueries, taken out."""
    return {policy: re.sub(r"\s+", " ", renamed(rest, name, "")) for policy, rest in around.policies}


def _switch(source: Surroundings) -> str:
    word = "ENABLE" if source.row_level else "DISABLE"
    return f"{word} ROW LEVEL SECURITY" + (", FORCE ROW LEVEL SECURITY" if source.row_forced else "")
