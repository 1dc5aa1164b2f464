"""Drive a move from where it stands to the gate that needs a person."""

import time
from concurrent.futures import Executor
from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.moves import in_place
from lockgate.moves.backfill import backfill
from lockgate.moves.gates import refuse_paused
from lockgate.moves.opened import Opened, Report
from lockgate.moves.reconcile import ALLOWED, reconcile
from lockgate.moves.reverse import TURNED, look_back
from lockgate.moves.stages import Stage
from lockgate.moves.start import start
from lockgate.postgres.moves import ledger


class Proved(NamedTuple):
    """What the comparison of both sides found, of whichever kind the move is."""

    rows_source: int
    rows_target: int
    in_flight: int
    repaired: int
    lane: str
    seconds: float


def prove(move: Opened, *, repair: bool, report: Report, operator: str) -> Proved:
    """Compare both sides completely and step to ``reconciled``; after the cutover the stage stays. Raises ``MOVE_DIVERGED`` and what keeps it from being compared."""
    if move.declared.in_place:
        begin = time.monotonic()
        report("comparing", 0.0)
        seen = in_place.reconcile(move, repair=repair, operator=operator, report=report)
        c = seen.compared
        return Proved(c.rows_source, c.rows_target, 0, seen.repaired, "binary", time.monotonic() - begin)
    row = move.row()
    if row.stage in TURNED:
        done = look_back(move, row, repair=repair, report=report, operator=operator)
        v = done.verified
        return Proved(
            v.target_rows, v.source_rows, done.in_flight, done.repaired, v.comparison.lane, v.seconds
        )
    done = reconcile(move, repair=repair, report=report, operator=operator)
    v = done.verified
    return Proved(v.source_rows, v.target_rows, done.in_flight, done.repaired, v.comparison.lane, v.seconds)


def drive(move: Opened, executor: Executor | None, report: Report, operator: str) -> str:
    """start → backfill → verify, as far as it is not done yet. Returns the stage; raises what a step raises."""
    row = ledger.read_if_there(move.home, move.name)
    stage = Stage(row.stage) if row is not None else Stage.PLANNED
    if row is not None:
        refuse_paused(move.home, row)
    if move.declared.in_place and stage is Stage.FINISHED:
        return stage  # what it filled in is filled in; another round needs another change
    if stage in (Stage.PLANNED, Stage.FINISHED, Stage.ABORTED, Stage.ROLLED_BACK):
        stage = Stage(start(move, operator))
    if stage in (Stage.DUAL_WRITE, Stage.BACKFILLING):
        done = backfill(move, executor=executor, report=report, operator=operator)
        if not done.complete:
            raise LockgateError(
                f"the backfill of {move.name} is not complete: {done.waited or 'ranges are left'}",
                "MOVE_INCOMPLETE", next=f"lockgate move backfill {move.name}",
            )  # fmt: skip
        stage = Stage.BACKFILLING
    if stage in ALLOWED and not (row is not None and row.switching):  # a half-done switch has its own way on
        prove(move, repair=False, report=report, operator=operator)
    return move.row().stage
