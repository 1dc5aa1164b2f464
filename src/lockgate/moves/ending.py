"""Finish, abort, pause and resume; and the relay that runs for as long as a move does."""

import time
from collections.abc import Callable
from typing import Protocol

from lockgate.errors import Busy, LockgateError, Refused
from lockgate.moves import in_place
from lockgate.moves.cutover import refuse_broken_feed
from lockgate.moves.delta import LIMIT, Seen, lasting
from lockgate.moves.gates import refuse_unproven_end, unlike_old_side, unlike_target
from lockgate.moves.opened import UNCAPTURED, Opened, anew
from lockgate.moves.reconcile import compare_feed
from lockgate.moves.references import refuse_dangling
from lockgate.moves.retired import release_keys
from lockgate.moves.reverse import old_side
from lockgate.moves.shrinking import limits_of
from lockgate.moves.stages import ARROWS, OVER, Stage, why
from lockgate.postgres.link import Link
from lockgate.postgres.moves import capture, ledger, log, switch
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.moves.made import drop_ddl
from lockgate.postgres.moves.relay import Applied
from lockgate.record.words import agree, counted


def finish(move: Opened, *, now: bool = False, operator: str = "", tell: switch.Tell = lambda _: None) -> str:
    """tail → finished: the end of the way back. The old table stays, renamed, closed for writes and without foreign keys; a migration drops it.

    Raises ``MOVE_WINDOW`` while the way back is open and ``now`` is not said, ``MOVE_DIVERGED`` when the reverse feed is broken.
    """
    row = move.row()
    if row.stage == Stage.FINISHED:
        release_keys(move, row, tell=tell, operator=operator)  # where an earlier call could not
        return row.stage
    move.refuse_half_done(row)
    why(Stage(row.stage), Stage.FINISHED, in_place=move.declared.in_place)
    if move.declared.in_place:
        return in_place.finish(move, row, operator)
    behind = unlike_old_side(move.home, row)
    if not (
        now and behind and not unlike_target(move.home, row)
    ):  # who gives up the way back needs no old side
        refuse_unproven_end(
            move.home, row, way_back=not move.declared.one_way, now=now,
            mended=f"lockgate move verify {move.name} --repair" if behind else "",
        )  # fmt: skip
    if row.window_open and not now:
        move.layout(row)  # a changed table bars the way back: that comes first
        raise Refused(
            f"the way back from the move {move.name} is open until {row.rollback_until}",
            "MOVE_WINDOW",
            state=f"The target serves. {old_side(move.far, row)}" if not move.declared.one_way else None,
            next=f"Wait, or lockgate move finish {move.name} --now",
        )
    made = move.one_way_layout(row) if now else move.layout(row)
    evidence: dict[str, object] = {"now": now, "until": row.rollback_until}
    if made.reverse is not None and not now:
        refuse_broken_feed(move, row, made)
        # A window must not run out unseen on a feed that was broken: then nobody could have gone back.
        source, target = move.relations(row)
        relay = move.relay(made.reverse)
        with relay.exclusive(move.declared.limits.lock_patience_seconds):
            relay.drain(move.declared.limits.relay_rows, until=move.declared.limits.outbox_rows, most=1000)
        _, unexplained, _ = compare_feed(move, made.reverse, target, source, relay, lambda _d, _p: None)
        if unexplained:
            raise LockgateError(
                f"the reverse feed of the move {move.name} is broken: {counted(len(unexplained), 'row')} of the old side {agree(len(unexplained), 'is', 'are')} not current", "MOVE_DIVERGED",
                state="The target serves; the way back would lose writes.", next=f"Look into it; lockgate move finish {move.name} --now gives up the way back knowingly.",
            )  # fmt: skip
        evidence["oldSideEqual"] = True
    evidence["references"] = refuse_dangling(move, *move.relations(row), made.forward, lambda: None)
    if made.reverse is not None:
        serving = switch.fresh(move.far, row.target_oid)
        with switch.locked(move.far, [row.target_oid], "SHARE ROW EXCLUSIVE", limits_of(move), move.rng):
            move.far.run(capture.uncapture_ddl(made.reverse, serving.sql))
        _drop(move.far, capture.drop_outbox_ddl(made.reverse))
    _drop(move.home, capture.drop_outbox_ddl(made.forward))
    ledger.step(move.home, move.name, row.stage, Stage.FINISHED, why(Stage(row.stage), Stage.FINISHED), evidence, also="finished_at = clock_timestamp()", operator=operator)  # fmt: skip
    release_keys(move, row, tell=tell, operator=operator)
    return Stage.FINISHED


def _drop(link: Link, sql: str) -> None:
    link.run(sql)


def abort(move: Opened, reason: str, *, operator: str = "") -> MoveRow:
    """Take a move down that has not switched: the source serves, capture and barrier go, the target stays as it is."""
    row = move.row()
    if row.stage == Stage.ABORTED:
        return row
    if row.stage in (Stage.CUT_OVER, Stage.TAIL):
        raise Refused(
            f"the move {move.name} is {row.stage}: it has switched, and what is written since stands in the target", "MOVE_STAGE",
            state="The target serves; nothing was changed.",
            next=f"lockgate move finish {move.name} --now ends it there." if move.declared.one_way else f"lockgate move rollback {move.name} lets the source serve again; lockgate move abort {move.name} then takes the move down.",
        )  # fmt: skip
    why(Stage(row.stage), Stage.ABORTED)
    if row.switching:
        raise Refused(
            f"a {row.switching} of the move {move.name} is half done",
            "MOVE_STAGE",
            next=f"lockgate move {row.switching} {move.name}",
        )
    move.pin()
    log.drop(move.home, move.name)
    backlog = 0
    for link, oid in ((move.home, row.source_oid), (move.far, row.target_oid)):
        names = link.rows(
            "SELECT tgname FROM pg_catalog.pg_trigger WHERE tgrelid = $1::oid AND tgname LIKE $2::text AND tgparentid = 0",
            oid,
            f"%lockgate\\_%{move.name}%",
        )
        if not names:
            continue
        with switch.locked(link, [oid], "SHARE ROW EXCLUSIVE", limits_of(move), move.rng):
            table = switch.relation_name(link, oid)
            for (trigger,) in names:
                link.run(f'DROP TRIGGER IF EXISTS "{trigger}" ON {table}')
            if row.target_created and oid == row.target_oid:
                link.run(capture.mark_ddl(move.name, table))
    for link in move.links:
        for feed in ("forward", "reverse"):
            if link.value(
                f"SELECT pg_catalog.to_regclass('lockgate.\"outbox_{move.name}_{feed}\"') IS NOT NULL"
            ):
                backlog += link.value(f'SELECT count(*) FROM lockgate."outbox_{move.name}_{feed}"')
            link.run(
                f'DROP FUNCTION IF EXISTS lockgate."capture_{move.name}_{feed}"(); DROP TABLE IF EXISTS lockgate."outbox_{move.name}_{feed}";'
                + drop_ddl(move.name, feed)
            )
    with move.home.transaction():
        ledger.step(move.home, move.name, row.stage, Stage.ABORTED, why(Stage(row.stage), Stage.ABORTED), {"reason": reason, "outboxDropped": backlog}, also="finished_at = clock_timestamp()", operator=operator)  # fmt: skip
        move.home.run("UPDATE lockgate.move SET reason = $2 WHERE name = $1", move.name, reason)
    return move.row()


def left_behind(move: Opened, row: MoveRow) -> str:
    """What an aborted move leaves in its target, in words; empty when there is none, or it holds no row."""
    if move.declared.in_place or not move.far.value("SELECT $1::oid IN (SELECT oid FROM pg_catalog.pg_class)", row.target_oid):  # fmt: skip
        return ""
    table = switch.relation_name(move.far, row.target_oid)
    if not move.far.value(f"SELECT EXISTS (SELECT FROM {table})"):
        return ""
    return f"{table} keeps the rows that were copied, and nothing keeps them current: empty it before a move into it begins anew"


class Observed(Protocol):
    """A move of whichever kind, open: what a measured drift is written down of."""

    home: Link

    @property
    def name(self) -> str:
        """The move's name."""
        ...

    def row(self) -> MoveRow:
        """Where it stands now."""
        ...


def observe(move: Observed, delta_s: float) -> str:
    """Write down a measured drift; why the move has to abort, or an empty text.

    After the switch it is written down only: then the way back is ``rollback``, which is a person's word.
    """
    row = move.row()
    if row.stage in OVER:
        raise Refused(f"the move {move.name} is {row.stage}", "MOVE_STAGE")
    ledger.event(move.home, move.name, "delta_s", "drift of the answers was measured", {"deltaS": delta_s})
    seen = [
        Seen(at, float(value))
        for at, value in move.home.rows(
            "SELECT at, (evidence ->> 'deltaS')::float8 FROM lockgate.move_event WHERE move = $1 AND kind = 'delta_s' AND at >= $2::timestamptz ORDER BY id",
            move.name, row.started_at,
        )
    ]  # fmt: skip
    since = lasting(seen, move.home.value("SELECT clock_timestamp()"))
    if since is None or (Stage(row.stage), Stage.ABORTED) not in ARROWS:
        return ""
    return f"ΔS stays above {LIMIT:g} for {round(since.total_seconds() / 60)} minutes"


def resume(move: Opened, *, operator: str = "") -> str:
    """paused → the stage before. What the tables look like now counts as right from here on."""
    row = move.row()
    move.refuse_half_done(row)  # the barrier would come back to a target that may serve
    if row.stage != Stage.PAUSED:
        return row.stage
    before = Stage(row.resume_stage or Stage.BACKFILLING)
    # After a change out of band only a new comparison can say that both sides are equal.
    after = Stage.BACKFILLING if before in (Stage.RECONCILED, Stage.SHADOWING, Stage.READY) else before
    if move.declared.in_place:
        in_place.open_sides(move, *move.relations(row))
        in_place.refuse_broken_sync(move, row)
    else:
        move.layout(row)
    source, target = move.shapes(row)
    if not move.captured(row):
        raise Refused(
            f"the capture of the move {move.name} is off: writes since then are unknown", "MOVE_STAGE",
            state=UNCAPTURED, next=anew(move.name, move.declared.target.table),
        )  # fmt: skip
    if not move.barred(row):
        with switch.locked(move.far, [row.target_oid], "SHARE ROW EXCLUSIVE", limits_of(move), move.rng):
            table = switch.relation_name(move.far, row.target_oid)
            move.far.run(capture.unbarrier_ddl(move.name, table) + capture.barrier_ddl(move.name, table, owned=row.target_created))  # fmt: skip
    with move.home.transaction():
        ledger.step(
            move.home,
            move.name,
            Stage.PAUSED,
            after,
            why(Stage.PAUSED, after),
            {"was": before},
            operator=operator,
        )
        move.home.run(
            "UPDATE lockgate.move SET source_shape = $2, target_shape = $3 WHERE name = $1",
            move.name,
            source,
            target,
        )
    return after


def relay_once(move: Opened) -> Applied:
    """Relay what waits in the feed that runs in this stage. Nothing where none runs, or where another process does it."""
    row = move.row()
    if row.stage in OVER or row.stage == Stage.PLANNED:
        return Applied(0, 0)
    if move.declared.in_place:
        return Applied(0, 0)
    turned = row.stage in (Stage.CUT_OVER, Stage.TAIL)
    if row.stage != Stage.PAUSED and not row.switching and not turned:
        move.stop_if_changed(
            row
        )  # before anything is made of tables that may not fit any more: the pause is what lasts
    made = move.layout(row)
    mapping = made.reverse if turned else made.forward
    if mapping is None:
        return Applied(0, 0)
    relay = move.relay(mapping)
    try:
        with relay.exclusive(2):
            return relay.drain(move.declared.limits.relay_rows, most=50)
    except Busy:
        return Applied(0, 0)


def relay_for(
    move: Opened,
    seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Applied:
    """Relay for ``seconds``, with short pauses while nothing waits."""
    end = clock() + seconds
    total = Applied(0, 0)
    while True:
        done = relay_once(move)
        total = Applied(
            total.entries + done.entries, total.written + done.written, total.quarantined + done.quarantined
        )
        if clock() >= end:
            return total
        if not done.entries:
            sleep(min(0.2, max(0.0, end - clock())))
