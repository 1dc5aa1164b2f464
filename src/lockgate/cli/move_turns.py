"""The commands of ``lockgate move`` that turn a move: cutover, the way back, its end, a pause."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.move_room import (
    answer,
    open_move,
    operator,
    record_missed,
    recording,
    refuse_application,
    write_incident,
)
from lockgate.cli.options import Session, shared
from lockgate.record.words import some

if TYPE_CHECKING:
    from lockgate.moves.opened import Opened


def _turn_command(
    command: str, text: str, work: "Callable[[Opened], Any]", session: Session, name: str
) -> None:
    refuse_application()
    with open_move(session, name, command) as move:
        with recording(session, move, command):
            turned = work(move)
        words = text if not turned.already else "nothing to do: it is so already"
        if command == "rollback" and move.declared.in_place:
            words = "both sides say the same: the old release can serve again as it is"
        if not turned.already:
            did = some(
                (turned.attempts, "attempt", "for the lock"),
                (turned.drained, "change", "drained"),
                (turned.checked, "row", "compared"),
            )
            words += f" ({', '.join((f'writers were held {turned.cutover_ms:.1f} ms', *did))})"
        answer(session, command, move, turned._asdict(), words)


@click.command("cutover")
@shared()
@click.argument("name")
def cutover_command(name: str, **shared_options: Any) -> None:
    """Switch to the target: short lock attempts, drain until empty, compare the changed keys, switch. Exits 75 when it does not fit."""
    from lockgate.moves.cutover import cutover

    session = Session(**shared_options)
    _turn_command(
        "cutover",
        "the target serves",
        lambda m: cutover(m, operator=operator(), tell=session.output.note),
        session,
        name,
    )


@click.command("rollback")
@shared()
@click.argument("name")
@click.option(
    "--accept",
    metavar="KEY",
    multiple=True,
    help="Go back though this row differs, behind the barrier or by the last move verify (moves that the application writes). A key of several columns is a list: '[\"a\", 1]'. Repeatable; it goes into the record.",
)
def rollback_command(name: str, accept: tuple[str, ...], **shared_options: Any) -> None:
    """Switch back to the source with everything that was written since the cutover."""
    from lockgate.cli.options import usage
    from lockgate.moves.cutover import rollback

    session = Session(**shared_options)
    if accept:
        raise usage("--accept names rows of a move that the application writes; triggers lose none", f"lockgate move rollback {name}")  # fmt: skip
    _turn_command(
        "rollback",
        "the source serves again",
        lambda m: rollback(m, operator=operator(), tell=session.output.note),
        session,
        name,
    )


@click.command("finish")
@shared()
@click.argument("name")
@click.option(
    "--now", is_flag=True, help="End the way back before its time, and without looking at the old side."
)
def finish_command(name: str, now: bool, **shared_options: Any) -> None:
    """End the window for the way back. The old table stays, renamed, closed for writes and without its foreign keys."""
    from lockgate.moves.ending import finish

    session = Session(**shared_options)
    refuse_application()
    with open_move(session, name, "finish") as move:
        finish(move, now=now, operator=operator(), tell=session.output.note)
        record_missed(session, move, "finish")
        answer(session, "finish", move, {}, "the way back is closed")


@click.command("abort")
@shared()
@click.argument("name")
@click.option("--reason", default="asked for", show_default=True, help="Why; it goes into the record.")
def abort_command(name: str, reason: str, **shared_options: Any) -> None:
    """Take a move down before its cutover: the source serves, capture goes, the target stays as it is."""
    from lockgate.moves.ending import abort, left_behind

    session = Session(**shared_options)
    refuse_application()
    with open_move(session, name, "abort") as move:
        row = abort(move, reason, operator=operator())
        record_missed(session, move, "abort")
        answer(
            session,
            "abort",
            move,
            {"incident": write_incident(session, move, reason, {})},
            "files that wait for it are held; the triggers of the expand files stay"
            if move.declared.in_place
            else "; ".join(filter(None, ("capture and barrier are gone", left_behind(move, row)))),
        )


@click.command("pause")
@shared()
@click.argument("name")
@click.option("--reason", default="asked for", show_default=True, help="Why; it goes into the record.")
def pause_command(name: str, reason: str, **shared_options: Any) -> None:
    """Stop the workers of a move; capture goes on."""
    from lockgate.moves.stages import Stage, why
    from lockgate.postgres.moves import ledger

    session = Session(**shared_options)
    refuse_application()
    with open_move(session, name, "pause") as move:
        row = move.row()
        move.refuse_half_done(row)
        stage = Stage(row.stage)
        if stage is not Stage.PAUSED:
            why(stage, Stage.PAUSED)
            ledger.pause(move.home, name, reason, {})
        answer(session, "pause", move, {"reason": reason}, "paused")


@click.command("resume")
@shared()
@click.argument("name")
def resume_command(name: str, **shared_options: Any) -> None:
    """Let a paused move go on; what the tables look like now counts as right."""
    from lockgate.moves.ending import resume

    session = Session(**shared_options)
    refuse_application()
    with open_move(session, name, "resume") as move:
        resume(move, operator=operator())
        answer(session, "resume", move, {}, "it goes on")
