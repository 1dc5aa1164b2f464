"""Where moves stand, in one value for people, programs and metrics."""

import msgspec

from lockgate.moves.gates import diverged_by
from lockgate.moves.stages import OVER, SOURCE_SERVES, Stage
from lockgate.postgres.link import Link
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.capture import has_trigger
from lockgate.postgres.moves.ledger import MoveRow
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


def _next(home: Link, row: MoveRow, stage: Stage, refused: int) -> str:
    """The command that brings the move on from where it stands."""
    again = f"lockgate move backfill {row.name} --retry, once the rows or the target are mended"
    if stage is Stage.BACKFILLING and row.cursor_done and not ledger.waiting(home, row.name)[0]:
        return again if refused else f"lockgate move verify {row.name}"
    if stage is Stage.PAUSED and diverged_by(home, row):
        return f"lockgate move verify {row.name} --repair"
    if stage is Stage.PAUSED and refused:
        return f"lockgate move resume {row.name}, then {again}"
    return (_IN_PLACE if in_place(row) else _NEXT).get(stage, "").format(name=row.name)


def _notes(row: MoveRow, stage: Stage, refused: int) -> list[str]:
    """What keeps a move from going on."""
    found = []
    if stage is Stage.PAUSED:
        found.append(f"paused since {row.stage_at}: the source serves and capture goes on, nothing is copied")
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


def tell(home: Link, far: Link | None, row: MoveRow) -> Told:
    """What can be said about a move. ``far`` is the target's session where there is one."""
    stage = Stage(row.stage)
    reverse = stage in (Stage.CUT_OVER, Stage.TAIL)
    feed = "reverse" if reverse else "forward"
    link = (home if row.same_database or not reverse else far) if stage not in OVER else None
    outbox = -1
    if link is not None and link.value(
        f"SELECT pg_catalog.to_regclass('lockgate.\"outbox_{row.name}_{feed}\"') IS NOT NULL"
    ):
        outbox = int(link.value(f'SELECT count(*) FROM lockgate."outbox_{row.name}_{feed}"'))
    job = ledger.job(home, row.name)
    note, serves = "", _serves(row, stage)
    if _turned(home, row, stage):
        note, serves = f"the alias has turned already, and the cutover was cut off before it was written down: lockgate move cutover {row.name} finishes it, lockgate move rollback {row.name} goes back", "target"  # fmt: skip
    elif row.switching:
        note = f"a {row.switching} is half done: call it again"
    elif reverse and link is not None and not _captured(link, row):
        note = f"THE REVERSE FEED IS BROKEN: the capture on the target is off, and the old side misses what was written since. A rollback would lose it; lockgate move finish {row.name} --now gives up the way back"
    elif reverse and outbox > 100_000:
        note = f"{outbox} writes wait in the reverse outbox: nothing relays them, so the old side is not current. lockgate move run {row.name} --relay SECONDS"
    refused = int(str(job.get("quarantined", 0)))
    declared = row.declaration
    source, target = declared.get("source"), declared.get("target")
    return Told(
        name=row.name, stage=row.stage, serves=serves, reason=row.reason, note="; ".join(filter(None, (note, *_notes(row, stage, refused)))),
        next=_next(home, row, stage, refused), source=str(source.get("table")) if isinstance(source, dict) else "",
        target=str(target.get("table")) if isinstance(target, dict) else "", epoch=row.epoch, round=row.round, outbox=outbox,
        quarantined=refused, cutover_ms=row.cutover_ms, rollback_until=row.rollback_until, job=job,
    )  # fmt: skip


def tell_all(target: Target, name: str | None) -> list[Told]:
    """Every move of the database ``target``, or the one called ``name``."""
    link = Link(target, "move status")
    try:
        return [tell(link, None, row) for row in ledger.read_all(link) if name is None or row.name == name]
    finally:
        link.close()
