"""Labels of enum types."""

from lockgate.policy.model.spelling import literal
from lockgate.policy.recipes.names import table_of
from lockgate.policy.recipes.recipe import Given, Parameter, Recipe, RecipeError, Step


def _add(given: Given) -> list[Step]:
    kind = table_of("type", given["type"])
    if given["before"] and given["after"]:
        raise RecipeError("before and after exclude each other")
    place = ""
    for word in ("before", "after"):
        place += f" {word.upper()} {literal(given[word])}" if given[word] else ""
    return [
        given.step(
            "add",
            f"ALTER TYPE {kind.sql} ADD VALUE {literal(given['value'])}{place};",
            "Alone in its file: a label cannot be used before it is committed. No release that fails on an unknown\n"
            "label may still read the column when the first row gets it.",
        )
    ]


RECIPES = (
    Recipe(
        "add-enum-value",
        "A label of an enum type.",
        (
            Parameter(
                "type", "the enum type, with its schema where it has another than the search path's first"
            ),
            Parameter("value", "the new label"),
            Parameter("before", "the label that it comes before", required=False),
            Parameter("after", "the label that it comes after", required=False),
        ),
        _add,
    ),
)
