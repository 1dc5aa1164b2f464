"""The migrations directory → migrations in memory. Each file is read once, and those bytes are what runs."""

import hashlib
import os
import re
import stat
from pathlib import Path

import msgspec

from lockgate.migrations.directives import DOWN_LINE
from lockgate.migrations.finding import Problem, problem

FILE_PATTERN = re.compile(r"([0-9]{13})_([a-z0-9_]+)\.sql\Z")
"""<13 digits of epoch milliseconds>_<name>.sql, as the sources have it."""
LEDGER_NAME = "checksums.json"


class Migration(msgspec.Struct, frozen=True):
    """One file as it was read: ``revision`` (13 digits), ``name``, the text and the sha256 of its bytes."""

    revision: str
    name: str
    file: str
    checksum: str
    text: str

    @property
    def up(self) -> str:
        """The text before the down section: what ``up`` runs."""
        match = DOWN_LINE.search(self.text)
        return self.text[: match.start()] if match else self.text

    @property
    def down(self) -> str | None:
        """The text of the down section, or None where there is none."""
        match = DOWN_LINE.search(self.text)
        return self.text[match.end() :] if match else None


class Reading(msgspec.Struct, frozen=True):
    """What was found in the directory: the migrations in order, and what is wrong with the others."""

    migrations: tuple[Migration, ...]
    problems: tuple[Problem, ...]


def read_directory(directory: Path, *, max_file_bytes: int = 5_000_000) -> Reading:
    """Read every migration of ``directory``.

    Never follows a symbolic link and never opens what is not a regular file. Problems are collected, not raised.
    """
    problems: list[Problem] = []
    migrations: list[Migration] = []
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return Reading((), (problem("NO_FILES", str(directory), 0, "there is no such directory"),))
    except NotADirectoryError:
        return Reading((), (problem("NO_FILES", str(directory), 0, "this is not a directory"),))
    except PermissionError:
        return Reading((), (problem("FILE_PERMISSIONS", str(directory), 0, "the directory cannot be read"),))
    for entry in found:
        if entry.name in (LEDGER_NAME, ".gitattributes", ".gitkeep", ".gitignore"):
            continue
        shown = _printable(entry.name)
        match = FILE_PATTERN.match(entry.name)
        if entry.is_symlink():
            problems.append(problem("FILE_SYMLINK", shown, 0, "a symbolic link"))
        elif not entry.is_file(follow_symlinks=False):
            problems.append(problem("FILE_TYPE", shown, 0, "not a regular file"))
        elif not entry.name.endswith(".sql"):
            problems.append(problem("FILE_TYPE", shown, 0, "not a .sql file"))
        elif not match:
            problems.append(problem("FILE_NAME", shown, 0, "the name is not <13 digits>_<a-z0-9_>.sql"))
        else:
            raw = _read(entry.path, shown, max_file_bytes, problems)
            text = None if raw is None else _decode(raw, shown, problems)
            if raw is not None and text is not None:
                migrations.append(
                    Migration(match[1], match[2], entry.name, hashlib.sha256(raw).hexdigest(), text)
                )
    if not found or (not migrations and not problems):
        problems.append(problem("NO_FILES", str(directory), 0, "there is no migration in it"))
    problems += _duplicates(migrations)
    return Reading(tuple(migrations), tuple(problems))


def _read(path: str, shown: str, limit: int, problems: list[Problem]) -> bytes | None:
    try:
        # O_NOFOLLOW and the fstat of the open file close the gap between looking and reading.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        problems.append(problem("FILE_PERMISSIONS", shown, 0, f"cannot be read: {error.strerror}"))
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            problems.append(problem("FILE_TYPE", shown, 0, "not a regular file"))
        elif status.st_mode & stat.S_IWOTH:
            problems.append(
                problem("FILE_PERMISSIONS", shown, 0, "writable by everybody", f"chmod o-w {shown}")
            )
        elif status.st_size > limit:
            problems.append(
                problem(
                    "FILE_SIZE",
                    shown,
                    0,
                    f"{status.st_size} bytes; the limit is {limit} (migrations.max_file_bytes)",
                )
            )
        else:
            return _read_whole(descriptor, status.st_size, limit)
        return None
    finally:
        os.close(descriptor)


def _read_whole(descriptor: int, size: int, limit: int) -> bytes:
    """All bytes of the file, also when it grew since its size was read; never more than ``limit`` and one."""
    raw = os.read(
        descriptor, size + 1
    )  # a buffer of the limit's size for each file would cost more than the reading
    while len(raw) > size and len(raw) <= limit and (more := os.read(descriptor, limit)):
        raw += more
    return raw


def _decode(raw: bytes, shown: str, problems: list[Problem]) -> str | None:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        problems.append(problem("FILE_BOM", shown, 1, "UTF-16 with a byte order mark at byte 0"))
        return None
    if raw.startswith(b"\xef\xbb\xbf"):
        problems.append(problem("FILE_BOM", shown, 1, "a byte order mark at byte 0"))
        return None
    nul = raw.find(b"\0")
    if nul >= 0:
        problems.append(problem("FILE_NUL", shown, raw.count(b"\n", 0, nul) + 1, f"a NUL byte at byte {nul}"))
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        problems.append(
            problem(
                "FILE_ENCODING",
                shown,
                raw.count(b"\n", 0, error.start) + 1,
                f"not UTF-8 at byte {error.start}",
            )
        )
        return None


def _duplicates(migrations: list[Migration]) -> list[Problem]:
    seen: dict[str, str] = {}
    problems = []
    for migration in migrations:
        other = seen.setdefault(migration.revision, migration.file)
        if other != migration.file:
            problems.append(
                problem(
                    "DUPLICATE_REVISION",
                    migration.file,
                    0,
                    f"revision {migration.revision} is also that of {other}",
                )
            )
    return problems


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]
