"""Cutover and rollback of a dual-written move: the barrier, the drain behind it, the comparison, the switch."""

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from lockgate.errors import Busy, Refused
from lockgate.moves.cutover import Turned
from lockgate.moves.dual.comparing import unlike
from lockgate.moves.dual.drive import TAIL, drained, refuse_failed, refuse_incomplete, set_switch
from lockgate.moves.dual.opened import Opened
from lockgate.moves.dual.references import refuse_dangling
from lockgate.moves.dual.second_leg import Carried, drain
from lockgate.moves.dual.shapes import stop_if_changed
from lockgate.moves.gates import (
    note_barred,
    refuse_drifted,
    refuse_outside,
    refuse_unproven,
    refuse_unproven_back,
    refuse_unshadowed,
    taken,
    unlike_after_drain,
    unsettled,
)
from lockgate.moves.stages import Stage, why
from lockgate.postgres.moves import ledger, switch
from lockgate.postgres.relation import server_facts
from lockgate.record.points import point
from lockgate.record.words import counted
from lockgate.stores.making import Texts
from lockgate.stores.side import Side, Switch, key_id
from lockgate.stores.speaking import PostgresSpeaker


def turn(
    move: Opened, *, forward: bool, accept: Collection[str] = (), operator: str = "", clock: Callable[[], float] = time.monotonic
) -> Turned:  # fmt: skip
    """Cutover or rollback. The barrier goes up on the side that serves, in a row that every writer holds while it writes;
    then drain, compare, open the other side. Cut off anywhere, the same call goes on from what the switches say.

    ``accept`` names keys (as ``key_words`` says them) that may differ, also where a comparison of everything has found
    them: the word of a person who wants to go back all the same.
    """
    row = move.row()
    wanted = "target" if forward else "source"
    done_stages = (Stage.CUT_OVER, Stage.TAIL) if forward else (Stage.ROLLED_BACK,)
    if row.stage in done_stages:
        _follow(move, wanted, row.epoch)
        return Turned(wanted, True, row.cutover_ms or 0.0, 0, 0, 0, ())
    if forward:
        held, there = move.pair.source.switch(), move.pair.target.switch()
        whole = (
            held is not None and held.serves == "source"
        )  # else it is half done, and has to be brought to its end
        if whole:
            why(Stage(row.stage), Stage.CUT_OVER if row.stage == Stage.READY else Stage.READY)
        if there is None or (there.serves, there.epoch) != ("target", row.epoch + 1):
            refuse_unproven(move.home, row)
        if whole:
            stop_if_changed(move, row)
            refuse_drifted(move.home, row)
            refuse_outside(move.home, move.name, move.declared.gates)
            refuse_unshadowed(move.home, move.name, move.declared.gates)
    if forward and row.stage != Stage.READY:
        drained(move, move.pair.source, move.pair.target)
        refuse_incomplete(move)
        refuse_dangling(move, lambda: drained(move, move.pair.source, move.pair.target))
        ledger.step(move.home, move.name, row.stage, Stage.READY, why(Stage(row.stage), Stage.READY), {}, operator=operator)  # fmt: skip
        row = move.row()
    after = Stage.CUT_OVER if forward else Stage.ROLLED_BACK
    reason = why(Stage(row.stage), after)
    if not forward and move.declared.one_way:
        raise Refused(
            f"the move {move.name} is declared one-way: nothing kept the old side current", "MOVE_STAGE"
        )
    serving, coming = move.pair.of("source" if forward else "target")
    epoch = row.epoch + 1
    opened_ = coming.switch()
    attempts = 0
    done = Behind(0, 0, [])
    begin = clock()
    opening: Switch | None = None
    if opened_ is None or (opened_.serves, opened_.epoch) != (wanted, epoch):
        left = unsettled(move.home, row)
        keys = left.keys if forward else refuse_unproven_back(row, left, accept, TAIL)
        _shrink(move, serving, coming)
        attempts = set_switch(move, serving, Switch("barred", row.epoch, True))
        begin = clock()
        point("dual:barred")
        try:
            done = _under_barrier(move, serving, coming, keys, accept, begin, clock)
        except BaseException:
            set_switch(move, serving, Switch("source" if forward else "target", row.epoch, True))
            raise
        opening = Switch(wanted, epoch, not move.declared.one_way)
        if not _beside_the_ledger(move, coming):
            set_switch(move, coming, opening)
            opening = None
            point("dual:opened")
    ms = round((clock() - begin) * 1000, 3)
    if opening is None:
        set_switch(move, serving, Switch(wanted, epoch, True))
    evidence: dict[str, object] = {"cutoverMs": ms, "lockAttempts": attempts, "drained": done.operations, "changedKeysCompared": done.compared, "epoch": epoch}  # fmt: skip
    if done.accepted:
        evidence["accepted"] = done.accepted
    also = "epoch = epoch + 1"
    also += f", cutover_at = clock_timestamp(), cutover_ms = {ms}" if forward else ", rollback_until = NULL"
    if forward and not move.declared.one_way:
        also += f", rollback_until = clock_timestamp() + make_interval(secs => {move.declared.rollback_hours * 3600})"  # fmt: skip
    with move.home.transaction():
        if opening is not None:  # what opens the coming side and what is known of it are one
            coming.by(PostgresSpeaker(move.target, "", move.home)).put_switch(opening)
        ledger.step(move.home, move.name, row.stage, after, reason, evidence, also=also, operator=operator)
        if forward:
            ledger.step(move.home, move.name, Stage.CUT_OVER, Stage.TAIL, why(Stage.CUT_OVER, Stage.TAIL), {"oneWay": move.declared.one_way}, operator=operator)  # fmt: skip
        switch.serve(move.home, move.name, wanted, epoch)
        point("dual:recorded")
    if opening is not None:
        point("dual:opened")
        set_switch(move, serving, Switch(wanted, epoch, True))
    return Turned(wanted, False, ms, attempts, done.operations, done.compared, ())


def _beside_the_ledger(move: Opened, side: Side) -> bool:
    """True when this side's store is the database that holds the ledger."""
    speaker = side.speaker
    return isinstance(speaker, PostgresSpeaker) and server_facts(move.home).same_database(server_facts(speaker.link))  # fmt: skip


def _follow(move: Opened, serves: str, epoch: int) -> None:
    """A call that was cut off behind the record has left the old side barred: its writers follow by themselves, and now it says so."""
    other = move.pair.of(serves)[1]
    held = other.switch()
    if held is not None and held.serves == "barred":
        set_switch(move, other, Switch(serves, epoch, True))


def _shrink(move: Opened, serving: Side, coming: Side) -> None:
    for _ in range(200):
        drained(move, serving, coming)
        if serving.backlog()[0] <= move.declared.limits.outbox_rows:
            return
    raise Refused(f"the outbox does not shrink below {counted(move.declared.limits.outbox_rows, 'operation')}: writers are faster than the relay", "MOVE_LOCK")  # fmt: skip


PAGE = 500
"""So many rows are compared behind the barrier before the clock is asked again."""


class Behind(NamedTuple):
    """What was done behind the barrier: operations carried, rows compared, and keys that differ with the word of a person."""

    operations: int
    compared: int
    accepted: list[str]


def _under_barrier(
    move: Opened, serving: Side, coming: Side, left: list[Texts], accept: Collection[str], begin: float, clock: Callable[[], float],
) -> Behind:  # fmt: skip
    """Nothing new comes: carry all that waits, then compare exactly the keys that were carried, and those that an earlier call ``left``."""
    limits = move.declared.limits

    def late() -> bool:
        return (clock() - begin) * 1000 > limits.block_ms

    keys: dict[str, Texts] = {key_id(key): key for key in left}
    count = 0
    while ops := serving.waiting(limits.relay_rows):
        fresh = {key_id(op.key): op.key for op in ops}
        note_barred(move.home, move.name, [key for k, key in fresh.items() if k not in keys])
        keys |= fresh
        done = drain(serving, coming, limits.relay_rows, most=1)
        refuse_failed(serving, coming.speaker.where, done)
        count += done.done
        if late():
            raise Busy(f"draining behind the barrier took longer than {limits.block_ms} ms", "MOVE_LOCK")
    refuse_failed(serving, coming.speaker.where, Carried(0, 0))
    chosen = list(keys.values())
    differ: list[Texts] = []
    for low in range(0, len(chosen) if serving.given else 0, PAGE):
        # What earlier calls left may be much, and writers wait for it as they do for the drain.
        if late():
            raise Busy(
                f"comparing {counted(len(chosen), 'row')} behind the barrier took longer than {limits.block_ms} ms, {counted(len(left), 'row')} of earlier calls among them", "MOVE_LOCK",
                next=f"lockgate move verify {move.name} compares all rows while writers go on, and leaves none of these; then call it again.",
            )  # fmt: skip
        differ += unlike(serving, coming, chosen[low : low + PAGE])
    known, differ = taken(differ, accept)
    if differ:
        unlike_after_drain(move.home, move.name, move.declared.gates, differ, TAIL, turned=serving is not move.pair.source)  # fmt: skip
    return Behind(count, len(chosen), known)
