"""The steps of a release, in order, and which of them a resume does again: a table, and one function over it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from lockgate.postgres.releases import StepRow


class Redo(StrEnum):
    """What a resume does with a step that is done."""

    ALWAYS = "always"
    """It looks only, and has to hold now: done again."""
    UNTIL_MIGRATED = "until migrated"
    """It guards the migration: done again unless the migration is done."""
    NEVER = "never"
    """It changed the world: its outcome stands."""


class Step(msgspec.Struct, frozen=True):
    """One step: its number in the journal, its name, and the rule for a resume."""

    number: int
    name: str
    redo: Redo


STEPS = (
    Step(0, "window", Redo.ALWAYS),
    Step(1, "candidate", Redo.ALWAYS),
    Step(2, "proof", Redo.UNTIL_MIGRATED),
    Step(3, "approvals", Redo.UNTIL_MIGRATED),
    Step(4, "backup", Redo.UNTIL_MIGRATED),
    Step(5, "pause", Redo.UNTIL_MIGRATED),
    Step(6, "migrate", Redo.NEVER),
    Step(7, "verify", Redo.ALWAYS),
    Step(12, "indexes", Redo.NEVER),
    Step(8, "rollout", Redo.NEVER),
    Step(9, "smoke", Redo.ALWAYS),
    Step(10, "watch", Redo.NEVER),
    Step(11, "resume", Redo.ALWAYS),
    Step(13, "index-watch", Redo.ALWAYS),
)
"""The order of the walk. Numbers are keys of journals that exist, so a later step got the next one. The record is written in every case."""
NUMBERS = {step.name: step.number for step in STEPS}


def due(step: Step, journal: Mapping[str, StepRow], *, pending: bool) -> bool:
    """Whether a release with this journal has to do ``step`` (again). ``pending`` says whether anything is left to apply."""
    row = journal.get(step.name)
    if row is None or row.state not in ("done", "skipped"):
        return True
    if step.redo is Redo.ALWAYS:
        return True
    migrated = journal.get("migrate")
    over = not pending or (migrated is not None and migrated.state in ("done", "skipped"))
    return step.redo is Redo.UNTIL_MIGRATED and not over


class Ended(msgspec.Struct, frozen=True):
    """How a step ended well: ``state`` is done or skipped, ``message`` says what was done or why not."""

    state: str
    message: str
    evidence: Mapping[str, Any] = {}


def done(message: str, **evidence: Any) -> Ended:
    """A step that did what it had to."""
    return Ended("done", message, evidence)


def skipped(message: str, **evidence: Any) -> Ended:
    """A step that had nothing to do, and why."""
    return Ended("skipped", message, evidence)
