"""Before a dual-written move starts: do its Python functions load, give the same twice, and does the way back bring back what was there?

Asked of the first rows of the source only, which is read and not changed.
"""

from typing import NamedTuple

from lockgate.errors import LockgateError
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.dual.pair import Plan, Urls, bound
from lockgate.moves.transforms import Map, Transform
from lockgate.stores.making import Given, Image, Texts, Unmade, make
from lockgate.stores.neutral import canonical
from lockgate.stores.side import Side
from lockgate.stores.speaking import speak
from lockgate.stores.table import Table

ROWS = 1_000


class Tried(NamedTuple):
    """What stands in the way (what, fix), and what a person should know."""

    problems: list[tuple[str, str]]
    notes: list[str]


def tried(declared: DualDeclaration, places: Urls, source: Table, made: Plan) -> Tried:
    """Try the functions of ``declared`` on the first rows of ``source``. Nothing to try where all is SQL."""
    found = Tried([], [])
    if not any(isinstance(t, Transform) for part in (declared.columns, declared.reverse) for t in part.values()):  # fmt: skip
        return found
    speaker = speak(places.source, f"move {declared.name} plan", "source")
    try:
        try:
            given = bound(made.given[0], declared.columns, speaker)
            back = bound(made.given[1], declared.reverse, speaker)
        except LockgateError as error:
            found.problems.append((error.message, error.next))
            return found
        side = Side(speaker, declared.name, source, made.key, made.fields[0], given)
        high = side.boundary(None, ROWS)
        if high is None:
            return found
        first, second = side.between(None, high), side.between(None, high)
        chosen = [g for g in back if g.of]
        had = dict(side.rows([key for key, _ in first], [g.name for g in chosen]))
    finally:
        speaker.close()
    _judge(found, declared.columns, given, [image for _, image in first], [image for _, image in second])
    _judge_back(found, declared.reverse, [g.name for g in given], chosen, first, had)
    return found


def demanded(
    declared: DualDeclaration, places: Urls, source: Table, target: Table, key: tuple[str, ...]
) -> list[str]:
    """Columns that may be NULL in the source and not in the target, for people, with a row that is refused where there is one."""
    may = {c.name for c in source.columns if not c.not_null and c.name not in key} - declared.columns.keys()
    names = [c.name for c in target.columns if c.not_null and not c.generated and c.name in may]
    if not names:
        return []
    speaker = speak(places.source, f"move {declared.name} plan", "source")
    try:
        told = []
        keys = ", ".join(speaker.name(k) for k in key)
        for name in names:
            rows = speaker.ask(f"SELECT {keys} FROM {speaker.name(source.name)} WHERE {speaker.name(name)} IS NULL LIMIT 1")  # fmt: skip
            seen = f"such as the one with the key ({', '.join(map(str, rows[0]))})" if rows else "though none is NULL now"  # fmt: skip
            told.append(f"{target.name}.{name} is NOT NULL and {source.name}.{name} may be NULL, {seen}: such rows go to quarantine, and block the end")  # fmt: skip
    finally:
        speaker.close()
    return told


def _judge(found: Tried, columns: Map, given: list[Given], first: list[Image], second: list[Image]) -> None:
    unmade = [image for image in first if isinstance(image, Unmade)]
    if unmade:
        found.notes.append(f"{len(unmade)} of the first {len(first)} rows are refused ({unmade[0].reason}): such rows go to quarantine, and block the end")  # fmt: skip
    for at, g in enumerate(given):
        by = columns.get(g.name)
        if isinstance(by, Transform) and any(
            a[at] != b[at] for a, b in zip(first, second, strict=True) if not isinstance(a, Unmade) and not isinstance(b, Unmade)
        ):  # fmt: skip
            found.problems.append((f"[columns] {g.name} by {by.python} does not give the same twice", "Both sides could never be compared: take a value that depends on the row alone."))  # fmt: skip


def _judge_back(
    found: Tried, reverse: Map, names: list[str], back: list[Given], first: list[tuple[Texts, Image]], had: dict[Texts, Texts],
) -> None:  # fmt: skip
    for at, g in enumerate(back):
        by = reverse[g.name]
        if not isinstance(by, Transform) or not set(by.of) <= set(names) or found.problems:
            continue
        for key, image in first:
            if isinstance(image, Unmade):
                continue
            values = dict(zip(names, image, strict=True))
            again = make([g], [values[c] for c in by.of])
            if isinstance(again, Unmade) or canonical(again[0], g.family) != canonical(had[key][at], g.family):  # fmt: skip
                found.problems.append((f"the way back is lossy: [reverse] {g.name} by {by.python} does not bring back what the first {ROWS} rows hold", "Give a [reverse] that does, or one_way = true to go without a rollback."))  # fmt: skip
                break
