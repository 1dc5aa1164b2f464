"""The backfill: workers claim ranges from the ledger and copy them; a relay keeps what is copied current."""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

from lockgate.errors import Busy, LockgateError
from lockgate.moves import in_place, references
from lockgate.moves.crew import Crew, Outcome
from lockgate.moves.declaration import Declaration
from lockgate.moves.gates import refuse_paused
from lockgate.moves.opened import Opened, Report, Where, opened
from lockgate.moves.stages import Stage, why
from lockgate.moves.throttle import Held, Watch, held, rest
from lockgate.postgres.link import Link
from lockgate.postgres.moves import batch, ledger, log
from lockgate.postgres.moves.dangling import Reference
from lockgate.postgres.moves.in_place import Sides
from lockgate.postgres.moves.in_place import copy_range as copy_in_place
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.moves.made import UNMADE
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.moves.pressure import gauges
from lockgate.postgres.moves.relay import quarantine
from lockgate.postgres.sqlstate import RETRY, ServerError
from lockgate.postgres.wire import ConnectionLost

GOAL_SECONDS = 0.5
"""A batch is to take about this long: locks are held no longer, and little is done twice after a crash."""
PAUSE = 0.2
AGAIN = (*RETRY, UNMADE)
"""A batch that ends by one of these is copied again: a deadlock was broken, or a row got other inputs for its function meanwhile."""


class Work(NamedTuple):
    """What a worker is given: ids and addresses, never rows. Any executor may run it twice, or lose it."""

    declared: Declaration
    places: Where
    stop: "threading.Event | None" = None


def next_rows(rows: int, seconds: float, most: int) -> int:
    """The size of the next batch: towards ``GOAL_SECONDS``, quickly down and slowly up, between 50 and five times ``most``."""
    if seconds <= 0:
        return rows
    wish = rows * GOAL_SECONDS / seconds
    return max(
        min(50, most), min(most * 5, round(min(wish, rows * 1.5) if wish > rows else max(wish, rows * 0.25)))
    )


def work(order: Work) -> Outcome:
    """Copy ranges until none is left. Safe to run in any number of threads, processes and machines at once."""
    ranges = rows = 0
    with opened(order.declared, order.places, "worker") as move:
        row = move.row()
        task = _task(move, row)
        looks = gauges(move.links)
        size = order.declared.limits.batch_rows
        while order.stop is None or not order.stop.is_set():
            row = move.row()
            if row.stage != Stage.BACKFILLING:
                return Outcome(ranges, rows, f"the move is {row.stage}")
            move.stop_if_changed(row)
            now = held(looks, order.declared.limits, slot=log.lag(move.home, move.name))
            if now.reason:
                if order.stop is None:
                    return Outcome(ranges, rows, now.reason, held=True)
                order.stop.wait(PAUSE)
                continue
            piece = claim(move, task.mapping, size)
            if piece is None:
                if ledger.waiting(move.home, move.name)[0] == 0:
                    return Outcome(ranges, rows)
                time.sleep(PAUSE)  # somebody else holds the last ranges; if he dies his lease runs out
                continue
            begin = time.monotonic()
            copied = copy(move, task, piece)
            took = time.monotonic() - begin
            if copied is not None:
                ranges, rows = ranges + 1, rows + copied.rows_source
                size = next_rows(max(copied.rows_source, 1), took, order.declared.limits.batch_rows)
            if pause := rest(now.strain, took):
                (order.stop or threading.Event()).wait(pause)
    return Outcome(ranges, rows)


def _over_the_cap(move: Opened) -> None:
    """Pause the move when more rows stand in quarantine than it is worth going on with. Raises ``MOVE_QUARANTINE``."""
    held = ledger.count_quarantined(move.home, move.name)
    most = move.declared.limits.quarantine_rows
    if held > most:
        reason = f"{held} rows stand in quarantine, more than limits.quarantine_rows = {most}"
        ledger.pause(move.home, move.name, reason, {"quarantined": held})
        raise LockgateError(
            reason, "MOVE_QUARANTINE", details={"quarantine": ledger.quarantined(move.home, move.name)[:20]}
        )


def claim(move: Opened, mapping: Mapping, rows: int) -> batch.Range | None:
    """The next range, leased to us: one that was left behind, else the next of the table. None when there is none to take."""
    found = ledger.claim_abandoned(move.home, move.name, move.owner)
    if found is not None:
        return found
    with move.home.transaction():
        low, done = ledger.open_cursor(move.home, move.name)
        if done:
            return None
        move.home.run(f"SET LOCAL enable_seqscan = off; {batch.LATER}")
        high = batch.boundary(move.home, mapping, low, rows)
        if high is None:
            ledger.close_cursor(move.home, move.name)
            return None
        return ledger.add_range(move.home, move.name, move.owner, low, high, move.row().epoch)


class Task(NamedTuple):
    """What a batch does: copy into another table, or fill in beside the old side."""

    mapping: Mapping
    sides: Sides | None = None
    references: tuple[Reference, ...] = ()


def _task(move: Opened, row: MoveRow) -> Task:
    if move.declared.in_place:
        sides = in_place.open_sides(move, *move.relations(row))
        return Task(sides.mapping, sides)
    made = move.layout(row)
    return Task(
        made.forward,
        None,
        references.of_batches(references.references(move, *move.relations(row)), made.forward),
    )


def _once(move: Opened, task: Task, piece: batch.Range) -> batch.Copied:
    if task.sides is not None:
        return copy_in_place(task.sides, move.home, piece, ledger.RECORD, move.owner)
    replica = None if task.mapping.same_database else move.replica
    return batch.copy_range(
        task.mapping, move.home, move.far, piece, ledger.RECORD, move.owner, task.references, replica
    )


def copy(move: Opened, task: Task, piece: batch.Range) -> batch.Copied | None:
    """Copy one range. None when it has to be claimed again, or was put into quarantine."""
    try:
        copied = _once(move, task, piece)
        references.tell(move, piece.number, copied.dangling)
        return copied
    except batch.Poisoned as poisoned:
        return _heal(move, task, piece, poisoned)
    except ServerError as error:
        if error.sqlstate not in AGAIN:
            ledger.fail_range(move.home, move.name, piece.number, error.message)
            raise
        ledger.fail_range(move.home, move.name, piece.number, error.message)
        return None
    except LockgateError as error:
        if error.code == "MOVE_REPLICA":
            ledger.fail_range(move.home, move.name, piece.number, error.message)
        raise


def _heal(move: Opened, task: Task, piece: batch.Range, poisoned: batch.Poisoned) -> batch.Copied | None:
    """A refused range: perhaps the target still holds an older row with the same unique value. What is refused after a
    drain is cut in halves, until single rows stand in quarantine and all others are copied."""
    mapping = task.mapping
    if task.sides is None:
        relay = move.relay(mapping)
        with relay.exclusive(120):
            relay.drain(move.declared.limits.relay_rows, most=50, seconds=10)
        try:
            return _once(move, task, piece)
        except batch.Poisoned as again:
            poisoned = again
        except ServerError as error:
            if error.sqlstate not in AGAIN:
                raise
            ledger.fail_range(move.home, move.name, piece.number, error.message)
            return None
    count = batch.count(move.home, mapping, piece)
    if count > 1:
        middle = batch.boundary(move.home, mapping, piece.low, count // 2)
        if middle is not None and middle != piece.high:
            ledger.split_range(move.home, move.name, move.owner, piece, middle, move.row().epoch)
        ledger.fail_range(move.home, move.name, piece.number, poisoned.error.message)
        return None
    with move.home.transaction():
        if count:
            quarantine(move.home, mapping, list(piece.high), poisoned.error)
        move.home.run(ledger.RECORD, move.name, piece.number, move.owner, count, 0, "", "", False, 0.0)
    _over_the_cap(move)
    return None


class Backfilled(NamedTuple):
    """How a backfill ended: complete, or why not."""

    complete: bool
    ranges: int
    rows: int
    relayed: int
    waited: str


def backfill(
    move: Opened,
    *,
    executor: Executor | None = None,
    report: Report = lambda _d, _p: None,
    operator: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> Backfilled:
    """dual_write → backfilling, then copy until every range is in the ledger, relaying meanwhile. Can be called again at any time.

    ``executor`` runs the workers (threads by default). Raises what a worker raised, after all have stopped, and ``MOVE_PAUSED``
    when the move is paused, or was while it ran: only ``resume``, or a repair, lets it go on.
    """
    row = move.row()
    move.refuse_other_declaration(row)
    refuse_paused(move.home, row)
    move.refuse_half_done(row)
    if row.stage == Stage.DUAL_WRITE:
        ledger.step(
            move.home,
            move.name,
            row.stage,
            Stage.BACKFILLING,
            why(Stage.DUAL_WRITE, Stage.BACKFILLING),
            {},
            operator=operator,
        )
    elif row.stage != Stage.BACKFILLING:
        why(Stage(row.stage), Stage.BACKFILLING)
        ledger.step(
            move.home,
            move.name,
            row.stage,
            Stage.BACKFILLING,
            why(Stage(row.stage), Stage.BACKFILLING),
            {},
            operator=operator,
        )
    move.stop_if_changed(move.row())
    stop = threading.Event()
    relayed = 0
    task = _task(move, move.row())
    count = move.declared.limits.workers
    pool: Executor = executor or ThreadPoolExecutor(count, thread_name_prefix="lockgate-move")
    crew = Crew(pool, work, Work(move.declared, move.places, stop if executor is None else None), count)
    try:
        relay = None if move.declared.in_place else move.relay(task.mapping)
        looks = gauges(move.links)
        watch = Watch(move, clock=clock)
        while crew.at_work:
            before = relayed
            if relay is not None:
                # Busy: another process relays this move; that is as good.
                with contextlib.suppress(Busy), relay.exclusive(2):
                    relayed += relay.drain(move.declared.limits.relay_rows, most=20, seconds=2).entries
            now = held(looks, move.declared.limits, slot=log.lag(move.home, move.name))
            tell(move.home, move.name, now, report)
            watch.see(now)
            if not now.reason:
                crew.start_again()
            crew.wait(0.1 if relayed > before else 0.4, stop)
    except BaseException:
        stop.set()
        raise
    finally:
        if executor is None:
            pool.shutdown(wait=True)
    done = crew.done()
    waiting, _ = ledger.waiting(move.home, move.name)
    complete = move.row().cursor_done and waiting == 0
    if done.error is not None and not (complete and isinstance(done.error, ConnectionLost)):
        raise done.error
    if not complete:
        refuse_paused(move.home, move.row())  # by somebody else, while it ran
    watch.see(Held())
    log.flush(move.home)  # what is told as done is on the disk
    return Backfilled(complete, done.ranges, done.rows, relayed, done.waited)


def tell(home: Link, name: str, now: Held, report: Report) -> None:
    """Say how far the copy is, and why it waits if it does."""
    part = ledger.job(home, name).get("progress")
    report(
        f"waits: {now.reason}" if now.reason else "copying",
        float(part) if isinstance(part, (int, float)) else 0.0,
    )
