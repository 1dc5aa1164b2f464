"""The stages of a dual-written move: start, prove, switch, go back, end. Each can be called again at any time."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from lockgate.errors import Busy, ConfigError, LockgateError, Refused
from lockgate.moves.dual import beginning, shapes
from lockgate.moves.dual import pair as pairs
from lockgate.moves.dual.comparing import compare, look_again, texts_of
from lockgate.moves.dual.created import create_sql, would_be
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.dual.fitting import fitting
from lockgate.moves.dual.needs import Place, needed
from lockgate.moves.dual.opened import Opened, lag_problems, replica_problems
from lockgate.moves.dual.references import refuse_dangling
from lockgate.moves.dual.second_leg import Carried, drain
from lockgate.moves.dual.shapes import stop_if_changed
from lockgate.moves.dual.trying import Tried, demanded, tried
from lockgate.moves.gates import (
    Tail,
    diverged,
    in_evidence,
    key_words,
    refuse_unproven_end,
)
from lockgate.moves.planned import Planned, refuse_problems
from lockgate.moves.stages import OVER, Stage, why
from lockgate.moves.transforms import Transform
from lockgate.moves.verify import Difference, Verified
from lockgate.postgres.moves import home, ledger
from lockgate.postgres.target import Target
from lockgate.record.redact import redact
from lockgate.record.words import agree, counted
from lockgate.stores.making import Given
from lockgate.stores.side import Op, Side, Switch
from lockgate.stores.speaking import Locked, speak

TURNED = (Stage.CUT_OVER, Stage.TAIL)
"""Stages in which the target serves and the way back is open."""
TAIL = Tail("The target serves", "the target's rows into the source")
PATIENCE_MS = 30_000
"""Everything but the switch waits so long for a lock: a file of SQLite has only one."""


def plan(move: Opened) -> Planned:
    """Look at both sides and tell. Changes nothing."""
    d = move.declared
    source, there = pairs.tables(d, move.places)
    engine = pairs.engine_of(move.places.target)
    target = there if there is not None else would_be(source, d.target.table, engine)
    made = pairs.plan(d, source, target)
    found = Tried(list(made.problems), []) if made.problems else tried(d, move.places, source, made)
    problems = [{"what": what, "fix": fix} for what, fix in found.problems]
    placed = pairs.place_problems(d, move.places, (source.name, target.name))
    problems += [{"what": what, "fix": fix} for what, fix in placed]
    problems += [
        {"what": what, "fix": fix}
        for what, fix in [*replica_problems(d, move.places), *lag_problems(d, move.places)]
    ]
    if there is not None and not made.problems:
        found.notes.extend(demanded(d, move.places, source, there, made.key))
    if not made.problems and not placed:
        fits = fitting(d, move.places, source, target, made.key, there=there is not None)
        problems += [{"what": what, "fix": fix} for what, fix in fits.problems]
        found.notes.extend(fits.notes)
    if there is not None and not problems and d.references:
        problems += _unanswerable(move)
    sides = (
        Place("source", source.name, True, not d.one_way),
        Place("target", target.name, there is not None, True),
    )
    wanted = needed(move, sides, made.key, workers=d.limits.workers, empty=not placed)
    problems += [{"what": what, "fix": fix} for what, fix in wanted.problems]
    found.notes.extend(wanted.notes)
    steps = (
        []
        if there is not None
        else [
            f"create {d.target.table} in {engine}: {', '.join(f'{c.name} {c.type}' for c in target.columns)}"
        ]
    )
    steps += [
        "make the side tables on both sides: revisions, outbox, switch, writers",
        f"wait until {d.writers} live writer{'s' if d.writers != 1 else ''} use DualWriter",
        f"copy {counted(source.rows, 'row')} in batches of {d.limits.batch_rows} by {d.limits.workers} workers, each with count, digest and ledger row" + (", read from the standby once it is past what was committed before" if move.places.replica else ""),
        "carry what waits in the outbox, compare both sides exactly",
        "switch: bar the writers, drain, compare the changed keys, open the target",
        "no way back: one_way = true" if d.one_way else f"keep the old side current for {d.rollback_hours:g} h: lockgate move rollback {d.name}",
    ]  # fmt: skip
    return Planned(d.name, source.name, target.name, there is not None, made.key, {g.name: _told_by(d, g) for g in made.given[0]}, source.rows, problems, steps, found.notes)  # fmt: skip


def _unanswerable(move: Opened) -> list[dict[str, str]]:
    try:
        for r in move.declared.references:
            move.pair.target.dangling(r.columns, r.table, r.key, [(None,) * len(move.pair.target.key)])
    except LockgateError as error:
        return [{"what": f"references: {error.message}", "fix": "Name columns of the target, and table and key beside it."}]  # fmt: skip
    return []


def _told_by(d: DualDeclaration, given: Given) -> str:
    by = d.columns.get(given.name)
    return f"{by.python} {by.version}" if isinstance(by, Transform) else given.expression or given.name


def start(move: Opened, operator: str) -> str:
    """planned → dual_write: side tables on both sides, then writers capture. Does nothing when the move is under way; returns the stage."""
    if stage := beginning.under_way(move, operator):
        return stage
    planned = plan(move)
    refuse_problems(planned)
    for url, option in zip(move.places.both, ("source", "target"), strict=True):
        if pairs.engine_of(url) == "postgres":
            home.ensure(Target(url, source=option))
    if not planned.target_exists:
        source, _ = pairs.tables(move.declared, move.places)
        speaker = speak(move.places.target, f"move {move.name} start", "target")
        try:
            speaker.do(create_sql(would_be(source, move.declared.target.table, speaker.engine), speaker))  # fmt: skip
        finally:
            speaker.close()
    for side in (move.pair.source, move.pair.target):
        side.drop()
        side.create()
    epoch = max((s.epoch for s in (move.pair.source.switch(), move.pair.target.switch()) if s), default=0) + 1
    beginning.begin(move, planned, msgspec.to_builtins(move.declared), epoch, operator)
    # The target first: a writer that sees the move on the source finds the other side ready.
    set_switch(move, move.pair.target, Switch("source", epoch, True))
    set_switch(move, move.pair.source, Switch("source", epoch, True))
    return Stage.DUAL_WRITE


def set_switch(move: Opened, side: Side, switch_: Switch) -> int:
    """Write a switch in many short attempts; the number of attempts. Raises ``Busy`` (``MOVE_LOCK``)."""
    limits = move.declared.limits
    deadline = time.monotonic() + limits.lock_patience_seconds
    attempts = 0
    side.speaker.patience(limits.lock_attempt_ms)
    try:
        while True:
            attempts += 1
            try:
                side.set_switch(switch_)
                return attempts
            except Locked as error:
                if time.monotonic() >= deadline:
                    raise Busy(f"writers hold the switch of {side.speaker.where} too long: {error.message}", "MOVE_LOCK") from None  # fmt: skip
                time.sleep(limits.lock_attempt_ms / 1000)
    finally:
        side.speaker.patience(PATIENCE_MS)


class DualReconciled(NamedTuple):
    """What a comparison found: everything, and the rows that no write in flight explains."""

    verified: Verified
    in_flight: int
    unexplained: tuple[Difference, ...]
    repaired: int


def reconcile(move: Opened, *, repair: bool = False, report: Callable[[str, float], None] = lambda _d, _p: None, operator: str = "") -> DualReconciled:  # fmt: skip
    """Drain, compare every row in both directions, look again at those that differ, and step to ``reconciled``. Raises ``MOVE_DIVERGED``.

    With ``repair`` rows that differ are written again as operations, with a revision of their own. After the cutover the source
    is held against what the target gives; the stage stays, and what was found decides about the way back.
    """
    row = move.row()
    turned = row.stage in TURNED and not move.declared.one_way
    if not turned and row.stage not in (Stage.BACKFILLING, Stage.RECONCILED, Stage.SHADOWING, Stage.READY):
        why(Stage(row.stage), Stage.RECONCILED)
    stop_if_changed(move, row)
    origin, destination = move.feed(row)
    drained(move, origin, destination)
    refuse_incomplete(move)

    def carried() -> Carried:
        return drained(move, origin, destination)

    found = compare(move, report, turned=turned)
    stop_if_changed(move)
    unexplained = look_again(origin, destination, found.differing, carried)
    repaired = 0
    if unexplained and repair:
        repaired = len(unexplained)
        write_again(origin, [d.key for d in unexplained], report)
        drained(move, origin, destination)
        unexplained = look_again(origin, destination, unexplained, carried)
    evidence: dict[str, object] = {
        "rowsSource": found.source_rows, "rowsTarget": found.target_rows, "differing": len(found.differing), "inFlight": len(found.differing) - len(unexplained) - repaired, "repaired": repaired,
        "unexplained": [{"key": [str(k) for k in d.key], "kind": d.kind} for d in unexplained[:50]], "lane": found.comparison.lane, "replica": redact(move.places.replica), "seconds": round(found.seconds, 3),
        **in_evidence([texts_of(d.key) for d in unexplained], truncated=found.truncated),
    }  # fmt: skip
    if unexplained or found.truncated:
        words = f"{counted(len(unexplained), 'row')} of the move {move.name} {agree(len(unexplained), 'differs', 'differ')} and no write in flight explains it"
        if unexplained:
            words += f"; the first: {', '.join(f'{key_words(texts_of(d.key))} ({_seen(d)})' for d in unexplained[:5])}"
        diverged(
            move.home, move.name, move.declared.gates, words, evidence, operator, TAIL if turned else None
        )
    if repaired:  # the side that serves is what both hold now
        rows = found.target_rows if turned else found.source_rows
        found = found._replace(source_rows=rows, target_rows=rows)
    if turned:
        proven_again(move, evidence, operator)
        return DualReconciled(found, len(found.differing) - repaired, (), repaired)
    refuse_dangling(move, carried)
    ledger.step(move.home, move.name, row.stage, Stage.RECONCILED, why(Stage(row.stage), Stage.RECONCILED), evidence, also="reconciled_at = clock_timestamp()", operator=operator)  # fmt: skip
    return DualReconciled(found, len(found.differing) - repaired, (), repaired)


def _seen(difference: Difference) -> str:
    return "changed" if difference.kind == "changed" else "on one side only"


def proven_again(move: Opened, evidence: dict[str, object], operator: str) -> None:
    """Write down that both sides of a move that has switched are equal: nothing that was found before stands in the way of a rollback or the end."""
    ledger.event(move.home, move.name, "proof", "both sides were compared after the cutover and are equal", evidence, operator=operator)  # fmt: skip


def refuse_incomplete(move: Opened) -> None:
    """Raise while ranges are not copied (``MOVE_INCOMPLETE``) or rows stand in quarantine (``MOVE_QUARANTINE``)."""
    left, _ = ledger.waiting(move.home, move.name)
    if left or not move.row().cursor_done:
        raise LockgateError(f"{left} ranges of the move {move.name} are not copied", "MOVE_INCOMPLETE")
    held = ledger.quarantined(move.home, move.name)
    if held:
        count = ledger.count_quarantined(move.home, move.name)
        raise LockgateError(f"{counted(count, 'row')} {agree(count, 'stands', 'stand')} in quarantine, the first ({held[0]['key']}): {held[0]['message']}", "MOVE_QUARANTINE", details={"quarantine": held[:20]})  # fmt: skip


def drained(move: Opened, origin: Side, destination: Side) -> Carried:
    """Carry all that waits. Raises ``MOVE_QUARANTINE`` when an operation cannot be carried."""
    done = drain(origin, destination, move.declared.limits.relay_rows, most=1000)
    tell_failures(move, origin)
    refuse_failed(origin, destination.speaker.where, done)
    return done


def refuse_failed(origin: Side, where: str, done: Carried) -> None:
    """Raise ``LockgateError`` (``MOVE_QUARANTINE``) when operations could not be carried to ``where``, or were set aside before."""
    if done.failed or origin.aside():
        error = done.error or next((words for _, words in origin.failing(1)), "")
        raise LockgateError(
            f"{counted(origin.backlog()[1], 'operation')} cannot be brought to {where}: {error}",
            "MOVE_QUARANTINE",
        )


SECOND_LEG = "second leg"
"""Stands where rows that the target refused while they were copied have their SQLSTATE."""


def tell_failures(move: Opened, origin: Side) -> None:
    """Write operations whose second leg failed into the quarantine, where people and the metric ``dual_write_fail`` look; those that were carried since are gone from it."""
    feed = "forward" if origin is move.pair.source else "reverse"
    failing = origin.failing(1000)
    known = move.home.value("SELECT count(*) FROM lockgate.move_quarantine WHERE move = $1 AND sqlstate = $2", move.name, SECOND_LEG)  # fmt: skip
    if not failing and not known:
        return
    with move.home.transaction():
        move.home.run("DELETE FROM lockgate.move_quarantine WHERE move = $1 AND sqlstate = $2", move.name, SECOND_LEG)  # fmt: skip
        for key, error in failing:
            move.home.run(
                "INSERT INTO lockgate.move_quarantine (move, feed, key, sqlstate, message) VALUES ($1, $2, $3::text[], $4, $5) ON CONFLICT (move, feed, key) DO NOTHING",
                move.name, feed, [str(k) for k in key], SECOND_LEG, redact(error),
            )  # fmt: skip


def write_again(origin: Side, keys: Sequence[tuple[object, ...]], report: Callable[[str, float], None] = lambda _d, _p: None) -> None:  # fmt: skip
    """Make an operation of what the origin holds for each of these keys, with a revision of its own."""
    import uuid

    for number, key in enumerate(keys, 1):
        texts = texts_of(key)
        op_id = f"repair-{uuid.uuid4().hex}"
        with origin.transaction():
            rev = origin.next_rev(texts, op_id)
            assert rev is not None
            origin.record(Op(op_id, texts, origin.images([texts]).get(texts), rev))
        report("writing again", number / len(keys))


def relay(move: Opened) -> Carried:
    """Carry what waits, from the side that serves to the other."""
    row = move.row()
    if row.stage in OVER or row.stage == Stage.PLANNED:
        return Carried(0, 0)
    stop_if_changed(move, row)
    origin, destination = move.feed(row)
    done = drain(origin, destination, move.declared.limits.relay_rows, most=50)
    tell_failures(move, origin)
    return done


def resume(move: Opened, *, operator: str = "") -> str:
    """paused → the stage before; what was proven is proven anew. What the tables are now counts as right, when they fit."""
    row = move.row()
    if row.stage != Stage.PAUSED:
        return row.stage
    shapes.keep(move)
    before = Stage(row.resume_stage or Stage.BACKFILLING)
    after = Stage.BACKFILLING if before in (Stage.RECONCILED, Stage.SHADOWING, Stage.READY) else before
    ledger.step(move.home, move.name, Stage.PAUSED, after, why(Stage.PAUSED, after), {"was": before}, operator=operator)  # fmt: skip
    return after


def finish(move: Opened, *, now: bool, operator: str = "") -> None:
    """tail → finished, after the window or ``now``; the old side is proven current first, so that a broken feed does not expire in silence."""
    row = move.row()
    if row.stage == Stage.FINISHED:
        return
    reason = why(Stage(row.stage), Stage.FINISHED)
    again = "" if move.declared.one_way else f"lockgate move verify {move.name} --repair"
    refuse_unproven_end(move.home, row, way_back=not move.declared.one_way, now=now, mended=again)
    if not now and row.window_open and not move.declared.one_way:
        raise Refused(
            f"the way back of the move {move.name} is open until {row.rollback_until}", "MOVE_WINDOW"
        )
    if not now and not move.declared.one_way:
        drained(move, move.pair.target, move.pair.source)
    refuse_dangling(move, lambda: None)
    _end(move, "target", row.epoch)
    ledger.step(move.home, move.name, row.stage, Stage.FINISHED, reason, {"now": now}, also="finished_at = clock_timestamp(), rollback_until = NULL", operator=operator)  # fmt: skip


def abort(move: Opened, reason: str, operator: str = "") -> None:
    """End a move before its switch: the source serves alone. Writers see it in their next transaction."""
    row = move.row()
    if row.stage == Stage.ABORTED:
        return
    why(Stage(row.stage), Stage.ABORTED)
    try:
        _ = move.pair
    except (ConfigError, Refused) as error:
        # A move whose tables do not fit any more, or are gone, has to have an end.
        if error.code not in ("MOVE_REFUSED", "TABLE_MISSING") or not move.places.target:
            raise
        d = move.declared
        move.keep(pairs.bare_pair((d.source.table, d.target.table), move.name, move.places, "abort"))
    _end(move, "source", row.epoch)
    ledger.step(move.home, move.name, row.stage, Stage.ABORTED, reason, {}, also="finished_at = clock_timestamp()", operator=operator)  # fmt: skip
    move.home.run("UPDATE lockgate.move SET reason = $2 WHERE name = $1", move.name, reason)


def _end(move: Opened, serves: str, epoch: int) -> None:
    stop_capture(move, serves, epoch)
    drop_sides(move)


def stop_capture(move: Opened, serves: str, epoch: int) -> None:
    """Writers capture nothing from here on, and write to the side ``serves``."""
    for side in (move.pair.source, move.pair.target):
        set_switch(move, side, Switch(serves, epoch, False))


def drop_sides(move: Opened) -> None:
    """Take the side tables of both sides away."""
    for side in (move.pair.source, move.pair.target):
        side.drop()


def rollback_document(move: Opened) -> str:
    """The way back, written when a move starts: exact steps, how long it stays open, what to look at."""
    d = move.declared
    head = f"# The way back from the move {d.name}\n\nSource {d.source.table} ({d.source.url_env}), target {d.target.table} ({d.target.url_env}).\n\n"
    if d.one_way:
        return head + f"This move is one-way: before the cutover `lockgate move abort {d.name}` ends it; after it there is no way back.\n"  # fmt: skip
    return head + (
        f"1. Before the cutover the source serves: `lockgate move abort {d.name}` ends dual writing; nothing is lost.\n"
        f"2. After it, for {d.rollback_hours:g} {agree(d.rollback_hours, 'hour', 'hours')}: `lockgate move rollback {d.name}`. What waits is carried, the changed keys are compared, the source serves again. It can be called again if it is cut off.\n"
        f"3. `lockgate move run {d.name} --relay SECONDS` carries what the applications could not; `lockgate move status {d.name}` shows until when.\n"
        f"4. `lockgate move finish {d.name}` ends the window for good.\n"
    )
