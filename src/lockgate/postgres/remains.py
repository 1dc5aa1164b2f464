"""What a release left behind, by the history and the journals: also one that was killed and wrote no end."""

import json
from collections.abc import Iterable

import msgspec

from lockgate.postgres import releases
from lockgate.postgres.guard import RELEASE_KEY, Guard
from lockgate.postgres.queries import query
from lockgate.postgres.releases import ReleaseRow
from lockgate.postgres.wire import Wire


class Remains(msgspec.Struct, frozen=True):
    """The files that it applied, what it did of files that stopped half way, and its last sign of life."""

    applied: tuple[str, ...]
    half: tuple[str, ...]
    last: str


def read_remains(wire: Wire, release_key: str, wanted: Iterable[str]) -> Remains:
    """Read it; ``wanted`` are the files of its plan."""
    applied, steps, last = wire.one(query("remains"), release_key, "{" + ",".join(wanted) + "}").rows[0]
    half = [
        f"step {number} of {revision} {'is done' if state == 'done' else 'was under way and may stand'}: {' '.join(text.split())[:120]}"
        for revision, number, state, text in json.loads(steps or "[]")
    ]
    return Remains(tuple(filter(None, (applied or "").split(","))), tuple(half), last or "")


def lives(wire: Wire, row: ReleaseRow) -> bool:
    """Whether somebody runs this release now. Its row alone would say so of one that was killed, too."""
    if row.state != "running" or not Guard.holder(wire, RELEASE_KEY):
        return False
    return releases.read_holder(wire).get("releaseKey") == row.release_key
