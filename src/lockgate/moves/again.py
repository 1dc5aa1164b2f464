"""What a move in place did to rows, done at once: on a scratch database that replays files, and for the few rows of a new database.

A file that says ``after=move:<name>`` was written for rows that the move had filled in. Where files run again from nothing,
the rows that earlier files of the history put in have met no move, so the same is done to them: without batches or a ledger.
"""

import contextlib
from collections.abc import Iterable, Mapping
from functools import partial

from lockgate.config import Settings
from lockgate.errors import ConfigError
from lockgate.moves.declaration import Declaration, read
from lockgate.moves.in_place import sides
from lockgate.postgres.link import Link
from lockgate.postgres.moves import in_place
from lockgate.postgres.moves.empty import Fill
from lockgate.postgres.moves.in_place import Sides
from lockgate.postgres.relation import find
from lockgate.postgres.target import Target


def moves_in_place(settings: Settings, after: Iterable[str]) -> dict[str, Declaration]:
    """What ``moves/<name>.toml`` declares of the moves in place that files wait for; ``after`` as the directive says it."""
    found = {}
    for name in sorted({wanted.removeprefix("move:") for wanted in after}):
        with contextlib.suppress(ConfigError):
            declared = read(settings, name)
            if declared.in_place:
                found[name] = declared
    return found


def fill_in(declared: Declaration, target: Target, *, compared: bool = True) -> str:
    """Fill in every row of ``target``, and compare both sides, where they are to be ``compared``: "" when they say the same, else what is out of step.

    Raises ``ConfigError`` when a table is not there, ``ServerError`` when the new side refuses what the old one gives.
    """
    link = Link(target, f"move {declared.name} again")
    try:
        made, why = _sides(declared, link)
        if made is None:
            return why
        in_place.fill_all(made, link)
        return in_place.told(in_place.compare(made, link)) if compared else ""
    finally:
        link.close()


def filling(declared: Declaration, target: Target) -> Fill:
    """``fill_in`` as a call that waits for its turn."""
    return partial(fill_in, declared, target)


def hashes(moves: Mapping[str, Declaration]) -> tuple[str, ...]:
    """What tells these declarations apart from any others."""
    return tuple(f"{name} {declared.hash}" for name, declared in sorted(moves.items()))


def _sides(declared: Declaration, link: Link) -> tuple[Sides | None, str]:
    made, problems = sides(declared, find(link, declared.source.table), find(link, declared.target.table))
    return made, problems[0].what if problems else ""
