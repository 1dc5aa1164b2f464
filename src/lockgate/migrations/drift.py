"""Drift: is the live schema still the one that the history left? Recorded after a run, compared at any time."""

from collections.abc import Mapping

import msgspec

from lockgate.migrations.halfdone import begun_statements, made_by
from lockgate.migrations.session import statement
from lockgate.migrations.unrecorded import Apart, apart_since
from lockgate.postgres.fingerprint import Change, Fingerprint, difference, digest_of, read_fingerprint
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Wire
from lockgate.record.verdict import Verdict
from lockgate.record.words import agree, counted

_MISSING = frozenset({"42P01", "3F000", "42703"})
"""No table, no schema, no column: lockgate never ran here, or in an older format."""


class Snapshot(msgspec.Struct, frozen=True):
    """What ``schema_snapshot.objects`` holds: the objects, and the basis on which they were read."""

    basis: str
    objects: Mapping[str, str]


class Recorded(msgspec.Struct, frozen=True):
    """What the database says of its schema: all texts "" and ``snapshot`` None where nothing is recorded."""

    head: str = ""
    schema_head: str = ""
    digest: str = ""
    snapshot: Snapshot | None = None
    running: str = ""
    """The id of a run that is under way or died."""


class Drift(msgspec.Struct, frozen=True):
    """The answer of ``compare``.

    ``digest`` is that of the live schema, ``expected`` the recorded one ("" when there is none), ``changes`` name what
    differs (empty when the snapshot is gone), ``note`` says why in words; ``reason_code`` is "" unless the verdict is FAIL.
    ``apart`` has each of them as recorded and as it is now ("" where it is not).
    """

    verdict: Verdict
    digest: str
    expected: str = ""
    changes: tuple[Change, ...] = ()
    note: str = ""
    reason_code: str = ""
    apart: Mapping[str, tuple[str, str]] = {}


def remember(
    wire: Wire, epoch: int, revision: str, apart: Mapping[str, tuple[str, str]] | None = None
) -> str:
    """Record the live schema as the one that the current head of the history left, and return its digest.

    What was ``apart`` before the run and was not touched by it stays recorded as it was: a run on top of somebody's change
    does not make that change the history's own.

    ``revision`` is the newest applied one. The snapshot and ``fence.schema_head``/``schema_digest`` are written by one
    statement and only while ``epoch`` is the current one; else nothing is written and "" comes back. The five newest
    snapshots stay. Two round trips; call it outside a transaction. Raises ``ServerError``, ``Cancelled``,
    ``ConnectionLost``.
    """
    live = read_fingerprint(wire)
    left = left_by_history(live.objects, apart or {})
    objects = msgspec.json.encode(Snapshot(live.basis, left)).decode()
    return wire.value(statement("remember"), str(epoch), revision, digest_of(left), objects) or ""


def left_by_history(live: Mapping[str, str], apart: Mapping[str, tuple[str, str]]) -> Mapping[str, str]:
    """The objects of ``live`` as the history left them: those still ``apart`` as they were recorded."""
    left = dict(live)
    for identity, (recorded, seen) in apart.items():
        if live.get(identity, "") != seen:
            continue  # a file of the run changed it: now it is the history's
        if recorded:
            left[identity] = recorded
        else:
            del left[identity]
    return left


def carry(wire: Wire, epoch: int) -> None:
    """Let what is recorded of the schema stand for the head of the history as it is now: nothing of the schema was changed.

    For amendments that touch rows only. One statement, under ``epoch``; drift that was there before stays drift.
    """
    wire.one(statement("carry"), str(epoch))


def compare(wire: Wire, mine: str = "") -> Drift:
    """Compare the live schema with the recorded one. Two round trips, three when they differ; reads only.

    ``mine`` is the id of the run that asks before it changes anything: its being under way explains no difference.

    HOLD too where the server refuses the look (a role that may not read the schema ``lockgate``, a table that another
    session keeps locked). Raises ``Cancelled``, ``ConnectionLost``.
    """
    try:
        recorded = read_recorded(wire, mine)
        live = read_fingerprint(wire)
        drift = judge(recorded, live)
        unrecorded = bool(recorded.schema_head) and recorded.schema_head != recorded.head
        begun = begun_statements(wire) if drift.changes or unrecorded else []
        if unrecorded:
            drift = of_unrecorded(drift, recorded, *apart_since(wire, live, begun))
        moved = drift.verdict is Verdict.FAIL and read_recorded(wire, mine) != recorded
    except ServerError as error:
        return Drift(Verdict.HOLD, "", note=f"the schema could not be read: {error.message}")
    if moved:
        return Drift(
            Verdict.HOLD,
            live.digest,
            recorded.digest,
            note="a run wrote the history while the schema was read; compare again",
        )
    return without(drift, made_by(drift.changes, begun)) if begun else drift


def of_unrecorded(
    drift: Drift, recorded: Recorded, apart: Apart, changes: tuple[Change, ...], note: str
) -> Drift:
    """``drift``, of which nothing is recorded for the head of the history, with what is certainly apart all the same. Pure."""
    if not changes or recorded.running:
        return drift
    return Drift(Verdict.FAIL, drift.digest, recorded.digest, changes, note, "SCHEMA_DRIFT", apart)


def without(drift: Drift, explained: frozenset[str]) -> Drift:
    """``drift`` without the changes that a half-done file made: they are its own, and the history's once it is done. Pure."""
    left = tuple(change for change in drift.changes if change.identity not in explained)
    if drift.verdict is not Verdict.FAIL or len(left) == len(drift.changes):
        return drift
    own = f"{counted(len(drift.changes) - len(left), 'object')} of a file that stopped half way {agree(len(drift.changes) - len(left), 'is', 'are')} no drift"
    if not left:
        return Drift(Verdict.PASS, drift.digest, drift.expected, note=f"as the history left it; {own}")
    named = (
        f"{counted(len(left), 'object')} {agree(len(left), 'differs', 'differ')} from what the history left"
    )
    apart = {identity: pair for identity, pair in drift.apart.items() if identity not in explained}
    return msgspec.structs.replace(drift, changes=left, note=f"{named}; {own}", apart=apart)


def judge(recorded: Recorded, live: Fingerprint) -> Drift:
    """The verdict over a recorded and a live schema. PASS: equal. FAIL: it differs. HOLD: it cannot be told."""
    if not recorded.head:
        return Drift(
            Verdict.HOLD, live.digest, note="the history is empty, so there is nothing to compare with"
        )
    if not recorded.digest or recorded.schema_head != recorded.head:
        return Drift(
            Verdict.HOLD,
            live.digest,
            note="no schema digest is recorded for the head of the history: the run that wrote it did not come to its end",
        )
    if live.digest == recorded.digest:
        return Drift(
            Verdict.PASS,
            live.digest,
            recorded.digest,
            note=f"{counted(len(live.objects), 'object')}, digest {live.digest[:12]}, as the history left them",
        )
    if recorded.running:
        return Drift(
            Verdict.HOLD,
            live.digest,
            recorded.digest,
            note=f"run {recorded.running} is under way or died; its files change the schema before its end is recorded",
        )
    if recorded.snapshot is None:
        return Drift(
            Verdict.FAIL,
            live.digest,
            recorded.digest,
            (),
            "the schema differs; its snapshot is gone, so the objects cannot be named",
            "SCHEMA_DRIFT",
        )
    changes = difference(recorded.snapshot.objects, live.objects)
    if live.basis != recorded.snapshot.basis:
        return Drift(
            Verdict.HOLD,
            live.digest,
            recorded.digest,
            changes,
            f"the schema was recorded as {recorded.snapshot.basis} (format/server version) and reads now as {live.basis}: definitions are written differently",
        )
    return Drift(
        Verdict.FAIL,
        live.digest,
        recorded.digest,
        changes,
        f"{len(changes)} {'object differs' if len(changes) == 1 else 'objects differ'} from what the history left",
        "SCHEMA_DRIFT",
        {
            c.identity: (recorded.snapshot.objects.get(c.identity, ""), live.objects.get(c.identity, ""))
            for c in changes
        },
    )


def read_recorded(wire: Wire, mine: str = "") -> Recorded:
    """What the database says of its schema; ``mine`` as in ``compare``. One round trip. Raises ``ServerError``."""
    try:
        rows = wire.one(statement("recorded")).rows
    except ServerError as error:
        if error.sqlstate in _MISSING:
            return Recorded()
        raise
    if not rows:
        return Recorded()
    head, schema_head, digest, objects, running = rows[0]
    snapshot = msgspec.json.decode(objects, type=Snapshot) if objects else None
    return Recorded(
        head or "", schema_head or "", digest or "", snapshot, "" if running == mine else running or ""
    )
