"""The two steps of a release that are about indexes: bring each declared one to its declaration, and watch those that were swapped."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from lockgate.config import seconds
from lockgate.config.index import Index
from lockgate.errors import Held, RunFailed
from lockgate.indexes.carry import Means, carry, limits_of
from lockgate.indexes.gold import read_gold
from lockgate.indexes.register import writing
from lockgate.indexes.validate import read_query_vectors, side_of
from lockgate.indexes.watch import Watched, watch
from lockgate.postgres.link import Link
from lockgate.record.verdict import Verdict
from lockgate.record.words import counted
from lockgate.release.budget import Budget
from lockgate.release.candidate import read_specs
from lockgate.release.course import Course
from lockgate.release.steps import Ended, done, skipped
from lockgate.stores.open_search import IN_DATABASE, open_search, unproven
from lockgate.stores.searching import SearchStore

STEP = "indexes"


def indexes(course: Course, budget: Budget) -> Ended:
    """Build, validate, ask shadow queries, swap: each ``[index.NAME]`` whose specification is not what serves."""
    declared = course.settings.index
    told, evidence = [], {}
    contract = course.options.contract
    asked = read_specs(course.root / contract) if contract else {}
    with _means(course, budget) as means:
        for name, one in declared.items():
            budget.check()
            prior = dict(course.evidence_of(STEP).get(name) or {})
            with writing(means.link, name, course.lock_wait):
                carried = carry(means, name, one, prior, asked.get(name, ""))
            evidence[name] = {**(course.evidence_of(STEP).get(name) or {}), **msgspec.to_builtins(carried)}
            told.append(f"{name}: {carried.before or 'nothing'} -> {carried.generation}" if carried.changed else f"{name}: {carried.generation} serves already")  # fmt: skip
            said = unproven(one.store, one.place)
            if said:
                told.append(f"the adapter of {one.store} was {said}")
    return done("; ".join(told), **evidence)


def watch_indexes(course: Course, budget: Budget) -> Ended:
    """Watch every index that this release swapped; one that got worse goes back by itself, and the release has failed."""
    if course.handed_off:
        return skipped("handed off")
    swapped = {
        name: found
        for name, found in course.evidence_of(STEP).items()
        if name in course.settings.index
        and isinstance(found, dict)
        and found.get("changed")
        and found.get("before")
    }
    watched = {n: found for n, found in swapped.items() if course.settings.index[n].gold}
    if not watched:
        return skipped("no index was swapped" if not swapped else "no swapped index has a gold set")
    told, evidence = [], {}
    with _means(course, budget) as means:
        for name, found in watched.items():
            one = course.settings.index[name]
            with writing(means.link, name, course.lock_wait):
                seen = _watch(course, means, name, one, budget, str(found["generation"]))
            evidence[name] = {**msgspec.to_builtins(seen), "looks": len(seen.looks)}
            course.note("index-watch", **{name: evidence[name]})
            if seen.verdict is Verdict.FAIL:
                raise RunFailed(
                    f"index {name}: {seen.reason}; it went back to generation {seen.rolled_back}", "INDEX_WATCH_ABORTED", details={"index": name}
                )  # fmt: skip
            if seen.verdict is Verdict.HOLD:
                raise Held(f"index {name}: {seen.reason}", "INDEX_WATCH_HELD", next=seen.next or None, details={"index": name})  # fmt: skip
            told.append(f"{name}: {counted(len(seen.looks), 'look')} in {seen.seconds:.0f} s")
    return done("; ".join(told), **evidence)


def watch_window(course: Course, one: Index) -> float:
    """Seconds that an index is watched: as configured, else 30 minutes where the target is protected, else one look."""
    return seconds(one.watch) if one.watch else 1800.0 if course.target.protected else 0.0


def _watch(course: Course, means: Means, name: str, one: Index, budget: Budget, generation: str) -> Watched:
    serving = means.link.value("SELECT generation FROM lockgate.index_alias WHERE name = $1", name)
    if serving != generation:
        raise RunFailed(f"index {name} serves generation {serving}, not {generation}: it was taken back", "INDEX_WATCH_ABORTED")  # fmt: skip
    gold = read_gold(means.root / one.gold)
    given = read_query_vectors(means.root / one.query_vectors) if one.query_vectors else {}
    return watch(
        means.link, means.of, lambda row: side_of(row, means.of(row), gold, means.key, given), gold, name, limits_of(one),
        actor=means.actor, window=watch_window(course, one), interval=seconds(one.interval), breadth=one.breadth, sleep=budget.sleep,
        tell=means.tell,
    )  # fmt: skip


@contextmanager
def _means(course: Course, budget: Budget) -> Iterator[Means]:
    import os

    link = Link(course.target, "index")
    stores: dict[tuple[str, str], SearchStore] = {}

    def opened(kind: str, place: str) -> SearchStore:
        if (kind, place) not in stores:
            inside = kind in IN_DATABASE or "://" in place or not place
            stores[kind, place] = open_search(
                kind,
                place if inside else str(course.root / place),
                link,
                os.environ.get("LOCKGATE_STORE_KEY", ""),
            )
        return stores[kind, place]

    def note(name: str, found: Mapping[str, Any]) -> None:
        before = dict(course.evidence_of(STEP).get(name) or {})
        course.note(STEP, **{name: {**before, **found}})

    def tell(_doing: str, _share: float) -> None:
        budget.check()

    try:
        yield Means(
            link, opened, course.root, actor=f"{course.operator} on {socket.gethostname()}", key=os.environ.get("LOCKGATE_EMBEDDER_KEY", ""),
            note=note, tell=tell,
        )  # fmt: skip
    finally:
        for store in stores.values():
            store.close()
        link.close()
