"""The stages of a move and the allowed ways between them. Pure: what is not in the table is refused."""

from enum import StrEnum

from lockgate.errors import Refused


class Stage(StrEnum):
    """Where a move stands. Who serves: the source until ``cut_over``, the target from there on, the source after ``rolled_back``."""

    PLANNED = "planned"
    DUAL_WRITE = "dual_write"
    BACKFILLING = "backfilling"
    RECONCILED = "reconciled"
    SHADOWING = "shadowing"
    READY = "ready"
    CUT_OVER = "cut_over"
    TAIL = "tail"
    FINISHED = "finished"
    PAUSED = "paused"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled_back"


_S = Stage
ARROWS: dict[tuple[Stage, Stage], str] = {
    (_S.PLANNED, _S.DUAL_WRITE): "capture is registered: from here on no write can be missed",
    (_S.DUAL_WRITE, _S.BACKFILLING): "writes are captured, so rows may be copied",
    (_S.BACKFILLING, _S.RECONCILED): "every range is in the ledger, the outbox is drained and both sides are equal",
    (_S.RECONCILED, _S.RECONCILED): "both sides were compared again and are equal",
    (_S.RECONCILED, _S.SHADOWING): "both sides are equal, so their answers may be compared",
    (_S.RECONCILED, _S.READY): "both sides are equal and no shadow reads are demanded",
    (_S.SHADOWING, _S.RECONCILED): "both sides were compared again and are equal",
    (_S.SHADOWING, _S.READY): "shadow reads agree",
    (_S.READY, _S.RECONCILED): "both sides were compared again and are equal",
    (_S.READY, _S.CUT_OVER): "the fence is up, the outbox is empty and the changed keys are equal: the target serves",
    (_S.CUT_OVER, _S.TAIL): "the reverse feed keeps the old side current",
    (_S.TAIL, _S.FINISHED): "the window for the way back is over, or was ended by a person",
    (_S.CUT_OVER, _S.ROLLED_BACK): "the reverse feed is drained and the changed keys are equal: the source serves again",
    (_S.TAIL, _S.ROLLED_BACK): "the reverse feed is drained and the changed keys are equal: the source serves again",
    (_S.ROLLED_BACK, _S.DUAL_WRITE): "the source serves and its writes are captured again",
    **{(stage, _S.PAUSED): "a person or a check stopped the move; capture goes on" for stage in (_S.DUAL_WRITE, _S.BACKFILLING, _S.RECONCILED, _S.SHADOWING, _S.READY)},
    **{(_S.PAUSED, stage): "the cause of the pause is gone" for stage in (_S.DUAL_WRITE, _S.BACKFILLING, _S.RECONCILED, _S.SHADOWING, _S.READY)},
    **{(stage, _S.BACKFILLING): "a difference was found and is copied again" for stage in (_S.RECONCILED, _S.SHADOWING, _S.READY)},
    **{(stage, _S.ABORTED): "the source serves: capture is taken down and nothing is lost" for stage in
       (_S.PLANNED, _S.DUAL_WRITE, _S.BACKFILLING, _S.RECONCILED, _S.SHADOWING, _S.READY, _S.PAUSED, _S.ROLLED_BACK)},
}  # fmt: skip
"""Every allowed step with its reason. Aborting after the switch is not here: that way is ``rollback``."""

_SWITCHING = frozenset({_S.SHADOWING, _S.READY, _S.CUT_OVER, _S.TAIL, _S.ROLLED_BACK})
ARROWS_IN_PLACE: dict[tuple[Stage, Stage], str] = {
    **{way: reason for way, reason in ARROWS.items() if not _SWITCHING & set(way)},
    (_S.RECONCILED, _S.FINISHED): "in place: the contract file took the old side away, or there was none",
}
"""The same for a move in place, where both sides stand beside each other and nothing is switched."""

SOURCE_SERVES = frozenset(set(Stage) - {_S.CUT_OVER, _S.TAIL, _S.FINISHED})
"""Stages in which the source takes the writes."""
OVER = frozenset({_S.FINISHED, _S.ABORTED})
"""Stages after which the name may be used again."""
READS = frozenset({"plan", "start", "backfill", "verify", "run"})
"""Commands that read much, from the replica where one is declared; the others, the way back above all, work without it."""
FORWARD_CAPTURED = frozenset(
    {_S.DUAL_WRITE, _S.BACKFILLING, _S.RECONCILED, _S.SHADOWING, _S.READY, _S.PAUSED, _S.ROLLED_BACK}
)
"""Stages in which writes to the source are captured."""
SETTLED = frozenset({_S.RECONCILED, _S.SHADOWING, _S.READY, _S.CUT_OVER, _S.TAIL, _S.FINISHED})
"""Stages in which the target is complete: what waits for a move may go on."""


def why(before: Stage, after: Stage, *, in_place: bool = False) -> str:
    """The reason of the step from ``before`` to ``after``. Raises ``Refused`` (``MOVE_STAGE``) where there is none."""
    arrows = ARROWS_IN_PLACE if in_place else ARROWS
    try:
        return arrows[before, after]
    except KeyError:
        ways = ", ".join(b for a, b in arrows if a is before) or "nowhere"
        raise Refused(
            f"a move that is {before} cannot become {after}; from here it can go to: {ways}",
            "MOVE_STAGE",
            details={"stage": before, "wanted": after},
        ) from None
