"""Proof that a down section undoes its file: the schema's digest is again what it was before.

One difference is no fault of a down section: a column that it adds again comes last in its table, because no statement can
put it elsewhere. So the digests that are compared leave the places of columns out, and where only places differ the
evidence says of which tables.
"""

from itertools import groupby

from lockgate.errors import LockgateError
from lockgate.migrations import amend
from lockgate.migrations.amend import Amendment
from lockgate.migrations.history import read_history
from lockgate.migrations.progress import Log
from lockgate.postgres.fingerprint import Shape, difference, read_shape
from lockgate.postgres.guard import Guard
from lockgate.postgres.scratch import Ground
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.words import agree, counted
from lockgate.rehearsal.replay import Stage, replay
from lockgate.rehearsal.verdict import Check, failed, passed

MOST = 50
"""How many down sections are proven, the newest first."""


def prove_downs(
    ground: Ground, name: str, stage: Stage, pending: list[str], before: dict[str, Shape]
) -> Check:
    """Apply and undo on the database ``name``, which stands at the base.

    ``before`` maps each revision that has a down section to the schema before it. Files in a row are applied together and
    undone newest first; then they are applied again, for what comes after them.
    """
    wanted = set(sorted(before)[-MOST:])
    target = ground.at(name)
    done = 0
    moved: dict[str, None] = {}
    for undoable, group in groupby(pending, key=lambda revision: revision in wanted):
        revisions = list(group)
        replay(target, stage, Log(), until=revisions[-1])
        if not undoable:
            continue
        try:
            wrong = _undo(ground, name, stage, revisions, before, moved)
        except (LockgateError, ServerError) as error:
            return failed("down", f"undoing {revisions[0]}..{revisions[-1]}: {error}", "DOWN_FAILED")
        if wrong:
            return failed("down", wrong, "DOWN_FAILED")
        done += len(revisions)
        replay(target, stage, Log(), until=revisions[-1])
    rest = len(before) - done
    more = f"; {rest} older ones were not tried" if rest else ""
    if moved:
        more += f"; columns of {', '.join(moved)} come back in another order, as every column that is added again comes last"
    return passed(
        "down",
        f"{counted(done, 'down section')} {agree(done, 'brings', 'bring')} back the schema before{more}",
    )


def _undo(
    ground: Ground,
    name: str,
    stage: Stage,
    revisions: list[str],
    before: dict[str, Shape],
    moved: dict[str, None],
) -> str:
    """Undo these files, the newest first; what one of them left behind, or "". Tables whose columns stand otherwise join ``moved``."""
    who = Amendment(stage.identity.operator, "rehearsal of the down section")
    with Guard(
        ground.at(name), stage.identity, stage.limits.session(), alarm=stage.alarm, clock=stage.limits.clock
    ) as guard:
        guard.acquire(10.0)
        rows = {row.revision: row for row in read_history(guard.work).rows}
        for revision in reversed(revisions):
            amend.down(guard, stage.prepared[revision], rows[revision], who, stage.limits)
            then, now = before[revision], read_shape(guard.work)
            if now.unplaced.digest != then.unplaced.digest:
                changes = difference(then.unplaced.objects, now.unplaced.objects)[:10]
                file = stage.prepared[revision].migration.file
                return f"the down section of {file} leaves another schema than there was before it: {', '.join(map(str, changes))}"
            for change in difference(then.exact.objects, now.exact.objects):
                moved[change.identity.removeprefix("column ").rpartition(".")[0].removeprefix("public.")] = (
                    None
                )
    return ""
