"""What has to be shown before a cutover: the proof, and what ``[gates]`` of a declaration asks for."""

from typing import NoReturn

from lockgate.errors import LockgateError, Refused
from lockgate.moves.backfill import outside
from lockgate.moves.declaration import Gates
from lockgate.moves.stages import Stage
from lockgate.postgres.link import Link
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.ledger import MoveRow


def refuse_paused(row: MoveRow) -> None:
    """Raise ``LockgateError`` (``MOVE_PAUSED``) when the move is paused: nothing goes on until its cause is gone."""
    if row.stage == Stage.PAUSED:
        raise LockgateError(
            f"the move {row.name} is paused: {row.reason}", "MOVE_PAUSED",
            next=f"Where rows differ: lockgate move verify {row.name} --repair. Else mend the cause, then lockgate move resume {row.name} and lockgate move run {row.name}.",
        )  # fmt: skip


def refuse_unproven(home: Link, row: MoveRow) -> None:
    """Raise ``MOVE_PAUSED``, or ``MOVE_DIVERGED`` when the last comparison of this move found rows that differ.

    Every kind of move asks this before its cutover. The stage alone does not tell: a declaration may ask for something
    else than a pause when rows differ.
    """
    refuse_paused(row)
    if found := _diverged(home, row):
        raise LockgateError(
            f"the last comparison of the move {row.name} found that both sides differ: {found}", "MOVE_DIVERGED",
            next=f"lockgate move verify {row.name} --repair",
        )  # fmt: skip


def refuse_unproven_end(home: Link, row: MoveRow, *, way_back: bool, now: bool) -> None:
    """Raise ``MOVE_DIVERGED`` when the last comparison of the move had found differences, so that its end would seal them.

    Where there is no ``way_back`` the word of a person, ``now``, is the only way on.
    """
    if now and not way_back:
        return
    if found := _diverged(home, row):
        raise LockgateError(
            f"the last comparison of the move {row.name} found that both sides differ: {found}", "MOVE_DIVERGED",
            state="The target serves, and may miss what the source held.",
            next=f"lockgate move rollback {row.name}, then lockgate move run {row.name} and lockgate move verify {row.name} --repair"
            if way_back else f"Compare both sides and mend the target; lockgate move finish {row.name} --now then ends the move knowingly.",
        )  # fmt: skip


def diverged(home: Link, name: str, gates: Gates, words: str, evidence: dict[str, object], operator: str = "") -> NoReturn:  # fmt: skip
    """Write down that both sides differ, pause the move where ``[gates]`` says so, and raise ``MOVE_DIVERGED``."""
    ledger.event(home, name, "divergence", words, evidence, operator=operator)
    if gates.on_divergence == "pause":
        ledger.pause(home, name, words, evidence)
    raise LockgateError(words, "MOVE_DIVERGED", details=evidence)


def _diverged(home: Link, row: MoveRow) -> str:
    """What the last comparison since the start found; empty when both sides were equal, or none was made."""
    last = home.rows(
        "SELECT kind, reason FROM lockgate.move_event WHERE move = $1 AND at >= $2::timestamptz AND (kind = 'divergence' OR to_stage = 'reconciled') ORDER BY id DESC LIMIT 1",
        row.name, row.started_at,
    )  # fmt: skip
    return str(last[0][1]) if last and last[0][0] == "divergence" else ""


def refuse_outside(home: Link, name: str, gates: Gates) -> None:
    """Raise ``Refused`` (``OUTSIDE_WINDOW``) when it is not the time for the cutover, by the server's clock."""
    if reason := outside(gates.cutover_windows, home.value("SELECT clock_timestamp()")):
        raise Refused(
            f"the cutover of the move {name} is {reason}", "OUTSIDE_WINDOW",
            next="Wait for the window, or change gates.cutover_windows in its declaration.",
        )  # fmt: skip


def refuse_unshadowed(home: Link, name: str, gates: Gates) -> None:
    """Raise ``Refused`` (``MOVE_STAGE``) until so many shadow reads as declared were seen since the start, all of them equal."""
    wanted = gates.shadow_reads
    if not wanted:
        return
    seen, bad = home.rows(
        "SELECT count(*), count(*) FILTER (WHERE equal IS NOT TRUE) FROM lockgate.move_shadow WHERE move = $1 AND at > COALESCE((SELECT started_at FROM lockgate.move WHERE name = $1), '-infinity')",
        name,
    )[0]  # fmt: skip
    if seen < wanted or bad:
        raise Refused(
            f"shadow reads: {seen} of {wanted} seen, {bad} of them not equal",
            "MOVE_STAGE",
            next=f"lockgate move shadow {name} --queries FILE",
            details={"seen": seen, "unequal": bad},
        )
