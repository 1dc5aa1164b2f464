"""Recipes: a change that old and new releases survive, as the files of its whole sequence.

``steps_of("rename-column", "orders_note", {...})`` is a pure function of its arguments.
"""

import re
from collections.abc import Mapping

from lockgate.policy.recipes import columns, constraints, enums, tables
from lockgate.policy.recipes.declared import Declared
from lockgate.policy.recipes.recipe import Given, Parameter, Partitions, Recipe, RecipeError, Step

__all__ = [
    "RECIPES",
    "Declared",
    "Parameter",
    "Partitions",
    "Recipe",
    "RecipeError",
    "Step",
    "move_of",
    "steps_of",
]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (*columns.RECIPES, *constraints.RECIPES, *tables.RECIPES, *enums.RECIPES)
}
_SLUG = re.compile(r"[a-z0-9_]{1,80}")
_MOVE = re.compile(r"[a-z0-9][a-z0-9_-]*")


def steps_of(
    recipe: str, name: str, values: Mapping[str, str], partitions: Partitions | None = None
) -> list[Step]:
    """The files of ``recipe`` in their order, called after ``name``. Raises ``RecipeError``.

    ``partitions``: those of its table, where it is known to be a partitioned one.
    """
    if recipe not in RECIPES:
        raise RecipeError(f"there is no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    known = {parameter.name: parameter for parameter in RECIPES[recipe].parameters}
    unknown = [key for key in values if key not in known]
    if unknown:
        raise RecipeError(f"{recipe} has no parameter {unknown[0]!r}; it takes {', '.join(known)}")
    missing = [
        key for key, parameter in known.items() if parameter.required and not values.get(key, "").strip()
    ]
    if missing:
        told = "; ".join(f"{key}: {known[key].meaning}" for key in missing)
        raise RecipeError(f"{recipe} needs {', '.join(missing)} ({told})")
    broken = next((key for key, value in values.items() if not value.isprintable()), None)
    if broken is not None:
        raise RecipeError(f"{broken} holds a line end or another control character")
    if values.get("move") and not _MOVE.fullmatch(values["move"]):
        raise RecipeError(f"move={values['move']}: a move's name is made of a-z, 0-9, - and _")
    if not _SLUG.fullmatch(name) or not _MOVE.fullmatch(name):
        raise RecipeError(f"{name}: a name is made of a-z, 0-9 and _, at most 80 characters")
    return RECIPES[recipe].make(Given(name, values, partitions))


def move_of(recipe: str, name: str, values: Mapping[str, str]) -> Declared | None:
    """The move in place of ``recipe``, after ``steps_of`` took the same arguments; None where it needs none. Raises ``RecipeError``."""
    declare = RECIPES[recipe].declare
    return declare(Given(name, values)) if declare is not None else None
