"""The commands of ``lockgate move`` that look at a move or hand in what was seen: shadow, observe, status."""

import math
import os
from typing import Any

import click

from lockgate.cli.move_room import answer, open_move, operator, refuse_application, take_drift
from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit
from lockgate.record.words import counted


@click.command("shadow")
@shared()
@click.argument("name")
@click.option(
    "--queries",
    metavar="FILE",
    required=True,
    help="The application's queries, one a line; a line with ; alone ends longer ones.",
)
def shadow_command(name: str, queries: str, **shared_options: Any) -> None:
    """Ask both sides the queries of FILE, read-only, and compare the answers. Exits 1 when one differs."""
    from pathlib import Path

    from lockgate.moves.replay import read_queries, replay

    session = Session(**shared_options)
    refuse_application()
    asked = read_queries(Path(queries))
    with open_move(session, name, "shadow") as move:
        done = replay(move, asked, operator=operator())
        differing = [o._asdict() for o in done.observations]
        answer(
            session,
            "shadow",
            move,
            {"queries": done.queries, "equal": done.equal, "differing": differing},
            f"{done.equal} of {counted(done.queries, 'query')} agree",
        )
        for o in done.observations[:20]:
            session.output.say(f"  {o.query[:100]}: {o.difference or o.error}")
    if done.equal < done.queries:
        leave(Exit.FOUND)


def _measured(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Asked before any kind of move is: a comparison with NaN is never true, so no range refuses it."""
    if math.isnan(value):
        raise click.BadParameter("nan is no measured drift")
    return value


@click.command("observe")
@shared()
@click.argument("name")
@click.option(
    "--delta-s",
    metavar="NUMBER",
    type=click.FloatRange(min=0, max=2),
    callback=_measured,
    required=True,
    help="The drift that was measured, as lockgate drift gives it.",
)
def observe_command(name: str, delta_s: float, **shared_options: Any) -> None:
    """Hand in a measured drift of the answers. Above 0.05 for 15 minutes the move aborts by itself, with incident and postmortem."""
    from lockgate.moves.ending import abort

    session = Session(**shared_options)
    refuse_application()
    with open_move(session, name, "observe") as move:
        ended = take_drift(session, move, delta_s, abort, answer)
    if ended:
        leave(Exit.FOUND)


@click.command("status")
@shared()
@click.argument("name", required=False)
def status_command(name: str | None, **shared_options: Any) -> None:
    """Where moves stand: stage, who serves, progress with rate and ETA, outbox, window of the way back."""
    from lockgate.moves.status import tell_all

    session = Session(**shared_options)
    output = session.output
    told = tell_all(session.target(), name, os.environ)
    if name is not None and not told:
        from lockgate.errors import ConfigError

        raise ConfigError(
            f"there is no move {name} in this database", "MOVE_UNKNOWN", next=f"lockgate move start {name}"
        )
    output.json(
        {
            "command": "move status",
            "name": name or "",
            "stage": told[0].stage if name else "",
            "serves": told[0].serves if name else "",
            "result": {},
            "moves": told,
        }
    )
    if not told:
        output.say("no moves in this database")
        return
    output.table(
        ("move", "stage", "serves", "rows", "progress", "rows/s", "ETA", "outbox", "note"),
        [
            (t.name, t.stage, t.serves, str(t.job.get("migrated_rows", 0)), _percent(t.job.get("progress")), _number(t.job.get("rows_per_second")), _number(t.job.get("eta_seconds"), " s"), str(t.outbox) if t.outbox >= 0 else "", "; ".join(filter(None, (t.reason, t.note))))
            for t in told
        ],
    )  # fmt: skip
    for t in told:
        if t.next:
            output.say(f"next   {t.next}")


def _percent(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, (int, float)) else ""


def _number(value: object, unit: str = "") -> str:
    return f"{value:,.0f}{unit}" if isinstance(value, (int, float)) else ""
