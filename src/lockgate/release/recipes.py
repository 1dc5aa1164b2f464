"""Recipes on disk: the expand files among the migrations, the contract files where they wait."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from lockgate.config import Settings
from lockgate.errors import ConfigError
from lockgate.migrations.contract import prepare
from lockgate.migrations.files import Migration
from lockgate.migrations.scaffold import create, slug
from lockgate.policy.recipes import RECIPES, Declared, RecipeError, Step, known, move_of, steps_of
from lockgate.policy.recipes.declared import LONGEST_MOVE
from lockgate.policy.recipes.names import split
from lockgate.record.reasons import Exit
from lockgate.release.project import read_files, refuse_problems

_LONGEST_INPUT = 90


class Move(Struct, frozen=True):
    """The declaration of the move that a recipe needs, and where it is."""

    declared: Declared
    path: Path


class Written(Struct, frozen=True):
    """A file of a recipe, and where it is; without a revision where it waits or was not written."""

    step: Step
    path: Path
    revision: str = ""


def plan(
    settings: Settings, recipe: str, name: str | None, values: Mapping[str, str]
) -> tuple[list[Written], Move | None, list[str]]:
    """The files of ``recipe`` and the declaration of its move, where they would be, and notes. Nothing is written.

    Raises ``ConfigError`` for wrong parameters, for columns that the project's files do not make in a table that they
    do make, and for a waiting file that is there; ``CheckFailed`` for names that the file contract refuses.
    """
    if recipe not in RECIPES:
        raise ConfigError(
            f"there is no recipe {recipe!r}; there are {', '.join(RECIPES)}",
            "USAGE",
            next="lockgate new --recipe list",
            details={"recipes": list(RECIPES)},
        )
    try:
        called = slug(name) if name else _default_name(recipe, values)
        built = known.learn(m.up for m in read_files(settings).migrations)
        steps = steps_of(recipe, called, values, known.partitions_of(values, built))
        declared = move_of(recipe, called, values)
    except RecipeError as error:
        raise ConfigError(str(error), "USAGE", next="lockgate new --recipe list") from None
    waiting = settings.path(settings.migrations.contract_directory)
    directory = settings.path(settings.migrations.directory)
    files = [
        Written(
            step, waiting / f"{step.name}.sql" if step.waiting else directory / f"<revision>_{step.name}.sql"
        )
        for step in steps
    ]
    for file in files:
        judged = Migration("0" * 13, file.step.name, f"{file.step.name}.sql", "", file.step.text)
        refuse_problems(prepare(judged, settings.migrations)[1])
        if file.step.waiting and (file.path.exists() or file.path.is_symlink()):
            raise ConfigError(
                f"{file.path} is there already",
                "USAGE",
                next="Give the change another name, or promote that file first.",
            )
    try:
        notes = known.judge(recipe, values, built)
    except RecipeError as error:
        raise ConfigError(str(error), "USAGE", next="Mend the name, or write its file first.") from None
    if declared is None:
        return files, None, notes
    move = Move(declared, settings.path("moves") / f"{declared.name}.toml")
    if move.path.exists() or move.path.is_symlink():
        raise ConfigError(
            f"{move.path} is there already", "USAGE", next="Give the move another name: --set move=NAME"
        )
    return files, move, notes


def write(settings: Settings, files: list[Written], move: Move | None = None) -> list[Written]:
    """Write what ``plan`` gave: what waits and the move first, then the migrations in their order. All of them, or none."""
    directory = settings.path(settings.migrations.directory)
    if not directory.is_dir():
        raise ConfigError(f"{directory} is not there", "NO_FILES", next="lockgate init", exit=Exit.USAGE)
    laid: list[Path] = []
    dated: list[Written] = []
    try:
        if move is not None:
            move.path.parent.mkdir(parents=True, exist_ok=True)
            with move.path.open("x", encoding="utf-8", newline="\n") as out:
                laid.append(move.path)
                out.write(move.declared.text)
        for file in files:
            if file.step.waiting:
                file.path.parent.mkdir(parents=True, exist_ok=True)
                with file.path.open("x", encoding="utf-8", newline="\n") as out:
                    laid.append(file.path)
                    out.write(file.step.text)
        for file in files:
            if not file.step.waiting:
                path = create(directory, file.step.name, file.step.text)
                dated.append(Written(file.step, path, path.name[:13]))
    except BaseException:
        # A dated file may have been read by others already, so it stays and is told by `check`; the rest is undone.
        for path in laid if not dated else []:
            path.unlink(missing_ok=True)
        raise
    return [*dated, *(file for file in files if file.step.waiting)]


def _default_name(recipe: str, values: Mapping[str, str]) -> str:
    """What the change is called: recipe, table and columns by their names, without types; what does not fit is cut."""
    of = values.get("table") or values.get("type", "")
    columns = [part.partition(":")[0] for part in split(values.get("columns", ""))]
    words = [recipe, of, values.get("column", ""), *columns, values.get("value", ""), values.get("to", "")]
    whole = slug("_".join(words)[:_LONGEST_INPUT])
    if len(whole) <= LONGEST_MOVE:
        return whole
    mark = hashlib.sha256("_".join(words).encode()).hexdigest()[:6]
    return f"{whole[: LONGEST_MOVE - len(mark) - 1].rstrip('_')}_{mark}"
