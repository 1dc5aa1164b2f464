"""What of the source the target does not hold: values that its types would round or refuse, and rules and indexes that a table which is made has not. Only looks."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from lockgate.moves.dual.created import digits
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.dual.pair import Urls
from lockgate.stores.rules import Rules, rules
from lockgate.stores.speaking import MysqlSpeaker, Speaker, speak
from lockgate.stores.table import Column, Table


class Fitting(NamedTuple):
    """What stands in the way (what, fix), and what a person should know."""

    problems: list[tuple[str, str]]
    notes: list[str]


class Doubt(NamedTuple):
    """A column whose type in the target holds less: which rows do not fit (SQL of the source), and what becomes of them."""

    column: Column
    other: Column
    condition: str
    becomes: str
    fix: str


def fitting(declared: DualDeclaration, places: Urls, source: Table, target: Table, key: Sequence[str], *, there: bool) -> Fitting:  # fmt: skip
    """Values and rules of ``source`` that ``target`` does not hold. ``there``: the target exists, else it is made."""
    found = Fitting([], [])
    purpose = f"move {declared.name} plan"
    with closing(speak(places.source, purpose, "source")) as one:
        late = 2038
        with closing(speak(places.target, purpose, "target")) as other:
            if isinstance(other, MysqlSpeaker):
                late = _last_year(other)
            has = rules(other, target.name) if there else Rules()
        here = {c.name: c for c in source.columns}
        pairs = [(here[c.name], c) for c in target.columns if c.name in here and c.name not in declared.columns and not c.generated]  # fmt: skip
        keys = ", ".join(one.name(k) for k in key)
        for doubt in [d for a, b in pairs if (d := _doubt(one, source, a, target, b, late)) is not None]:
            name = doubt.column.name
            words = f"{name} is {doubt.column.type} in {source.name} and {doubt.other.type.removesuffix(' NULL DEFAULT NULL')} in {target.name}, which {doubt.becomes}"  # fmt: skip
            rows = one.ask(f"SELECT {keys} FROM {one.name(source.name)} WHERE {doubt.condition} LIMIT 1")
            if rows:
                found.problems.append((f"{words}: such as the row with the key ({', '.join(map(str, rows[0]))})", doubt.fix))  # fmt: skip
            else:
                found.notes.append(f"{words}; no row needs more now")
        found.notes.extend(_missing(rules(one, source.name), has, source, target, there=there))
    return found


def _doubt(one: Speaker, source: Table, a: Column, target: Table, b: Column, late: int) -> Doubt | None:
    """What a column of the target would do to values of the source; None where its type holds them all, or says nothing."""
    sql = one.name(a.name)
    own = "Make the table yourself with a type that holds them, or map the column in [columns] and [reverse]."
    if a.family == "decimal" and b.family in ("decimal", "integer") and target.engine != "sqlite":
        size, had = digits(b.type), digits(a.type)
        if size is None and b.family == "integer":
            size = (18, 0)
        if size is None or (had and had[1] <= size[1] and had[0] - had[1] <= size[0] - size[1]):
            return None
        return Doubt(a, b, f"{sql} <> ROUND({sql}, {size[1]}) OR ABS({sql}) >= 1{'0' * (size[0] - size[1])}", "rounds in silence, or refuses, what has more digits", own)  # fmt: skip
    if a.family == "timestamptz" and target.engine == "mysql" and b.family == "timestamptz" and source.engine == "postgres":  # fmt: skip
        last = "2038-01-19 03:14:07" if late == 2038 else "2106-02-07 06:28:15"
        return Doubt(
            a, b, f"{sql} < '1970-01-01 00:00:01+00' OR {sql} > '{last}+00'", f"holds the years 1970 to {late} and refuses others",
            "Make the table yourself with datetime(6), which holds them, and map the column in [columns] and [reverse].",
        )  # fmt: skip
    if source.engine == "mysql" and a.type.startswith("bigint") and "unsigned" in a.type and b.family in ("integer", "any") and "unsigned" not in b.type:  # fmt: skip
        return Doubt(a, b, f"{sql} > 9223372036854775807", "refuses what is above 9223372036854775807", own)
    return None


def _last_year(speaker: MysqlSpeaker) -> int:
    """The last year of a TIMESTAMP: MariaDB counts seconds without a sign since 11.5."""
    words = str(speaker.ask("SELECT version()")[0][0])
    major, minor = (int(n) for n in words.split(".")[:2])
    return 2106 if "MariaDB" in words and (major, minor) >= (11, 5) else 2038


def _missing(had: Rules, has: Rules, source: Table, target: Table, *, there: bool) -> list[str]:
    """What of the source's rules the target has not, for people. Of a table that is there only what can be told by the columns it is on."""
    name, other = source.name, target.name
    carried = {c.name for c in target.columns}
    told = []
    unique = [
        u for u in had.unique if {c.lower() for c in u} not in [{c.lower() for c in v} for v in has.unique]
    ]
    if unique:
        named = "; ".join(f"({', '.join(u)})" for u in unique)
        told.append(f"{other} has no UNIQUE on {named}, as {name} has: rows that the way back refuses get in after the cutover; create it on the target before that, once the copy is complete")  # fmt: skip

    def lacks(here: Mapping[str, str], own: Mapping[str, str]) -> str:
        return ", ".join(c for c in here if c not in own)

    if columns := lacks(had.defaults, has.defaults):
        told.append(f"{other} has no DEFAULT for {columns}, as {name} has: set it on the target before the cutover, for rows that do not name them")  # fmt: skip
    # Every INTEGER PRIMARY KEY of SQLite gives numbers, also where nobody asks for one.
    given = {c: by for c, by in had.numbered.items() if not (there and by == "rowid")}
    if columns := lacks(given, has.numbered):
        told.append(f"{other} gives no numbers for {columns}, as {name} does (identity, serial, AUTO_INCREMENT): set that on the target before the cutover, above the highest one")  # fmt: skip
    if columns := ", ".join(c.name for c in source.columns if c.generated and c.name not in carried):
        told.append(f"{other} has no {columns}, which {name} generates: it is not copied; add it to the target before the cutover where it is read")  # fmt: skip
    if there:
        return told
    if had.choices:
        told.append(f"{', '.join(f'{c} ({t})' for c, t in had.choices.items())}: a table that is made takes any text there, and the way back refuses what {name} does not know")  # fmt: skip
    for what, names in (("CHECK constraints", had.checks), ("foreign keys", had.references), ("indexes that are not unique, or not on columns alone,", had.indexes)):  # fmt: skip
        if names:
            told.append(f"{what} of {name} ({', '.join(names)}) are not copied to a created table; add them before the cutover")  # fmt: skip
    return told
