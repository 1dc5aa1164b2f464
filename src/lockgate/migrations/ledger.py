"""``checksums.json``: the sums that were reviewed. A file that differs from its entry was edited after review."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from lockgate.migrations.files import LEDGER_NAME, Migration
from lockgate.migrations.finding import Problem, problem
from lockgate.record.artifact import write_atomically

_HEX = re.compile(r"[0-9a-f]{64}")


class Ledger(msgspec.Struct, frozen=True):
    """File name → sha256 of its bytes, in hex."""

    files: Mapping[str, str]

    def to_json(self) -> bytes:
        """The ledger as it stands on disk: sorted, indented, one trailing newline."""
        body = {"schemaVersion": "1", "algorithm": "sha256", "files": dict(sorted(self.files.items()))}
        return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"


def read_ledger(directory: Path) -> tuple[Ledger | None, list[Problem]]:
    """The ledger of ``directory``, or None with what is wrong with it."""
    path = directory / LEDGER_NAME
    try:
        if path.is_symlink():
            return None, [problem("LEDGER_FORMAT", LEDGER_NAME, 0, "the ledger is a symbolic link")]
        if path.exists() and not path.is_file():
            return None, [problem("LEDGER_FORMAT", LEDGER_NAME, 0, "the ledger is not a regular file")]
        raw = path.read_bytes()
    except FileNotFoundError:
        return None, [problem("LEDGER_MISSING", LEDGER_NAME, 0, "there is no ledger")]
    except OSError as error:
        return None, [
            problem("LEDGER_FORMAT", LEDGER_NAME, 0, f"the ledger cannot be read: {error.strerror}")
        ]
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, [problem("LEDGER_FORMAT", LEDGER_NAME, 0, f"not JSON: {error}")]
    wrong = _wrong(data)
    if wrong:
        return None, [problem("LEDGER_FORMAT", LEDGER_NAME, 0, wrong)]
    return Ledger(data["files"]), []


def _wrong(data: object) -> str:
    if not isinstance(data, dict):
        return "not a JSON object"
    if data.get("schemaVersion") != "1":
        return f"schemaVersion is {data.get('schemaVersion')!r}, not '1'"
    if data.get("algorithm") != "sha256":
        return f"algorithm is {data.get('algorithm')!r}, not 'sha256'"
    files = data.get("files")
    if not isinstance(files, dict):
        return "`files` is missing"
    unknown = set(data) - {"schemaVersion", "algorithm", "files"}
    if unknown:
        return f"unknown key {sorted(unknown)[0]!r}"
    for name, value in files.items():
        if not isinstance(value, str) or not _HEX.fullmatch(value):
            return f"the sum of {name[:80]!r} is not a sha256 in hex"
    return ""


def compare(
    migrations: Iterable[Migration], ledger: Ledger, unread: frozenset[str] = frozenset()
) -> list[Problem]:
    """What differs between the files and the ledger. ``unread`` are files that are there but broken: told elsewhere."""
    problems = []
    seen = set(unread)
    for migration in migrations:
        seen.add(migration.file)
        entry = ledger.files.get(migration.file)
        if entry is None:
            problems.append(problem("LEDGER_MISSING", migration.file, 0, "the file is not in the ledger"))
        elif entry != migration.checksum:
            if differs_in_line_ends_only(migration.text, entry):
                problems.append(
                    problem("EOL_ONLY", migration.file, 0, "differs from its ledger entry in line ends only")
                )
            else:
                problems.append(
                    problem(
                        "LEDGER_DRIFT",
                        migration.file,
                        0,
                        f"sha256 {migration.checksum[:12]}... is not that of the ledger, {entry[:12]}...",
                    )
                )
    problems += [
        problem("LEDGER_STALE", name, 0, "the ledger names a file that is not there")
        for name in ledger.files
        if name not in seen
    ]
    return problems


def differs_in_line_ends_only(text: str, checksum: str) -> bool:
    """True when ``text`` with other line ends has ``checksum``."""
    unix = text.replace("\r\n", "\n")
    return any(
        hashlib.sha256(form.encode()).hexdigest() == checksum for form in (unix, unix.replace("\n", "\r\n"))
    )


def write_ledger(directory: Path, files: Mapping[str, str]) -> Ledger:
    """Write the ledger of these files (name → sha256), atomically. Raises ``OSError``."""
    ledger = Ledger(dict(files))
    write_atomically(directory / LEDGER_NAME, ledger.to_json(), mode=0o644 & ~_umask())
    return ledger


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
