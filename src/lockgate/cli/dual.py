"""``lockgate move`` on a move whose file says ``kind = "dual-write"``: the same commands, on two stores that the application writes."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.cli.move_room import aborting, copied, refused, take_drift, with_folder, write_incident
from lockgate.cli.options import Session, leave, usage
from lockgate.errors import LockgateError
from lockgate.record.reasons import Exit
from lockgate.record.words import agree, counted, some

if TYPE_CHECKING:
    from lockgate.moves.crew import Outcome
    from lockgate.moves.dual.opened import Opened


def declared_dual(session: Session, name: str) -> "tuple[Path, bool] | None":
    """The file of the move ``name`` when the application writes it, and whether it goes into an index."""
    from lockgate.moves.declaration import DIRECTORY
    from lockgate.moves.dual.declaration import is_dual
    from lockgate.moves.dual.into import is_index

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        return None
    file = session.settings.path(DIRECTORY) / f"{name}.toml"
    index = is_index(file)
    return (file, index) if index or is_dual(file) else None


@contextmanager
def _open(session: Session, file: Path, purpose: str) -> Iterator["Opened"]:
    from lockgate.cli.waiting import stoppable
    from lockgate.moves.dual import declaration
    from lockgate.moves.dual.opened import opened
    from lockgate.moves.dual.pair import urls
    from lockgate.moves.stages import READS
    from lockgate.postgres.moves import home
    from lockgate.release.roles import home_grants

    declared = declaration.parse(file, file.stem)
    with_folder(session)
    target = session.target()
    if purpose in ("start", "run"):
        home.ensure(target, lambda: home_grants(session.settings.roles))
    places = urls(declared, dict(os.environ), reads=purpose in READS)
    with stoppable(f"the move {declared.name}"), opened(declared, target, places, purpose) as move:
        yield move


def answer(session: Session, command: str, move: "Opened", result: dict[str, Any], words: str) -> None:
    """What a command did, and where the move stands."""
    from lockgate.moves.stages import OVER
    from lockgate.moves.status import counted_outbox, tell

    row = move.row()
    told = tell(move.home, None, row)
    if row.stage not in OVER:
        told = counted_outbox(told, *move.feed(row)[0].backlog())
    session.output.json({"command": f"move {command}", "name": move.name, "stage": told.stage, "serves": told.serves, "result": result | move.place_told, "moves": [told]})  # fmt: skip
    session.output.say(words)
    if unproven := move.place_told.get("unproven"):
        session.output.say(f"{session.output.mark('note', 'hold')}: the adapter of {move.place_told['store']} was {unproven}")  # fmt: skip
    session.output.say(f"{move.name} is {session.output.mark(told.stage, 'bold')}; the {told.serves} serves")
    if told.note:
        session.output.say(f"note   {told.note}")
    if told.next:
        session.output.say(f"next   {told.next}")


def _plan(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    import msgspec

    from lockgate.moves.dual.drive import plan

    planned = plan(move)
    output = session.output
    output.json({"command": "move plan", "name": move.name, "stage": "planned", "serves": "source", "result": msgspec.to_builtins(planned), "moves": []})  # fmt: skip
    output.say(f"move {move.name}: {planned.source} in {move.places.source.partition(':')[0]} -> {planned.target} in {move.places.target.partition(':')[0]}, key ({', '.join(planned.key)})")  # fmt: skip
    for number, step in enumerate(planned.steps, 1):
        output.say(f"  {number}. {step}")
    for note in planned.notes:
        output.say(f"note   {note}")
    for problem in planned.problems:
        output.say(f"{output.mark('problem', 'bad')}  {problem['what']}\n         {problem['fix']}")
    if planned.problems:
        leave(Exit.REFUSED)
    output.say(f"next   lockgate move start {move.name}")


def _start(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.moves.dual.drive import rollback_document, start
    from lockgate.record.artifact import write_atomically

    stage = start(move, operator())
    folder = session.settings.path(session.settings.artifacts.directory) / "moves" / move.name
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "rollback.md", rollback_document(move).encode())
    answer(session, "start", move, {"stage": stage, "rollbackDocument": str(folder / "rollback.md")}, f"writers capture from now on; the way back is written down in {folder / 'rollback.md'}")  # fmt: skip


def _backfill(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.cli.waiting import Waiting
    from lockgate.moves.dual.copy import backfill, retry
    from lockgate.moves.executors import executor_of

    if options.get("retry") and tried_again(session, move, retry(move)):
        return
    with Waiting(session.output) as waiting, executor_of(options.get("executor") or "threads", move.declared.limits.workers) as pool:  # fmt: skip
        done = backfill(move, executor=pool, report=waiting.show, operator=operator())
    told_of_copy(session, move, done)


def told_of_copy(session: Session, move: "Opened", done: "Outcome") -> None:
    """What a backfill did; exit 1 where rows were refused."""
    from lockgate.postgres.moves import ledger

    held, count = refused(move.home, move.name), ledger.count_quarantined(move.home, move.name)
    answer(session, "backfill", move, {**done._asdict(), "quarantine": held[:20]}, copied(done.ranges, done.rows, refused=held, count=count))  # fmt: skip
    if held:
        leave(Exit.FOUND)


def tried_again(session: Session, move: "Opened", rows: int) -> bool:
    """True when the move has switched, so that rows out of quarantine were all that there was to do."""
    from lockgate.moves.dual.drive import TURNED

    if move.row().stage not in TURNED:
        return False
    held = refused(move.home, move.name)
    words = f"{counted(rows, 'row')} of the quarantine written again"
    if held:
        words += f"; {counted(len(held), 'row')} {agree(len(held), 'is', 'are')} refused again, the first: {held[0]['message']}"  # fmt: skip
    answer(session, "backfill", move, {"ranges": 0, "rows": rows, "quarantine": held[:20]}, words)
    if held:
        leave(Exit.FOUND)
    return True


def _verify(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.cli.waiting import Waiting
    from lockgate.moves.dual.drive import TURNED, abort, reconcile

    with Waiting(session.output) as waiting, aborting(session, move, abort):
        done = reconcile(move, repair=bool(options.get("repair")), report=waiting.show, operator=operator())
    v = done.verified
    result = {"rows": {"source": v.source_rows, "target": v.target_rows}, "inFlight": done.in_flight, "repaired": done.repaired, "lane": v.comparison.lane, "seconds": round(v.seconds, 3)}  # fmt: skip
    way = (
        "from the target into the source" if move.row().stage in TURNED else "from the source into the target"
    )
    answer(session, "verify", move, result, ", ".join((f"equal: {counted(v.source_rows, 'row')} in the source, {v.target_rows} in the target", *some((done.in_flight, "change", "in flight"), (done.repaired, "row", f"written again {way}")))))  # fmt: skip


def _turn(forward: bool) -> Callable[[Session, "Opened", dict[str, Any]], None]:
    def call(session: Session, move: "Opened", options: dict[str, Any]) -> None:
        from lockgate.moves.dual.turning import turn

        done = turn(move, forward=forward, accept=options.get("accept") or (), operator=operator())
        words = "nothing to do: it is so already" if done.already else f"the {done.serves} serves ({', '.join((f'writers were held {done.cutover_ms:.1f} ms', *some((done.attempts, 'attempt', 'for the switch'), (done.drained, 'operation', 'drained'), (done.checked, 'row', 'compared'))))})"  # fmt: skip
        answer(session, "cutover" if forward else "rollback", move, done._asdict(), words)

    return call


def _shadow(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.moves.dual.shadowing import replay
    from lockgate.moves.replay import read_queries

    done = replay(move, read_queries(Path(options["queries"])), operator=operator())
    differing = [o._asdict() for o in done.observations]
    answer(session, "shadow", move, {"queries": done.queries, "equal": done.equal, "differing": differing}, f"{done.equal} of {counted(done.queries, 'query')} agree")  # fmt: skip
    for o in done.observations[:20]:
        session.output.say(f"  {o.query[:100]}: {o.difference or o.error}")
    if done.equal < done.queries:
        leave(Exit.FOUND)


def _run(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    import time

    from lockgate.cli.waiting import Waiting
    from lockgate.moves.dual import drive
    from lockgate.moves.dual.copy import backfill
    from lockgate.moves.dual.turning import turn
    from lockgate.moves.executors import executor_of
    from lockgate.moves.gates import refuse_paused

    if options.get("go_on"):
        drive.resume(move, operator=operator())
    result: dict[str, Any] = {}
    drive.start(move, operator())
    refuse_paused(move.home, move.row())
    with Waiting(session.output) as waiting:
        if move.row().stage in ("dual_write", "backfilling"):
            with executor_of(options.get("executor") or "threads", move.declared.limits.workers) as pool:
                backfill(move, executor=pool, report=waiting.show, operator=operator())
        if move.row().stage in ("backfilling", "reconciled", "shadowing", "ready"):
            with aborting(session, move, drive.abort):
                drive.reconcile(move, report=waiting.show, operator=operator())
    if options.get("through"):
        result["cutover"] = turn(move, forward=True, operator=operator())._asdict()
    end = time.monotonic() + float(options.get("relay_seconds") or 0)
    while time.monotonic() < end:
        drive.relay(move)
        time.sleep(min(0.2, max(0.0, end - time.monotonic())))
    answer(
        session, "run", move, result, driven(move.row().stage, "the target serves", "both sides are equal")
    )


def driven(stage: str, turned: str, proven: str) -> str:
    """What ``run`` has to say of the stage that it came to: nothing was compared where the target serves already."""
    from lockgate.moves.stages import SOURCE_SERVES, Stage

    if Stage(stage) not in SOURCE_SERVES:
        return turned
    return f"{proven}; the cutover is a person's word"


def _finish(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.moves.dual.drive import finish

    finish(move, now=bool(options.get("now")), operator=operator())
    answer(session, "finish", move, {}, "the way back is closed")


def _abort(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.moves.dual.drive import abort

    ended(session, move, abort, options)


def ended(session: Session, move: "Opened", abort: Callable[..., None], options: dict[str, Any]) -> None:
    """End the move by ``abort`` because a person asked for it, and leave its incident file and the postmortem that it opens."""
    reason = str(options.get("reason") or "asked for")
    abort(move, reason, operator=operator())
    answer(session, "abort", move, {"incident": write_incident(session, move, reason, {})}, "nothing is captured any more; what was copied stays in the target as it is")  # fmt: skip


def observed(abort: Callable[..., None]) -> Callable[[Session, "Opened", dict[str, Any]], None]:
    """``move observe`` of a move that is ended by ``abort``."""

    def call(session: Session, move: "Opened", options: dict[str, Any]) -> None:
        if take_drift(session, move, float(options["delta_s"]), abort, answer):
            leave(Exit.FOUND)

    return call


def _observe(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.moves.dual.drive import abort

    observed(abort)(session, move, options)


def _pause(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.moves.stages import Stage, why
    from lockgate.postgres.moves import ledger

    stage = Stage(move.row().stage)
    if stage is not Stage.PAUSED:
        why(stage, Stage.PAUSED)
        ledger.pause(move.home, move.name, str(options.get("reason") or "asked for"), {})
    answer(session, "pause", move, {"reason": options.get("reason")}, "paused")


def _resume(session: Session, move: "Opened", options: dict[str, Any]) -> None:
    from lockgate.moves.dual.drive import resume

    resume(move, operator=operator())
    answer(session, "resume", move, {}, "it goes on")


def operator() -> str:
    """Who runs the command."""
    from lockgate.release.operator import operator_name

    return operator_name()


COMMANDS: dict[str, Callable[[Session, "Opened", dict[str, Any]], None]] = {
    "plan": _plan, "start": _start, "backfill": _backfill, "verify": _verify, "cutover": _turn(True), "rollback": _turn(False), "run": _run,
    "shadow": _shadow, "observe": _observe, "finish": _finish, "abort": _abort, "pause": _pause, "resume": _resume,
}  # fmt: skip


def either(command: str, otherwise: Callable[..., None]) -> Callable[..., None]:
    """The callback of a command: ``otherwise``, but for a dual-written move the one of this file."""

    def call(**options: Any) -> None:
        name = options.get("name")
        try:
            of_this(name, options)
        except LockgateError as error:
            if name:
                error.next = re.sub(r"\bNAME\b|<name>", lambda _: str(name), error.next)
            raise

    def of_this(name: str | None, options: dict[str, Any]) -> None:
        shared = {k: options[k] for k in ("format", "config", "verbose", "env", "database_url")}
        session = Session(**shared) if name else None
        found = declared_dual(session, name) if session is not None and name else None
        if session is None or found is None:
            otherwise(**options)
            return
        file, index = found
        commands, open_ = COMMANDS, _open
        if index:
            from lockgate.cli import into

            commands, open_ = into.COMMANDS, into.open_move
        if command not in commands:
            raise usage(f"move {command} does not know moves of kind {'index' if index else 'dual-write'}", "lockgate move status")  # fmt: skip
        if command != "plan":
            from lockgate.release.authorise import refuse_application_role

            refuse_application_role()
        with open_(session, file, command) as move:
            commands[command](session, move, options)

    return call
