"""What the commands of a declared move share: the move opened, where it stands told, its incident and its record."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lockgate.cli.options import Session
from lockgate.record.words import agree, counted

if TYPE_CHECKING:
    from lockgate.moves.dual.opened import Opened as DualOpened
    from lockgate.moves.opened import Opened
    from lockgate.postgres.link import Link


@contextmanager
def open_move(session: Session, name: str, purpose: str, *, make: bool = False) -> Iterator["Opened"]:
    """The move ``name``, open, in a block that signals end cleanly."""
    from lockgate.cli.waiting import stoppable
    from lockgate.moves import declaration
    from lockgate.moves.opened import opened, where
    from lockgate.moves.stages import READS

    declared = declaration.read(session.settings, name)
    with_folder(session)
    places = where(declared, session.target(), dict(os.environ), reads=purpose in READS)
    if make:
        from lockgate.postgres.moves import home
        from lockgate.release.roles import home_grants

        for place in places.written:
            home.ensure(place, lambda: home_grants(session.settings.roles))
    with stoppable(f"the move {name}"), opened(declared, places, purpose) as move:
        yield move


def with_folder(session: Session) -> None:
    """Let the project's folder be on the path: functions that make columns may stand there."""
    folder = str(session.settings.path("."))
    if folder not in sys.path:
        sys.path.insert(0, folder)


def refuse_application() -> None:
    """Raise ``Refused`` in a process of the application: it may look at a move, and not change one."""
    from lockgate.release.authorise import refuse_application_role

    refuse_application_role()


def operator() -> str:
    """Who calls, for the record."""
    from lockgate.release.operator import operator_name

    return operator_name()


def take_drift(
    session: Session, move: Any, drift: float, abort: Callable[..., object], tell: Callable[..., None]
) -> bool:  # fmt: skip
    """Write down a measured drift and ``tell`` it; True where it lasted so long that the move was ended by ``abort``, with incident and postmortem."""
    from lockgate.moves.ending import observe

    reason = observe(move, drift)
    result: dict[str, Any] = {"deltaS": drift, "aborted": bool(reason)}
    if reason:
        abort(move, reason, operator="lockgate")
        result["incident"] = write_incident(session, move, reason, {"deltaS": drift})
    tell(session, "observe", move, result, reason or "written down")
    return bool(reason)


def answer(session: Session, command: str, move: "Opened", result: dict[str, Any], words: str) -> None:
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
    if told.note:
        session.output.say(f"note   {told.note}")
    if told.next:
        session.output.say(f"next   {told.next}")


def refused(home: "Link", name: str) -> list[dict[str, object]]:
    """The rows of a move that stand in quarantine."""
    from lockgate.postgres.moves import ledger

    return ledger.quarantined(home, name)


def copied(ranges: int, rows: int, *more: str, refused: "list[dict[str, object]]", count: int = 0) -> str:
    """What a backfill did, for people, with the first row that was refused and why. ``count``: how many there are where ``refused`` are only the first."""
    count = max(count, len(refused))
    words = (
        f"copied {counted(rows, 'row')} in {counted(ranges, 'batch')}"
        if ranges
        else "nothing was left to copy"
    )
    words = ", ".join((words, *more))
    if refused:
        first = refused[0]
        words += f"; {counted(count, 'row')} {agree(count, 'was', 'were')} refused and {agree(count, 'stands', 'stand')} in quarantine, the first ({', '.join(map(str, first['key']))}): {first['message']}"  # type: ignore[call-overload]
    return words


def write_incident(
    session: Session, move: "Opened | DualOpened", reason: str, details: dict[str, object]
) -> str:
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
def aborting(session: Session, move: "Opened | DualOpened", abort: Callable[..., object]) -> Iterator[None]:
    """A move that is declared so is ended by ``abort`` when a comparison within the block diverges, and leaves its incident file; the error goes on."""
    from lockgate.errors import LockgateError, Refused

    try:
        yield
    except LockgateError as error:
        if error.code == "MOVE_DIVERGED" and move.declared.gates.on_divergence == "abort":
            try:
                abort(move, error.message, operator="lockgate")
            except Refused as refused:
                session.output.note(f"note: the move is not aborted: {refused.message}")
            write_incident(session, move, error.message, error.details)
        raise


@contextmanager
def recording(session: Session, move: "Opened", command: str) -> Iterator[None]:
    """The switch changes the schema without a migration: it is written into the history of changes, and is no drift."""
    from lockgate.migrations.amend import Amendment
    from lockgate.release.moved import recorded

    if move.declared.in_place:
        yield
        return
    who = Amendment(operator(), f"{command} of the move {move.name}")
    with recorded(move.home, move.name, move.places.written, session.settings, who) as notes:
        yield
    for note in notes:
        session.output.note(f"note: {note}")


def record_missed(session: Session, move: "Opened", command: str) -> None:
    """Write down what a cutover or rollback that was cut off did to the schema: after ``command`` neither can do it any more."""
    from lockgate.migrations.amend import Amendment
    from lockgate.release.moved import make_good

    if not move.declared.in_place:
        who = Amendment(operator(), f"{command} of the move {move.name}")
        for note in make_good(move.home, move.name, move.places.written, session.settings, who):
            session.output.note(f"note: {note}")
