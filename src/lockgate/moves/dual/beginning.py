"""The beginning of a move that the application writes, into a table or an index: how it comes into the ledger."""

import msgspec

from lockgate.moves.dual import shapes
from lockgate.moves.dual.opened import Opened
from lockgate.moves.planned import Planned
from lockgate.moves.stages import OVER, Stage, why
from lockgate.postgres.moves import ledger


def under_way(move: Opened, operator: str) -> str:
    """The stage of a move that has begun, captured again after a rollback; "" when there is none to go on with."""
    before = ledger.read_if_there(move.home, move.name)
    if before is None or before.stage in OVER:
        return ""
    row = move.row()
    if row.stage != Stage.ROLLED_BACK:
        return row.stage
    ledger.step(move.home, move.name, row.stage, Stage.DUAL_WRITE, why(Stage.ROLLED_BACK, Stage.DUAL_WRITE), {"round": row.round + 1}, also="round = round + 1", operator=operator)  # fmt: skip
    shapes.keep(move)
    return Stage.DUAL_WRITE


def begin(move: Opened, planned: Planned, told: object, epoch: int, operator: str, **more: object) -> None:
    """Write the move into the ledger, where nothing is left of an earlier one of its name but events. ``told`` is its declaration, ``more`` is told by the first event."""
    evidence = {"source": planned.source, "target": planned.target, **more, "key": list(planned.key), "epoch": epoch}  # fmt: skip
    with move.home.transaction():
        for table in ("move", "move_range", "move_quarantine", "move_switch"):
            move.home.run(f"DELETE FROM lockgate.{table} WHERE {'name' if table == 'move' else 'move'} = $1", move.name)  # fmt: skip
        ledger.insert(
            move.home,
            {
                "name": move.name, "stage": Stage.DUAL_WRITE, "declaration": msgspec.json.encode(told).decode(), "declaration_hash": move.declared.hash,
                "source_oid": 0, "target_oid": 0, "same_database": False, "rows_estimate": planned.rows, "operator": operator, "epoch": epoch,
            },
        )  # fmt: skip
        ledger.event(move.home, move.name, "step", why(Stage.PLANNED, Stage.DUAL_WRITE), evidence, before=Stage.PLANNED, after=Stage.DUAL_WRITE, operator=operator)  # fmt: skip
    shapes.keep(move)
