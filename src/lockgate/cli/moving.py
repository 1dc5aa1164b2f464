"""The commands of ``lockgate move`` that work on a declared move: plan, start, backfill, verify, run."""

from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.move_looks import observe_command, shadow_command, status_command
from lockgate.cli.move_room import (
    aborting,
    answer,
    copied,
    open_move,
    operator,
    recording,
    refuse_application,
    refused,
)
from lockgate.cli.move_turns import (
    abort_command,
    cutover_command,
    finish_command,
    pause_command,
    resume_command,
    rollback_command,
)
from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit
from lockgate.record.words import counted, some

if TYPE_CHECKING:
    from lockgate.moves.opened import Opened


@click.command("plan")
@shared()
@click.argument("name")
def plan_command(name: str, **shared_options: Any) -> None:
    """What the move NAME would do, and everything that stands in its way. Exits 4 when something does."""
    import msgspec

    from lockgate.moves.planning import plan

    session = Session(**shared_options)
    with open_move(session, name, "plan") as move:
        planned = plan(move)
    output = session.output
    stage = "planned"
    output.json(
        {
            "command": "move plan",
            "name": name,
            "stage": stage,
            "serves": "source",
            "result": msgspec.to_builtins(planned),
            "moves": [],
        }
    )
    output.say(
        f"move {name}: {planned.source} -> {', '.join(planned.columns) + ' beside it' if move.declared.in_place else planned.target}{'' if planned.target_exists else ' (will be created)'}, key ({', '.join(planned.key)})"
    )
    output.say(
        f"about {counted(max(planned.rows, 0), 'row')}, {planned.bytes >> 20} MB, {counted(planned.batches, 'batch')}"
    )
    for number, step in enumerate(planned.steps, 1):
        output.say(f"  {number}. {step}")
    for note in planned.notes:
        output.say(f"note   {note}")
    for problem in planned.problems:
        output.say(f"{output.mark('problem', 'bad')}  {problem['what']}\n         {problem['fix']}")
    if planned.problems:
        leave(Exit.REFUSED)
    output.say(f"next   lockgate move start {name}")


@click.command("start")
@shared()
@click.argument("name")
def start_command(name: str, **shared_options: Any) -> None:
    """Make or check the target and register capture, before the first row is copied."""
    from lockgate.moves.start import rollback_document, start
    from lockgate.record.artifact import write_atomically

    session = Session(**shared_options)
    refuse_application()
    with open_move(session, name, "start", make=True) as move:
        stage = start(move, operator())
        folder = session.settings.path(session.settings.artifacts.directory) / "moves" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "rollback.md", rollback_document(move).encode())
        answer(
            session,
            "start",
            move,
            {"stage": stage, "rollbackDocument": str(folder / "rollback.md")},
            f"capture is registered; the way back is written down in {folder / 'rollback.md'}",
        )


@click.command("backfill")
@shared()
@click.argument("name")
@click.option(
    "--executor",
    metavar="threads|processes|dask://HOST:PORT",
    default="threads",
    show_default=True,
    help="Who runs the workers.",
)
@click.option("--retry", is_flag=True, help="Try the rows in quarantine again first.")
def backfill_command(name: str, executor: str, retry: bool, **shared_options: Any) -> None:
    """Copy the rows in batches, each with count, digest and ledger row; goes on where it stopped."""
    from lockgate.cli.waiting import Waiting
    from lockgate.moves.backfill import backfill
    from lockgate.moves.ending import relay_once
    from lockgate.moves.executors import executor_of
    from lockgate.moves.quarantine import retry as try_again

    session = Session(**shared_options)
    refuse_application()
    with Waiting(session.output) as waiting, open_move(session, name, "backfill") as move:
        if retry:
            try_again(move)
        with executor_of(executor, move.declared.limits.workers) as pool:
            done = backfill(move, executor=pool, report=waiting.show, operator=operator())
        if retry:
            relay_once(move)  # what is refused again stands in quarantine again before this command says so
        held = refused(move.home, name)
        more = some((done.relayed, "change", "relayed")) + ([f"waits: {done.waited}"] if done.waited else [])
        answer(
            session,
            "backfill",
            move,
            {**done._asdict(), "quarantine": held[:20]},
            copied(done.ranges, done.rows, *more, refused=held),
        )
        if held or not done.complete:
            leave(Exit.FOUND)


def reconcile_command(name: str, repair: bool, session: Session) -> None:
    """``move verify NAME``."""
    from lockgate.cli.waiting import Waiting
    from lockgate.moves.drive import prove
    from lockgate.moves.ending import abort

    refuse_application()
    with Waiting(session.output) as waiting, open_move(session, name, "verify") as move:
        with aborting(session, move, abort):
            done = prove(move, repair=repair, report=waiting.show, operator=operator())
        result = {
            "rows": {"source": done.rows_source, "target": done.rows_target},
            "inFlight": done.in_flight,
            "repaired": done.repaired,
            "lane": done.lane,
            "seconds": round(done.seconds, 3),
        }
        answer(
            session,
            "verify",
            move,
            result,
            ", ".join(
                (
                    f"equal: {counted(done.rows_source, 'row')} in the source, {done.rows_target} in the target",
                    *some((done.in_flight, "change", "in flight"), (done.repaired, "row", "copied again")),
                )
            ),
        )


@click.command("run")
@shared()
@click.argument("name")
@click.option("--resume", "go_on", is_flag=True, help="Also when the move is paused.")
@click.option(
    "--cutover", "through", is_flag=True, help="Cut over too; without it the run stops there for a person."
)
@click.option(
    "--relay",
    "relay_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Then keep relaying so long.",
)
@click.option(
    "--executor",
    metavar="threads|processes|dask://HOST:PORT",
    default="threads",
    show_default=True,
    help="Who runs the workers.",
)
def run_command(
    name: str, go_on: bool, through: bool, relay_seconds: float, executor: str, **shared_options: Any
) -> None:
    """Drive a move unattended from where it stands: start, backfill, verify; with --cutover also the switch."""
    from lockgate.cli.waiting import Waiting
    from lockgate.moves.cutover import cutover
    from lockgate.moves.drive import drive
    from lockgate.moves.ending import abort, relay_for, resume
    from lockgate.moves.executors import executor_of

    session = Session(**shared_options)
    refuse_application()
    with Waiting(session.output) as waiting, open_move(session, name, "run", make=True) as move:
        if go_on:
            from lockgate.postgres.moves import ledger

            row = ledger.read_if_there(move.home, name)
            if row is not None and row.stage == "paused":
                resume(move, operator=operator())
        with aborting(session, move, abort), executor_of(executor, move.declared.limits.workers) as pool:
            drive(move, pool, waiting.show, operator())
        result: dict[str, Any] = {}
        if through and not move.declared.in_place:
            with recording(session, move, "cutover"):
                result["cutover"] = cutover(move, operator=operator(), tell=session.output.note)._asdict()
        if relay_seconds:
            result["relayed"] = relay_for(move, relay_seconds)._asdict()
        answer(
            session,
            "run",
            move,
            result,
            _driven(move),
        )


def _driven(move: "Opened") -> str:
    from lockgate.cli.dual import driven

    if move.declared.in_place:
        return "both sides say the same; the files that wait for the move may be applied"
    return driven(move.row().stage, "the target serves", "both sides are equal")


COMMANDS = (
    plan_command,
    start_command,
    backfill_command,
    cutover_command,
    rollback_command,
    finish_command,
    abort_command,
    pause_command,
    resume_command,
    run_command,
    shadow_command,
    observe_command,
    status_command,
)
