"""Which pending file waits, for a data move or for live instances, looked at without a lock: for people who ask before they run anything."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from lockgate.config import Settings
from lockgate.migrations.limits import Limits
from lockgate.migrations.plan import Plan
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.release.authorise import read_live_instances, too_early
from lockgate.release.look import Looked, connect_patiently
from lockgate.release.moving import Moves, first_waiting, next_of, read_waits, under_way
from lockgate.release.project import Files, prepare_files
from lockgate.release.standing import texts_of

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared


class Held(msgspec.Struct, frozen=True):
    """The first pending file that waits: for which move, why, and the commands after which it no longer does."""

    revision: str
    move: str
    because: str
    next: str


def first_held(target: Target, looked: Looked, plan: Plan, files: Files, settings: Settings) -> Held | None:
    """The first pending file that ``up`` would hold because of a move; None when there is none, or the role may not look."""
    pending, done = texts_of(plan, looked.history, files.migrations)
    if not any("after=move:" in text for text in pending) or files.problems:
        return None
    wanted = {revision for revision, _ in plan.pending}
    prepared, problems = prepare_files(tuple(m for m in files.migrations if m.revision in wanted), settings)
    if problems:
        return None
    wire = connect_patiently(target, "look", Limits.of(settings.migrations), None)
    try:
        moving = under_way(wire)
        unmoved, passed = read_waits(wire, moving, pending, done, settings)
    except ServerError as error:
        if error.sqlstate == "42501":
            return None  # a role that may read the history only
        raise
    finally:
        wire.close()
    waits = first_waiting(plan, prepared, Moves(moving, (), unmoved, passed))
    if not waits.revision:
        return None
    return Held(waits.revision, waits.move, waits.because, next_of(waits.move))


def first_too_early(
    target: Target, looked: Looked, plan: Plan, prepared: "Mapping[str, Prepared]", limits: Limits
) -> tuple[str, str]:
    """The first file of the contract phase that ``up`` would hold because of live instances, and why; ``("", "")`` when there is none."""
    files = [prepared[revision] for revision, _ in plan.pending]
    if not looked.facts.home or not any(file.directives.phase == "contract" for file in files):
        return "", ""
    wire = connect_patiently(target, "look", limits, None)
    try:
        instances = read_live_instances(wire)
    except ServerError as error:
        if error.sqlstate == "42501":
            return "", ""  # a role that may read the history only
        raise
    finally:
        wire.close()
    for file in files:
        why = too_early(file, instances) if file.directives.phase == "contract" else ""
        if why:
            return file.migration.revision, why
    return "", ""
