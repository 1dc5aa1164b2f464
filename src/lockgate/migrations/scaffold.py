"""A new migration file, and a new project: written exclusively, never over something that is there."""

import fcntl
import os
import re
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lockgate.errors import ConfigError
from lockgate.migrations.files import FILE_PATTERN, read_directory
from lockgate.migrations.ledger import read_ledger, write_ledger
from lockgate.record.reasons import Exit

_TEMPLATE = """\
-- {title}
-- lockgate: phase=expand
--
-- Why:      what the change is for, and which release needs it.
-- Size:     rows and bytes of the tables it touches.

"""


def milliseconds() -> int:
    """The clock of revisions: epoch milliseconds."""
    return time.time_ns() // 1_000_000


def slug(name: str) -> str:
    """``name`` as a file name has it. Raises ``ConfigError`` when nothing is left of it."""
    # Letters stay without their accents: what is taken apart keeps its base, and casefold makes ss of ß.
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    made = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not made or len(made) > 100:
        raise ConfigError(
            f"{name!r} gives no usable name",
            "USAGE",
            next="Use letters and digits: lockgate new add_orders_note",
        )
    return made


def next_revision(directory: Path, now: Callable[[], int] = milliseconds) -> str:
    """The 13 digits of the next file: now, and always above the newest one that is there."""
    newest = max(
        (int(m[1]) for path in directory.glob("*.sql") if (m := FILE_PATTERN.match(path.name))), default=0
    )
    return f"{max(now(), newest + 1):013d}"


def create(
    directory: Path, name: str, text: str | None = None, *, now: Callable[[], int] = milliseconds
) -> Path:
    """Write the next migration and put it into the ledger. Entries of other files are left as they are.

    Raises ``ConfigError`` when the directory is missing or the ledger is broken: then nothing was written.
    """
    made = slug(name)
    if not directory.is_dir():
        raise ConfigError(f"{directory} is not there", "NO_FILES", next="lockgate init", exit=Exit.USAGE)
    ledger, problems = read_ledger(directory)
    if ledger is None and any(p.id != "LEDGER_MISSING" for p in problems):
        raise ConfigError(problems[0].message, problems[0].id)
    with alone_in(directory):
        while True:
            path = directory / f"{next_revision(directory, now)}_{made}.sql"
            try:
                with path.open("x", encoding="utf-8", newline="\n") as file:
                    file.write(_TEMPLATE.format(title=name) if text is None else text)
                break
            except FileExistsError:
                continue  # somebody made the same name by hand in this millisecond: take the next one
        add_to_ledger(directory, path.name)
    return path


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Hold the directory's lock: two `new` at once would each write the ledger without the other's file."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def add_to_ledger(directory: Path, name: str) -> None:
    """Enter one file; every other entry stays, so that an edited old file still shows."""
    ledger, _ = read_ledger(directory)
    entries = dict(ledger.files) if ledger else {}
    mine = [m for m in read_directory(directory).migrations if m.file == name or m.file not in entries]
    write_ledger(directory, {**entries, **{m.file: m.checksum for m in mine}})
