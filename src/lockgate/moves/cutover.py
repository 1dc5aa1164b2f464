"""Cutover and rollback: the same turn in both directions, each resumable by looking at what is so."""

import time
from collections.abc import Callable
from typing import NamedTuple

from lockgate.errors import Held, LockgateError, Refused
from lockgate.moves import in_place
from lockgate.moves.gates import (
    refuse_drifted,
    refuse_outside,
    refuse_unlike_back,
    refuse_unproven,
    refuse_unshadowed,
    unlike_old_side,
)
from lockgate.moves.layout import Layout
from lockgate.moves.opened import Opened, surroundings
from lockgate.moves.reconcile import refuse_incomplete
from lockgate.moves.references import refuse_dangling
from lockgate.moves.row_security import security_problems
from lockgate.moves.shrinking import keep_small, limits_of, readable, shrink
from lockgate.moves.stages import Stage, why
from lockgate.postgres.moves import capture, ledger, log, switch
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.moves.relay import Relay
from lockgate.postgres.relation import Relation
from lockgate.record.points import point


class Turned(NamedTuple):
    """Who serves now, and what the turn cost. ``already`` is True when there was nothing to do."""

    serves: str
    already: bool
    cutover_ms: float
    attempts: int
    drained: int
    checked: int
    sequences: tuple[str, ...]


def cutover(
    move: Opened, *, operator: str = "", tell: switch.Tell = lambda _: None, clock: Callable[[], float] = time.monotonic
) -> Turned:  # fmt: skip
    """The target serves from now on. ``tell`` hears who is waited for. Raises ``MOVE_LOCK`` when it does not fit its window: then the source serves as before."""
    row = move.row()
    move.refuse_other_declaration(row)
    _refuse_in_place(move)
    if row.stage in (Stage.CUT_OVER, Stage.TAIL):
        _begin_tail(move, operator)
        return Turned("target", True, row.cutover_ms or 0.0, 0, 0, 0, ())
    gate(move, row, tell)
    made = move.layout(row)
    if not row.switching:
        _refuse_dangling(move, row, made)
    if row.stage != Stage.READY:
        ledger.step(
            move.home,
            move.name,
            row.stage,
            Stage.READY,
            why(Stage(row.stage), Stage.READY),
            {},
            operator=operator,
        )
    row = move.row()
    turned = (
        _in_one(move, row, made, True, operator, tell, clock)
        if row.same_database
        else _across(move, row, made, True, operator, tell, clock)
    )
    _begin_tail(move, operator)
    return turned


def rollback(
    move: Opened, *, operator: str = "", tell: switch.Tell = lambda _: None, clock: Callable[[], float] = time.monotonic
) -> Turned:  # fmt: skip
    """The source serves again, with everything that was written since the cutover. Inside its window only."""
    row = move.row()
    if move.declared.in_place:
        return _back_in_place(move, row)
    if row.stage == Stage.ROLLED_BACK or (row.stage == Stage.DUAL_WRITE and row.round > 1):
        return Turned("source", True, 0.0, 0, 0, 0, ())
    why(Stage(row.stage), Stage.ROLLED_BACK)
    if move.declared.one_way:
        raise Refused(
            f"the move {move.name} is declared one-way: nothing kept the old side current", "MOVE_STAGE"
        )
    readable(move, row, tell)
    made = move.layout(row)
    if not row.switching:
        refuse_broken_feed(move, row, made)
        refuse_unlike_back(row, unlike_old_side(move.home, row))
    return (
        _in_one(move, row, made, False, operator, tell, clock)
        if row.same_database
        else _across(move, row, made, False, operator, tell, clock)
    )


ENDING = 20
"""So often it is looked whether a feed whose capture is gone was ended by a ``finish`` that is still at work."""


def refuse_broken_feed(move: Opened, row: MoveRow, made: Layout, sleep: Callable[[float], None] = time.sleep) -> None:  # fmt: skip
    """Raise ``MOVE_DIVERGED`` when nothing captures what is written to the target: a rollback would lose it without a trace.

    ``MOVE_STAGE`` where that is because somebody has ended the move meanwhile.
    """
    for _ in range(ENDING):
        if made.reverse is None or capture.has_trigger(move.far, row.target_oid, capture.capture_name(made.reverse)):  # fmt: skip
            return
        now = move.row().stage
        if now != row.stage:
            raise Refused(
                f"the move {move.name} is {now} meanwhile: another command has moved it on", "MOVE_STAGE",
                details={"stage": now}, next=f"lockgate move status {move.name}",
            )  # fmt: skip
        if capture.switched_off(move.far, row.target_oid, capture.capture_name(made.reverse)):
            break
        sleep(0.1)
    if made.reverse is not None:
        raise LockgateError(
            f"the reverse feed of the move {move.name} IS BROKEN: its capture is off, so the old side misses what was written since", "MOVE_DIVERGED",
            state="The target serves. A rollback would lose writes, so there is none.",
            next=f"Compare both tables: {_comparison(move, row)}; lockgate move finish {move.name} --now gives up the way back knowingly.",
        )  # fmt: skip


def _comparison(move: Opened, row: MoveRow) -> str:
    """The command that compares what serves with the old side, by the names that both have now."""
    target, source = (f"{r.schema}.{r.name}" for r in reversed(move.relations(row)))
    near = f"env:{move.places.source.source}" if move.places.source.source.isidentifier() else "env:DATABASE_URL"  # fmt: skip
    far = f"env:{move.declared.target.url_env}" if move.declared.two_databases else near
    return f"lockgate move verify --source {far} --target {near} --table {target}={source}"


def _back_in_place(move: Opened, row: MoveRow) -> Turned:
    """Nothing to switch: prove that the old side is current, so that the old release can serve again."""
    if row.stage == Stage.FINISHED:
        raise Refused(
            f"the move {move.name} is finished: its contract file took the old side away", "MOVE_STAGE",
            next="A new change is the way back: lockgate new --recipe RECIPE",
        )  # fmt: skip
    if row.stage == Stage.RECONCILED:
        in_place.reconcile(move, repair=False, operator="")
    return Turned("source", True, 0.0, 0, 0, 0, ())


def _refuse_in_place(move: Opened) -> None:
    if move.declared.in_place:
        raise Refused(
            f"the move {move.name} is in place: both sides serve, and there is nothing to switch", "MOVE_STAGE",
            next="Deploy the release that uses the new side; when none needs the old one: lockgate promote, lockgate up.",
        )  # fmt: skip


def gate(move: Opened, row: MoveRow, tell: switch.Tell) -> None:
    """What has to be so before the switch; raises with the first thing that is not."""
    if row.stage in (Stage.DUAL_WRITE, Stage.BACKFILLING):
        copied = row.cursor_done and not ledger.waiting(move.home, move.name)[0]
        raise Refused(
            f"the move {move.name} is {row.stage}: " + ("all rows are copied, and not proven equal yet" if copied else "not all rows are copied"), "MOVE_STAGE",
            details={"stage": row.stage, "wanted": Stage.READY},
            next=f"lockgate move {'verify' if copied else 'run'} {move.name}, then lockgate move cutover {move.name}",
        )  # fmt: skip
    if row.stage not in (Stage.RECONCILED, Stage.SHADOWING, Stage.READY):
        why(Stage(row.stage), Stage.READY)
    # Across two databases a switch that was cut off may have opened the target already: then there is only the way to its end.
    if not (row.switching and switch.serves(move.far, move.name) == ("target", row.epoch + 1)):
        refuse_unproven(move.home, row)
    refuse_incomplete(move)
    readable(move, row, tell)
    if not row.switching:
        move.stop_if_changed(row)
        _refuse_other_security(move, row)
        refuse_outside(move.home, move.name, move.declared.gates)
    refuse_drifted(move.home, row)
    refuse_unshadowed(move.home, move.name, move.declared.gates)


def _refuse_other_security(move: Opened, row: MoveRow) -> None:
    """Raise ``Refused`` (``MOVE_REFUSED``) when the target would show other rows than the source: whoever changed either since the plan."""
    if "policies" in move.declared.accept:
        return
    move.pin()
    source, target = (surroundings(link, oid, move.name) for link, oid in ((move.home, row.source_oid), (move.far, row.target_oid)))  # fmt: skip
    if found := security_problems((source, target), move.relations(row)):
        raise Refused(found[0].what, "MOVE_REFUSED", next=found[0].fix.partition("; or accept")[0], details={"problems": [p._asdict() for p in found]})  # fmt: skip


def _refuse_dangling(move: Opened, row: MoveRow, made: Layout) -> None:
    relay = move.relay(made.forward)

    def drain() -> None:
        with relay.exclusive(move.declared.limits.lock_patience_seconds):
            relay.drain(move.declared.limits.relay_rows, until=move.declared.limits.outbox_rows, most=50)

    refuse_dangling(move, *move.relations(row), made.forward, drain)


def _feeds(made: Layout, forward: bool) -> tuple[Mapping, Mapping | None]:
    """(the feed that is drained now, the feed that begins now)."""
    if forward:
        return made.forward, made.reverse
    assert made.reverse is not None
    return made.reverse, made.forward


def _in_one(
    move: Opened,
    row: MoveRow,
    made: Layout,
    forward: bool,
    operator: str,
    tell: switch.Tell,
    clock: Callable[[], float],
) -> Turned:
    """In one database: one transaction holds the locks, drains, compares, renames. A lost COMMIT is settled by the stage, which it wrote."""
    draining, beginning = _feeds(made, forward)
    relay = move.relay(draining)
    off, on = (row.source_oid, row.target_oid) if forward else (row.target_oid, row.source_oid)
    with relay.exclusive(move.declared.limits.lock_patience_seconds):
        # All that can be known and made before the lock is: writers wait for each statement under it.
        switch.prepare(relay)
        serving, coming = switch.fresh(move.home, off), switch.fresh(move.home, on)
        old = switch.retired_name(serving.name, move.name, "old") if forward else _bare_target(move, serving.name)  # fmt: skip
        ddl = switch.turn_ddl(
            draining, beginning, serving, coming, move.name, owned=forward or row.target_created
        )
        ddl += switch.swap_names_ddl(serving, coming, old)
        shrink(move, relay, tell)
        with switch.locked(
            move.home,
            [on, off],  # the one that serves last: its writers wait for one lock, not for two
            "ACCESS EXCLUSIVE",
            limits_of(move),
            move.rng,
            settings=f"SET LOCAL lockgate.feed = '{move.name}'",
            between=lambda: keep_small(move, relay),
            tell=tell,
            clock=clock,
        ) as attempts:
            begin = clock()
            _refuse_moved_on(move, row, off, on, serving, coming)
            drained, checked = switch.drain_and_check(relay, limits_of(move), begin, clock)
            sequences = switch.advance_sequences(move.home, move.home, serving, coming)
            move.home.run(ddl)
            ms = round((clock() - begin) * 1000, 3)
            _write(move, row, forward, operator, ms, attempts, drained, checked, sequences)
    ms = round((clock() - begin) * 1000, 3)  # with the COMMIT, which the record cannot know
    return Turned("target" if forward else "source", False, ms, attempts, drained, checked, tuple(sequences))


def _refuse_moved_on(
    move: Opened, row: MoveRow, off: int, on: int, serving: Relation, coming: Relation
) -> None:
    """Under the lock, what was read before it must still be so: the stage, and what both tables are called."""
    stage, *names = move.home.rows(
        "SELECT (SELECT stage FROM lockgate.move WHERE name = $1), $2::oid::regclass::text, $3::oid::regclass::text, $4::regclass::text, $5::regclass::text",
        move.name, off, on, serving.sql, coming.sql,
    )[0]  # fmt: skip
    if stage != row.stage or names[:2] != names[2:]:
        raise LockgateError(f"the move {move.name} is not {row.stage} any more", "MOVE_BUSY")


def _bare_target(move: Opened, fallback: str) -> str:
    name = move.declared.target.table.rpartition(".")[2]
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower() or fallback


def _write(
    move: Opened,
    row: MoveRow,
    forward: bool,
    operator: str,
    ms: float,
    attempts: int,
    drained: int,
    checked: int,
    sequences: list[str],
) -> None:
    """The new stage, in the transaction of the switch."""
    after = Stage.CUT_OVER if forward else Stage.ROLLED_BACK
    evidence: dict[str, object] = {"cutoverMs": ms, "lockAttempts": attempts, "drained": drained, "changedKeysCompared": checked, "sequences": sequences, "epoch": row.epoch + 1}  # fmt: skip
    also = "epoch = epoch + 1, switching = ''"
    if forward:
        also += f", cutover_at = clock_timestamp(), cutover_ms = {ms}"
        also += (
            ""
            if move.declared.one_way
            else f", rollback_until = clock_timestamp() + make_interval(secs => {move.declared.rollback_hours * 3600})"
        )
    else:
        also += ", rollback_until = NULL"
    if row.same_database:
        also += f", {move.shapes_sql(row)}"
    ledger.step(
        move.home,
        move.name,
        row.stage,
        after,
        why(Stage(row.stage), after),
        evidence,
        also=also,
        operator=operator,
    )
    switch.serve(move.home, move.name, "target" if forward else "source", row.epoch + 1)
    if not row.same_database:
        _set_shapes(move, row)


def _set_shapes(move: Opened, row: MoveRow) -> None:
    source, target = move.shapes(row)
    move.home.run(
        "UPDATE lockgate.move SET source_shape = $2, target_shape = $3 WHERE name = $1",
        move.name,
        source,
        target,
    )


def _across(
    move: Opened,
    row: MoveRow,
    made: Layout,
    forward: bool,
    operator: str,
    tell: switch.Tell,
    clock: Callable[[], float],
) -> Turned:
    """Across two databases, each step its own commit, in an order in which at most one side takes writes at any moment:

    1. the coming side gets its capture (nobody writes there but the feed); 2. the serving side gets the barrier and no
    longer serves; 3. drain, compare, sequences; 4. the coming side opens and is written down as serving, there and in the
    ledger. Cut off before 4, the call is repeated, or undone by ``reopen``; cut off after it, the repeated call only writes down.
    """
    draining, beginning = _feeds(made, forward)
    relay = move.relay(draining)
    serving_link, coming_link = (move.home, move.far) if forward else (move.far, move.home)
    off, on = (row.source_oid, row.target_oid) if forward else (row.target_oid, row.source_oid)
    wanted = "target" if forward else "source"
    word = "cutover" if forward else "rollback"
    if row.switching not in ("", word):
        raise Held(
            f"a {row.switching} of the move {move.name} is half done",
            "MOVE_STAGE",
            next=f"lockgate move {row.switching} {move.name}",
        )
    attempts = drained = checked = 0
    sequences: list[str] = []
    begin = clock()
    coming = switch.fresh(coming_link, on)
    with relay.exclusive(move.declared.limits.lock_patience_seconds):
        switch.prepare(relay)
        if switch.serves(move.far, move.name) != (wanted, row.epoch + 1):
            shrink(move, relay, tell)
            # Written down first: from here on a call that finds the triggers half changed knows why.
            # Not over a pause or another step that came meanwhile: neither could be gone on with.
            stage = Stage.READY if forward else row.stage
            if not move.home.run("UPDATE lockgate.move SET switching = $2 WHERE name = $1 AND stage = $3", move.name, word, stage):  # fmt: skip
                raise LockgateError(f"the move {move.name} is not {stage} any more", "MOVE_BUSY")
            if beginning is not None:
                with switch.locked(coming_link, [on], "SHARE ROW EXCLUSIVE", limits_of(move), move.rng, tell=tell, clock=clock):  # fmt: skip
                    coming_link.run(
                        capture.outbox_ddl(beginning)
                        + capture.uncapture_ddl(beginning, coming.sql)
                        + capture.capture_ddl(beginning, coming.sql)
                    )
            serving = switch.fresh(serving_link, off)
            with switch.locked(
                serving_link, [off], "SHARE ROW EXCLUSIVE", limits_of(move), move.rng, between=lambda: keep_small(move, relay), tell=tell, clock=clock
            ) as attempts:  # fmt: skip
                begin = clock()
                serving_link.run(
                    capture.unbarrier_ddl(move.name, serving.sql)
                    + capture.barrier_ddl(move.name, serving.sql, owned=not forward and row.target_created)
                )
            point("move:across:barred")
            try:
                drained, checked = _drain_across(relay, move, begin, clock)
                serving = switch.fresh(serving_link, off)
                sequences = switch.advance_sequences(serving_link, coming_link, serving, coming)
            except BaseException:
                reopen(move, row, serving_link, off)
                raise
            point("move:across:drained")
            with switch.locked(
                coming_link, [on], "SHARE ROW EXCLUSIVE", limits_of(move), move.rng, tell=tell, clock=clock
            ):
                coming_link.run(capture.unbarrier_ddl(move.name, coming.sql))
                if forward:
                    switch.serve(move.far, move.name, wanted, row.epoch + 1)
            if not forward:
                switch.serve(move.far, move.name, wanted, row.epoch + 1)
            point("move:across:opened")
        elif capture.has_trigger(coming_link, on, capture.barrier_name(move.name)):
            # It serves, and somebody closed it again before that was written down.
            with switch.locked(coming_link, [on], "SHARE ROW EXCLUSIVE", limits_of(move), move.rng, tell=tell, clock=clock):  # fmt: skip
                coming_link.run(capture.unbarrier_ddl(move.name, coming.sql))
    ms = round((clock() - begin) * 1000, 3)
    old = switch.fresh(serving_link, off)
    with switch.locked(
        serving_link, [off], "SHARE ROW EXCLUSIVE", limits_of(move), move.rng, tell=tell, clock=clock
    ):
        serving_link.run(capture.uncapture_ddl(draining, old.sql))
    with move.home.transaction():
        _write(move, move.row(), forward, operator, ms, attempts, drained, checked, sequences)
    return Turned(wanted, False, ms, attempts, drained, checked, tuple(sequences))


def reopen(move: Opened, row: MoveRow, serving_link: object, off: int) -> None:
    """A switch that did not fit: the serving side takes writes again. What was drained stays drained; nothing was lost."""
    from lockgate.postgres.link import Link

    assert isinstance(serving_link, Link)
    if not serving_link.alive:
        return
    serving_link.rollback()
    serving_link.run(capture.unbarrier_ddl(move.name, switch.relation_name(serving_link, off)))
    move.home.rollback()
    with move.home.transaction():
        _set_shapes(move, row)
        move.home.run("UPDATE lockgate.move SET switching = '' WHERE name = $1", move.name)


def _drain_across(relay: Relay, move: Opened, begin: float, clock: Callable[[], float]) -> tuple[int, int]:
    """Behind the barrier nothing new comes: drain, then compare the keys, inside one transaction on each side."""
    key = f"SET LOCAL lockgate.feed = '{move.name}'"
    with relay.origin.transaction("ISOLATION LEVEL REPEATABLE READ"), relay.destination.transaction():
        relay.destination.run(key)
        return switch.drain_and_check(relay, limits_of(move), begin, clock)


def _begin_tail(move: Opened, operator: str) -> None:
    """cut_over → tail, once the reverse feed has been shown to work."""
    row = move.row()
    if row.stage in (Stage.CUT_OVER, Stage.TAIL):
        log.drop(move.home, move.name)  # nobody reads it any more, and it would hold the log back
    if row.stage != Stage.CUT_OVER:
        return
    evidence: dict[str, object] = {"oneWay": move.declared.one_way}
    made = move.layout(row)
    if made.reverse is not None:
        relay = move.relay(made.reverse)
        with relay.exclusive(move.declared.limits.lock_patience_seconds):
            done = relay.drain(
                move.declared.limits.relay_rows, until=move.declared.limits.outbox_rows, most=100
            )
        evidence |= {"reverseEntries": done.entries, "reverseBacklog": relay.backlog()}
    ledger.step(
        move.home,
        move.name,
        Stage.CUT_OVER,
        Stage.TAIL,
        why(Stage.CUT_OVER, Stage.TAIL),
        evidence,
        operator=operator,
    )
