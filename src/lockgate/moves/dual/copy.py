"""The backfill of a dual-written move: ranges claimed from the ledger, read at one moment, written where nothing newer is."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple

from lockgate.errors import LockgateError, Refused
from lockgate.moves.backfill import PAUSE, next_rows
from lockgate.moves.crew import Crew, Outcome
from lockgate.moves.dual import references
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.dual.opened import Opened, opened
from lockgate.moves.dual.pair import Urls
from lockgate.moves.dual.second_leg import drain, write_images
from lockgate.moves.dual.shapes import stop_if_changed
from lockgate.moves.gates import refuse_over_the_cap, refuse_paused
from lockgate.moves.stages import Stage, why
from lockgate.moves.throttle import Held, Watch, held, rest
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.batch import Copied, Range
from lockgate.postgres.target import Target
from lockgate.record.points import point
from lockgate.record.redact import redact
from lockgate.record.words import counted
from lockgate.stores.ahead import ahead
from lockgate.stores.making import Texts, Unmade
from lockgate.stores.side import Op, Side, Writer, key_id
from lockgate.stores.speaking import Rejected

LATER = "SET LOCAL synchronous_commit = off"
"""A row of the ledger that a crash of the server takes away is a range that is copied once more, and changes nothing; so only
the rows themselves wait for the disk. The step of the stage behind it, which waits, covers all of them."""
LIVE_SECONDS = 60.0
"""A writer that was seen so long ago counts as alive."""


class DualWork(NamedTuple):
    """What a worker is given: addresses and names, never rows. Any executor may run it twice, or lose it."""

    declared: DualDeclaration
    home: Target
    places: Urls
    stop: "threading.Event | None" = None
    open: Callable[[DualDeclaration, Target, Urls, str], AbstractContextManager[Opened]] = opened


def missing_writers(wanted: int, seen: list[Writer], instances: list[str]) -> str:
    """Why the first row may not be copied yet; empty when it may. ``instances`` are the live ones that the gate knows. Pure."""
    live = [w for w in seen if w.age <= LIVE_SECONDS]
    if len(live) < wanted:
        old = [f"{w.instance} {w.age:.0f} s ago" for w in seen if w.age > LIVE_SECONDS]
        return f"{len(live)} of {wanted} writers were seen within {LIVE_SECONDS:.0f} s" + (f"; before that {', '.join(old)}" if old else "")  # fmt: skip
    unseen = sorted(set(instances) - {w.instance for w in live})
    if unseen and len(instances) > 0 and any(w.instance in instances for w in live):
        return f"live instances write without DualWriter: {', '.join(unseen)}"
    return ""


def live_instances(move: Opened) -> list[str]:
    """The instances whose heartbeat the gate of the project's database knows."""
    return [row[0] for row in move.home.rows("SELECT instance_id FROM lockgate.instance WHERE heartbeat_at > clock_timestamp() - make_interval(secs => ttl_seconds)")]  # fmt: skip


def backfill(
    move: Opened, *, executor: Executor | None = None, report: Callable[[str, float], None] = lambda _d, _p: None, operator: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:  # fmt: skip
    """dual_write → backfilling, then copy until every range is in the ledger, and carry meanwhile what is written.

    Raises ``Refused`` (``MOVE_REFUSED``) while a live instance does not write both sides, and ``LockgateError`` (``MOVE_THROTTLED``) when a server of the
    move was pressed beyond ``[limits]`` for too long: the same call goes on later.
    ``MOVE_PAUSED`` when the move is paused, or was while it ran.
    """
    row = move.row()
    refuse_paused(move.home, row)
    stop_if_changed(move, row)
    if row.stage != Stage.BACKFILLING:
        reason = why(Stage(row.stage), Stage.BACKFILLING)
        writers = move.pair.source.writers()
        problem = missing_writers(move.declared.writers, writers, live_instances(move))
        if problem:
            raise Refused(
                f"not every live instance is shown to write both sides: {problem}", "MOVE_REFUSED",
                next="Deploy the release with DualWriter everywhere; idle processes call DualWriter.beat().", details={"writers": [w._asdict() for w in writers]},
            )  # fmt: skip
        ledger.step(move.home, move.name, row.stage, Stage.BACKFILLING, reason, {"writers": [w._asdict() for w in writers]}, operator=operator)  # fmt: skip
    stop = threading.Event()
    count = move.declared.limits.workers
    pool: Executor = executor or ThreadPoolExecutor(count, thread_name_prefix="lockgate-move")
    order = DualWork(move.declared, move.target, move.places, stop if executor is None else None, move.again)
    crew = Crew(pool, work, order, count)
    try:
        looks, watch = move.gauges(), Watch(move, clock=clock)
        while crew.at_work:
            drain(move.pair.source, move.pair.target, move.declared.limits.relay_rows, most=20)
            now = held(looks, move.declared.limits)
            _tell(move, now, report)
            watch.see(now)
            if not now.reason:
                crew.start_again()
            crew.wait(PAUSE, stop)
    finally:
        stop.set()
        if executor is None:
            pool.shutdown(wait=True)
    done = crew.done()
    if done.error is not None:
        raise done.error
    watch.see(Held())
    left, _ = ledger.waiting(move.home, move.name)
    if left or not move.row().cursor_done:
        refuse_paused(move.home, move.row())  # by somebody else, while it ran
        reason = done.waited or (f"{counted(left, 'range')} left" if left else "it has not seen all rows yet")
        raise LockgateError(f"the backfill of {move.name} is not complete: {reason}", "MOVE_INCOMPLETE", next=f"lockgate move backfill {move.name}")  # fmt: skip
    return Outcome(done.ranges, done.rows)


def _tell(move: Opened, now: Held, report: Callable[[str, float], None]) -> None:
    """Say how many rows are copied, or why the copy waits: an estimate of the whole may be far off, or none."""
    job = ledger.job(move.home, move.name)
    rows, part = job.get("migrated_rows"), job.get("progress")
    words = f"copying, {counted(rows if isinstance(rows, int) else 0, 'row')} so far"
    report(f"waits: {now.reason}" if now.reason else words, float(part) if isinstance(part, (int, float)) else 0.0)  # fmt: skip


def work(order: DualWork) -> Outcome:
    """Copy ranges until none is left. Safe to run in any number of threads, processes and machines at once."""
    ranges = rows = 0
    with order.open(order.declared, order.home, order.places, "worker") as move:
        size = order.declared.limits.batch_rows
        looks = move.gauges()
        while order.stop is None or not order.stop.is_set():
            row = move.row()
            if row.stage != Stage.BACKFILLING:
                return Outcome(ranges, rows, f"the move is {row.stage}")
            stop_if_changed(move, row)
            now = held(looks, order.declared.limits)
            if now.reason:
                if order.stop is None:
                    return Outcome(ranges, rows, now.reason, held=True)
                order.stop.wait(PAUSE)
                continue
            piece = claim(move, size, row.epoch)
            if piece is None:
                if ledger.waiting(move.home, move.name)[0] == 0:
                    return Outcome(ranges, rows)
                time.sleep(PAUSE)  # somebody else holds the last ranges; if he dies his lease runs out
                continue
            begin = time.monotonic()
            try:
                copied = copy_range(move, piece)
            except LockgateError as error:
                ledger.fail_range(move.home, move.name, piece.number, error.message)
                raise
            took = time.monotonic() - begin
            ranges, rows = ranges + 1, rows + copied.rows_source
            size = next_rows(max(copied.rows_source, 1), took, order.declared.limits.batch_rows)
            if pause := rest(now.strain, took):
                (order.stop or threading.Event()).wait(pause)
    return Outcome(ranges, rows)


def claim(move: Opened, rows: int, epoch: int) -> Range | None:
    """The next range, leased to us: one that was left behind, else the next of the table. None when there is none to take."""
    found = ledger.claim_abandoned(move.home, move.name, move.owner)
    if found is not None:
        return found
    with move.home.transaction():
        move.home.run(LATER)
        low, done = ledger.open_cursor(move.home, move.name)
        if done:
            return None
        high = move.pair.source.boundary(low, rows)
        if high is None:
            ledger.close_cursor(move.home, move.name)
            return None
        return ledger.add_range(move.home, move.name, move.owner, low, tuple(str(k) for k in high), epoch)


def copy_range(move: Opened, piece: Range) -> Copied:
    """Copy one range, and write its row of the ledger behind the commit of the target: killed between both, it is copied once more and changes nothing."""
    begin = time.monotonic()
    source, target = move.pair.source, move.pair.target
    names = [g.name for g in source.given]
    keys: list[Texts] = []
    unmade = 0
    proof = target.proof(source.given)
    parts = _parts(move.reading(), target, piece, names)
    with ahead(parts) if target.ahead_rows else nullcontext(parts) as coming:
        for part in coming:
            _put_aside(move, part.unmade)
            try:
                write_images(target, part.ops, names, part.ready)
            except Rejected:
                _by_halves(move, source, target, part.ops)
            proof.add(part.ops)
            keys += part.keys
            unmade += len(part.unmade)
            point("dual:batch:part")
    point("dual:batch:destination-commit")
    copied = Copied(len(keys), *proof.told())
    with move.home.transaction():
        # Parts that were read ahead have not waited for the disk: this commit does, for all of them.
        if not target.ahead_rows:
            move.home.run(LATER)
        move.home.run(ledger.RECORD, move.name, piece.number, move.owner, *copied[:4], copied.equal, time.monotonic() - begin)  # fmt: skip
        move.home.run("UPDATE lockgate.move_range SET algorithm = 'sha256' WHERE move = $1 AND number = $2", move.name, piece.number)  # fmt: skip
    references.tell(move, piece.number, keys)
    if copied.rows_target < copied.rows_source or unmade:
        refuse_over_the_cap(move.home, move.name, move.declared.limits.quarantine_rows)
    return copied


class _Part(NamedTuple):
    """Rows of a range that are written together. ``ready`` is what the target writes; None where it takes them as they are, or where one of them cannot be made into it."""

    keys: list[Texts]
    ops: list[Op]
    unmade: list[tuple[Texts, str]]
    ready: Any


def _parts(reading: Side, target: Side, piece: Range, names: list[str]) -> Iterator[_Part]:
    """The rows of a range, those of a part read at one moment with their revisions. Writes nothing; uses the session of ``reading`` only."""
    low: Texts | None = piece.low
    size = target.ahead_rows
    while True:
        with reading.transaction(read=True):
            rows = reading.between(low, piece.high, size)
            revs = reading.revs([key for key, _ in rows])
        point("dual:batch:read")
        ops = [Op("", key, image, revs.get(key_id(key), 0)) for key, image in rows if not isinstance(image, Unmade)]  # fmt: skip
        ready = None
        if size:
            with suppress(Rejected):  # who writes them one by one learns which, and why
                ready = target.make_ready(ops, names)
        yield _Part([key for key, _ in rows], ops, [(k, i.reason) for k, i in rows if isinstance(i, Unmade)], ready)  # fmt: skip
        if not size or len(rows) < size:
            return
        low = rows[-1][0]


TELLS = 50
"""So many refused rows are written into the ledger at once, and then it is looked whether there are too many."""


def _by_halves(move: Opened, source: Side, target: Side, ops: list[Op]) -> None:
    """Rows that the target refuses stand in quarantine with the reason; all others are copied.

    Raises ``MOVE_QUARANTINE`` as soon as more of them stand there than ``limits.quarantine_rows``: each costs the target a transaction.
    """
    names = [g.name for g in source.given]
    most = move.declared.limits.quarantine_rows
    refused: list[tuple[Texts, str]] = []
    parts = [ops]
    while parts:
        part = parts.pop()
        try:
            write_images(target, part, names)
        except Rejected as error:
            if len(part) > 1:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                continue
            refused.append((part[0].key, error.message))
            if len(refused) >= min(TELLS, most + 1):
                _put_aside(move, refused)
                refused = []
                refuse_over_the_cap(move.home, move.name, most)
    _put_aside(move, refused)


def _put_aside(move: Opened, refused: Sequence[tuple[Texts, str]]) -> None:
    """Write rows into the quarantine: key and reason. Lost in a crash, they are refused once more with their range."""
    if not refused:
        return
    with move.home.transaction():
        move.home.run(LATER)
        for key, reason in refused:
            move.home.run(
                "INSERT INTO lockgate.move_quarantine (move, feed, key, sqlstate, message) VALUES ($1, 'forward', $2::text[], '', $3)"
                " ON CONFLICT (move, feed, key) DO UPDATE SET message = excluded.message, at = clock_timestamp()",
                move.name, [str(k) for k in key], redact(reason),
            )  # fmt: skip


def retry(move: Opened) -> int:
    """Write every row in quarantine again as an operation of its own, once the cause is mended; how many. Operations of these rows that were set aside are overtaken by it."""
    from lockgate.moves.dual.drive import relay, write_again

    refuse_paused(move.home, move.row())
    origin, _ = move.feed(move.row())
    keys = [tuple(row[0]) for row in move.home.rows("SELECT key FROM lockgate.move_quarantine WHERE move = $1", move.name)]  # fmt: skip
    write_again(origin, keys)
    move.home.run("DELETE FROM lockgate.move_quarantine WHERE move = $1", move.name)
    relay(move)  # what the other store still refuses is in quarantine again
    return len(keys)
