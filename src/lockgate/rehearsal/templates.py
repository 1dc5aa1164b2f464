"""Which template database holds which history: keyed by its files, lockgate's own tables and lockgate itself."""

import hashlib
from functools import cache

import msgspec

from lockgate import __version__
from lockgate.postgres import fingerprint, home


class Note(msgspec.Struct, frozen=True):
    """What stands in a template's comment: the digest of its schema."""

    digest: str


def key_of(files: tuple[tuple[str, str], ...], moves: tuple[str, ...] = ()) -> str:
    """The key of a database to which these (revision, checksum) pairs were applied, and nothing else but ``moves``, as their hashes."""
    told: dict[str, object] = {
        "files": files,
        "lockgate": __version__,
        "home": _home(),
        "fingerprint": fingerprint.FORMAT,
    }
    if moves:
        told["moves"] = moves
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()


@cache
def _home() -> str:
    return hashlib.sha256("".join(sql for _, sql in home.steps()).encode()).hexdigest()


def note_of(digest: str) -> str:
    """The comment of a template."""
    return msgspec.json.encode(Note(digest)).decode()


def digest_in(note: str) -> str:
    """The digest in a template's comment; "" when it is none of ours."""
    try:
        return msgspec.json.decode(note, type=Note).digest
    except msgspec.DecodeError:
        return ""
