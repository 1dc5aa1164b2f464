"""A contract file whose time has come: dated, moved to the migrations, entered into the ledger."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from lockgate.config import Settings
from lockgate.errors import ConfigError
from lockgate.migrations.contract import prepare
from lockgate.migrations.files import FILE_PATTERN, read_directory
from lockgate.migrations.finding import Problem, problem
from lockgate.migrations.ledger import read_ledger
from lockgate.migrations.scaffold import add_to_ledger, alone_in, milliseconds, next_revision
from lockgate.record.reasons import Exit
from lockgate.release.project import read_files, refuse_problems

_SLUG = re.compile(r"[a-z0-9_]{1,100}")
_NUMBERED = re.compile(r"(?P<change>.+)_(?P<number>[1-9])_[a-z0-9_]+")


class Promoted(Struct, frozen=True):
    """The file where it waited and where it is now."""

    waited: Path
    path: Path
    notes: tuple[str, ...] = ()
    """Views and functions that use what the file takes away, and what to do: it is not committed yet."""

    @property
    def revision(self) -> str:
        """The 13 digits that it got."""
        return self.path.name[:13]


def promote(settings: Settings, name: str, *, now: Callable[[], int] = milliseconds) -> Promoted:
    """Date the waiting file ``name`` above every migration and move it among them, in one step of the file system.

    Raises ``ConfigError`` when there is no such file, it was promoted before or a part of its change goes first,
    ``CheckFailed`` when it breaks the file contract. Then nothing was moved.
    """
    directory = settings.path(settings.migrations.directory)
    waiting = settings.path(settings.migrations.contract_directory)
    if not _SLUG.fullmatch(name):
        raise _refusal(f"{name!r} is no name of a waiting file: a-z, 0-9 and _, without .sql", waiting)
    if not directory.is_dir():
        raise ConfigError(f"{directory} is not there", "NO_FILES", next="lockgate init", exit=Exit.USAGE)
    with alone_in(directory):
        ledger, problems = read_ledger(directory)
        if ledger is None and any(p.id != "LEDGER_MISSING" for p in problems):
            raise ConfigError(problems[0].message, problems[0].id)
        file = waiting / f"{name}.sql"
        _refuse_twice(directory, file, name)
        _refuse_early(waiting, name)
        revision = next_revision(directory, now)
        target = directory / f"{revision}_{name}.sql"
        refuse_problems(_wrong(file, target.name, settings))
        _move(file, target, directory)
    return Promoted(file, target, _left_by(settings, revision))


def _left_by(settings: Settings, revision: str) -> tuple[str, ...]:
    """A file made now comes behind this one, so what has to happen first goes into this one."""
    from lockgate.policy.recipes.known import learn
    from lockgate.policy.recipes.left import left_by

    migrations = read_files(settings).migrations
    own = next((m for m in migrations if m.revision == revision), None)
    if own is None:
        return ()
    before = [m.up for m in migrations if m.revision < revision]
    found = left_by(learn(before).schema, own.up, len(before))
    return tuple(
        f"{one.said}: write into {own.file}, above the statement that drops it: {one.remedy}; then lockgate check --write-ledger"
        for one in found
    )


def waiting_names(waiting: Path) -> list[str]:
    """The names of the files that wait."""
    return sorted(path.stem for path in waiting.glob("*.sql"))


def _refusal(message: str, waiting: Path) -> ConfigError:
    names = waiting_names(waiting)
    told = f"Waiting: {', '.join(names)}" if names else f"No file waits in {waiting}."
    return ConfigError(message, "USAGE", next=told, details={"waiting": names})


def _refuse_twice(directory: Path, file: Path, name: str) -> None:
    there = next(
        (
            p.name
            for p in sorted(directory.glob("*.sql"))
            if (m := FILE_PATTERN.match(p.name)) and m[2] == name
        ),
        None,
    )
    if there is not None:
        raise _refusal(f"{name} was promoted already: it is {there}", file.parent)
    if not os.path.lexists(file):
        raise _refusal(f"{file} is not there", file.parent)


def _refuse_early(waiting: Path, name: str) -> None:
    mine = _NUMBERED.fullmatch(name)
    for other in waiting_names(waiting) if mine else []:
        found = _NUMBERED.fullmatch(other)
        if mine and found and found["change"] == mine["change"] and found["number"] < mine["number"]:
            raise ConfigError(f"{other} goes before {name}", "USAGE", next=f"lockgate promote {other}")


def _wrong(file: Path, dated: str, settings: Settings) -> list[Problem]:
    """What the file contract says of the file under its new name, judged on a copy that no other command sees."""
    if file.is_symlink():
        return [problem("FILE_SYMLINK", file.name, 0, "a symbolic link")]
    if not file.is_file():
        return [problem("FILE_TYPE", file.name, 0, "not a regular file")]
    with TemporaryDirectory() as folder:
        try:
            shutil.copy2(file, Path(folder) / dated)
        except OSError as error:
            return [problem("FILE_PERMISSIONS", file.name, 0, f"cannot be read: {error.strerror}")]
        reading = read_directory(Path(folder), max_file_bytes=settings.migrations.max_file_bytes)
    if reading.problems:
        return list(reading.problems)
    prepared, problems = prepare(reading.migrations[0], settings.migrations)
    if prepared is not None and prepared.directives.phase != "contract":
        return [problem("FILE_DIRECTIVE", file.name, 1, "a file that waits says phase=contract")]
    return problems


def _move(file: Path, target: Path, directory: Path) -> None:
    try:
        file.rename(target)
    except OSError as error:
        raise ConfigError(f"{file} cannot be moved to {directory}: {error.strerror}") from None
    try:
        add_to_ledger(directory, target.name)
    except BaseException:
        target.rename(file)
        raise
