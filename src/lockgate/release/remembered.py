"""The answers of earlier calls of ``check``, kept so that what has not changed is not judged again.

An answer is kept under the hash of everything it depends on: the rules' own code, the settings, the day, the snapshot,
and name, content and mode of every file in order. So it cannot be stale: whatever changes, changes the name under which
it would be found. A kept file carries the hash of its content; one that is damaged or half written is no answer.
Writers replace whole files, so any number of processes may read and write at once.
"""

import hashlib
import importlib.util
import os
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

import lockgate
from lockgate.config import Settings
from lockgate.migrations.files import Migration
from lockgate.migrations.finding import Problem
from lockgate.policy.finding import Finding, StatementFacts

if TYPE_CHECKING:
    from lockgate.policy.model.snapshot import Snapshot

T = TypeVar("T")
KEPT = 24
"""How many answers stay; the oldest go first."""
_MAGIC = b"lockgate check 1\n"
_JUDGES = ("policy", "migrations", "postgres/tree", "postgres/script", "release")
"""Code that an answer depends on, as folders and files of the package."""


class Mode(StrEnum):
    """What is done with a file: judged, only learnt from, or learnt from and held against the contract."""

    JUDGE = "judge"
    LEARN = "learn"
    CONTRACT = "contract"


class Task(msgspec.Struct, frozen=True):
    """A file and what is to be done with it."""

    migration: Migration
    mode: Mode


class Walked(msgspec.Struct):
    """What contract and policy say of all files: nothing in it depends on anything but the key."""

    problems: list[Problem] = []
    findings: list[Finding] = []
    statements: list[StatementFacts] = []


_encode = msgspec.msgpack.Encoder().encode


class Memory:
    """Kept answers in a folder of the user. What cannot be read or written is simply not remembered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(
        self, settings: Settings, tasks: Sequence[Task], today: date, snapshot: "Snapshot | None"
    ) -> bytes:
        """The hash of all that the answer depends on."""
        parts = [
            rules_version(), _encode(settings.policy), _encode(settings.migrations), today.isoformat().encode(),
            b"" if snapshot is None else _encode(snapshot),
            *(f"{task.migration.file} {task.migration.checksum} {task.mode}".encode() for task in tasks),
        ]  # fmt: skip
        whole = hashlib.sha256()
        for part in parts:
            whole.update(len(part).to_bytes(8, "big"))
            whole.update(part)
        return whole.digest()

    def place(self, settings: Settings, today: date) -> bytes:
        """Where the verdicts on single files of this project are kept: they hang on the same things but the files."""
        parts = (
            rules_version(), _encode(settings.policy), _encode(settings.migrations), today.isoformat().encode(),
            str(settings.root.absolute()).encode(),
        )  # fmt: skip
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()

    def recall(self, key: bytes) -> Walked | None:
        """The answer that was kept under ``key``, or None."""
        return self.recall_as(key, Walked)

    def recall_as(self, key: bytes, kind: type[T]) -> T | None:
        """What was kept under ``key``, as a ``kind``; None when there is none or it is damaged."""
        try:
            raw = (self.folder / key.hex()).read_bytes()
        except OSError:
            return None
        content = _content(raw, key)
        if content is None:
            return None
        try:
            return msgspec.msgpack.decode(content, type=kind)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return None

    def keep(self, key: bytes, walked: Walked) -> None:
        """Keep an answer."""
        self.keep_as(key, walked)

    def keep_as(self, key: bytes, value: object) -> None:
        """Keep ``value``, and let the oldest go."""
        content = _encode(value)
        raw = _MAGIC + hashlib.sha256(key + content).digest() + content
        temporary = self.folder / f".{key.hex()}.{os.getpid()}.{threading.get_ident()}"
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # No fsync: what a crash leaves half written is found out by its hash.
            with open(temporary, "xb", opener=_private) as file:
                file.write(raw)
            temporary.replace(self.folder / key.hex())
            self._prune()
        with suppress(OSError):
            temporary.unlink(missing_ok=True)

    def _prune(self) -> None:
        ages = []
        for entry in os.scandir(self.folder):
            with suppress(OSError):
                ages.append((entry.stat().st_mtime_ns, entry.path))
        for _, path in sorted(ages)[:-KEPT]:
            with suppress(OSError):
                Path(path).unlink()


def _content(raw: bytes, key: bytes) -> bytes | None:
    head = len(_MAGIC)
    stamp, content = raw[head : head + 32], raw[head + 32 :]
    if not raw.startswith(_MAGIC) or hashlib.sha256(key + content).digest() != stamp:
        return None
    return content


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def folder_of(environ: "os._Environ[str] | dict[str, str] | None" = None) -> Path | None:
    """Where answers are kept: ``lockgate/check`` in the user's cache folder. None where the user has none."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CACHE_HOME", "")
    if not Path(base).is_absolute():
        home = environ.get("HOME", "")
        if not Path(home).is_absolute():
            return None
        base = f"{home}/.cache"
    return Path(base) / "lockgate" / "check"


@cache
def rules_version() -> bytes:
    """The hash of the code that judges, of the parser's library and of the Python that runs them."""
    whole = hashlib.sha256(f"{sys.version} {platform.machine()} {msgspec.__version__}".encode())
    root = Path(lockgate.__file__).parent
    for name in _JUDGES:
        for path in _sources(root / name):
            whole.update(path.encode())
            whole.update(Path(path).read_bytes())
    whole.update(_parser())
    return whole.digest()


def _sources(path: Path) -> Iterator[str]:
    if path.is_file():
        yield str(path)
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (f"{folder}/{name}" for name in sorted(names) if name.endswith(".py"))


def _parser() -> bytes:
    """What tells one build of the parser's library from another, without reading its megabytes."""
    spec = importlib.util.find_spec("postgast")
    told = b""
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                state = entry.stat()
                told += f"{entry.path} {state.st_size} {state.st_mtime_ns}\n".encode()
    return told
