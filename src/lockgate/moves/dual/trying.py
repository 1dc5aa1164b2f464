"""Before a dual-written move starts: do its functions and expressions run, give the same twice, and does the way back bring back what was there?

Asked of the first rows of the source only, which is read and not changed. What SQL gives on the way back is asked of a target in PostgreSQL with
values of their types, for a source that has types, too; elsewhere a parameter has none of its own, 1.25 may come back as 1.2500, and a loss shows in the proof.
"""

from typing import NamedTuple

from lockgate.errors import Busy, LockgateError, Unreachable
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.dual.pair import Plan, Urls, bound
from lockgate.moves.transforms import Map, Transform
from lockgate.stores.making import Field, Given, Image, Texts, Unmade, make, plain
from lockgate.stores.neutral import canonical, neutral, read_sql, write_sql
from lockgate.stores.side import Side
from lockgate.stores.speaking import P, PostgresSpeaker, Rejected, Speaker, speak
from lockgate.stores.table import Table

ROWS = 1_000
SQL_ROWS = 100
"""Each asks the target once."""


class Tried(NamedTuple):
    """What stands in the way (what, fix), and what a person should know."""

    problems: list[tuple[str, str]]
    notes: list[str]


def tried(declared: DualDeclaration, places: Urls, source: Table, made: Plan) -> Tried:
    """Try what ``declared`` makes of the first rows of ``source``. Nothing to try where columns are taken as they are."""
    found = Tried([], [])
    if not declared.columns and not declared.reverse:
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
        try:
            first, second = side.between(None, high), side.between(None, high)
        except Rejected as error:
            found.notes.append(f"one of the first rows is refused ({error.message}): such rows go to quarantine, and block the end")  # fmt: skip
            return found
        except (Unreachable, Busy):
            raise
        except LockgateError as error:
            found.problems.append((f"[columns]: {error.message}", "Expressions are SQL over the source's columns, of its engine."))  # fmt: skip
            return found
        chosen = [g for g in back if g.name in declared.reverse]
        had = dict(side.rows([key for key, _ in first], [g.name for g in chosen]))
    finally:
        speaker.close()
    _judge(found, declared.columns, given, [image for _, image in first], [image for _, image in second])
    if not found.problems and chosen:
        _judge_back(found, declared, places, made, chosen, first, had, typed=source.engine == "postgres")
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
        if by is not None and any(
            a[at] != b[at] for a, b in zip(first, second, strict=True) if not isinstance(a, Unmade) and not isinstance(b, Unmade)
        ):  # fmt: skip
            found.problems.append((f"[columns] {g.name} {_by(by)} does not give the same twice", "Both sides could never be compared: take a value that depends on the row alone."))  # fmt: skip


def _by(by: str | Transform) -> str:
    return f"by {by.python}" if isinstance(by, Transform) else f"= {by!r}"


def _judge_back(
    found: Tried, declared: DualDeclaration, places: Urls, made: Plan, back: list[Given], first: list[tuple[Texts, Image]], had: dict[Texts, Texts], *, typed: bool,
) -> None:  # fmt: skip
    names = [g.name for g in made.given[0]]
    speaker = speak(places.target, f"move {declared.name} plan", "target")
    try:
        for at, g in enumerate(back):
            by = declared.reverse[g.name]
            if isinstance(by, Transform):
                if not set(by.of) <= set(names):
                    continue
            elif not typed or not isinstance(speaker, PostgresSpeaker):
                continue
            for key, image in first[: ROWS if g.of else SQL_ROWS]:
                if isinstance(image, Unmade):
                    continue
                try:
                    again = _back(speaker, g, names, plain(image), made.fields[1])
                except Rejected as error:
                    again = error.message
                except (Unreachable, Busy):
                    raise
                except LockgateError:
                    break  # it reads what the target alone makes
                if again is _UNMADE or canonical(again, g.family) != canonical(had[key][at], g.family):
                    found.problems.append((f"the way back is lossy: [reverse] {g.name} {_by(by)} does not bring back what the first {ROWS} rows hold", "Give a [reverse] that does, or one_way = true to go without a rollback."))  # fmt: skip
                    break
    finally:
        speaker.close()


_UNMADE = "\0"
"""No text of a store."""


def _back(speaker: Speaker, g: Given, names: list[str], image: Texts, fields: tuple[Field, ...]) -> str | None:  # fmt: skip
    """What the way back gives for the column ``g`` out of a row of the target as it would be."""
    values = dict(zip(names, image, strict=True))
    if g.of:
        again = make([g], [values[f.name] for f in g.of])
        return _UNMADE if isinstance(again, Unmade) else plain(again)[0]
    given = [f for f in fields if f.name in values]
    row = ", ".join(f"{write_sql(P, f.family, 'postgres', f.type)} AS {speaker.name(f.name)}" for f in given)
    rows = speaker.ask(f"SELECT {read_sql(f'({g.expression})::{g.type}' if g.type else g.expression, g.family, 'postgres')} FROM (SELECT {row}) f", *(values[f.name] for f in given))  # fmt: skip
    return None if rows[0][0] is None else neutral(rows[0][0], g.family)
