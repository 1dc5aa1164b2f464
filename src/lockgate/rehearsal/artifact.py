"""``rehearsal.json`` and ``rehearsal.html``: written whole or not at all, under the hash of the plan that was rehearsed."""

from pathlib import Path

import msgspec

from lockgate.config import Settings
from lockgate.errors import ConfigError, LockgateError
from lockgate.record.artifact import SHA_PATTERN, contained, write_atomically
from lockgate.record.redact import redact_value
from lockgate.rehearsal.page import page
from lockgate.rehearsal.report import Rehearsal, document

NAME = "rehearsal.json"
PAGE = "rehearsal.html"


def path_of(settings: Settings, plan_hash: str) -> Path:
    """Where the rehearsal of a plan lies. Raises ``ConfigError`` for a hash that is none."""
    return _folder(settings, "rehearsal", plan_hash) / NAME


def write(settings: Settings, rehearsal: Rehearsal, sha: str | None = None) -> list[Path]:
    """Write the rehearsal under its plan hash, and beside the artifacts of release ``sha``. The paths that were written.

    Raises ``LockgateError`` (``ARTIFACT_FAILED``): a proof that cannot be kept is none.
    """
    folders = [_folder(settings, "rehearsal", rehearsal.plan_hash)]
    if sha is not None:
        folders.append(release_folder(settings, sha))
    # The page first: where there is a rehearsal.json, there is what explains it.
    contents = {PAGE: page(rehearsal).encode(), NAME: encode(rehearsal)}
    paths = [folder / name for folder in folders for name in contents]
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, contents[path.name])
        except OSError as error:
            raise LockgateError(
                f"{path} cannot be written: {error.strerror}",
                "ARTIFACT_FAILED",
                state="The rehearsal ran; nothing of it is kept.",
                next="Make the folder writable, then lockgate rehearse again",
            ) from None
    return paths


def encode(rehearsal: Rehearsal) -> bytes:
    """The bytes of ``rehearsal.json``, secrets redacted."""
    return msgspec.json.format(msgspec.json.encode(redact_value(document(rehearsal))), indent=1) + b"\n"


def release_folder(settings: Settings, sha: str) -> Path:
    """Where the artifacts of release ``sha`` lie. Raises ``ConfigError`` for a sha that is none."""
    return _folder(settings, "deploy", sha)


def _folder(settings: Settings, kind: str, name: str) -> Path:
    if not SHA_PATTERN.match(name):
        raise ConfigError(
            f"{name[:80]!r} is not a git sha (7 to 64 hex digits)",
            "USAGE",
            next="lockgate rehearse --sha $(git rev-parse HEAD)",
        )
    try:
        return contained(settings.path(settings.artifacts.directory), kind, name)
    except ValueError as error:
        raise ConfigError(str(error), "USAGE") from None
