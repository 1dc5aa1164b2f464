"""The old side of a move that has switched: how far it is behind, and whether it still holds what the target gives."""

from lockgate.errors import Refused
from lockgate.moves.cutover import refuse_broken_feed
from lockgate.moves.gates import OLD_SIDE, TAIL, diverged
from lockgate.moves.opened import Opened, Report
from lockgate.moves.reconcile import Reconciled, compare_feed, copy_again, drain, told
from lockgate.moves.stages import Stage
from lockgate.postgres.link import Link
from lockgate.postgres.moves import capture, ledger
from lockgate.postgres.moves.feeds import waits
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.record.words import agree, counted

TURNED = (Stage.CUT_OVER, Stage.TAIL)
"""Stages in which the target serves and the way back is open."""


def old_side(serving: Link, row: MoveRow) -> str:
    """Whether the old side is current, in a sentence. ``serving`` is a session of the target's database."""
    name, behind = row.name, waits(serving, row.name, "reverse")
    if behind is None or not capture.has_trigger(serving, row.target_oid, f"zz_lockgate_{name}_reverse"):
        return "Nothing keeps the old side current."
    if not behind.entries:
        return "The old side is kept current."
    return (
        f"The old side is not current: {behind.words}; lockgate move run {name} --relay SECONDS carries them."
    )


def look_back(move: Opened, row: MoveRow, *, repair: bool, report: Report, operator: str = "") -> Reconciled:
    """Compare, after the cutover, what the target gives for the old side with the old side. The stage stays; what is found stands in the way of rollback and end.

    With ``repair`` the target's rows are written over those that differ. Raises ``MOVE_DIVERGED``, and ``Refused`` (``MOVE_STAGE``)
    where nothing keeps the old side.
    """
    move.refuse_other_declaration(row)
    made = move.layout(row)
    if made.reverse is None:
        raise Refused(
            f"the move {move.name} is declared one-way: nothing keeps the old side current, so there is nothing to compare", "MOVE_STAGE",
            next=f"lockgate move finish {move.name} --now",
        )  # fmt: skip
    refuse_broken_feed(move, row, made)
    source, target = move.relations(row)
    relay = move.relay(made.reverse)
    repaired = 0
    for attempt in (0, 1):
        drain(move, relay, report)
        found, unexplained, in_flight = compare_feed(move, made.reverse, target, source, relay, report)
        if not unexplained or not repair or attempt:
            break
        repaired = len(unexplained)
        copy_again(move.far, made.reverse, unexplained, report)
    evidence: dict[str, object] = {
        OLD_SIDE: True, "rowsSource": found.target_rows, "rowsTarget": found.source_rows, "differing": len(found.differing), "inFlight": in_flight, "repaired": repaired,
        "unexplained": [{"key": [str(k) for k in d.key], "kind": d.kind} for d in unexplained[:50]], "lane": found.comparison.lane, "seconds": round(found.seconds, 3),
    }  # fmt: skip
    if unexplained or found.truncated:
        words = f"{counted(len(unexplained), 'row')} of the old side of the move {move.name} {agree(len(unexplained), 'differs', 'differ')} from what the target gives and no write in flight explains it, the first: {told(unexplained)}"
        diverged(move.home, move.name, move.declared.gates, words, evidence, operator, TAIL)
    ledger.event(move.home, move.name, "proof", "both sides were compared after the cutover and are equal", evidence, operator=operator)  # fmt: skip
    return Reconciled(found, in_flight, unexplained, repaired)
