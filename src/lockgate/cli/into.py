"""``lockgate move`` on a move whose file says ``kind = "index"``: the same commands, on a table and an index."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.cli import dual
from lockgate.cli.move_room import aborting
from lockgate.cli.options import Session, leave
from lockgate.record.reasons import Exit
from lockgate.record.words import counted, some

if TYPE_CHECKING:
    from lockgate.indexes.moving.opened import OpenedIndex


@contextmanager
def open_move(session: Session, file: Path, purpose: str) -> Iterator["OpenedIndex"]:
    """The declared move, open. ``start`` and ``run`` make the tables of the home database where they are missing."""
    from lockgate.cli.waiting import stoppable
    from lockgate.indexes.moving.opened import opened_index
    from lockgate.moves.dual import into
    from lockgate.moves.dual.pair import Urls, lag_urls, replica_url
    from lockgate.moves.stages import READS
    from lockgate.postgres.moves import home
    from lockgate.release.roles import home_grants

    declared = into.parse_index(file, file.stem)
    target = session.target()
    if purpose in ("start", "run"):
        home.ensure(target, lambda: home_grants(session.settings.roles))
    environ = dict(os.environ)
    reads = purpose in READS
    places = Urls(
        into.source_url(declared, environ), "", replica_url(declared, environ) if reads else "",
        lag_urls(declared, environ) if reads else ((), ()),
    )  # fmt: skip
    with stoppable(f"the move {declared.name}"), opened_index(declared, target, places, purpose) as move:
        yield move


def _plan(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
    import msgspec

    from lockgate.indexes.moving.drive import plan
    from lockgate.stores.open_search import unproven

    planned = plan(move)
    output, index = session.output, move.declared.index
    said = unproven(index.store, index.place)
    result = {**msgspec.to_builtins(planned), "store": index.store, "unproven": said}
    output.json({"command": "move plan", "name": move.name, "stage": "planned", "serves": "source", "result": result, "moves": []})  # fmt: skip
    output.say(f"move {move.name}: {planned.source} -> index {planned.target} in {index.store}{f' ({said})' if said else ''}, key ({', '.join(planned.key)})")  # fmt: skip
    for number, step in enumerate(planned.steps, 1):
        output.say(f"  {number}. {step}")
    for note in planned.notes:
        output.say(f"note   {note}")
    for problem in planned.problems:
        output.say(f"{output.mark('problem', 'bad')}  {problem['what']}\n         {problem['fix']}")
    if planned.problems:
        leave(Exit.REFUSED)
    output.say(f"next   lockgate move start {move.name}")


def _start(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
    from lockgate.indexes.moving.drive import start
    from lockgate.indexes.moving.turning import rollback_document
    from lockgate.record.artifact import write_atomically

    stage = start(move, dual.operator())
    folder = session.settings.path(session.settings.artifacts.directory) / "moves" / move.name
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "rollback.md", rollback_document(move).encode())
    generation = move.pair.target.fed.row.generation
    dual.answer(session, "start", move, {"stage": stage, "generation": generation, "rollbackDocument": str(folder / "rollback.md")}, f"writers capture from now on, for generation {generation}; the way back is written down in {folder / 'rollback.md'}")  # fmt: skip


def _copy(session: Session, move: "OpenedIndex", options: dict[str, Any], report: Callable[[str, float], None]) -> Any:  # fmt: skip
    from lockgate.indexes.moving.opened import Inline
    from lockgate.moves.dual.copy import backfill
    from lockgate.moves.executors import executor_of

    if move.alone:
        return backfill(move, executor=Inline(), report=report, operator=dual.operator())
    with executor_of(options.get("executor") or "threads", move.declared.limits.workers) as pool:
        return backfill(move, executor=pool, report=report, operator=dual.operator())


def _backfill(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
    from lockgate.cli.waiting import Waiting
    from lockgate.moves.dual.copy import retry

    if options.get("retry") and dual.tried_again(session, move, retry(move)):
        return
    with Waiting(session.output) as waiting:
        done = _copy(session, move, options, waiting.show)
    dual.told_of_copy(session, move, done)


def _verify(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
    from lockgate.cli.waiting import Waiting
    from lockgate.indexes.moving.drive import reconcile
    from lockgate.indexes.moving.turning import abort

    with Waiting(session.output) as waiting, aborting(session, move, abort):
        done = reconcile(move, repair=bool(options.get("repair")), report=waiting.show, operator=dual.operator())  # fmt: skip
    result = {
        "rows": {"source": done.source.records, "target": done.held.records}, "inFlight": done.differing, "repaired": done.repaired,
        "contentRoot": {"source": done.source.root, "target": done.held.root}, "indexHash": done.index_hash, "lane": "content", "seconds": round(done.seconds, 3),
    }  # fmt: skip
    words = ", ".join(
        (
            f"equal: {counted(done.source.records, 'row')} in the source, {counted(done.held.records, 'record')} in the index",
            *some((done.differing, "change", "in flight"), (done.repaired, "row", "written again from the table into the index")),
        )
    )  # fmt: skip
    dual.answer(session, "verify", move, result, f"{words}; sealed as {done.index_hash}")


def _turn(forward: bool) -> Callable[[Session, "OpenedIndex", dict[str, Any]], None]:
    def call(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
        from lockgate.cli.waiting import Waiting
        from lockgate.indexes.moving.turning import turn

        with Waiting(session.output) as waiting:
            done = turn(move, forward=forward, accept=options.get("accept") or (), operator=dual.operator(), report=waiting.show)  # fmt: skip
        words = "nothing to do: it is so already" if done.already else f"the alias {move.declared.index.name} points to the {'new' if forward else 'old'} generation ({', '.join((f'swapped in {done.cutover_ms:.1f} ms', *some((done.drained, 'operation', 'drained'), (done.checked, 'record', 'compared'))))})"  # fmt: skip
        dual.answer(session, "cutover" if forward else "rollback", move, done._asdict(), words)

    return call


def _run(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
    import time

    from lockgate.cli.waiting import Waiting
    from lockgate.indexes.moving import drive, turning
    from lockgate.moves.dual import drive as shared
    from lockgate.moves.gates import refuse_paused

    if options.get("go_on"):
        shared.resume(move, operator=dual.operator())
    result: dict[str, Any] = {}
    drive.start(move, dual.operator())
    refuse_paused(move.home, move.row())
    with Waiting(session.output) as waiting:
        if move.row().stage in ("dual_write", "backfilling"):
            _copy(session, move, options, waiting.show)
        if move.row().stage in ("backfilling", "reconciled", "shadowing", "ready"):
            with aborting(session, move, turning.abort):
                drive.reconcile(move, report=waiting.show, operator=dual.operator())
        if options.get("through"):
            result["cutover"] = turning.turn(move, forward=True, operator=dual.operator(), report=waiting.show)._asdict()  # fmt: skip
    end = time.monotonic() + float(options.get("relay_seconds") or 0)
    while time.monotonic() < end:
        shared.relay(move)
        time.sleep(min(0.2, max(0.0, end - time.monotonic())))
    dual.answer(
        session,
        "run",
        move,
        result,
        dual.driven(move.row().stage, "the new generation serves", "table and index are equal"),
    )


def _finish(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
    from lockgate.indexes.moving.turning import finish

    finish(move, now=bool(options.get("now")), operator=dual.operator())
    dual.answer(session, "finish", move, {}, "the way back is closed, and nothing of this move feeds the index any more")  # fmt: skip


def _abort(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
    from lockgate.indexes.moving.turning import abort

    dual.ended(session, move, abort, options)


def _observe(session: Session, move: "OpenedIndex", options: dict[str, Any]) -> None:
    from lockgate.indexes.moving.turning import abort

    dual.observed(abort)(session, move, options)


COMMANDS: dict[str, Callable[[Session, Any, dict[str, Any]], None]] = {
    **{name: call for name, call in dual.COMMANDS.items() if name != "shadow"},  # an index has its gold set
    "plan": _plan, "start": _start, "backfill": _backfill, "verify": _verify, "cutover": _turn(True), "rollback": _turn(False),
    "run": _run, "observe": _observe, "finish": _finish, "abort": _abort,
}  # fmt: skip
"""What differs from a move between two tables; pausing and resuming do not."""
