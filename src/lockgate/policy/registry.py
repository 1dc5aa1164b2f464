"""Where rules are registered: a hazard, and the function that finds it.

    @rule(Hazard(id="idx-create-blocking", …), on=w.CreateIndex)
    def create_blocking(subject: Subject) -> Iterator[Hit]:
        …

``on`` names words: statements, or sub-actions of ALTER TABLE (then ``subject.action`` is the sub-action). A rule
without ``on`` and with ``scope="file"`` runs once after each file, with ``scope="tree"`` once after all files.
Rules are plain functions of the subject; they yield a ``Hit`` for each thing they find and never raise.
"""

from collections.abc import Callable, Iterable
from typing import Any

from lockgate.policy.hazard import Hazard
from lockgate.postgres.tree import words as w

Check = Callable[[Any], Iterable[Any]]

HAZARDS: dict[str, Hazard] = {}
ON_STATEMENT: dict[type, list[tuple[Hazard, Check]]] = {}
ON_ACTION: dict[type, list[tuple[Hazard, Check]]] = {}
ON_EVERY: list[tuple[Hazard, Check]] = []
ON_FILE: list[tuple[Hazard, Check]] = []
ON_TREE: list[tuple[Hazard, Check]] = []
NEED_ENVIRONMENT: set[str] = set()
"""Rules that are left out where nothing is known of the server."""

_ACTIONS = frozenset(w.Action.__args__)


def hazard(row: Hazard) -> Hazard:
    """Register a hazard that the engine itself reports."""
    if row.id in HAZARDS:
        raise ValueError(f"the hazard {row.id} is registered twice")
    HAZARDS[row.id] = row
    return row


def rule(
    row: Hazard, *, on: type | tuple[type, ...] = (), scope: str = "statement", environment: bool = False
) -> Callable[[Check], Check]:
    """Register a rule; see the top of this file. ``environment``: it is silent unless a snapshot tells of the server."""
    hazard(row)
    if environment:
        NEED_ENVIRONMENT.add(row.id)

    def register(check: Check) -> Check:
        entry = (row, check)
        if scope == "file":
            ON_FILE.append(entry)
        elif scope == "tree":
            ON_TREE.append(entry)
        elif not on:
            ON_EVERY.append(entry)
        for word in on if isinstance(on, tuple) else (on,):
            (ON_ACTION if word in _ACTIONS else ON_STATEMENT).setdefault(word, []).append(entry)
        return check

    return register
