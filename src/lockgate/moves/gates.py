"""What has to be shown before a cutover: the proof, and what ``[gates]`` of a declaration asks for."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, NoReturn

import msgspec

from lockgate.errors import LockgateError, Refused
from lockgate.moves.declaration import Gates
from lockgate.moves.delta import LIMIT
from lockgate.moves.stages import Stage
from lockgate.moves.throttle import outside
from lockgate.postgres.link import Link
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.stores.making import Texts

_UNSETTLED = """
FROM lockgate.move_event e
WHERE move = $1 AND at >= $2::timestamptz AND kind IN ('divergence', 'barrier') AND NOT EXISTS (
  SELECT FROM lockgate.move_event s WHERE s.move = e.move AND s.id > e.id
     AND (s.to_stage = 'reconciled' OR s.kind = 'proof' OR e.evidence ? 'keys' AND s.to_stage IN ('cut_over', 'rolled_back')))
"""
"""What was found and not settled since. A comparison of everything settles all; a switch settles keys that were named, because it
compares them again. ``$1`` is the move, ``$2`` when it started."""


def refuse_paused(home: Link, row: MoveRow) -> None:
    """Raise ``LockgateError`` (``MOVE_PAUSED``) when the move is paused: nothing goes on until its cause is gone."""
    if row.stage == Stage.PAUSED:
        way = (
            f"lockgate move verify {row.name} --repair copies again what differs."
            if diverged_by(home, row)
            else f"Mend the cause, then lockgate move resume {row.name} and lockgate move run {row.name}."
        )
        raise LockgateError(f"the move {row.name} is paused: {row.reason}", "MOVE_PAUSED", next=way)


def refuse_unproven(home: Link, row: MoveRow) -> None:
    """Raise ``MOVE_PAUSED``, or ``MOVE_DIVERGED`` when the last comparison of this move found rows that differ.

    Every kind of move asks this before its cutover. The stage alone does not tell: a declaration may ask for something
    else than a pause when rows differ.
    """
    refuse_paused(home, row)
    if found := diverged_by(home, row):
        raise LockgateError(
            f"the last comparison of the move {row.name} found that both sides differ: {found}", "MOVE_DIVERGED",
            next=f"lockgate move verify {row.name} --repair",
        )  # fmt: skip


def refuse_unproven_end(home: Link, row: MoveRow, *, way_back: bool, now: bool, mended: str = "") -> None:
    """Raise ``MOVE_DIVERGED`` when the last comparison of the move had found differences, so that its end would seal them.

    Where there is no ``way_back`` the word of a person, ``now``, is the only way on, beside ``mended``: the command that
    compares and repairs a move that has switched, where it has one.
    """
    if now and not way_back:
        return
    if found := diverged_by(home, row):
        way = (
            f"lockgate move rollback {row.name}, then lockgate move run {row.name} and lockgate move verify {row.name} --repair"
            if way_back else f"Compare both sides and mend the target; lockgate move finish {row.name} --now then ends the move knowingly."
        )  # fmt: skip
        if mended:
            way = (
                mended
                if way_back
                else f"{mended}, or lockgate move finish {row.name} --now ends the move knowingly."
            )
        raise LockgateError(
            f"the last comparison of the move {row.name} found that both sides differ: {found}", "MOVE_DIVERGED",
            state="The target serves, and may miss what the source held.", next=way,
        )  # fmt: skip


class Unsettled(NamedTuple):
    """What earlier calls left open: ``keys`` that the next switch has to find equal, and what a comparison of everything ``found``.

    ``whole`` are the keys of that comparison; None where it did not record all of them.
    """

    keys: list[Texts]
    found: str
    whole: list[Texts] | None = None


def unsettled(home: Link, row: MoveRow) -> Unsettled:
    """What earlier calls of cutover or rollback carried and never compared, or found to differ, and what a whole comparison found.

    What was carried waits no more, so a second call would compare nothing of it and let it pass.
    """
    rows = home.rows(f"SELECT kind, reason, (evidence -> 'keys')::text, (evidence -> 'unlikeKeys')::text {_UNSETTLED} ORDER BY id", row.name, row.started_at)  # fmt: skip
    keys = {tuple(key) for _, _, listed, _ in rows if listed for key in msgspec.json.decode(listed)}
    whole = [(str(reason), found) for kind, reason, listed, found in rows if kind == "divergence" and not listed]  # fmt: skip
    if not whole:
        return Unsettled(sorted(keys, key=str), "")
    reason, found = whole[-1]
    return Unsettled(sorted(keys, key=str), reason, [tuple(k) for k in msgspec.json.decode(found)] if found else None)  # fmt: skip


class Tail(NamedTuple):
    """The words for a difference that was found after the switch: ``serves`` is what people use now, ``repairs`` what ``--repair`` writes, and whether there is a way ``back``."""

    serves: str
    repairs: str
    back: bool = True

    def next(self, name: str) -> str:
        """The ways on."""
        way = f"lockgate move verify {name} --repair writes {self.repairs}"
        if self.back:
            way += f"; or lockgate move rollback {name} --accept KEY, for each of these keys, goes back and leaves them as they are"
        return way


OLD_SIDE = "oldSide"
"""Marks a difference that lies with the old side: the target, which serves, has what it should."""
TAIL = Tail("The target serves", "the target's rows into the source", back=False)
"""Of a move by triggers: a rollback takes no single rows out."""


def refuse_unlike_back(row: MoveRow, found: str) -> None:
    """Raise ``MOVE_DIVERGED`` for what a comparison since the cutover ``found``: going back would lose what the old side misses."""
    if found:
        raise LockgateError(
            f"the last comparison of the move {row.name} found that the old side is not what the target gives: {found}", "MOVE_DIVERGED",
            state=f"{TAIL.serves}. A rollback would lose what the old side misses.", next=TAIL.next(row.name),
        )  # fmt: skip


def refuse_unproven_back(row: MoveRow, left: Unsettled, accept: Collection[str], tail: Tail) -> list[Texts]:
    """The keys to compare behind the barrier. Raises ``MOVE_DIVERGED`` when a comparison of everything found differences after
    the cutover: going back would lose them, unless a person has accepted each of these keys by name."""
    if not left.found:
        return left.keys
    rest = None if left.whole is None else taken(left.whole, accept)[1]
    if left.whole and not rest:
        return [*left.keys, *(k for k in left.whole if k not in left.keys)]
    raise LockgateError(
        f"the last comparison of the move {row.name} found that both sides differ: {left.found}", "MOVE_DIVERGED",
        state=f"{tail.serves}; the other side may miss what was written since the cutover.",
        details={} if rest is None else {"unlike": len(rest), "keys": [key_words(k) for k in rest[:50]]},
        next=tail._replace(back=tail.back and rest is not None).next(row.name),
    )  # fmt: skip


def note_barred(home: Link, name: str, keys: Sequence[Texts]) -> None:
    """Write down which keys are about to be carried behind the barrier: a call that ends before it has compared them leaves them to the next one."""
    if keys:
        ledger.event(home, name, "barrier", "these keys are carried behind the barrier and have to be compared", {"keys": [list(k) for k in keys]})  # fmt: skip


def key_words(key: Texts) -> str:
    """A key as people read and name it: its value, or its values as a list of JSON, so that no two keys have one name.

    What could be taken for such a list, and NULL, which is no value, are lists too.
    """
    if len(key) == 1 and key[0] is not None and not key[0].startswith("["):
        return key[0]
    return msgspec.json.encode(list(key)).decode()


def named(key: str) -> str:
    """A key as a person typed it → as ``key_words`` says it: spaces between values, and numbers without quotes, are no difference."""
    if key.startswith("["):
        try:
            parts = msgspec.json.decode(key)
        except msgspec.DecodeError:
            return key
        return key_words(tuple(p if p is None or isinstance(p, str) else msgspec.json.encode(p).decode() for p in parts))  # fmt: skip
    return key


def taken(unlike: Sequence[Texts], accept: Collection[str]) -> tuple[list[str], list[Texts]]:
    """(the names of those keys that a person has accepted, the keys that nobody has)."""
    words = {named(key) for key in accept}
    return [key_words(k) for k in unlike if key_words(k) in words], [k for k in unlike if key_words(k) not in words]  # fmt: skip


NAMED = 1000
"""So many keys of a comparison are recorded, and can be accepted by name; where more differ, a rollback is no matter of single rows."""


def in_evidence(unexplained: Sequence[Texts], *, truncated: bool = False) -> dict[str, object]:
    """The keys that a comparison of everything found, for the record; nothing where these are not all of them."""
    return {} if truncated or len(unexplained) > NAMED else {"unlikeKeys": [list(k) for k in unexplained]}


def diverged(
    home: Link, name: str, gates: Gates, words: str, evidence: dict[str, object], operator: str = "", tail: Tail | None = None
) -> NoReturn:  # fmt: skip
    """Write down that both sides differ, pause the move where ``[gates]`` says so, and raise ``MOVE_DIVERGED``.

    ``tail`` has the words where the move has switched already; nothing pauses it then.
    """
    ledger.event(home, name, "divergence", words, evidence, operator=operator)
    if gates.on_divergence == "pause":
        ledger.pause(home, name, words, evidence)
    if tail is not None:
        raise LockgateError(words, "MOVE_DIVERGED", details=evidence, state=f"{tail.serves}; nothing was changed.", next=tail.next(name))  # fmt: skip
    raise LockgateError(words, "MOVE_DIVERGED", details=evidence, next=f"lockgate move verify {name} --repair copies again what differs.")  # fmt: skip


def unlike_after_drain(
    home: Link,
    name: str,
    gates: Gates,
    unlike: Sequence[Texts],
    tail: Tail,
    *,
    turned: bool,
    operator: str = "",
) -> NoReturn:
    """Raise ``MOVE_DIVERGED`` for keys that differ behind the barrier; they are written down by name, so that the next call compares them again.

    ``turned``: the move has switched already, or half, so that there is nothing to pause; only these keys keep it where it is.
    """
    first = ", ".join(key_words(k) for k in unlike[:5])
    words = f"after the drain {len(unlike)} changed keys differ, the first {first}"
    evidence: dict[str, object] = {"unlike": len(unlike), "keys": [list(k) for k in unlike]}
    if not turned:
        diverged(home, name, gates, words, evidence, operator)
    ledger.event(home, name, "divergence", words, evidence, operator=operator)
    raise LockgateError(
        words, "MOVE_DIVERGED", details={"unlike": len(unlike), "keys": [key_words(k) for k in unlike[:50]]},
        state="Nothing was switched; the next call compares these keys again.", next=tail.next(name),
    )  # fmt: skip


def diverged_by(home: Link, row: MoveRow) -> str:
    """What the last comparison since the start found; empty when both sides were equal, or none was made."""
    return _diverged(home, row, "")


def unlike_old_side(home: Link, row: MoveRow) -> str:
    """What the last comparison of the old side with what the target gives found, after the cutover; empty when it is equal, or was not compared."""
    return _diverged(home, row, f"AND e.evidence ? '{OLD_SIDE}'")


def unlike_target(home: Link, row: MoveRow) -> str:
    """What was found in the target itself and is not settled."""
    return _diverged(home, row, f"AND NOT e.evidence ? '{OLD_SIDE}'")


def _diverged(home: Link, row: MoveRow, which: str) -> str:
    last = home.rows(f"SELECT reason {_UNSETTLED} AND kind = 'divergence' {which} ORDER BY id DESC LIMIT 1", row.name, row.started_at)  # fmt: skip
    return str(last[0][0]) if last else ""


def refuse_outside(home: Link, name: str, gates: Gates) -> None:
    """Raise ``Refused`` (``OUTSIDE_WINDOW``) when it is not the time for the cutover, by the server's clock."""
    if reason := outside(gates.cutover_windows, home.value("SELECT clock_timestamp()")):
        raise Refused(
            f"the cutover of the move {name} is {reason}", "OUTSIDE_WINDOW",
            next="Wait for the window, or change gates.cutover_windows in its declaration.",
        )  # fmt: skip


def refuse_over_the_cap(home: Link, name: str, most: int) -> None:
    """Pause the move and raise ``LockgateError`` (``MOVE_QUARANTINE``) when more rows stand in quarantine than it is worth going on with."""
    held = ledger.count_quarantined(home, name)
    if held > most:
        reason = f"{held} rows stand in quarantine, more than limits.quarantine_rows = {most}"
        ledger.pause(home, name, reason, {"quarantined": held})
        raise LockgateError(
            reason, "MOVE_QUARANTINE", details={"quarantine": ledger.quarantined(home, name)[:20]}
        )


def refuse_drifted(home: Link, row: MoveRow) -> None:
    """Raise ``Refused`` (``MOVE_STAGE``) when the last drift that was handed in since the start is above its limit."""
    drift = home.value(
        "SELECT (evidence ->> 'deltaS')::float8 FROM lockgate.move_event WHERE move = $1 AND kind = 'delta_s' AND at >= $2::timestamptz ORDER BY id DESC LIMIT 1",
        row.name, row.started_at,
    )  # fmt: skip
    if drift is not None and drift > LIMIT:
        raise Refused(
            f"ΔS was {drift:g} when it was last measured, above {LIMIT:g}", "MOVE_STAGE",
            next=f"Find out why; lockgate move observe {row.name} --delta-s NUMBER hands in a new measurement.",
        )  # fmt: skip


def refuse_unshadowed(home: Link, name: str, gates: Gates) -> None:
    """Raise ``Refused`` (``MOVE_STAGE``) until so many shadow reads as declared were seen since the start, all of them equal."""
    wanted = gates.shadow_reads
    if not wanted:
        return
    seen, bad = home.rows(
        "SELECT count(*), count(*) FILTER (WHERE equal IS NOT TRUE) FROM lockgate.move_shadow WHERE move = $1 AND at > COALESCE((SELECT started_at FROM lockgate.move WHERE name = $1), '-infinity')",
        name,
    )[0]  # fmt: skip
    if seen < wanted or bad:
        raise Refused(
            f"shadow reads: {seen} of {wanted} seen, {bad} of them not equal",
            "MOVE_STAGE",
            next=f"lockgate move shadow {name} --queries FILE",
            details={"seen": seen, "unequal": bad},
        )
