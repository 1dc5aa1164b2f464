"""Start: capture is registered, before any row is copied. What :mod:`planning` finds in the way stops it."""

import msgspec

from lockgate.errors import Refused
from lockgate.moves import in_place
from lockgate.moves.layout import (
    Layout,
    layout,
)
from lockgate.moves.opened import Opened, surroundings
from lockgate.moves.planned import refuse_problems
from lockgate.moves.planning import bare, find_target, plan
from lockgate.moves.shrinking import limits_of
from lockgate.moves.stages import OVER, Stage, why
from lockgate.postgres.moves import capture, ledger, log, switch
from lockgate.postgres.moves.create import create_across, create_like, secure
from lockgate.postgres.quoting import literal, qualified
from lockgate.postgres.relation import Relation, find
from lockgate.record.words import agree


def start(move: Opened, operator: str) -> str:
    """planned → dual_write, or rolled_back → dual_write. Does nothing when the move is under way; returns the stage.

    Raises ``Refused`` (``MOVE_REFUSED``) with the problems of the plan.
    """
    before = ledger.read_if_there(move.home, move.name)
    if before is not None and before.stage not in OVER:
        move.refuse_other_declaration(before)
        if before.stage == Stage.ROLLED_BACK:
            ledger.step(move.home, move.name, Stage.ROLLED_BACK, Stage.DUAL_WRITE, why(Stage.ROLLED_BACK, Stage.DUAL_WRITE), {"round": before.round + 1}, also="round = round + 1", operator=operator)  # fmt: skip
            return Stage.DUAL_WRITE
        return before.stage
    refuse_problems(plan(move))
    if move.declared.in_place:
        for link in move.links:
            link.run("RESET search_path")
        source, target = (
            find(move.home, t) for t in (move.declared.source.table, move.declared.target.table)
        )
        in_place.register(move, source, target, operator)
        return Stage.DUAL_WRITE
    source, target = _tables(move)
    made, problems = layout(move.declared, source, target)
    if made is None:  # the plan passed a moment ago; somebody changed the tables since
        raise Refused(
            problems[0].what,
            "MOVE_REFUSED",
            next=problems[0].fix,
            details={"problems": [p._asdict() for p in problems]},
        )
    limits = limits_of(move)
    created = capture.owned(move.far, target.oid)
    unfit = (
        log.unfit(move.home, source, [k.origin for k in made.forward.key])
        if move.declared.capture == "log"
        else None
    )
    if unfit == "":
        log.create(move.home, move.name, source.sql)
    barrier = capture.unbarrier_ddl(move.name, target.sql) + capture.barrier_ddl(
        move.name, target.sql, owned=created
    )
    if created:
        barrier += capture.unmark_ddl(move.home, source.oid, target.sql)
    if not move.declared.two_databases:
        with switch.locked(move.home, [target.oid, source.oid], "SHARE ROW EXCLUSIVE", limits, move.rng):
            _register(move, made, source, target, operator, created, unfit)
            move.home.run(barrier)
            _shapes(move)
        return Stage.DUAL_WRITE
    with switch.locked(move.far, [target.oid], "SHARE ROW EXCLUSIVE", limits, move.rng):
        move.far.run(barrier)
        if made.reverse is not None:
            move.far.run(capture.outbox_ddl(made.reverse))
        move.far.run("DELETE FROM lockgate.move_switch WHERE move = $1", move.name)
    with switch.locked(move.home, [source.oid], "SHARE ROW EXCLUSIVE", limits, move.rng):
        _register(move, made, source, target, operator, created, unfit)
        _shapes(move)
    return Stage.DUAL_WRITE


def _tables(move: Opened) -> tuple[Relation, Relation]:
    for link in move.links:
        link.run("RESET search_path")
    source = find(move.home, move.declared.source.table)
    target, _ = find_target(move, source)
    if target is None:
        schema = move.far.value("SELECT current_schema()") or "public"
        given = move.declared.target.table.rpartition(".")[0]
        schema = (given[1:-1] if given.startswith('"') else given.lower()) or schema
        name = bare(move.declared.target.table)
        move.pin()
        source = switch.fresh(move.home, source.oid)
        around = surroundings(move.home, source.oid, move.name)
        if move.declared.two_databases:
            with move.far.transaction():
                create_across(move.home, move.far, source, schema, name)
                secure(move.far, schema, name, source.name, level=around.row_level, forced=around.row_forced, policies=around.policies)  # fmt: skip
                _own(move, schema, name)
        else:
            with move.home.transaction():
                create_like(move.home, source, schema, name)
                secure(move.home, schema, name, source.name, level=around.row_level, forced=around.row_forced, policies=around.policies)  # fmt: skip
                _own(move, schema, name)
        target = find(move.far, f'"{schema}"."{name}"')
    move.pin()
    return switch.fresh(move.home, source.oid), switch.fresh(move.far, target.oid)


def _own(move: Opened, schema: str, name: str) -> None:
    """Mark what was made, in the transaction that made it: it is the move's until it serves, and no drift of the schema."""
    move.far.run(capture.barrier_ddl(move.name, qualified(schema, name), owned=True))


def _register(
    move: Opened,
    made: Layout,
    source: Relation,
    target: Relation,
    operator: str,
    created: bool,
    unfit: str | None,
) -> None:
    """In the transaction that holds the lock: nobody writes to the source, and all who do after it are captured: by the log
    where ``unfit`` is empty, else by triggers."""
    name = move.name
    move.home.run("DELETE FROM lockgate.move WHERE name = $1", name)
    move.home.run("DELETE FROM lockgate.move_range WHERE move = $1", name)
    move.home.run("DELETE FROM lockgate.move_quarantine WHERE move = $1", name)
    move.home.run("DELETE FROM lockgate.move_switch WHERE move = $1", name)
    move.home.run(capture.outbox_ddl(made.forward))
    if made.reverse is not None and made.reverse.same_database:
        move.home.run(capture.outbox_ddl(made.reverse))
    move.home.run(capture.uncapture_ddl(made.forward, source.sql))
    if unfit != "":
        move.home.run(capture.capture_ddl(made.forward, source.sql))
    ledger.insert(
        move.home,
        {
            "name": name, "stage": Stage.DUAL_WRITE, "declaration": msgspec.json.encode(msgspec.to_builtins(move.declared)).decode(), "declaration_hash": move.declared.hash,
            "source_oid": source.oid, "target_oid": target.oid, "same_database": not move.declared.two_databases, "rows_estimate": source.rows, "operator": operator, "target_created": created,
        },
    )  # fmt: skip
    ledger.event(
        move.home, name, "step", why(Stage.PLANNED, Stage.DUAL_WRITE),
        {"source": source.sql, "target": target.sql, "key": [k.origin for k in made.forward.key], "declarationHash": move.declared.hash, "capture": "log" if unfit == "" else "triggers", "notTheLog": unfit or ""},
        before=Stage.PLANNED, after=Stage.DUAL_WRITE, operator=operator,
    )  # fmt: skip


def _shapes(move: Opened) -> None:
    source, target = move.shapes(move.row())
    move.home.run(
        "UPDATE lockgate.move SET source_shape = $2, target_shape = $3 WHERE name = $1",
        move.name,
        source,
        target,
    )


def rollback_document(move: Opened) -> str:
    """The way back, written when a move starts: exact steps, how long it stays open, what to look at."""
    d = move.declared
    head = (
        f"# The way back from the move {move.name}\n\nSource {d.source.table}, target {d.target.table}.\n\n"
    )
    if d.in_place:
        return head + in_place.way_back(d)
    if d.one_way:
        return (
            head
            + "This move is one-way: before the cutover `lockgate move abort "
            + move.name
            + "` takes it down; after it there is no way back.\n"
        )
    return head + (
        f"1. Before the cutover the source serves: `lockgate move abort {move.name}` takes capture down; nothing is lost.\n"
        f"2. After it, for {d.rollback_hours:g} {agree(d.rollback_hours, 'hour', 'hours')}: `lockgate move rollback {move.name}`. The reverse feed is drained, the changed keys are compared, the source serves again. It can be called again if it is cut off.\n"
        f"3. `lockgate move status {move.name}` shows until when, the reverse outbox, and who serves.\n"
        f"4. `lockgate move finish {move.name}` ends the window for good.\n"
        f"\nCheckpoints stand in lockgate.move_event: SELECT * FROM lockgate.move_event WHERE move = {literal(move.name)} ORDER BY id;\n"
    )
