"""The switch of a data move exchanges tables without a migration: that stands among what changed the history, and is no drift.

The schema is looked at before the switch. What was drift then stays drift; what was as the history left it is written down
anew after the switch, with an event of the kind ``move``.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from lockgate.config import Settings
from lockgate.errors import LockgateError
from lockgate.migrations import drift
from lockgate.migrations.amend import Amendment
from lockgate.migrations.limits import Limits
from lockgate.postgres import home
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.verdict import Verdict
from lockgate.release.amend import Desk
from lockgate.release.project import Files


@contextmanager
def recorded(targets: list[Target], settings: Settings, who: Amendment) -> Iterator[list[str]]:
    """Around the switch of a move: afterwards the schema of each of ``targets`` is recorded as the one that should be.

    Gives a list that holds what could not be recorded, in words, once the block has ended.
    """
    as_left = [t for t in targets if _look(t) is Verdict.PASS]
    notes: list[str] = []
    try:
        yield notes
    finally:
        for target in as_left:
            try:
                if _look(target) is Verdict.FAIL:
                    Desk(target, Files((), ()), settings, Limits.of(settings.migrations), who).accept_schema(
                        "move"
                    )
            except LockgateError as error:
                notes.append(
                    f"the schema after the switch could not be recorded ({error.message}); status tells drift until: lockgate repair --accept-schema --reason {shlex.quote(who.reason)} --actor WHO"
                )


def _look(target: Target) -> Verdict:
    wire = Wire(target, "move schema")
    try:
        return drift.compare(wire).verdict if home.exists(wire) else Verdict.HOLD
    finally:
        wire.close()
