"""Apply a plan, file by file, under a guard and with a permit. The one production path."""

from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.migrations.contract import Prepared
from lockgate.migrations.failure import interrupted
from lockgate.migrations.journal import JournalRunner
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.permit import Permit
from lockgate.migrations.plan import Plan
from lockgate.migrations.progress import Log
from lockgate.migrations.session import WorkSession
from lockgate.migrations.spans import file_span
from lockgate.migrations.transactional import TransactionalRunner
from lockgate.postgres.guard import Guard
from lockgate.postgres.moves.empty import Awaited
from lockgate.postgres.warden import Warden
from lockgate.record.tracing import tracing


def apply(
    guard: Guard,
    plan: Plan,
    permit: Permit,
    prepared: dict[str, Prepared],
    limits: Limits,
    run: Deadline,
    log: Log,
) -> tuple[str, str]:
    """Apply the pending files of ``plan`` in order, up to ``permit.until``.

    Returns which move the rest waits for, and why, when a file's turn came and its move had something to move after
    all; else two empty texts.

    ``guard`` holds both locks; ``prepared`` has every pending revision. Each file that ends is told to ``log``. Raises
    ``Refused`` when the permit is not for this plan, ``RunFailed`` (with what is applied in ``log``), ``InDoubt`` and
    ``ConnectionLost``.
    """
    if permit.plan_hash != plan.hash:
        raise Refused("the permit was given for another plan", "PLAN_STALE")
    if plan.obstacles:
        raise Refused(plan.obstacles[0].message, plan.obstacles[0].code)
    session = WorkSession(guard)
    session.wire.marks = [] if tracing() is not None else None
    warden = Warden(
        guard,
        limits.max_lock_victims,
        look=limits.look_every(),
        clock=limits.clock,
        landed=lambda: log.landed,
        flushed=log.harden,
    )
    waited_for = "", ""
    settled: set[str] = set()
    transactional = TransactionalRunner(session, limits, run, warden, log)
    warden.start()
    try:
        for revision, checksum in plan.pending:
            if permit.until and revision >= permit.until:
                break
            item = prepared[revision]
            looks = [move for move in permit.provided.get(revision, ()) if move.name not in settled]
            if looks:
                transactional.settle()
                waited_for = _look_for_rows(guard, looks, item, log)
                if waited_for[0]:
                    break
                # Once is enough: what keeps both sides in step is in force until one of these files takes it away.
                settled.update(move.name for move in looks)
            stop = _why_stop(guard, session, limits, run, item, checksum)
            if stop is not None:
                transactional.settle()
                raise stop
            if item.directives.transaction:
                transactional.apply(item)
                continue
            transactional.settle()
            log.in_flight = revision
            with file_span(item):
                JournalRunner(session, item, limits, run, warden, log).apply()
        transactional.settle()
    except RunFailed as failure:
        failure.details.setdefault("mostVictims", warden.most_victims)
        if failure.code == "LOCK_LOST" and warden.broken:
            failure.details["guard"] = warden.broken
        raise
    finally:
        warden.stop()
        transactional.flush()  # behind a failure; else the last COMMIT has waited, and nothing is left to tell
        log.lock_waited += warden.lock_waited
    return waited_for


def _look_for_rows(guard: Guard, moves: list[Awaited], item: Prepared, log: Log) -> tuple[str, str]:
    """The first of ``moves`` that has something to move, and why ``item`` has to wait for it."""
    for move in moves:
        turn = move.take_turn(guard.work)
        if turn.because:
            return move.name, f"{item.migration.file} waits: {turn.because}"
        log.tell("authorised", turn.told)
    return "", ""


def _why_stop(
    guard: Guard, session: WorkSession, limits: Limits, run: Deadline, item: Prepared, checksum: str
) -> LockgateError | None:
    """Why ``item`` may not begin now, if it may not."""
    if item.migration.checksum != checksum:
        return Refused(f"{item.migration.file} changed since the plan was made", "PLAN_STALE")
    if guard.alarm.signal:
        return interrupted(f"stopped before {item.migration.file}", guard.alarm.signal)
    if limits.clock() >= run.at:
        return RunFailed(
            f"{run.cause.message} before {item.migration.file}",
            run.cause.code,
            details={"revision": item.revision},
        )
    if item.directives.transaction and item.revision in session.partial:
        # A file that stopped half way without a transaction may not start again in one: its done statements would run twice.
        return RunFailed(
            f"{item.migration.file} stopped half way as a transaction=off file and now says it is transactional",
            "PARTIAL",
            next="Give it back `-- lockgate: transaction=off`, then lockgate up; or undo by hand what is done and "
            f"lockgate repair --discard-journal {item.revision} --reason TEXT --actor WHO",
            details={"revision": item.revision},
        )
    return None
