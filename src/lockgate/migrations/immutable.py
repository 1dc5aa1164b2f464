"""Merged is merged: files that existed at a git revision are not edited, deleted or re-locked."""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from lockgate.errors import ConfigError
from lockgate.migrations.files import FILE_PATTERN, LEDGER_NAME
from lockgate.migrations.finding import Problem, problem


def files_at(directory: Path, revision: str) -> dict[str, bytes]:
    """Name → bytes of every migration (and the ledger) that git has for ``directory`` at ``revision``.

    Raises ``ConfigError`` when git, the repository or the revision is missing: then nobody can tell.
    """
    if revision.startswith("-"):
        raise ConfigError(f"{revision!r} is not a git revision", "USAGE")
    _git(
        directory,
        "rev-parse",
        "--verify",
        "--quiet",
        f"{revision}^{{commit}}",
        why=f"git does not know the revision {revision!r}",
    )
    listing = _git(directory, "ls-tree", "-z", revision, "./", why="git cannot list the directory")
    names: list[str] = []
    blobs: list[bytes] = []
    for entry in listing.split(b"\0"):
        if b"\t" not in entry:
            continue
        meta, name = entry.split(b"\t", 1)
        file = name.decode("utf-8", "replace")
        if meta.split()[1] == b"blob" and (FILE_PATTERN.match(file) or file == LEDGER_NAME):
            names.append(file)
            blobs.append(meta.split()[2])
    if not names:
        return {}
    wanted = b"".join(blob + b"\n" for blob in blobs)
    answer = _git(directory, "cat-file", "--batch", why="git cannot read the files", stdin=wanted)
    return dict(zip(names, _contents(answer, blobs), strict=True))


def committed(directory: Path) -> frozenset[str]:
    """The files of ``directory`` that git has at HEAD; none where there is no repository or no commit yet.

    Raises ``ConfigError`` when there is a repository and git cannot tell.
    """
    whole = directory.absolute()
    if not any((folder / ".git").exists() for folder in (whole, *whole.parents)):
        return frozenset()
    try:
        commits = subprocess.run(
            ["git", "rev-list", "-n", "1", "--all"], cwd=directory, capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        raise ConfigError(
            "git cannot tell which files are committed",
            "USAGE",
            next="lockgate check --fix --since REV, with git at hand",
        ) from None
    return frozenset(files_at(directory, "HEAD")) if commits.strip() else frozenset()


def _contents(answer: bytes, blobs: list[bytes]) -> Iterator[bytes]:
    """The blobs in what ``git cat-file --batch`` answers: a line `<id> blob <size>`, the bytes, a line end, each."""
    at = 0
    for blob in blobs:
        end = answer.find(b"\n", at)
        head = answer[at:end].split()
        if head[:2] != [blob, b"blob"]:
            raise ConfigError(f"git cannot read the object {blob.decode()}", "USAGE", next="git fsck")
        at = end + 1 + int(head[2])
        yield answer[end + 1 : at]
        at += 1


def _git(directory: Path, *arguments: str, why: str, stdin: bytes = b"") -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"git cannot be run: {error}", "USAGE", next="Install git, or leave --since out."
        ) from None
    if done.returncode != 0:
        text = done.stderr.decode("utf-8", "replace").strip()
        raise ConfigError(
            f"{why}{': ' + text if text else ''}",
            "USAGE",
            next="Fetch the revision (git fetch), or name another one.",
        )
    return done.stdout


def compare_with(directory: Path, revision: str, base: Mapping[str, bytes]) -> list[Problem]:
    """What happened since ``revision`` to files that existed there (``base``, of ``files_at``) and must not change."""
    ledger_then = _entries(base.get(LEDGER_NAME, b"{}"))
    ledger_path = directory / LEDGER_NAME
    ledger_now = _entries(ledger_path.read_bytes()) if ledger_path.is_file() else {}
    problems = []
    for name, raw in sorted(base.items()):
        if name == LEDGER_NAME:
            continue
        path = directory / name
        if path.is_symlink() or not path.is_file():
            problems.append(problem("IMMUTABLE_EDITED", name, 0, f"existed at {revision} and is gone"))
        elif path.read_bytes() != raw:
            problems.append(
                problem(
                    "IMMUTABLE_EDITED",
                    name,
                    _first_difference(raw, path.read_bytes()),
                    f"was edited since {revision}",
                )
            )
        elif (
            name in ledger_then
            and ledger_now.get(name) not in (None, ledger_then[name])
            and ledger_then[name] == hashlib.sha256(raw).hexdigest()
        ):
            problems.append(
                problem("IMMUTABLE_EDITED", name, 0, f"its ledger entry was changed since {revision}")
            )
    return problems


def _entries(raw: bytes) -> dict[str, str]:
    try:
        files = json.loads(raw).get("files", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    return files if isinstance(files, dict) else {}


def _first_difference(before: bytes, after: bytes) -> int:
    for number, (old, new) in enumerate(zip(before.splitlines(), after.splitlines(), strict=False), 1):
        if old != new:
            return number
    return min(len(before.splitlines()), len(after.splitlines())) + 1
