"""Carry one declared index through a release: build beside what serves, validate, ask shadow queries, swap.

Each part can be done again: a build goes on, a seal and a verdict stand, a swap to what serves changes nothing. So a release
that was killed anywhere calls this again, with what its journal says of it.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import seconds
from lockgate.config.index import Index
from lockgate.errors import Held, Refused, RunFailed
from lockgate.indexes.build import Wanted, build
from lockgate.indexes.declared import embedder_of, manifest_of, next_generation, refuse_unasked, source_of
from lockgate.indexes.drift import Drift
from lockgate.indexes.gold import GoldSet, read_gold
from lockgate.indexes.limits import choose
from lockgate.indexes.namespace import cache_namespace
from lockgate.indexes.register import (
    Generation,
    add_generation,
    every_name,
    find_generation,
    read_alias,
    read_generations,
)
from lockgate.indexes.shadow import Shadowed, read_shadow, shadow, sided
from lockgate.indexes.swap import recover, swap
from lockgate.indexes.validate import questions_of, read_query_vectors, remember, side_of, validate
from lockgate.postgres.link import Link
from lockgate.record.points import point
from lockgate.record.verdict import Verdict
from lockgate.stores.searching import SearchStore


class Carried(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one index in a release. ``changed`` is False where what serves is what is declared."""

    name: str
    before: str
    generation: str
    changed: bool
    records: int
    spec_hash: str
    index_hash: str
    cache_namespace: str
    verdict: str
    elapsed_ms: float
    shadow: Shadowed | None = None


class Means:
    """What carrying needs from outside: the session, the stores, the folder of the project, who acts, and how to tell."""

    def __init__(
        self, link: Link, opened: Callable[[str, str], SearchStore], root: Path, *, actor: str, key: str,
        note: Callable[[str, Mapping[str, Any]], None], tell: Callable[[str, float], None], clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.link, self.opened, self.root = link, opened, root
        self.actor, self.key, self.note, self.tell, self.clock = actor, key, note, tell, clock

    def of(self, row: Generation) -> SearchStore:
        """The store of a generation."""
        return self.opened(row.store, row.place)


def carry(means: Means, name: str, one: Index, prior: Mapping[str, Any], asked: str = "") -> Carried:
    """Bring the index ``name`` to its declaration; the caller holds its lock. ``prior`` is what the journal says of it, ``asked`` the specification that the image asks for.

    Raises ``RunFailed`` (``INDEX_DRIFT``, ``INDEX_SHADOW``) or ``Held`` where the new generation must not serve; the old one
    goes on serving then.
    """
    link = means.link
    recover(link, means.of, name, actor=means.actor)
    store = means.opened(one.store, one.place)
    embedder = embedder_of(one, means.key, means.root / ".lockgate" / "embeddings.sqlite")
    source = source_of(link, means.root, one)
    manifest = manifest_of(store, one, embedder, source.first)
    refuse_unasked(name, manifest, asked, "the candidate")
    alias, known = read_alias(link, name), read_generations(link, name)
    live = next((g for g in known if alias is not None and g.generation == alias.generation), None)
    ours = str(prior.get("generation", ""))
    same = live is not None and (live.spec_hash, live.store, live.place) == (
        manifest.spec_hash,
        one.store,
        one.place,
    )
    if live is not None and same and (one.rebuild == "changed" or live.generation == ours):
        swapped = live.generation == ours
        return _carried(
            live,
            str(prior.get("before", live.generation)),
            changed=swapped,
            elapsed=float(prior.get("elapsedMs", 0.0)),
        )
    generation = ours or next_generation(known, every_name(link, name), manifest.spec_hash)
    # Before anything is built, so that whoever comes after a kill goes on with this one and does not start another.
    add_generation(link, name, generation, one.store, one.place, manifest, one.embedder)
    means.note(
        name, {"stage": "building", "generation": generation, "before": live.generation if live else ""}
    )
    row = find_generation(link, name, generation)
    if row.state == "building":
        wanted = Wanted(name, generation, one.store, one.place, manifest, one.embedder, source.total, one.rate, one.batch, f"lockgate index build {name} --generation {generation}")  # fmt: skip
        build(link, store, wanted, source.after, embedder, actor=means.actor, progress=means.tell)
        row = find_generation(link, name, generation)
    means.note(name, {"stage": "built", "indexHash": row.index_hash, "records": row.records})
    point("release:indexes:built")
    shadowed = _judge(means, name, one, row, live) if live is not None else None
    done = swap(
        link, store, means.of, name, generation, actor=means.actor, window_seconds=seconds(one.rollback_window), two_step=one.two_step
    )  # fmt: skip
    point("release:indexes:swapped")
    row = find_generation(link, name, generation)
    carried = _carried(
        row, live.generation if live else "", changed=True, elapsed=done.elapsed_ms, shadowed=shadowed
    )
    means.note(name, {**msgspec.to_builtins(carried), "stage": "swapped"})
    return carried


def _judge(means: Means, name: str, one: Index, row: Generation, live: Generation) -> Shadowed | None:
    """Validate against what serves and ask the shadow queries; raises where the new generation must not serve."""
    if not one.gold:
        raise Refused(
            f"[index.{name}] names no gold set: generation {row.generation} is built, and not swapped to blindly", "INDEX_NOT_READY",
            next=f"Name one: gold = \"DIR\"; or lockgate index swap {name} --to {row.generation} --unvalidated",
        )  # fmt: skip
    gold = read_gold(means.root / one.gold)
    given = read_query_vectors(means.root / one.query_vectors) if one.query_vectors else {}
    new, old = (side_of(g, means.of(g), gold, means.key, given) for g in (row, live))
    limits = limits_of(one)
    if not row.passed(live.generation):
        drift = validate(gold, new, old, limits, breadth=one.breadth, progress=means.tell)
        remember(means.link, row, drift, live.generation, actor=means.actor, at=means.clock())
        means.note(
            name,
            {"stage": "validated", "verdict": str(drift.verdict), "causes": [c.cause for c in drift.causes]},
        )
        refuse_drift(name, row, drift)
    point("release:indexes:validated")
    if one.shadow:
        texts = read_shadow(means.root / one.shadow)
        log = GoldSet(gold.documents, texts, {}, {}, "")
        old, new = (sided(s, questions_of(s.row, log, s.embedder, {})) for s in (old, new))
    shadowed = shadow(old, new, limits.k, breadth=one.breadth, most_percent=one.max_latency_increase_percent)
    means.note(name, {"stage": "shadowed", "shadow": msgspec.to_builtins(shadowed)})
    if shadowed.answer is not Verdict.PASS:
        raise RunFailed(f"index {name}, generation {row.generation}: {shadowed.reason}", "INDEX_SHADOW")
    return shadowed


def limits_of(one: Index) -> Any:
    """The limits of a declaration. Raises ``ConfigError`` for a limit that there is not."""
    return choose(one.profile, {name: str(value) for name, value in one.limits.items()})


def refuse_drift(name: str, row: Generation, drift: Drift) -> None:
    """Raise where ``drift`` is not a pass: ``Held`` (``INDEX_HELD``) where nobody can tell, ``RunFailed`` (``INDEX_DRIFT``) where it is worse."""
    if drift.verdict is Verdict.PASS:
        return
    failed = ", ".join(c.id for c in drift.checks if c.answer is not Verdict.PASS)
    causes = ", ".join(dict.fromkeys(c.cause for c in drift.causes))
    told = f"index {name}, generation {row.generation}: {failed}{f' (likely {causes})' if causes else ''}"
    details = {"index": name, "generation": row.generation, "causes": [c.cause for c in drift.causes]}
    if drift.verdict is Verdict.HOLD:
        raise Held(told, "INDEX_HELD", details=details)
    raise RunFailed(told, "INDEX_DRIFT", details=details)


def _carried(
    row: Generation, before: str, *, changed: bool, elapsed: float, shadowed: Shadowed | None = None
) -> Carried:
    return Carried(
        row.name, before, row.generation, changed, row.records, row.spec_hash, row.index_hash,
        cache_namespace(row.name, row.index_hash), row.verdict, elapsed, shadowed,
    )  # fmt: skip
