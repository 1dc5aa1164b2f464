"""The watch after a swap: the gold queries are asked through the alias, again and again, and compared with the generation before.

Every look is an event of the index, so a watch that was killed goes on with what was seen, and the metrics show it. When the
sources' conditions are met the alias goes back by itself. Clock and sleep are handed in.
"""

import json
import time
from collections.abc import Callable, Mapping

import msgspec

from lockgate.errors import LockgateError, Refused
from lockgate.indexes.behind import behind, in_words, keeps_up
from lockgate.indexes.differences import Side
from lockgate.indexes.drift import compare
from lockgate.indexes.figures import figures
from lockgate.indexes.gold import GoldSet
from lockgate.indexes.limits import Limits
from lockgate.indexes.register import Alias, Generation, fed_by, find_generation, read_alias, record_event
from lockgate.indexes.runs import Run, make_run
from lockgate.indexes.sealed import unlike_seal
from lockgate.indexes.swap import Swapped, previous_of, swap
from lockgate.indexes.validate import ask, within_corpus
from lockgate.indexes.watching import CONDITIONS, Look, Watching, judge_changed, judge_looks
from lockgate.postgres.link import Link
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.points import point
from lockgate.record.verdict import Verdict
from lockgate.stores.searching import SearchStore

ROLLED_BACK = "watch aborted"
"""The kind of the event that takes a swap back."""


class Watched(msgspec.Struct, frozen=True, rename="camel"):
    """What a watch ended with. ``resumed`` counts looks that an earlier call made; ``rolled_back`` names where the alias went back to.

    ``next`` is what a person does about a hold that has a way of its own out; "" elsewhere.
    """

    name: str
    generation: str
    before: str
    verdict: Verdict
    condition: str
    reason: str
    looks: tuple[Look, ...]
    resumed: int
    seconds: float
    rolled_back: str
    next: str = ""


def watch(
    link: Link,
    opened: Callable[[Generation], SearchStore],
    sided: Callable[[Generation], Side],
    gold: GoldSet,
    name: str,
    limits: Limits,
    *,
    actor: str,
    window: float,
    interval: float,
    breadth: int = 0,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    tell: Callable[[str, float], None] = lambda _doing, _share: None,
) -> Watched:
    """Watch what the alias ``name`` serves for ``window`` seconds since its swap; the caller holds the index's lock.

    Raises ``Refused`` where there is nothing to compare with: no swap, or the generation before is gone.
    """
    alias = read_alias(link, name)
    if alias is None or not alias.previous:
        raise Refused(f"index {name} was not swapped from one generation to another", "INDEX_NOT_READY", next=f"lockgate index swap {name} --to GENERATION")  # fmt: skip
    target, before = (
        find_generation(link, name, alias.generation),
        find_generation(link, name, alias.previous),
    )
    live, old = sided(target), sided(before)
    swapped_at = _swapped_at(link, name)
    baseline = ask(old, max(limits.k, 10), breadth=breadth)
    excused = _excused(gold, baseline, limits)
    looks = _seen(link, name, target.generation, alias.epoch)
    resumed = len(looks)
    while True:
        look = _look(link, live, name, gold, baseline, limits, breadth, now())
        looks.append(look)
        _remember(link, name, before, target, alias, actor, look)
        point("index:watch:looked")
        over = look.at - swapped_at >= window
        judged = judge_looks(looks, over=over, gap=3 * interval, excused=excused)
        if judged.answer is not None:
            break
        tell(f"watching {name}, delta-S {_told(look.delta_s_diff)}", (look.at - swapped_at) / window)
        sleep(min(interval, max(0.01, window - (look.at - swapped_at))))
    accepted, advice = False, ""
    if judged.answer is Verdict.FAIL or judged.condition in ("begun", "delta-s-diff"):
        judged, accepted, advice = _directed(link, opened, target, before, judged)
    if judged.answer is Verdict.FAIL:
        move = next(iter(fed_by(link, name).values()), "")
        if move:
            judged, advice = _left_to(move, name, judged), f"lockgate move rollback {move}"
        else:
            judged = _or_hold(link, opened, name, before, judged)
    assert judged.answer is not None
    back = _roll_back(link, opened, name, actor, judged, accepted) if judged.answer is Verdict.FAIL else None
    return Watched(
        name, target.generation, before.generation, judged.answer, judged.condition, judged.reason, tuple(looks), resumed,
        round(looks[-1].at - swapped_at, 3), back.after if back is not None else "", advice,
    )  # fmt: skip


def _left_to(move: str, name: str, judged: Watching) -> Watching:
    """A failed watch of an index that a move feeds: only the move carries what waits, asks whether both are equal, and writes down that its cutover is taken back."""
    return judged._replace(answer=Verdict.HOLD, reason=f"{judged.reason}; not taken back by itself, as the move {move} feeds {name}: only it knows whether the old generation has every write since the swap")  # fmt: skip


def _or_hold(
    link: Link, opened: Callable[[Generation], SearchStore], name: str, before: Generation, judged: Watching
) -> Watching:  # fmt: skip
    """A failed watch goes back by itself unless that loses writes: then a person decides. Records that vanished are no reason to stay, as they are what a watch has to see."""
    try:
        found = behind(link, opened, name)
    except (LockgateError, ServerError):
        if not link.alive:
            raise
        return judged  # what cannot be read is no place to stay at
    if not found.written:
        return judged
    lost = in_words(found._replace(deleted=()), before.generation)
    return judged._replace(answer=Verdict.HOLD, reason=f"{judged.reason}; not taken back by itself, as what serves was written to since its seal: {lost}")  # fmt: skip


def _directed(
    link: Link, opened: Callable[[Generation], SearchStore], target: Generation, before: Generation, judged: Watching
) -> tuple[Watching, bool, str]:  # fmt: skip
    """What was judged, in the light of what the generation before is now; whether going back accepts that it is not what was sealed; and what to do else.

    A comparison does not say which of the two changed. Where the one before is not what was sealed, a difference may be its own loss, and going back would lead to it,
    unless somebody writes to what serves and the one before has all of that.
    """
    old = unlike_seal(link, before, opened(before), whole=True)
    if not old:
        return judged, False, ""
    if judged.answer is Verdict.FAIL and keeps_up(link, opened, before.name):
        return judged, True, ""
    new = unlike_seal(link, target, opened(target), whole=True)
    whose = (
        f"{target.generation} differs, too: {new}"
        if new
        else f"{target.generation}, which serves, is what was sealed"
    )
    told = judge_changed(
        judged, f"generation {before.generation} is not what was sealed ({old}); {whose}", blameless=not new
    )
    both = "--changed --lose-writes" if new else "--changed"
    return (
        told,
        False,
        f"lockgate index list {before.name} shows what each holds; lockgate index rollback {before.name} {both} goes back all the same",
    )


def _told(value: float | None) -> str:
    return "not measured" if value is None else f"{value:+.4f}"


def _look(
    link: Link, live: Side, name: str, gold: GoldSet, baseline: Run, limits: Limits, breadth: int, at: float
) -> Look:  # fmt: skip
    """Ask every gold query through the alias; a query that fails is an error, an answer of another generation is told."""
    listed: dict[str, list[tuple[str, float]]] = {}
    failed = elsewhere = 0
    for qid, question in live.questions.items():
        listed[qid] = []
        try:
            answer = live.store.query(name, question, baseline.depth, search=breadth)
        except (LockgateError, ServerError):
            if not link.alive:
                raise
            failed += 1
            continue
        elsewhere += answer.generation != live.row.physical
        listed[qid] = [(hit.id, hit.score) for hit in answer.hits]
    asked = max(1, len(listed))
    errors, other = failed / asked, elsewhere / asked
    if failed == len(listed) or not any(listed.values()):
        return Look(at, None, None, None, None, None, 1.0, other)
    known = within_corpus(gold, [baseline, make_run(live.row.generation, listed)])
    drift = compare(gold, [known[0]], [known[1]], limits)
    return figures(drift, at, errors, other)


def _excused(gold: GoldSet, baseline: Run, limits: Limits) -> tuple[str, ...]:
    """The conditions that the generation before would meet by itself."""
    one = within_corpus(gold, [baseline])
    look = figures(compare(gold, one, one, limits), 0.0, 0.0, 0.0)
    met = []
    for condition in CONDITIONS:
        value = getattr(look, condition.figure)
        if value is not None and (value > condition.limit if condition.above else value < condition.limit):
            met.append(condition.id)
    return tuple(met)


def _swapped_at(link: Link, name: str) -> float:
    found: float = link.value(
        "SELECT extract(epoch FROM swapped_at)::float8 FROM lockgate.index_alias WHERE name = $1", name
    )
    return found


def _seen(link: Link, name: str, generation: str, epoch: int) -> list[Look]:
    rows = link.rows(
        "SELECT details FROM lockgate.index_event WHERE name = $1 AND kind = 'look' AND to_generation = $2 AND details->>'epoch' = $3 ORDER BY id",
        name, generation, str(epoch),
    )  # fmt: skip
    return [msgspec.convert(_of(row[0])["look"], Look) for row in rows]


def _of(details: object) -> Mapping[str, object]:
    found = json.loads(details) if isinstance(details, str) else details
    assert isinstance(found, dict)
    return found


def _remember(
    link: Link, name: str, before: Generation, target: Generation, alias: Alias, actor: str, look: Look
) -> None:
    details = {"epoch": alias.epoch, "look": msgspec.to_builtins(look)}
    record_event(
        link, name, "look", actor, before=before.generation, after=target.generation, details=details
    )


def _roll_back(
    link: Link,
    opened: Callable[[Generation], SearchStore],
    name: str,
    actor: str,
    judged: Watching,
    accepted: bool,
) -> Swapped:
    back = previous_of(link, name)
    row = find_generation(link, name, back)
    done = swap(
        link, opened(row), opened, name, back, actor=actor, window_seconds=86_400.0, unvalidated=True, two_step=True,
        changed=accepted, kind="rollback",
    )  # fmt: skip
    record_event(link, name, ROLLED_BACK, actor, before=done.before, after=done.after, details={"condition": judged.condition, "reason": judged.reason})  # fmt: skip
    return done
