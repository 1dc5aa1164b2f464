"""The revision of a set of secrets: tells two sets apart and shows nothing of either.

Secrets are read from variables, files or commands, each within its own time. The revision is a slow salted digest (scrypt),
because a secret may be short, and whoever sees the revision could try all short ones against a quick digest.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lockgate.errors import ConfigError
from lockgate.record.redact import remember

MARKS = ("{{", "}}", "${")
"""What an unresolved template leaves behind."""
_NEXT = "Give NAME=env:VARIABLE, NAME=file:PATH or NAME=command:WORDS."


class Secret(NamedTuple):
    """Where a secret comes from: ``kind`` is env, file or command; ``timeout`` in seconds is for a command or a slow file."""

    name: str
    kind: str
    source: str
    timeout: float = 90.0


def parse(text: str, *, timeout: float = 90.0) -> Secret:
    """``NAME=env:VARIABLE``, ``NAME=file:PATH``, ``NAME=command:WORDS``. Raises ``ConfigError``."""
    name, _, where = text.partition("=")
    kind, _, source = where.partition(":")
    if not name or kind not in ("env", "file", "command") or not source:
        raise ConfigError(f"the secret {name or '?'} has no source that is known", "SECRETS", next=_NEXT)
    return Secret(name, kind, source, timeout)


def revision_of(values: Mapping[str, str], salt: str) -> str:
    """The revision of these secrets: the same for the same set and ``salt``, on every machine."""
    text = json.dumps(dict(values), sort_keys=True, ensure_ascii=False)
    key = hashlib.scrypt(
        text.encode(), salt=f"lockgate:secrets:1:{salt}".encode(), n=1 << 14, r=8, p=1, dklen=16
    )
    return "s" + key.hex()


def read(secrets: "tuple[Secret, ...]", environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Read every secret and remember it for redaction. Raises ``ConfigError`` (``SECRETS``) that names the one and never shows it.

    Missing, empty, late, and unresolved template marks are each refused.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, str] = {}
    for one in secrets:
        if one.name in found:
            raise ConfigError(f"the secret {one.name} is named twice", "SECRETS", next=_NEXT)
        value = _READERS[one.kind](one, environ).rstrip("\r\n")
        remember(value)
        if not value:
            raise ConfigError(
                f"the secret {one.name} is empty ({one.kind})",
                "SECRETS",
                next="Set it; an empty secret is none.",
            )
        if any(mark in value for mark in MARKS):
            raise ConfigError(
                f"the secret {one.name} holds an unresolved template mark",
                "SECRETS",
                next="Let the template be filled in before it is read.",
            )
        found[one.name] = value
    return found


def _variable(one: Secret, environ: Mapping[str, str]) -> str:
    if one.source not in environ:
        raise ConfigError(
            f"the secret {one.name}: {one.source} is not set", "SECRETS", next=f"Set {one.source}."
        )
    return environ[one.source]


def _file(one: Secret, environ: Mapping[str, str]) -> str:
    import threading

    result: list[str | OSError | UnicodeDecodeError] = []

    def load() -> None:
        try:
            result.append(Path(one.source).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            result.append(error)

    # In a thread: a file of a dead network mount, or a FIFO, never answers.
    reader = threading.Thread(target=load, daemon=True)
    reader.start()
    reader.join(one.timeout)
    if not result:
        raise ConfigError(
            f"the secret {one.name}: {one.source} could not be read within {one.timeout:g} s",
            "SECRETS",
            next="Look at the mount.",
        )
    if isinstance(result[0], OSError):
        raise ConfigError(
            f"the secret {one.name}: {one.source}: {result[0].strerror}", "SECRETS", next="Mount the file."
        )
    if isinstance(result[0], UnicodeDecodeError):
        raise ConfigError(
            f"the secret {one.name}: {one.source} is not UTF-8", "SECRETS", next="Store it as text."
        )
    return result[0]


def _command(one: Secret, environ: Mapping[str, str]) -> str:
    import contextlib
    import signal
    import subprocess

    try:
        # A session of its own: what is late is ended with everything that it has started, such as the client in a script.
        with subprocess.Popen(
            shlex.split(one.source),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=dict(environ),
            start_new_session=True,
        ) as process:
            try:
                out, _ = process.communicate(timeout=one.timeout)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"the secret {one.name}: the command did not end within {one.timeout:g} s",
            "SECRETS",
            next="Look at the vault.",
        ) from None
    except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the secret {one.name}: the command cannot be run: {type(error).__name__}", "SECRETS", next=_NEXT
        ) from None
    if process.returncode:
        raise ConfigError(
            f"the secret {one.name}: the command ended with {process.returncode}",
            "SECRETS",
            next="Look at the vault.",
        )
    return out


_READERS = {"env": _variable, "file": _file, "command": _command}
