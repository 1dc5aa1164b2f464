"""The digest over (revision, checksum): what was applied, without when and by whom, so that places can be compared."""

import hashlib
from collections.abc import Iterable


def history_digest(applied: Iterable[tuple[str, str]], until: str = "") -> str:
    """The sha256, in hex, over the pairs up to revision ``until`` ("" means all), as ``lockgate.history_digest_v1`` gives it."""
    lines = (
        f"{revision} {checksum}\n" for revision, checksum in sorted(applied) if not until or revision <= until
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
