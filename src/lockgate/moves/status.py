"""Where moves stand, in one value for people, programs and metrics."""

from collections.abc import Mapping

import msgspec

from lockgate.errors import LockgateError
from lockgate.moves.declaration import Declaration
from lockgate.moves.gates import diverged_by, unlike_old_side
from lockgate.moves.layout import layout
from lockgate.moves.opened import PATH, anew, captures
from lockgate.moves.stages import OVER, SOURCE_SERVES, Stage
from lockgate.postgres.link import Link
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.capture import has_trigger
from lockgate.postgres.moves.feeds import Waits, waits
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.relation import describe
from lockgate.postgres.target import Target
from lockgate.record.words import agree, counted

_NEXT = {
    Stage.DUAL_WRITE: "lockgate move backfill {name}",
    Stage.BACKFILLING: "lockgate move backfill {name}",
    Stage.RECONCILED: "lockgate move cutover {name}",
    Stage.SHADOWING: "lockgate move cutover {name}",
    Stage.READY: "lockgate move cutover {name}",
    Stage.CUT_OVER: "lockgate move cutover {name} (it begins the tail)",
    Stage.TAIL: "lockgate move finish {name} after the window, or lockgate move rollback {name}",
    Stage.PAUSED: "lockgate move resume {name}, once the cause is gone",
    Stage.ROLLED_BACK: "lockgate move start {name} to try again, or lockgate move abort {name}",
}


_IN_PLACE = {
    **_NEXT,
    Stage.RECONCILED: "deploy the release that uses the new side; when none needs the old one: lockgate promote its contract file, lockgate up",
}


def in_place(row: MoveRow) -> bool:
    """True for a move whose two sides stand beside each other."""
    return row.declaration.get("kind") == "in-place"


def _next(home: Link, row: MoveRow, stage: Stage, refused: int, barred: str) -> str:
    """The command that brings the move on from where it stands. ``barred`` says why a rollback would be refused."""
    if barred and stage is Stage.TAIL:
        return f"lockgate move finish {row.name} --now, which gives up the way back; or take the change of the table back"
    if stage is Stage.TAIL and row.declaration.get("kind") == "index" and not row.declaration.get("previous"):
        return f"lockgate move finish {row.name}, when the application or a build keeps the index current; there is no way back"
    again = f"lockgate move backfill {row.name} --retry, once the rows or the target are mended"
    if stage is Stage.BACKFILLING and row.cursor_done and not ledger.waiting(home, row.name)[0]:
        return again if refused else f"lockgate move verify {row.name}"
    if stage is Stage.PAUSED and not _captured_forward(home, row):
        return anew(row.name, _table(row, "target"))
    if stage is Stage.PAUSED and diverged_by(home, row):
        return f"lockgate move verify {row.name} --repair"
    if stage is Stage.PAUSED and refused:
        return f"lockgate move resume {row.name}, then {again}"
    return (_IN_PLACE if in_place(row) else _NEXT).get(stage, "").format(name=row.name)


def _notes(home: Link, row: MoveRow, stage: Stage, refused: int) -> list[str]:
    """What keeps a move from going on."""
    found = []
    if stage is Stage.PAUSED and not _captured_forward(home, row):
        found.append(f"paused since {row.stage_at}, and THE CAPTURE IS OFF: what was written to the source meanwhile is unknown")  # fmt: skip
    elif stage is Stage.PAUSED:
        found.append(f"paused since {row.stage_at}: the source serves and capture goes on, nothing is copied")
    if row.round > 1 and row.cursor_done and row.source_oid and stage in (Stage.DUAL_WRITE, Stage.BACKFILLING):  # fmt: skip
        found.append(f"round {row.round}: the rows of the round before were kept current, so none is copied again before the proof")  # fmt: skip
    if refused and stage not in OVER:
        found.append(f"{counted(refused, 'row')} {agree(refused, 'stands', 'stand')} in quarantine, which blocks the end: lockgate move backfill {row.name} --retry")  # fmt: skip
    return found


def _serves(row: MoveRow, stage: Stage) -> str:
    if in_place(row) and stage is not Stage.FINISHED:
        return "both"
    return "source" if stage in SOURCE_SERVES else "target"


def _captured(link: Link, row: MoveRow) -> bool:
    """False when nothing captures writes to the side that serves, though the move has a way back."""
    return bool(row.declaration.get("one_way")) or has_trigger(
        link, row.target_oid, f"zz_lockgate_{row.name}_reverse"
    )


def _captured_forward(home: Link, row: MoveRow) -> bool:
    """False when nothing captures writes to the source of a move that the servers make."""
    return not row.source_oid or in_place(row) or captures(home, row)


def _table(row: MoveRow, side: str) -> str:
    part = row.declaration.get(side)
    return str(part.get("table")) if isinstance(part, dict) else ""


def _barred(home: Link, far: Link, row: MoveRow) -> str:
    """Why a rollback would be refused: somebody changed a table since the cutover so that rows find no way back. Empty where it would not."""
    paths = [(link, link.value("SELECT current_setting('search_path')")) for link in {home, far}]
    try:
        for link, _ in paths:
            link.run(PATH)  # types are told apart by their whole names
        declared = msgspec.convert(row.declaration, Declaration)
        both = describe(home, row.source_oid), describe(far, row.target_oid)
        if both[0] is None or both[1] is None:
            return "a table of the move is gone"
        made, problems = layout(declared, both[0], both[1])
        return "" if made is not None else problems[0].what
    except LockgateError:  # a function that is not here: who rolls back has it
        return ""
    finally:
        for link, path in paths:
            link.run("SELECT pg_catalog.set_config('search_path', $1, false)", path)


def _behind(home: Link, row: MoveRow, link: Link, behind: Waits | None) -> tuple[str, str]:
    """(what is wrong with the way back, why a rollback would be refused) of a move that has switched."""
    if not _captured(link, row):
        return f"THE REVERSE FEED IS BROKEN: the capture on the target is off, and the old side misses what was written since. A rollback would lose it; lockgate move finish {row.name} --now gives up the way back", ""  # fmt: skip
    barred = "" if row.declaration.get("one_way") else _barred(home, link, row)
    found = [f"a rollback is refused: {barred}"] if barred else []
    if behind is not None and behind.entries:
        found.append(f"the old side is not current: {behind.words}; lockgate move run {row.name} --relay SECONDS carries them")  # fmt: skip
    if differing := unlike_old_side(home, row):
        found.append(f"{differing}; lockgate move verify {row.name} --repair")
    return "; ".join(found), barred


def _turned(link: Link, row: MoveRow, stage: Stage) -> bool:
    """True when the alias of an index has turned to what the move filled, and the ledger does not know it yet: the cutover was cut off in between."""
    index = row.declaration.get("index")
    if not isinstance(index, dict) or stage not in SOURCE_SERVES - OVER:
        return False
    return bool(link.value(
        "SELECT EXISTS (SELECT FROM lockgate.index_alias WHERE name = $1 AND generation = $2)", str(index.get("name")), str(row.declaration.get("generation")),
    ))  # fmt: skip


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """One move. ``outbox`` counts entries that wait (-1: not known from here), ``note`` says what a person should know."""

    name: str
    stage: str
    serves: str
    reason: str
    note: str
    next: str
    source: str
    target: str
    epoch: int
    round: int
    outbox: int
    quarantined: int
    cutover_ms: float | None
    rollback_until: str | None
    job: dict[str, object]


def tell(home: Link, far: Link | None, row: MoveRow, unseen: str = "") -> Told:
    """What can be said about a move. ``far`` is the target's session where there is one, ``unseen`` why there is none."""
    stage = Stage(row.stage)
    reverse = stage in (Stage.CUT_OVER, Stage.TAIL)
    feed = "reverse" if reverse else "forward"
    link = (home if row.same_database or not reverse else far) if stage not in OVER else None
    behind = waits(link, row.name, feed) if link is not None else None
    outbox = -1 if behind is None else behind.entries
    job = ledger.job(home, row.name)
    note, serves, barred = "", _serves(row, stage), ""
    if _turned(home, row, stage):
        note, serves = f"the alias has turned already, and the cutover was cut off before it was written down: lockgate move cutover {row.name} finishes it, lockgate move rollback {row.name} goes back", "target"  # fmt: skip
    elif row.switching:
        note = f"a {row.switching} is half done: call it again"
    elif reverse and link is not None and row.source_oid:
        note, barred = _behind(home, row, link, behind)
    elif reverse and unseen:
        note = f"how far the old side is behind is not known: {unseen}"
    refused = int(str(job.get("quarantined", 0)))
    return Told(
        name=row.name, stage=row.stage, serves=serves, reason=row.reason, note="; ".join(filter(None, (note, *_notes(home, row, stage, refused)))),
        next=_next(home, row, stage, refused, barred), source=_table(row, "source"),
        target=_table(row, "target"), epoch=row.epoch, round=row.round, outbox=outbox,
        quarantined=refused, cutover_ms=row.cutover_ms, rollback_until=row.rollback_until, job=job,
    )  # fmt: skip


def tell_all(target: Target, name: str | None, environ: Mapping[str, str] | None = None) -> list[Told]:
    """Every move of the database ``target``, or the one called ``name``. ``environ`` has the addresses of targets elsewhere: how far the old side of a move that has switched is behind is known there only."""
    link = Link(target, "move status")
    try:
        rows = [row for row in ledger.read_all(link) if name is None or row.name == name]
        return [_tell_from(link, row, environ or {}) for row in rows]
    finally:
        link.close()


def counted_outbox(told: Told, waiting: int, failed: int) -> Told:
    """``told`` with what waits in the outbox of a move that the application writes, and what of it failed."""
    late = f"{counted(failed, 'second leg')} failed and {agree(failed, 'waits', 'wait')}" if failed else ""
    return msgspec.structs.replace(told, outbox=waiting, note="; ".join(filter(None, (late, told.note))))


def _of_application(home: Link, row: MoveRow, environ: Mapping[str, str]) -> Told:
    """A move that the application writes: its outbox stands beside the table, in another store than the ledger."""
    from lockgate.moves.dual.looking import backlog, missing

    told = tell(home, None, row)
    if row.stage in OVER:
        return told
    unseen = missing(row, environ)
    try:
        if not unseen:
            return counted_outbox(told, *backlog(row, environ))
        words = f"the variable {unseen} is not set here"
    except LockgateError as error:
        words = error.message
    return msgspec.structs.replace(told, note="; ".join(filter(None, (told.note, f"what waits in the outbox is not known: {words}"))))  # fmt: skip


def _tell_from(home: Link, row: MoveRow, environ: Mapping[str, str]) -> Told:
    if row.declaration.get("kind") in ("dual-write", "index"):
        return _of_application(home, row, environ)
    side = row.declaration.get("target")
    variable = str(side.get("url_env") or "") if isinstance(side, dict) else ""
    if row.same_database or not row.source_oid or row.stage not in (Stage.CUT_OVER, Stage.TAIL):
        return tell(home, None, row)
    if not environ.get(variable):
        return tell(home, None, row, f"the variable {variable} is not set here")
    try:
        far = Link(Target(environ[variable], source=variable), f"move {row.name} status")
    except LockgateError as error:
        return tell(home, None, row, error.message)
    try:
        return tell(home, far, row)
    finally:
        far.close()
