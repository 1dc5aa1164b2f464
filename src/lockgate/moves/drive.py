"""Drive a move from where it stands to the gate that needs a person."""

from concurrent.futures import Executor

from lockgate.errors import LockgateError
from lockgate.moves.backfill import backfill
from lockgate.moves.opened import Opened, Report
from lockgate.moves.reconcile import reconcile
from lockgate.moves.stages import Stage
from lockgate.moves.start import start
from lockgate.postgres.moves import ledger


def drive(move: Opened, executor: Executor | None, report: Report, operator: str) -> str:
    """start → backfill → verify, as far as it is not done yet. Returns the stage; raises what a step raises."""
    row = ledger.read_if_there(move.home, move.name)
    stage = Stage(row.stage) if row is not None else Stage.PLANNED
    if stage is Stage.PAUSED:
        assert row is not None
        raise LockgateError(f"the move {move.name} is paused: {row.reason}", "MOVE_PAUSED")
    if stage in (Stage.PLANNED, Stage.FINISHED, Stage.ABORTED, Stage.ROLLED_BACK):
        stage = Stage(start(move, operator))
    if stage in (Stage.DUAL_WRITE, Stage.BACKFILLING):
        done = backfill(move, executor=executor, report=report, operator=operator)
        if not done.complete:
            raise LockgateError(
                f"the backfill of {move.name} is not complete: {done.waited or 'ranges are left'}",
                "MOVE_INCOMPLETE",
            )
        stage = Stage.BACKFILLING
    if stage in (Stage.BACKFILLING, Stage.RECONCILED):
        reconcile(move, report=report, operator=operator)
    return move.row().stage
