"""The stages of a move into an index up to its proof: plan, start, compare. Each can be called again at any time."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from lockgate.errors import ConfigError, Refused
from lockgate.indexes.build import refuse_length, seal
from lockgate.indexes.declared import embedder_of, manifest_of, next_number
from lockgate.indexes.moving.needs import of_index
from lockgate.indexes.moving.opened import OpenedIndex, Stores, embedder_key
from lockgate.indexes.moving.side import Fed, IndexSide, listed, record_id
from lockgate.indexes.records import as_vector
from lockgate.indexes.register import (
    Generation,
    add_generation,
    every_name,
    find_generation,
    forget_generation,
    read_alias,
    writing,
)
from lockgate.moves.dual import beginning, comparing, drive, into
from lockgate.moves.dual.needs import Place, needed
from lockgate.moves.dual.opened import lag_problems, replica_problems
from lockgate.moves.dual.second_leg import Carried, drain
from lockgate.moves.dual.shapes import stop_if_changed
from lockgate.moves.gates import Tail, diverged, in_evidence, unsettled
from lockgate.moves.planned import Planned, refuse_problems
from lockgate.moves.stages import Stage, why
from lockgate.postgres.moves import home, ledger
from lockgate.postgres.target import Target
from lockgate.record.points import point
from lockgate.record.words import agree, counted
from lockgate.stores.ahead import ahead
from lockgate.stores.content import Content, ContentBuilder, Record, bucket_of, record_digest
from lockgate.stores.making import Image, Texts, Unmade
from lockgate.stores.manifest import Manifest
from lockgate.stores.open_search import LIVE
from lockgate.stores.side import Side, Switch, key_id
from lockgate.stores.speaking import PostgresSpeaker

PAGE = 2_000
SAMPLE = 200
"""So many of the first rows are looked for in the generation that serves, to see that its ids are keys of the table."""
INDEX_WAIT = 30.0
"""Seconds that a command waits for another one on the same index."""


class _Looked(NamedTuple):
    """What a start needs to know, and what stands in its way."""

    planned: Planned
    manifest: Manifest | None
    previous: Generation | None


def plan(move: OpenedIndex) -> Planned:
    """Look at both sides and tell. Changes nothing."""
    return _look(move).planned


def _look(move: OpenedIndex) -> _Looked:
    d, i = move.declared, move.declared.index
    table = into.describe_source(d, move.places.source)
    key, found = into.key_problems(d, table)
    manifest: Manifest | None = None
    previous: Generation | None = None
    found += replica_problems(d, move.places) + lag_problems(d, move.places)
    asked = needed(
        move,
        (Place("source", table.name, True, False),),
        key,
        workers=0 if move.alone else d.limits.workers,
        beside=1,
    )
    found += asked.problems
    notes = asked.notes
    if i.store not in LIVE:
        found.append((f"{i.store} is built offline: its graph is written anew as a whole", f"lockgate index build; or one of {', '.join(LIVE)}."))  # fmt: skip
    if not found:
        speaker = PostgresSpeaker(move.target, f"move {d.name} plan")
        stores = Stores(speaker, d.root)
        source = into.source_side(d, move.places.source, "plan")
        try:
            manifest = _manifest(move, stores, source)
            swaps = stores.at(i.store, i.place).capabilities
            if swaps.swap == "two_step" and not i.two_step:
                found.append((f"{i.store} does not swap in one step: {swaps.note}", "two_step = true under [index] accepts that, and the gate holds meanwhile."))  # fmt: skip
            there = of_index(move, stores.at(i.store, i.place))
            found += there.problems
            notes += there.notes
            alias = read_alias(speaker.link, i.name)
            if alias is not None and alias.generation:
                previous = find_generation(speaker.link, i.name, alias.generation)
                if not d.one_way:
                    found += _unfit(move, stores, source, previous, manifest)
        except (ConfigError, Refused) as error:
            found.append((error.message, error.next or f"Change moves/{d.name}.toml."))
        finally:
            stores.close()
            speaker.close()
            source.speaker.close()
    steps = [
        f"make a new generation of {i.name} in {i.store}" + (f": {manifest.spec_hash[:12]}" if manifest else ""),
        "make the revisions, the outbox and the switch beside the table, and the revisions of the index in this database",
        f"wait until {d.writers} live writer{'s' if d.writers != 1 else ''} use DualWriter",
        f"copy {counted(table.rows, 'row')} in batches of {d.limits.batch_rows} by {d.limits.workers} workers, each with count, digest and ledger row",
        "carry what waits in the outbox, build the search structure, compare the content of both, seal the generation",
        "compare its answers over the gold set with those of the generation that serves" if i.gold and previous else "no gold set is compared: " + ("nothing serves yet" if not previous else "lockgate index validate has to pass by hand"),
        f"point the alias {i.name} to it",
        "no way back: one_way = true" if d.one_way else f"keep generation {previous.generation} current for {d.rollback_hours:g} h: lockgate move rollback {d.name}" if previous else "no way back: nothing served before",
    ]  # fmt: skip
    told = Planned(
        d.name, table.name, i.name, False, key, {c: str(d.columns[c]) for c in into.COLUMNS if c in d.columns}, table.rows,
        [{"what": what, "fix": fix} for what, fix in found], steps, notes,
    )  # fmt: skip
    return _Looked(told, manifest, previous)


def _manifest(move: OpenedIndex, stores: Stores, source: Side) -> Manifest:
    """The specification of the new generation. Raises ``ConfigError`` where the first row does not tell the dimension."""
    one = move.declared.index.as_index()
    embedder = embedder_of(one, embedder_key(), stores.cache)
    first = None
    if "vector" in move.declared.columns:
        high = source.boundary(None, 1)
        place = [g.name for g in source.given].index("vector")
        image = source.between(None, high)[0][1] if high is not None else None
        text = None if image is None or isinstance(image, Unmade) else image[place]
        vector = as_vector(listed(text), f"the first row of {source.table.name}")  # fmt: skip
        first = Record("first", "", "{}", vector)
    made = manifest_of(stores.at(one.store, one.place), one, embedder, first)
    if (
        first is not None
        and any(first.vector or ())
        and made.embedding is not None
        and made.embedding.normalised
    ):
        refuse_length(first, made)
    return made


def _unfit(move: OpenedIndex, stores: Stores, source: Side, serving: Generation, manifest: Manifest) -> list[tuple[str, str]]:  # fmt: skip
    """Why the generation that serves cannot be kept current, so that there would be no way back."""
    fix = "Declare one_way = true: then there is no way back by this move."
    name = f"generation {serving.generation}, which serves"
    if serving.store not in LIVE:
        return [(f"{name}, lives in {serving.store} and cannot be kept current record by record", fix)]
    if serving.manifest.kind == "vector" and not serving.embedder:
        mine, theirs = manifest.embedding, serving.manifest.embedding
        if "vector" not in move.declared.columns or mine is None or theirs is None:
            return [(f"{name}, was built from ready vectors, and the source has none for it", fix)]
        if (mine.model, mine.dimension) != (theirs.model, theirs.dimension):
            return [(f"{name}, holds vectors of another model ({theirs.model}, {theirs.dimension} components)", fix)]  # fmt: skip
    high = source.boundary(None, SAMPLE)
    keys = [key for key, _ in source.between(None, high)] if high is not None else []
    store = stores.of(serving)
    if keys and serving.records:
        ids = [record_id(k, source.key) for k in keys]
        if not store.record_digests(serving.physical, ids):
            return [(f"{name}, has none of the first {len(ids)} keys of {source.table.name} among its ids (such as {ids[0]!r})", fix)]  # fmt: skip
    return []


def start(move: OpenedIndex, operator: str) -> str:
    """planned → dual_write: a new generation, the side tables, then writers capture. Does nothing when the move is under way; returns the stage."""
    if stage := beginning.under_way(move, operator):
        return stage
    looked = _look(move)
    planned, manifest = looked.planned, looked.manifest
    refuse_problems(planned)
    assert manifest is not None
    if "://" not in move.places.source or move.places.source.startswith("postgres"):
        home.ensure(Target(move.places.source, source="source"))
    previous = looked.previous.generation if looked.previous is not None and not move.declared.one_way else ""
    i = move.declared.index
    with writing(move.home, i.name, INDEX_WAIT):
        generation = next_number(every_name(move.home, i.name))
        add_generation(move.home, i.name, generation, i.store, i.place, manifest, i.embedder)
    pair = move.open(generation, previous)
    move.keep(pair)
    try:
        pair.target.fed.store.create(pair.target.fed.row.physical, manifest)
        for side in (pair.source, pair.target):
            side.drop()
            side.create()
    except BaseException:
        if pair.target.fed.store.manifest(pair.target.fed.row.physical) is None:
            forget_generation(move.home, i.name, generation)
        raise
    switch = pair.source.switch()
    epoch = (switch.epoch if switch is not None else 0) + 1
    told = {**msgspec.to_builtins(move.declared), "root": "", "generation": generation, "previous": previous}
    beginning.begin(move, planned, told, epoch, operator, generation=generation, previous=previous)
    drive.set_switch(move, pair.source, Switch("source", epoch, True))
    return Stage.DUAL_WRITE


class IndexReconciled(NamedTuple):
    """What a comparison found. ``differing`` counts rows that were unequal at first, ``repaired`` those that were written again."""

    source: Content
    held: Content
    differing: int
    repaired: int
    index_hash: str
    seconds: float


def reconcile(
    move: OpenedIndex, *, repair: bool = False, report: Callable[[str, float], None] = lambda _d, _p: None, operator: str = ""
) -> IndexReconciled:  # fmt: skip
    """Drain, build the search structure, compare the content of table and index, seal, and step to ``reconciled``. Raises ``MOVE_DIVERGED``.

    With ``repair`` rows that differ are written again as operations, with a revision of their own. After the cutover the stage
    stays, and of the generation that served before those records are looked at that a call of rollback found to differ.
    """
    begin = time.monotonic()
    row = move.row()
    turned = row.stage in drive.TURNED
    if not turned and row.stage not in (Stage.BACKFILLING, Stage.RECONCILED, Stage.SHADOWING, Stage.READY):
        why(Stage(row.stage), Stage.RECONCILED)
    stop_if_changed(move, row)
    source, target = move.pair.source, move.pair.target
    caught_up(move)
    drive.refuse_incomplete(move)
    report("building the search structure", 0.0)
    target.fed.store.finalise(target.fed.row.physical, target.fed.row.manifest)
    point("into:indexed")
    mine, index, keys = _compare(move, report)
    stop_if_changed(move)
    before = unsettled(move.home, row).keys if turned and target.older is not None else []
    differing = len(
        {*keys, *(differing_keys(source, target.older, before) if target.older is not None else ())}
    )
    left = _look_again(move, keys, before)
    repaired = 0
    if left and repair:
        repaired = len(left)
        drive.write_again(source, [tuple(k) for k in left], report)
        caught_up(move)
        mine, index, again = _compare(move, report)  # what is told, and sealed, is what is there now
        left = _look_again(move, again, before)
    evidence: dict[str, object] = {
        "rowsSource": mine.records, "rowsTarget": index.records, "contentRootSource": mine.root, "contentRootTarget": index.root, "differing": differing,
        "inFlight": differing - len(left) - repaired, "repaired": repaired, "unexplained": [target.id_of(k) for k in left[:50]],
        **in_evidence(left),
    }  # fmt: skip
    if left:
        words = f"{counted(len(left), 'record')} of {target.fed.row.physical} {agree(len(left), 'differs', 'differ')} from the rows of {source.table.name} and no write in flight explains it"
        diverged(
            move.home,
            move.name,
            move.declared.gates,
            words,
            evidence,
            operator,
            tail_of(move) if turned else None,
        )
    sealed = seal_now(move, operator)
    if turned:
        drive.proven_again(move, evidence | {"indexHash": sealed}, operator)
        return IndexReconciled(mine, index, differing - repaired, repaired, sealed, time.monotonic() - begin)
    evidence |= {"indexHash": sealed, "seconds": round(time.monotonic() - begin, 3)}
    ledger.step(move.home, move.name, row.stage, Stage.RECONCILED, why(Stage(row.stage), Stage.RECONCILED), evidence, also="reconciled_at = clock_timestamp()", operator=operator)  # fmt: skip
    return IndexReconciled(mine, index, differing - repaired, repaired, sealed, time.monotonic() - begin)


def tail_of(move: OpenedIndex) -> Tail:
    """The words for what is found to differ after the swap: the table is the origin of either generation."""
    return Tail("The new generation serves", "the table's rows into both generations", move.pair.target.older is not None)  # fmt: skip


def seal_now(move: OpenedIndex, operator: str) -> str:
    """Seal the generation with what it holds at this moment, unless it serves; its ``index_hash``."""
    side = move.pair.target
    row = find_generation(side.link, side.fed.row.name, side.fed.row.generation)
    if not row.live:
        with side.still():
            content = side.fed.store.content(row.physical)
            if row.state == "building" or content.root != row.content_root:
                seal(side.link, row, content, side.fed.embedder, operator, anew=True)
        row = find_generation(side.link, row.name, row.generation)
    side.fed = side.fed._replace(row=row)
    side.index_hash = row.index_hash
    return row.index_hash


def _compare(move: OpenedIndex, report: Callable[[str, float], None]) -> tuple[Content, Content, list[Texts]]:
    """The content of the table and of the index, and the keys that differ: those of unequal buckets only are looked at."""
    source, target = move.pair.source, move.pair.target
    names = [g.name for g in source.given]
    builder = ContentBuilder()
    expected = max(1, move.row().rows_estimate)
    done = 0
    with ahead(_pages(move.reading())) as pages:
        for rows in pages:
            for id_, digest in target.digests(rows, names).items():
                builder.put(id_, digest)
            done += len(rows)
            report("comparing", min(0.99, done / expected))
    mine, index = builder.content(), target.fed.store.content(target.fed.row.physical)
    unequal = mine.unequal(index)
    if not unequal:
        return mine, index, []
    wanted = {id_: digest for bucket in unequal for id_, digest in builder.within(bucket).items()}
    found = _within(target.fed, set(unequal))
    ids = [i for i in sorted(wanted.keys() | found.keys()) if wanted.get(i) != found.get(i)]
    return mine, index, list(target.keys_of(source, ids).values())


def _pages(reading: Side) -> Iterator[list[tuple[Texts, Image]]]:
    """All rows of the source in the order of their keys. Uses no other session."""
    low: Texts | None = None
    while rows := reading.between(low, None, PAGE):
        yield rows
        low = rows[-1][0]


def _within(fed: Fed, buckets: set[int]) -> dict[str, bytes]:
    """The record digests that a generation holds in some buckets."""
    return {
        r.id: record_digest(r.id, r.text, r.payload, vector) for r, vector in fed.store.scan(fed.row.physical)
        if bucket_of(hashlib.sha256(r.id.encode("utf-8", "surrogatepass")).digest()) in buckets
    }  # fmt: skip


def differing_keys(source: Side, target: IndexSide, keys: Sequence[Texts]) -> list[Texts]:
    """Those of ``keys`` whose row and record are not equal at this moment. Where there is neither, a delete that the source knows of explains it."""
    names = [g.name for g in source.given]
    images = source.images(keys)
    wanted = target.digests(list(images.items()), names)
    there = target.there([target.id_of(k) for k in keys])
    ids = {k: target.id_of(k) for k in keys}
    neither = {k for k, i in ids.items() if i not in wanted and i not in there}
    gone = source.gone(list(neither))
    return [k for k, i in ids.items() if (k not in gone if k in neither else wanted.get(i) != there.get(i))]


def _look_again(move: OpenedIndex, keys: Sequence[Texts], before: Sequence[Texts] = ()) -> list[Texts]:
    """Those of ``keys``, and of ``before`` in the older generation, that go on differing while what waits is carried."""
    source, target = move.pair.source, move.pair.target
    left, behind = list(keys), list(before)
    for look in range(comparing.LOOKS):
        if not left and not behind:
            break
        if look:
            caught_up(move)
            time.sleep(0.05 * look)
        left = differing_keys(source, target, left)
        behind = differing_keys(source, target.older, behind) if target.older is not None else []
        waiting = {key_id(op.key) for op in source.waiting(1_000_000)} if left or behind else set()
        left, behind = ([k for k in some if key_id(k) not in waiting] for some in (left, behind))
    return list(dict.fromkeys([*left, *behind]))


def caught_up(move: OpenedIndex) -> Carried:
    """Carry what waited when this was called. A slow store under steady writes has always something that waits.

    Raises ``LockgateError`` (``MOVE_QUARANTINE``) when an operation cannot be carried.
    """
    source, target, rows = move.pair.source, move.pair.target, move.declared.limits.relay_rows
    done = drain(source, target, rows, most=source.backlog()[0] // rows + 1)
    drive.tell_failures(move, source)
    drive.refuse_failed(source, target.fed.row.physical, done)
    return done
