"""What a recipe is: parameters in, the files of a safe change out. Nothing here touches a disk or a database."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from lockgate.policy.recipes.declared import Declared

EXPAND, CONTRACT = "expand", "contract"


class RecipeError(ValueError):
    """The parameters do not make a change; the message names the one that is wrong."""


class Parameter(Struct, frozen=True):
    """One ``--set NAME=VALUE`` of a recipe."""

    name: str
    meaning: str
    required: bool = True


class Step(Struct, frozen=True):
    """One file of a change. ``waiting`` ones lie in the contract directory until they are promoted."""

    name: str
    phase: str
    sql: str
    why: str
    transactional: bool = True
    waiting: bool = False
    # The moves that must be reconciled before it may run.
    after: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole file: directives, what it is for, the statements."""
        lines = [f"-- lockgate: phase={self.phase}"]
        lines += [] if self.transactional else ["-- lockgate: transaction=off"]
        lines += [f"-- lockgate: after=move:{move}" for move in self.after]
        lines += ["--", *(f"-- {line}".rstrip() for line in self.why.splitlines())]
        return "\n".join(lines) + f"\n\n{self.sql.strip()}\n"


class Partitions(Struct, frozen=True):
    """What the files say of a partitioned table: (schema, name) of each part, and the columns that divide it."""

    parts: tuple[tuple[str, str], ...]
    # "" for an expression.
    by: tuple[str, ...]
    # Why the parts cannot have an index each, where they cannot.
    obstacle: str = ""


class Given:
    """The values of one call, read by the recipe under their names; and the parts of its table, where it has some."""

    def __init__(self, name: str, values: Mapping[str, str], partitions: Partitions | None = None) -> None:
        self.name = name
        self.partitions = partitions
        self._values = values

    def __getitem__(self, key: str) -> str:
        """The value of ``key``, "" where it is not given."""
        return self._values.get(key, "")

    @property
    def move(self) -> str:
        """The name of the move that belongs to this change."""
        return self["move"] or self.name

    def flag(self, key: str) -> bool:
        """The value of ``key`` as yes or no. Raises ``RecipeError`` for anything else."""
        value = self[key].lower()
        if value not in ("", "yes", "no", "true", "false"):
            raise RecipeError(f"{key}={self[key]}: it is yes or no")
        return value in ("yes", "true")

    def step(
        self,
        part: str,
        sql: str,
        why: str,
        *,
        transactional: bool = True,
        after: tuple[str, ...] = (),
    ) -> Step:
        """An expand file of this change."""
        return Step(f"{self.name}_{part}", EXPAND, sql, why, transactional, after=after)

    def contract(self, sql: str, why: str, *, part: str = "", after: tuple[str, ...] = ()) -> Step:
        """The file that waits until no release needs what it takes away."""
        name = f"{self.name}_{part}" if part else self.name
        why += f"\nIt waits here until no running release and none to roll back to needs it; then: promote {name}"
        return Step(name, CONTRACT, sql, why, waiting=True, after=after)


class Recipe(Struct, frozen=True):
    """One kind of change, with the function that writes its files."""

    name: str
    does: str
    parameters: tuple[Parameter, ...]
    make: Callable[[Given], list[Step]]
    declare: "Callable[[Given], Declared | None] | None" = None
    """The move that fills in the rows that are there, for recipes that need one."""
