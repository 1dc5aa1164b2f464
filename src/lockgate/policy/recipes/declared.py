"""The declaration of the move that a recipe needs: ``moves/<name>.toml``, which ``lockgate move`` drives."""

import json
import re
from collections.abc import Mapping

from msgspec import Struct

from lockgate.policy.model.spelling import quote
from lockgate.policy.recipes.recipe import RecipeError

LONGEST_MOVE = 40
"""Characters of a move's name."""
_NAME = re.compile(rf"[a-z][a-z0-9_]{{0,{LONGEST_MOVE - 1}}}")


class Declared(Struct, frozen=True):
    """A move in place: what is filled in by what, how the old side is made of the new one, and what keeps both in step."""

    name: str
    recipe: str
    source: str
    target: str
    columns: Mapping[str, str]
    reverse: Mapping[str, str] = {}
    triggers: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    not_null: tuple[str, ...] = ()
    key: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole file."""
        lines = [
            f"# The move of the change {self.recipe}: it fills in the rows that were there before the expand files.",
            f"# After lockgate up has applied those: lockgate move run {self.name}",
            'kind = "in-place"',
        ]
        lines += [f"key = {_list(self.key)}"] if self.key else []
        lines += [f"not_null = {_list(self.not_null)}"] if self.not_null else []
        lines += [
            "",
            "[source]",
            f"table = {_text(self.source)}",
            "",
            "[target]",
            f"table = {_text(self.target)}",
        ]
        for part, values in (("columns", self.columns), ("reverse", self.reverse)):
            if values:
                lines += ["", f"[{part}]", *(f"{_text(c)} = {_text(e)}" for c, e in values.items())]
        lines += ["", "[sync]"]
        lines += [f"triggers = {_list(self.triggers)}"] if self.triggers else []
        lines += [f"checks = {_list(self.checks)}"] if self.checks else []
        return "\n".join(lines) + "\n"


def move_name(name: str) -> str:
    """``name``, when a move may be called so. Raises ``RecipeError``."""
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"the move of this change would be called {name}; a move's name is a letter and then a-z, 0-9 and _, up to {LONGEST_MOVE}: give move=NAME"
        )
    return name


def same(names: "list[str] | tuple[str, ...]") -> dict[str, str]:
    """Columns that are taken as they are."""
    return {name: quote(name) for name in names}


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(values: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, values))}]"
