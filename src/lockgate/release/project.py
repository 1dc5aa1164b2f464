"""The files of a project as one value: read, compared with the ledger, split and judged."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lockgate.config import Settings
from lockgate.errors import CheckFailed, ConfigError
from lockgate.migrations.files import Migration, read_directory
from lockgate.migrations.finding import Problem
from lockgate.migrations.ledger import compare, read_ledger
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared


class Files(msgspec.Struct, frozen=True):
    """The migrations of the directory and what is wrong with them or with the ledger (without looking into the SQL)."""

    migrations: tuple[Migration, ...]
    problems: tuple[Problem, ...]


def read_files(settings: Settings) -> Files:
    """Read the directory and the ledger. Problems are collected, not raised."""
    directory = settings.path(settings.migrations.directory)
    reading = read_directory(directory, max_file_bytes=settings.migrations.max_file_bytes)
    problems = [_elsewhere(one, settings) for one in reading.problems]
    if not any(p.id == "NO_FILES" for p in problems):
        ledger, wrong = read_ledger(directory)
        problems += wrong
        if ledger is not None:
            unread = frozenset(p.file for p in reading.problems)
            problems += _hardened(directory, compare(reading.migrations, ledger, unread))
    return Files(reading.migrations, tuple(problems))


def _elsewhere(problem: Problem, settings: Settings) -> Problem:
    """Of files that are missing where no configuration was read: the folder above in which the project is."""
    if problem.id != "NO_FILES" or settings.file is not None:
        return problem
    here = settings.root.resolve()
    for parent in here.parents:
        if (parent / "lockgate.toml").is_file():
            return msgspec.structs.replace(
                problem, fix=f"cd {shlex.quote(os.path.relpath(parent, here))}: lockgate.toml is there"
            )
    return problem


def _hardened(directory: Path, problems: list[Problem]) -> list[Problem]:
    """The same, and of an edited file that git has already: no way around its bytes."""
    if not any(p.id == "LEDGER_DRIFT" for p in problems):
        return problems
    from lockgate.migrations.immutable import committed

    try:
        kept = committed(directory)
    except ConfigError:
        return problems  # nobody can tell, so the fix names both cases
    fix = "Restore the file (git checkout), it is committed already; a new change is a new file."
    return [
        msgspec.structs.replace(p, fix=fix) if p.id == "LEDGER_DRIFT" and p.file in kept else p
        for p in problems
    ]


def prepare_files(
    files: tuple[Migration, ...], settings: Settings
) -> "tuple[dict[str, Prepared], list[Problem]]":
    """Split and judge these files: by revision, and what is wrong with the others."""
    from lockgate.migrations.contract import prepare

    prepared: dict[str, Prepared] = {}
    problems: list[Problem] = []
    for migration in files:
        item, wrong = prepare(migration, settings.migrations)
        problems += wrong
        if item is not None:
            prepared[migration.revision] = item
    return prepared, problems


def refuse_problems(problems: tuple[Problem, ...] | list[Problem]) -> None:
    """Raise ``CheckFailed`` with every problem when there is one. Nothing was changed then, so it exits as a refusal."""
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        more = f"\n  and {len(errors) - 20} more" if len(errors) > 20 else ""
        lines = "".join(f"\n  {p}\n    fix: {p.fix}" for p in errors[:20])
        raise CheckFailed(
            f"{len(errors)} problem{'s' if len(errors) > 1 else ''} in the migration files:{lines}{more}",
            errors[0].id,
            exit=Exit.REFUSED,
            next=errors[0].fix or None,
            details={"findings": [msgspec.to_builtins(p) for p in errors]},
        )
