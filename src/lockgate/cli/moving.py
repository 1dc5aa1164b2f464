"""The commands of ``lockgate move`` that work on a declared move."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared, usage
from lockgate.record.reasons import Exit
from lockgate.record.words import counted

if TYPE_CHECKING:
    from lockgate.moves.opened import Opened

CHANGING = ("start", "backfill", "cutover", "rollback", "finish", "abort", "run", "pause", "resume")


@contextmanager
def _open(session: Session, name: str, purpose: str, *, make: bool = False) -> Iterator["Opened"]:
    """The move ``name``, open, in a block that signals end cleanly."""
    from lockgate.cli.waiting import stoppable
    from lockgate.moves import declaration
    from lockgate.moves.opened import opened, where

    declared = declaration.read(session.settings, name)
    places = where(declared, session.target(), dict(os.environ))
    if make:
        from lockgate.postgres.moves import home
        from lockgate.release.roles import home_grants

        for place in places.written:
            home.ensure(place, lambda: home_grants(session.settings.roles))
    with stoppable(f"the move {name}"), opened(declared, places, purpose) as move:
        yield move


def _refuse_application() -> None:
    from lockgate.release.authorise import refuse_application_role

    refuse_application_role()


def _operator() -> str:
    from lockgate.release.operator import operator_name

    return operator_name()


def _answer(session: Session, command: str, move: "Opened", result: dict[str, Any], words: str) -> None:
    """Print where the move stands after a command."""
    from lockgate.moves.status import tell

    told = tell(move.home, move.far, move.row())
    session.output.json(
        {
            "command": f"move {command}",
            "name": move.name,
            "stage": told.stage,
            "serves": told.serves,
            "result": result,
            "moves": [told],
        }
    )
    session.output.say(words)
    serving = "both sides serve" if told.serves == "both" else f"the {told.serves} serves"
    session.output.say(f"{move.name} is {session.output.mark(told.stage, 'bold')}; {serving}")
    if told.next:
        session.output.say(f"next   {told.next}")


@click.command("plan")
@shared()
@click.argument("name")
def plan_command(name: str, **shared_options: Any) -> None:
    """What the move NAME would do, and everything that stands in its way. Exits 4 when something does."""
    import msgspec

    from lockgate.moves.start import plan

    session = Session(**shared_options)
    with _open(session, name, "plan") as move:
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
        f"move {name}: {planned.source} -> {', '.join(planned.columns) + ' beside it' if planned.source == planned.target else planned.target}{'' if planned.target_exists else ' (will be created)'}, key ({', '.join(planned.key)})"
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
    _refuse_application()
    with _open(session, name, "start", make=True) as move:
        stage = start(move, _operator())
        folder = session.settings.path(session.settings.artifacts.directory) / "moves" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "rollback.md", rollback_document(move).encode())
        _answer(
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
    from lockgate.moves.executors import executor_of
    from lockgate.moves.quarantine import retry as try_again

    session = Session(**shared_options)
    _refuse_application()
    with Waiting(session.output) as waiting, _open(session, name, "backfill") as move:
        if retry:
            try_again(move)
        with executor_of(executor, move.declared.limits.workers) as pool:
            done = backfill(move, executor=pool, report=waiting.show, operator=_operator())
        _answer(
            session,
            "backfill",
            move,
            done._asdict(),
            f"copied {counted(done.rows, 'row')} in {counted(done.ranges, 'batch')}, relayed {counted(done.relayed, 'change')}"
            + (f"; waits: {done.waited}" if done.waited else ""),
        )
        if not done.complete:
            leave(Exit.FOUND)


def reconcile_command(name: str, repair: bool, session: Session) -> None:
    """``move verify NAME``."""
    from lockgate.cli.waiting import Waiting
    from lockgate.moves.drive import prove

    _refuse_application()
    with Waiting(session.output) as waiting, _open(session, name, "verify") as move:
        try:
            done = prove(move, repair=repair, report=waiting.show, operator=_operator())
        except Exception as error:
            _abort_on_divergence(session, move, error)
            raise
        result = {
            "rows": {"source": done.rows_source, "target": done.rows_target},
            "inFlight": done.in_flight,
            "repaired": done.repaired,
            "lane": done.lane,
            "seconds": round(done.seconds, 3),
        }
        _answer(
            session,
            "verify",
            move,
            result,
            f"equal: {counted(done.rows_source, 'row')} in the source, {done.rows_target} in the target, {counted(done.in_flight, 'change')} in flight"
            + (f", {counted(done.repaired, 'row')} copied again" if done.repaired else ""),
        )


def _abort_on_divergence(session: Session, move: "Opened", error: Exception) -> None:
    """A move that is declared so aborts by itself when digests diverge, and leaves its incident file."""
    from lockgate.errors import LockgateError

    if (
        isinstance(error, LockgateError)
        and error.code == "MOVE_DIVERGED"
        and move.declared.gates.on_divergence == "abort"
    ):
        from lockgate.moves.ending import abort

        abort(move, error.message, operator="lockgate")
        _incident(session, move, error.message, error.details)


def _incident(session: Session, move: "Opened", reason: str, details: dict[str, object]) -> str:
    """Write the incident file and open the postmortem; gives the path of the first."""
    import datetime
    import json

    from lockgate.moves.incident import incident, postmortem
    from lockgate.postgres.moves import ledger
    from lockgate.record.artifact import write_atomically
    from lockgate.record.redact import redact_value

    folder = session.settings.path(session.settings.artifacts.directory) / "moves" / move.name
    folder.mkdir(parents=True, exist_ok=True)
    at = datetime.datetime.now(datetime.UTC)
    document = redact_value(
        incident(move.name, move.row().stage, reason, details, ledger.events(move.home, move.name), at)
    )
    text = json.dumps(document, indent=2, default=str)
    write_atomically(folder / "incident.json", (text + "\n").encode())
    page = session.settings.path("docs/postmortems") / f"move-{move.name}-{at:%Y%m%dT%H%M%S}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, postmortem(json.loads(text)).encode())
    session.output.note(f"the incident is in {folder / 'incident.json'}, its postmortem in {page}")
    return str(folder / "incident.json")


@contextmanager
def _recording(session: Session, move: "Opened", command: str) -> Iterator[None]:
    """The switch changes the schema without a migration: it is written into the history of changes, and is no drift."""
    from lockgate.migrations.amend import Amendment
    from lockgate.release.moved import recorded

    if move.declared.in_place:
        yield
        return
    who = Amendment(_operator(), f"{command} of the move {move.name}")
    with recorded(move.home, move.name, list(move.places.written), session.settings, who) as notes:
        yield
    for note in notes:
        session.output.note(f"note: {note}")


def _turn_command(
    command: str, text: str, work: "Callable[[Opened], Any]", session: Session, name: str
) -> None:
    _refuse_application()
    with _open(session, name, command) as move:
        with _recording(session, move, command):
            turned = work(move)
        words = text if not turned.already else "nothing to do: it is so already"
        if command == "rollback" and move.declared.in_place:
            words = "both sides say the same: the old release can serve again as it is"
        if not turned.already:
            words += f" (writers were held {turned.cutover_ms:.1f} ms, {counted(turned.attempts, 'attempt')} for the lock, {counted(turned.drained, 'change')} drained, {counted(turned.checked, 'row')} compared)"
        _answer(session, command, move, turned._asdict(), words)


@click.command("cutover")
@shared()
@click.argument("name")
def cutover_command(name: str, **shared_options: Any) -> None:
    """Switch to the target: short lock attempts, drain until empty, compare the changed keys, switch. Exits 75 when it does not fit."""
    from lockgate.moves.cutover import cutover

    _turn_command(
        "cutover",
        "the target serves",
        lambda m: cutover(m, operator=_operator()),
        Session(**shared_options),
        name,
    )


@click.command("rollback")
@shared()
@click.argument("name")
def rollback_command(name: str, **shared_options: Any) -> None:
    """Switch back to the source with everything that was written since the cutover."""
    from lockgate.moves.cutover import rollback

    _turn_command(
        "rollback",
        "the source serves again",
        lambda m: rollback(m, operator=_operator()),
        Session(**shared_options),
        name,
    )


@click.command("finish")
@shared()
@click.argument("name")
@click.option(
    "--now", is_flag=True, help="End the way back before its time, and without looking at the old side."
)
def finish_command(name: str, now: bool, **shared_options: Any) -> None:
    """End the window for the way back. The old table stays, renamed and closed for writes."""
    from lockgate.moves.ending import finish

    session = Session(**shared_options)
    _refuse_application()
    with _open(session, name, "finish") as move:
        finish(move, now=now, operator=_operator())
        _answer(session, "finish", move, {}, "the way back is closed")


@click.command("abort")
@shared()
@click.argument("name")
@click.option("--reason", default="asked for", show_default=True, help="Why; it goes into the record.")
def abort_command(name: str, reason: str, **shared_options: Any) -> None:
    """Take a move down before its cutover: the source serves, capture goes, the target stays as it is."""
    from lockgate.moves.ending import abort

    session = Session(**shared_options)
    _refuse_application()
    with _open(session, name, "abort") as move:
        abort(move, reason, operator=_operator())
        _answer(
            session,
            "abort",
            move,
            {"incident": _incident(session, move, reason, {})},
            "files that wait for it are held; the triggers of the expand files stay"
            if move.declared.in_place
            else "capture and barrier are gone",
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
    _refuse_application()
    with _open(session, name, "pause") as move:
        stage = Stage(move.row().stage)
        if stage is not Stage.PAUSED:
            why(stage, Stage.PAUSED)
            ledger.pause(move.home, name, reason, {})
        _answer(session, "pause", move, {"reason": reason}, "paused")


@click.command("resume")
@shared()
@click.argument("name")
def resume_command(name: str, **shared_options: Any) -> None:
    """Let a paused move go on; what the tables look like now counts as right."""
    from lockgate.moves.ending import resume

    session = Session(**shared_options)
    _refuse_application()
    with _open(session, name, "resume") as move:
        resume(move, operator=_operator())
        _answer(session, "resume", move, {}, "it goes on")


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
    from lockgate.moves.ending import relay_for, resume
    from lockgate.moves.executors import executor_of

    session = Session(**shared_options)
    _refuse_application()
    with Waiting(session.output) as waiting, _open(session, name, "run", make=True) as move:
        if go_on:
            from lockgate.postgres.moves import ledger

            row = ledger.read_if_there(move.home, name)
            if row is not None and row.stage == "paused":
                resume(move, operator=_operator())
        try:
            with executor_of(executor, move.declared.limits.workers) as pool:
                drive(move, pool, waiting.show, _operator())
        except Exception as error:
            _abort_on_divergence(session, move, error)
            raise
        result: dict[str, Any] = {}
        if through and not move.declared.in_place:
            with _recording(session, move, "cutover"):
                result["cutover"] = cutover(move, operator=_operator())._asdict()
        if relay_seconds:
            result["relayed"] = relay_for(move, relay_seconds)._asdict()
        _answer(
            session,
            "run",
            move,
            result,
            _driven(move, through),
        )


def _driven(move: "Opened", through: bool) -> str:
    if move.declared.in_place:
        return "both sides say the same; the files that wait for the move may be applied"
    return "the target serves" if through else "both sides are equal; the cutover is a person's word"


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
    _refuse_application()
    asked = read_queries(Path(queries))
    with _open(session, name, "shadow") as move:
        done = replay(move, asked, operator=_operator())
        differing = [o._asdict() for o in done.observations]
        _answer(
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


@click.command("observe")
@shared()
@click.argument("name")
@click.option(
    "--delta-s",
    metavar="NUMBER",
    type=click.FloatRange(min=0, max=2),
    required=True,
    help="The drift that was measured, as lockgate drift gives it.",
)
def observe_command(name: str, delta_s: float, **shared_options: Any) -> None:
    """Hand in a measured drift of the answers. Above 0.05 for 15 minutes the move aborts by itself, with incident and postmortem."""
    from lockgate.moves.ending import abort, observe

    session = Session(**shared_options)
    _refuse_application()
    with _open(session, name, "observe") as move:
        reason = observe(move, delta_s)
        result: dict[str, Any] = {"deltaS": delta_s, "aborted": bool(reason)}
        if reason:
            abort(move, reason, operator="lockgate")
            result["incident"] = _incident(session, move, reason, {"deltaS": delta_s})
        _answer(session, "observe", move, result, reason or "written down")
    if reason:
        leave(Exit.FOUND)


@click.command("status")
@shared()
@click.argument("name", required=False)
def status_command(name: str | None, **shared_options: Any) -> None:
    """Where moves stand: stage, who serves, progress with rate and ETA, outbox, window of the way back."""
    from lockgate.moves.status import tell_all

    session = Session(**shared_options)
    output = session.output
    told = tell_all(session.target(reading=True), name)
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
            (t.name, t.stage, t.serves, str(t.job.get("migrated_rows", 0)), _percent(t.job.get("progress")), _number(t.job.get("rows_per_second")), _number(t.job.get("eta_seconds"), " s"), str(t.outbox) if t.outbox >= 0 else "", t.reason or t.note)
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
__all__ = ["COMMANDS", "reconcile_command", "usage"]
