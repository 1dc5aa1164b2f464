"""Swap, roll back, recover, collect: one writer for each alias, and a kill anywhere ends in one of the two generations.

Where the store is the database of our record, the alias and the record change in one transaction. Elsewhere an intent is
committed first; the next command looks where the alias points, and finishes the swap or takes the intent back.
"""

import contextlib
import json
import time
from collections.abc import Callable

import msgspec

from lockgate.errors import Held, LockgateError, Refused
from lockgate.indexes.inspect import look_at_vectors
from lockgate.indexes.register import (
    Alias,
    Generation,
    fed_by,
    find_generation,
    read_alias,
    read_generations,
    record_event,
    unfinished,
)
from lockgate.indexes.sealed import refuse_changed, unlike_seal
from lockgate.postgres.link import Link
from lockgate.record.points import point
from lockgate.record.verdict import Verdict
from lockgate.stores.open_search import IN_DATABASE
from lockgate.stores.searching import Description, SearchStore, physical_name


class Swapped(msgspec.Struct, frozen=True, rename="camel"):
    """What a swap did. ``recovered`` tells what became of an interrupted one before it: finished, undone, or nothing.

    ``differs`` tells how what serves now differs from its seal, where that was accepted.
    """

    name: str
    before: str
    after: str
    epoch: int
    elapsed_ms: float
    changed: bool
    recovered: str
    differs: str = ""


def recover(link: Link, opened: Callable[[Generation], SearchStore], name: str, *, actor: str) -> str:
    """Finish or undo a swap that was interrupted; the caller holds the lock. Returns ``finished``, ``undone`` or "".

    Raises ``Held`` where the alias points to neither generation.
    """
    alias = read_alias(link, name)
    if alias is None or alias.pending is None:
        return ""
    before, to = alias.pending["from"], alias.pending["to"]
    expected = alias.pending.get("expect", physical_name(name, before) if before else "") or None
    target = find_generation(link, name, to)
    store = opened(target)
    now = store.resolve(name)
    if now is None and expected and store.capabilities.swap == "two_step":
        # Killed between the two steps: nobody has the name, and the second step is all that is left to do.
        store.swap(name, None, target.physical)
        now = store.resolve(name)
    if now == target.physical:
        with link.transaction():
            _record(
                link, target, before, actor, None, "swap finished", float(alias.pending.get("window", "0"))
            )
        return "finished"
    if now == expected:
        with link.transaction():
            _forget_intent(link, name)
            record_event(link, name, "swap undone", actor, before=before, after=to)
        return "undone"
    raise Held(
        f"the alias {name} points to {now or 'nothing'}; the interrupted swap went from {before or 'nothing'} to {to}",
        "INDEX_STORE", state="A swap was interrupted, and somebody else moved the alias.", exit=None,
        next="Point the alias to one of the two by hand, then lockgate index list",
    )  # fmt: skip


def swap(
    link: Link,
    store: SearchStore,
    opened: Callable[[Generation], SearchStore],
    name: str,
    to: str,
    *,
    actor: str,
    window_seconds: float,
    unvalidated: bool = False,
    two_step: bool = False,
    changed: bool = False,
    kind: str = "swap",
    clock: Callable[[], float] = time.monotonic,
) -> Swapped:
    """Point the alias ``name`` to the sealed generation ``to``; the caller holds the lock. Doing it again changes nothing.

    ``changed`` accepts a generation that is not what was sealed any more; how it differs is recorded.
    Raises ``Refused`` for one that is not sealed, did not pass against the generation that serves now, or is not what was sealed (``INDEX_CHANGED``),
    ``Busy`` where somebody else moved the alias, ``Held`` where the store cannot swap in one step.
    """
    recovered = recover(link, opened, name, actor=actor)
    target = find_generation(link, name, to)
    alias = read_alias(link, name)
    before = alias.generation if alias is not None else ""
    now = store.resolve(name)
    if before == to and now == target.physical:
        return Swapped(name, before, to, alias.epoch if alias else 0, 0.0, False, recovered)
    _refuse_unready(link, target, before, unvalidated=unvalidated)
    if not before and not unvalidated and target.verdict != "pass":
        refuse_unfindable(target, store.describe(target.physical))
    differing = unlike_seal(link, target, store)
    if not changed:
        refuse_changed(target, differing, back=kind == "rollback")
    if kind == "swap" and unvalidated and not target.passed(before):
        kind = "swap, unvalidated"
    if store.capabilities.swap == "two_step" and not two_step:
        raise Held(
            f"the store of {name} does not swap in one step: {store.capabilities.note}", "INDEX_SWAP_TWO_STEP",
            state="Nothing was changed.", next=f"Swap while nobody reads: lockgate index swap {name} --to {to} --two-step",
        )  # fmt: skip
    expect = _expected(link, store, target, before)
    begin = clock()
    if target.store in IN_DATABASE:
        with link.transaction():
            store.swap(name, expect, target.physical)
            point("index:swap:moved")
            epoch = _record(
                link, target, before, actor, lambda: (clock() - begin) * 1000, kind, window_seconds, differing
            )
            point("index:swap:recorded")
        point("index:swap:committed")
    else:
        with link.transaction():
            _intend(link, name, before, to, window_seconds, expect)
            if store.capabilities.swap == "two_step":
                # Until it is done a reader may find neither generation, so the gate holds.
                link.run("UPDATE lockgate.live_index SET valid = false WHERE name = $1", name)
        point("index:swap:intended")
        try:
            store.swap(name, expect, target.physical)
        except Exception:
            # The intent goes only where the alias is known not to have moved; else the next command looks again.
            with contextlib.suppress(Exception):
                if store.resolve(name) == expect:
                    _forget_intent(link, name)
            raise
        point("index:swap:moved")
        if store.resolve(name) != target.physical:
            raise LockgateError(f"the alias {name} does not point to {to} after the swap", "INDEX_STORE")
        with link.transaction():
            epoch = _record(
                link, target, before, actor, lambda: (clock() - begin) * 1000, kind, window_seconds, differing
            )
            point("index:swap:recorded")
    elapsed = (clock() - begin) * 1000
    if store.resolve(name) != target.physical:
        raise LockgateError(f"the alias {name} does not point to {to} after the swap", "INDEX_STORE")
    return Swapped(name, before, to, epoch, round(elapsed, 2), True, recovered, differing)


def _refuse_unready(link: Link, target: Generation, serving: str, *, unvalidated: bool) -> None:
    """``serving`` is what the alias points to; "" where nothing serves, and there is nothing to compare with."""
    if target.state != "sealed":
        raise Refused(
            f"generation {target.generation} of {target.name} is not sealed", "INDEX_NOT_READY",
            next=unfinished(link, target),
        )  # fmt: skip
    if serving and not unvalidated and not target.passed(serving):
        told = (
            "was not validated"
            if not target.verdict
            else f"was validated with {target.verdict} against {target.against}"
        )
        other = f", and {serving} serves" if target.verdict == "pass" else ""
        raise Refused(
            f"generation {target.generation} of {target.name} {told}{other}", "INDEX_NOT_READY",
            next=_after_verdict(link, target, serving),
        )  # fmt: skip


def refuse_unfindable(target: Generation, described: Description) -> None:
    """Raise ``Refused`` (``INDEX_NOT_READY``) for vectors that no search finds, or of lengths that its specification denies: where nothing serves there is nothing to validate against."""
    if target.manifest.kind != "vector":
        return
    wrong = [check for check in look_at_vectors(described, target.manifest) if check.answer is Verdict.FAIL]
    if not wrong:
        return
    told = "; ".join(f"{check.id}: {check.details}{'' if check.value is None else f', {check.value:g}'}" for check in wrong)  # fmt: skip
    raise Refused(
        f"generation {target.generation} of {target.name} is not fit to serve: {told}", "INDEX_NOT_READY",
        next=f"Build it anew without these; lengths that are meant: --raw-lengths; where a person has decided: lockgate index swap {target.name} --to {target.generation} --unvalidated",
    )  # fmt: skip


def _after_verdict(link: Link, target: Generation, serving: str) -> str:
    """What comes before a swap to ``target``: its validation, or what that one named where it could not tell, because it would say the same again."""
    if target.verdict == "hold" and target.against == serving:
        sql = (
            "SELECT validation ->> 'next' FROM lockgate.index_generation WHERE name = $1 AND generation = $2"
        )
        kept = link.value(sql, target.name, target.generation)
        return (
            kept
            or f"When a person has decided: lockgate index swap {target.name} --to {target.generation} --unvalidated"
        )
    return f"lockgate index validate {target.name} --against {serving} --generation {target.generation} --gold DIR"


def _expected(link: Link, store: SearchStore, target: Generation, before: str) -> str | None:
    """Where the alias has to point in the store of ``target``.

    An index may move to another store: there the alias points to nothing yet, or to what it left behind when it moved away.
    """
    if not before:
        return None
    serving = find_generation(link, target.name, before)
    if (serving.store, serving.place) == (target.store, target.place):
        return serving.physical
    now = store.resolve(target.name)
    ours = {g.physical for g in read_generations(link, target.name)}
    return now if now in ours else None


def _intend(link: Link, name: str, before: str, to: str, window: float, expect: str | None) -> None:
    link.run(
        "INSERT INTO lockgate.index_alias (name, generation, pending) VALUES ($1, $2, $3::text::jsonb) "
        "ON CONFLICT (name) DO UPDATE SET pending = excluded.pending",
        name, before, json.dumps({"from": before, "to": to, "window": str(window), "expect": expect or ""}),
    )  # fmt: skip


def _forget_intent(link: Link, name: str) -> None:
    link.run("UPDATE lockgate.index_alias SET pending = NULL WHERE name = $1", name)
    link.run("UPDATE lockgate.live_index SET valid = true WHERE name = $1", name)


def _record(
    link: Link, target: Generation, before: str, actor: str, elapsed: Callable[[], float] | None, kind: str, window: float, differing: str = ""
) -> int:  # fmt: skip
    """What a swap means in our record, and to the gate. In the caller's transaction; returns the epoch of the alias."""
    name, to = target.name, target.generation
    link.run(
        "UPDATE lockgate.index_generation SET live = false WHERE name = $1 AND live AND generation <> $2",
        name,
        to,
    )
    link.run("UPDATE lockgate.index_generation SET live = true WHERE name = $1 AND generation = $2", name, to)
    epoch: int = link.value(
        "INSERT INTO lockgate.index_alias (name, generation, previous, epoch, swapped_at, rollback_until) "
        "VALUES ($1, $2, $3, 1, clock_timestamp(), clock_timestamp() + make_interval(secs => $4)) "
        "ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, previous = excluded.previous, epoch = lockgate.index_alias.epoch + 1, "
        "swapped_at = excluded.swapped_at, rollback_until = excluded.rollback_until, pending = NULL RETURNING epoch",
        name, to, before, window,
    )  # fmt: skip
    link.run(
        "INSERT INTO lockgate.live_index (name, generation, spec_hash, index_hash, valid, details) VALUES ($1, $2, $3, $4, true, $5::text::jsonb) "
        "ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, spec_hash = excluded.spec_hash, index_hash = excluded.index_hash, "
        "valid = true, since = clock_timestamp(), details = excluded.details",
        name, to, target.spec_hash, target.index_hash,
        json.dumps({"content_root": target.content_root, "records": target.records, "store": target.store}),
    )  # fmt: skip
    record_event(
        link, name, kind, actor, before=before, after=to, elapsed_ms=elapsed() if elapsed else None,
        details={"differs": differing} if differing else None,
    )  # fmt: skip
    return epoch


def previous_of(link: Link, name: str, drained: Callable[[], bool] | None = None) -> str:
    """The generation that a rollback leads to. Raises ``Refused`` where there is none, or its time is over.

    ``drained`` answers whether every write since the swap has reached the old generation too; without a feed of that kind
    the caller passes none, and only the window counts.
    """
    alias = read_alias(link, name)
    if alias is None or not alias.previous:
        raise Refused(
            f"index {name} has no generation before this one", "INDEX_NOT_READY", next="lockgate index list"
        )
    if not alias.window:
        raise Refused(
            f"the rollback window of {name} is over",
            "INDEX_NOT_READY",
            next="Build the generation again, then swap.",
        )
    if drained is not None and not drained():
        raise Refused(f"the writes since the swap have not all reached {alias.previous}", "INDEX_NOT_READY", next="Wait for the reverse feed.")  # fmt: skip
    return alias.previous


class Collected(msgspec.Struct, frozen=True):
    """What was dropped, and what was kept with the reason."""

    dropped: tuple[str, ...]
    kept: dict[str, str]


def keep_reason(one: Generation, alias: Alias | None, *, served_since: str, abandoned: bool) -> str:
    """Why a generation stays; "" when it may go. ``served_since`` is when the one that serves was sealed."""
    if one.live or (alias is not None and one.generation == alias.generation):
        return "it serves"
    if alias is not None and alias.pending is not None and one.generation in alias.pending.values():
        return "a swap is under way"
    if alias is not None and one.generation == alias.previous and alias.window:
        return "the rollback window is open"
    if one.state == "building" and not abandoned:
        return "it is being built"
    newer = (one.sealed_at or "") > served_since
    if one.state == "sealed" and (alias is None or (one.verdict != "fail" and newer)):
        return "it may be swapped to"
    return ""


def collect(
    link: Link, opened: Callable[[Generation], SearchStore], name: str, *, actor: str, abandoned: bool = False, dry_run: bool = False
) -> Collected:  # fmt: skip
    """Drop the generations that nothing needs any more; the caller holds the lock."""
    recover(link, opened, name, actor=actor)
    alias = read_alias(link, name)
    dropped, kept = [], {}
    known = read_generations(link, name)
    since = next((g.sealed_at or "" for g in known if g.live), "")
    fed = fed_by(link, name)
    for one in known:
        moved = f"the move {fed[one.generation]} feeds it" if one.generation in fed else ""
        reason = moved or keep_reason(one, alias, served_since=since, abandoned=abandoned)
        if reason:
            kept[one.generation] = reason
            continue
        if not dry_run:
            store = opened(one)
            if store.resolve(name) == one.physical:
                kept[one.generation] = "the store's alias points to it"
                continue
            point("index:gc:drop")
            store.drop(one.physical)
            with link.transaction():
                link.run(
                    "UPDATE lockgate.index_generation SET state = 'dropped', sealed_at = COALESCE(sealed_at, clock_timestamp()) WHERE name = $1 AND generation = $2",
                    name, one.generation,
                )  # fmt: skip
                record_event(link, name, "drop", actor, before=one.generation)
        dropped.append(one.generation)
    return Collected(tuple(dropped), kept)
