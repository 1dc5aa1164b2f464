"""The end of a move into an index: the gate, the swap of the alias, the way back, and the end of its window."""

import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from lockgate.errors import Refused
from lockgate.indexes.carry import limits_of, refuse_drift
from lockgate.indexes.figures import figures
from lockgate.indexes.gold import read_gold
from lockgate.indexes.moving.drive import INDEX_WAIT, caught_up, differing_keys, seal_now, tail_of
from lockgate.indexes.moving.opened import OpenedIndex, embedder_key
from lockgate.indexes.register import Generation, find_generation, read_alias, writing
from lockgate.indexes.swap import Swapped, previous_of, recover, swap
from lockgate.indexes.validate import read_query_vectors, remember, side_of, validate
from lockgate.indexes.watching import Look
from lockgate.moves.cutover import Turned
from lockgate.moves.dual import drive
from lockgate.moves.dual.shapes import stop_if_changed
from lockgate.moves.gates import (
    note_barred,
    refuse_drifted,
    refuse_outside,
    refuse_unproven,
    refuse_unproven_back,
    refuse_unproven_end,
    taken,
    unlike_after_drain,
    unsettled,
)
from lockgate.moves.stages import OVER, SOURCE_SERVES, Stage, why
from lockgate.postgres.moves import ledger, switch
from lockgate.record.points import point
from lockgate.record.words import agree
from lockgate.stores.making import Texts
from lockgate.stores.open_search import unproven
from lockgate.stores.side import key_id


def turn(
    move: OpenedIndex, *, forward: bool, accept: Collection[str] = (), operator: str = "", report: Callable[[str, float], None] = lambda _d, _p: None,
) -> Turned:  # fmt: skip
    """Cutover or rollback: carry what waits, ask the gate, swap the alias. Cut off anywhere, the same call goes on.

    ``accept`` names keys (as ``key_words`` says them) that may differ. Nobody else writes records of the move meanwhile, so what the gate looked at is what begins to serve; writers of the
    table go on and do not notice. Raises what the gate raises: ``INDEX_DRIFT``, ``INDEX_HELD``, ``INDEX_NOT_READY``.
    """
    row = move.row()
    done_stages = (Stage.CUT_OVER, Stage.TAIL) if forward else (Stage.ROLLED_BACK,)
    wanted = "target" if forward else "source"
    if row.stage in done_stages:
        return Turned(wanted, True, row.cutover_ms or 0.0, 0, 0, 0, ())
    if forward:
        why(Stage(row.stage), Stage.CUT_OVER if row.stage == Stage.READY else Stage.READY)
    begun = row.stage in SOURCE_SERVES - OVER and turned_already(move, operator)
    if forward and not begun:  # one that was cut off behind the swap has only the way to its end
        refuse_unproven(move.home, row)
    if begun and not forward:
        _refuse_one_way(move)
        # The way back begins where the cutover ends.
        turn(move, forward=True, operator=operator, report=report)
        row = move.row()
    after = Stage.CUT_OVER if forward else Stage.ROLLED_BACK
    if not forward:
        why(Stage(row.stage), after)
        _refuse_one_way(move)
    left = unsettled(move.home, row)
    keys = left.keys if forward else refuse_unproven_back(row, left, accept, tail_of(move))
    # What it costs to catch up is paid before anybody waits.
    before = caught_up(move).done
    if forward:
        _admit(move, row.stage, operator, begun=begun)
        row = move.row()
    reason = why(Stage(row.stage), after)
    link, name = move.pair.target.link, move.declared.index.name
    with writing(link, name, INDEX_WAIT), move.pair.target.still():
        carried, checked, accepted = _carried(move, keys, accept, operator, forward=forward, begun=begun)
        carried += before
        look: Look | None = None
        if forward:
            done, look = _forward(move, operator, report)
        else:
            done = _back(move, operator)
        point("into:swapped")
    evidence: dict[str, object] = {
        "cutoverMs": done.elapsed_ms, "drained": carried, "changedKeysCompared": checked, "alias": name, "from": done.before, "to": done.after,
        "indexHash": find_generation(link, name, done.after).index_hash,
    }  # fmt: skip
    if accepted:
        evidence["accepted"] = accepted
    if look is not None:
        evidence |= {"deltaSDiff": look.delta_s_diff, "lambda": look.states, "coverage": look.coverage}
    epoch = row.epoch + 1
    also = "epoch = epoch + 1"
    also += f", cutover_at = clock_timestamp(), cutover_ms = {done.elapsed_ms}" if forward else ", rollback_until = NULL"  # fmt: skip
    if forward and move.pair.target.older is not None:
        also += f", rollback_until = clock_timestamp() + make_interval(secs => {move.declared.rollback_hours * 3600})"  # fmt: skip
    with move.home.transaction():
        ledger.step(move.home, move.name, row.stage, after, reason, evidence, also=also, operator=operator)
        if forward:
            ledger.step(move.home, move.name, Stage.CUT_OVER, Stage.TAIL, why(Stage.CUT_OVER, Stage.TAIL), {"oneWay": move.declared.one_way}, operator=operator)  # fmt: skip
        switch.serve(move.home, move.name, wanted, epoch)
    return Turned(wanted, False, done.elapsed_ms, 1, carried, checked, ())


def turned_already(move: OpenedIndex, operator: str) -> bool:
    """True when the alias points to the generation of this move, whatever the ledger says: a swap that was cut off is finished or undone first."""
    link, name = move.pair.target.link, move.declared.index.name
    with writing(link, name, INDEX_WAIT):
        return _turned(move, operator)


def _turned(move: OpenedIndex, operator: str) -> bool:
    """``turned_already`` for a caller that holds the lock of the index."""
    side, name = move.pair.target, move.declared.index.name
    recover(side.link, move.pair.stores.of, name, actor=operator)
    alias = read_alias(side.link, name)
    return alias is not None and alias.generation == side.fed.row.generation


def _admit(move: OpenedIndex, stage: str, operator: str, *, begun: bool) -> None:
    """Step to ``ready``. Raises ``Refused`` outside the windows for a cutover that has not ``begun``, and where something is not copied."""
    drive.refuse_incomplete(move)
    if not begun:
        stop_if_changed(move)
        refuse_drifted(move.home, move.row())
        refuse_outside(move.home, move.name, move.declared.gates)
    if stage != Stage.READY:
        ledger.step(move.home, move.name, stage, Stage.READY, why(Stage(stage), Stage.READY), {}, operator=operator)  # fmt: skip


def _carried(
    move: OpenedIndex,
    left: list[Texts],
    accept: Collection[str],
    operator: str,
    *,
    forward: bool,
    begun: bool,
) -> tuple[int, int, list[str]]:
    """Carry what came since, then compare the keys that were carried and do not wait again, and those that an earlier call ``left``,
    with the generation that shall serve. (operations, records compared, keys that differ with the word of a person)."""
    source, target = move.pair.source, move.pair.target
    coming = target if forward or target.older is None else target.older
    keys = {key_id(key): key for key in left}
    fresh = {key_id(op.key): op.key for op in source.waiting(1_000_000)}
    note_barred(move.home, move.name, [key for k, key in fresh.items() if k not in keys])
    keys |= fresh
    carried = caught_up(move).done
    unlike = differing_keys(source, coming, list(keys.values())) if keys else []
    waiting = {key_id(op.key) for op in source.waiting(1_000_000)} if unlike else set()
    unlike = [k for k in unlike if key_id(k) not in waiting]
    accepted, unlike = taken(unlike, accept)
    if unlike:
        unlike_after_drain(move.home, move.name, move.declared.gates, unlike, tail_of(move), turned=begun or not forward, operator=operator)  # fmt: skip
    return carried, len(keys), accepted


def _forward(move: OpenedIndex, operator: str, report: Callable[[str, float], None]) -> tuple[Swapped, Look | None]:  # fmt: skip
    side, i = move.pair.target, move.declared.index
    store = side.fed.store
    alias = read_alias(side.link, i.name)
    serving = alias.generation if alias is not None else ""
    look = None
    if serving != side.fed.row.generation:
        # Some stores want their search structure finished again after writes, and the seal is of what shall serve.
        store.finalise(side.fed.row.physical, side.fed.row.manifest)
        seal_now(move, operator)
        point("into:sealed")
        if serving and i.gold:
            look = _judge(move, find_generation(side.link, i.name, serving), operator, report)
    done = swap(
        side.link, store, move.pair.stores.of, i.name, side.fed.row.generation, actor=operator,
        window_seconds=0.0 if move.declared.one_way else move.declared.rollback_hours * 3600, two_step=i.two_step,
    )  # fmt: skip
    return done, look


def _judge(
    move: OpenedIndex, serving: Generation, operator: str, report: Callable[[str, float], None]
) -> Look:
    """Compare the answers of the new generation with those of the one that serves; raises where they are worse, or nobody can tell."""
    side, i = move.pair.target, move.declared.index
    root = Path(move.declared.root)
    gold = read_gold(root / i.gold)
    given = read_query_vectors(root / i.query_vectors) if i.query_vectors else {}
    row = find_generation(side.link, i.name, side.fed.row.generation)
    new, old = (side_of(g, move.pair.stores.of(g), gold, embedder_key(), given) for g in (row, serving))
    drift = validate(gold, new, old, limits_of(i.as_index()), breadth=i.breadth, progress=report)
    remember(side.link, row, drift, serving.generation, actor=operator, at=time.time())
    look = figures(drift, time.time())
    told = {"verdict": str(drift.verdict), "against": serving.generation, "causes": [c.cause for c in drift.causes], **msgspec.to_builtins(look)}  # fmt: skip
    ledger.event(move.home, move.name, "gate", f"{len(gold.queries)} gold queries: {drift.verdict}", told, operator=operator)  # fmt: skip
    refuse_drift(i.name, row, drift)
    return look


def _refuse_one_way(move: OpenedIndex) -> None:
    if move.declared.one_way:
        raise Refused(
            f"the move {move.name} is declared one-way: nothing kept the old generation current", "MOVE_STAGE"
        )
    if move.pair.target.older is None:
        raise Refused(
            f"nothing served {move.declared.index.name} before the move {move.name}, so there is nothing to go back to", "MOVE_STAGE",
            next=f"lockgate move finish {move.name}, or lockgate move run {move.name} --relay SECONDS to go on carrying",
        )  # fmt: skip


def _back(move: OpenedIndex, operator: str) -> Swapped:
    side, name = move.pair.target, move.declared.index.name
    _refuse_one_way(move)
    alias = read_alias(side.link, name)
    if side.older is not None and alias is not None and alias.generation == side.older.fed.row.generation:
        back = alias.generation  # cut off behind the swap
    else:
        back = previous_of(side.link, name, drained=lambda: side.older is not None)
    row = find_generation(side.link, name, back)
    return swap(
        side.link, move.pair.stores.of(row), move.pair.stores.of, name, back, actor=operator,
        window_seconds=move.declared.rollback_hours * 3600, unvalidated=True, two_step=True, kind="rollback",
    )  # fmt: skip


def abort(move: OpenedIndex, reason: str, operator: str = "") -> None:
    """End a move before its cutover: what served goes on, and nothing of this move feeds the index. Raises ``Refused`` (``MOVE_STAGE``) where the alias has turned."""
    if move.row().stage == Stage.ABORTED:
        return
    side, name = move.pair.target, move.declared.index.name
    with writing(side.link, name, INDEX_WAIT):
        row = move.row()
        if row.stage in SOURCE_SERVES - OVER and _turned(move, operator):
            raise Refused(
                f"the alias {name} points to generation {side.fed.row.generation} of the move {move.name}: its cutover was cut off before it was written down",
                "MOVE_STAGE", next=f"lockgate move cutover {move.name} finishes it, lockgate move rollback {move.name} goes back.",
            )  # fmt: skip
        drive.abort(move, reason, operator)


def finish(move: OpenedIndex, *, now: bool, operator: str = "") -> None:
    """tail → finished, after the window or ``now``: nothing feeds the index any more. What waits is carried first."""
    row = move.row()
    if row.stage == Stage.FINISHED:
        return
    reason = why(Stage(row.stage), Stage.FINISHED)
    refuse_unproven_end(move.home, row, way_back=move.pair.target.older is not None, now=now, mended=f"lockgate move verify {move.name} --repair")  # fmt: skip
    if not now and row.window_open and not move.declared.one_way:
        raise Refused(
            f"the way back of the move {move.name} is open until {row.rollback_until}", "MOVE_WINDOW"
        )
    # Writers stop capturing first, so that what is carried then is all there will ever be.
    drive.stop_capture(move, "source", row.epoch)
    drive.drained(move, move.pair.source, move.pair.target)
    drive.drop_sides(move)
    ledger.step(move.home, move.name, row.stage, Stage.FINISHED, reason, {"now": now}, also="finished_at = clock_timestamp(), rollback_until = NULL", operator=operator)  # fmt: skip


def rollback_document(move: OpenedIndex) -> str:
    """The way back, written when a move starts: exact steps, how long it stays open, what to look at."""
    d, i = move.declared, move.declared.index
    head = f"# The way back from the move {d.name}\n\nTable {d.source.table} ({d.source.url_env}), index {i.name} in {i.store}, generation {move.pair.target.fed.row.generation}.\n\n"
    if said := unproven(i.store, i.place):
        head += f"The adapter of {i.store} was {said}.\n\n"
    older = move.pair.target.older
    if older is None:
        return head + (
            f"Before the cutover `lockgate move abort {d.name}` ends it. After it there is no way back: "
            + ("the move is declared one_way.\n" if d.one_way else "no generation served before.\n")
        )
    return head + (
        f"1. Before the cutover generation {older.fed.row.generation} serves: `lockgate move abort {d.name}` ends the feeding; nothing is lost.\n"
        f"2. After it, for {d.rollback_hours:g} {agree(d.rollback_hours, 'hour', 'hours')}: `lockgate move rollback {d.name}`. What waits is carried into both generations, then the alias goes back. It can be called again if it is cut off.\n"
        f"3. `lockgate move run {d.name} --relay SECONDS` carries what the applications wrote; `lockgate move status {d.name}` shows what waits.\n"
        f"4. `lockgate move finish {d.name}` ends the window, and with it the feeding: from there on the application or a build keeps the index current.\n"
    )
