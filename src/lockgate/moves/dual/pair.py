"""Both sides of a dual-written move: what is declared and what the stores say about their tables → two ``Side``s, or the problems."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lockgate.errors import ConfigError, Refused, Unreachable
from lockgate.moves.dual.created import own_family, would_be
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.transforms import Map, Transform, load
from lockgate.stores.making import Field, Given
from lockgate.stores.open import open_store, sqlite_path
from lockgate.stores.side import Side, Switch
from lockgate.stores.speaking import Speaker, speak
from lockgate.stores.store import Store
from lockgate.stores.table import ANY, Column, Table, common_family


class NoTarget(Refused):
    """The table of the target is yet to be made."""


class Urls(NamedTuple):
    """Where both stores are. ``replica`` is a standby of the source that heavy reads go to; "" without one. ``lagging`` are replicas of MariaDB and MySQL, of source and target, whose lag is watched."""

    source: str
    target: str
    replica: str = ""
    lagging: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def both(self) -> tuple[str, str]:
        """Source and target."""
        return self.source, self.target


class Plan(NamedTuple):
    """How rows travel: the fields of both tables and what each side gives for the other, or what stands in the way (what, fix)."""

    key: tuple[str, ...]
    fields: tuple[tuple[Field, ...], tuple[Field, ...]]
    given: tuple[tuple[Given, ...], tuple[Given, ...]]
    problems: tuple[tuple[str, str], ...]


def urls(declared: DualDeclaration, environ: Mapping[str, str], *, reads: bool = False) -> Urls:
    """The URLs that ``declared`` names, that of a replica only for who ``reads`` much. Raises ``ConfigError``."""

    def of(variable: str, side: str) -> str:
        if not environ.get(variable):
            raise ConfigError(
                f"{side}.url_env: the variable {variable} is {'empty' if variable in environ else 'not set'}", "MOVE_DECLARATION",
                next=f"Set {variable}; another store is never taken instead.",
            )  # fmt: skip
        return environ[variable]

    d = declared
    return Urls(of(d.source.url_env, "source"), of(d.target.url_env, "target"), replica_url(d, environ) if reads else "", lag_urls(d, environ) if reads else ((), ()))  # fmt: skip


def lag_urls(
    declared: DualDeclaration, environ: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The URLs of the replicas that ``lag_env`` of source and target name. Raises ``ConfigError``."""
    found = []
    for side, variables in (("source", declared.source.lag_env), ("target", declared.target.lag_env)):
        for variable in variables:
            if not environ.get(variable):
                raise ConfigError(f"{side}.lag_env: the variable {variable} is {'empty' if variable in environ else 'not set'}", "MOVE_DECLARATION", next=f"Set {variable}, or take it out: then nobody watches that replica.")  # fmt: skip
        found.append(tuple(environ[v] for v in variables))
    return found[0], found[1]


def replica_url(declared: DualDeclaration, environ: Mapping[str, str]) -> str:
    """The URL of the standby that ``source.replica_env`` names; "" where it names none. Raises ``ConfigError``."""
    variable = declared.source.replica_env
    if variable and not environ.get(variable):
        raise ConfigError(
            f"source.replica_env: the variable {variable} is {'empty' if variable in environ else 'not set'}", "MOVE_DECLARATION",
            next=f"Set {variable}, or take it out to read from the primary.",
        )  # fmt: skip
    return environ[variable] if variable else ""


def plan(declared: DualDeclaration, source: Table, target: Table) -> Plan:
    """How rows travel between the two tables. Pure."""
    found: list[tuple[str, str]] = []
    here, there = ({c.name: c for c in t.columns if not c.generated} for t in (source, target))
    key = declared.key or next((u for u in source.unique if set(u) <= there.keys()), ())
    if not key:
        found.append(
            (f"{source.name} has no primary key that {target.name} has too", 'Name one: key = ["a", "b"]')
        )
    for side, table, columns in (("source", source, here), ("target", target, there)):
        missing = [k for k in key if k not in columns]
        if missing:
            found.append((f"the {side} {table.name} has no key column {', '.join(missing)}", "The key has one name on both sides."))  # fmt: skip
        elif key and not any(set(u) == set(key) for u in table.unique):
            found.append((f"no index of the {side} {table.name} makes ({', '.join(key)}) unique", "Create it: without it rows cannot be told apart."))  # fmt: skip
    found += _mapped(declared.columns, here, there, source.name, target.name, "columns", key)
    if not declared.one_way:
        found += _mapped(declared.reverse, there, here, target.name, source.name, "reverse", key)
    if found:
        return Plan(key, ((), ()), ((), ()), tuple(found))
    families = {n: common_family(here[n], there[n]) or "text" for n in here.keys() & there.keys()}

    def fields(columns: Mapping[str, Column], other: Mapping[str, Column]) -> tuple[Field, ...]:
        typed = any(c.family != ANY for c in other.values())
        return tuple(
            Field(c.name, families.get(c.name) or own_family(c, typed), c.type) for c in columns.values()
        )

    sides = fields(here, there), fields(there, here)
    given = (
        _given(declared.columns, sides[0], sides[1], {c.name: c.base for c in here.values()}),
        () if declared.one_way else _given(declared.reverse, sides[1], sides[0], {c.name: c.base for c in there.values()}),
    )  # fmt: skip
    return Plan(key, sides, given, ())


def _mapped(
    expressions: Map, origin: Mapping[str, Column], destination: Mapping[str, Column], from_: str, to: str, part: str, key: tuple[str, ...],
) -> list[tuple[str, str]]:  # fmt: skip
    found = []
    for name in expressions:
        if name not in destination:
            found.append(
                (f"{part}.{name}: {to} has no such column", f"Its columns: {', '.join(destination)}.")
            )
        if name in key:
            found.append((f"{part}.{name}: the key is copied as it is", f"Take {name} out of [{part}]."))
    for name, e in expressions.items():
        absent = [c for c in e.of if c not in origin] if isinstance(e, Transform) else []
        if absent:
            found.append((f"{part}.{name}.of: {from_} has no column {', '.join(absent)}", f"Its columns: {', '.join(origin)}."))  # fmt: skip
    for name, column in destination.items():
        if name in expressions:
            continue
        if name not in origin:
            if column.not_null:
                found.append((f"{to}.{name} is NOT NULL and nothing gives it a value", f'[{part}] {name} = "<SQL over {from_}>"'))  # fmt: skip
        elif not common_family(origin[name], column) and origin[name].base != column.base:
            found.append((f"{name} is {origin[name].type} in {from_} and {column.type} in {to}", f'Say how it becomes the other: [{part}] {name} = "..."'))  # fmt: skip
    for name in origin:
        if name not in destination and not any(
            name in (e.of if isinstance(e, Transform) else e) for e in expressions.values()
        ):
            found.append((f"{from_}.{name} has no place in {to}: its values would be lost", f"Add the column, use it in [{part}]" + ("." if part == "columns" else ", or declare one_way = true.")))  # fmt: skip
    return found


def _given(
    expressions: Map, origin: tuple[Field, ...], destination: tuple[Field, ...], bases: Mapping[str, str]
) -> tuple[Given, ...]:
    own = {f.name: f for f in origin}
    found = []
    for field in destination:
        by = expressions.get(field.name)
        if isinstance(by, Transform):
            found.append(Given(field.name, "", field.family, "", tuple(own[c] for c in by.of)))
        elif by is not None:
            found.append(Given(field.name, by, field.family, ""))
        elif field.name in own:
            found.append(Given(field.name, "", field.family, bases[field.name]))
    return tuple(found)


def bound(given: tuple[Given, ...], expressions: Map, speaker: Speaker) -> list[Given]:
    """``given`` as a side can use it: names quoted, functions loaded. Raises as ``transforms.load``."""
    found = []
    for g in given:
        by = expressions.get(g.name)
        if isinstance(by, Transform):
            found.append(g._replace(call=load(by)))
        else:
            found.append(g if g.expression else g._replace(expression=speaker.name(g.name)))
    return found


class Pair:
    """Both sides, open. Close it at the end; as a context manager it closes itself."""

    def __init__(self, source: Side, target: Side) -> None:
        self.source, self.target = source, target

    def of(self, serves: str) -> tuple[Side, Side]:
        """(the side called ``serves``, the other one)."""
        return (self.source, self.target) if serves == "source" else (self.target, self.source)

    def close(self) -> None:
        """Close both sessions."""
        self.source.speaker.close()
        self.target.speaker.close()

    @property
    def alone(self) -> bool:
        """True for the source by itself: there is nothing to be brought anywhere."""
        return self.source is self.target

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(declared: DualDeclaration, url: str, side: str) -> Store:
    """The store of a side. A file that is yet to be made is named with the command that makes it: a path with a slip would be one, too."""
    try:
        return open_store(url, f"move {declared.name} plan", side)
    except Unreachable as error:
        if side == "target" and declared.target.create and url.lower().startswith("sqlite:/"):
            path = sqlite_path(url)
            if not Path(path).exists():
                error.next = f"Where the path is the one that is meant: touch {shlex.quote(path)}; then lockgate move plan {declared.name}"
        raise


def tables(declared: DualDeclaration, places: Urls) -> tuple[Table, Table | None]:
    """Both tables as their stores describe them; None where the target is to be created."""
    found: list[Table | None] = []
    for url, name, side in ((places.source, declared.source.table, "source"), (places.target, declared.target.table, "target")):  # fmt: skip
        store = _opened(declared, url, side)
        try:
            found.append(store.describe(name))
        except ConfigError as error:
            if side == "source" or not declared.target.create or error.code != "TABLE_MISSING":
                raise
            found.append(None)
        finally:
            store.close()
    assert found[0] is not None
    return found[0], found[1]


def one_place(one: Speaker, other: Speaker, names: tuple[str, str]) -> tuple[bool, list[tuple[str, str]]]:
    """(whether both sides are one database, what stands in the way of that). Two URLs may say one place in different words."""
    if one.engine != other.engine or one.identity() != other.identity():
        return False, []
    if names[0] == names[1]:
        return True, [("source and target are one table", "Name two tables.")]
    if one.engine == "sqlite":
        return True, [("source and target are in one file of SQLite, which has one lock: both sides would shut each other out", "Let target.url_env name another file.")]  # fmt: skip
    return True, []


def place_problems(declared: DualDeclaration, places: Urls, names: tuple[str, str]) -> list[tuple[str, str]]:
    """What stands in the way of a move between these places, asked of both stores."""
    opened: list[Speaker] = []
    try:
        opened += [speak(url, f"move {declared.name} plan", side) for url, side in zip(places.both, ("source", "target"), strict=True)]  # fmt: skip
        return one_place(opened[0], opened[1], names)[1]
    finally:
        for one in opened:
            one.close()


def bare_pair(names: tuple[str, str], move: str, places: Urls, purpose: str) -> Pair:
    """Both sides without their columns, for what needs the side tables only: also where a table is gone, or the tables do not fit any more."""
    opened: list[Speaker] = []
    try:
        opened += [speak(url, f"move {move} {purpose}", side) for url, side in zip(places.both, ("source", "target"), strict=True)]  # fmt: skip
        shared, _ = one_place(opened[0], opened[1], names)
    except BaseException:
        for one in opened:
            one.close()
        raise
    tables = [
        Table(name, (), (), 0, speaker.engine, 0, "") for name, speaker in zip(names, opened, strict=True)
    ]
    sides = [Side(speaker, move, table, (), (), (), second=shared and speaker is opened[1]) for speaker, table in zip(opened, tables, strict=True)]  # fmt: skip
    return Pair(sides[0], sides[1])


def uncaptured(switch: Switch | None) -> bool:
    """True when the source serves and nothing is captured: no move was ever, or the last one ended before its cutover."""
    return switch is None or (switch.serves == "source" and not switch.active)


def source_alone(declared: DualDeclaration, places: Urls, purpose: str) -> Pair | None:
    """The source by itself, for who writes before the move starts or after it was aborted: the target need not be there. None while it is not ``uncaptured``."""
    engine = engine_of(
        places.target
    )  # what a value of a file of SQLite is taken for depends on what it becomes
    store = _opened(declared, places.source, "source")
    try:
        source = store.describe(declared.source.table)
    finally:
        store.close()
    made = plan(declared, source, would_be(source, declared.target.table, engine))
    fields = made.fields[0] or tuple(Field(c.name, own_family(c, engine != "sqlite"), c.type) for c in source.columns if not c.generated)  # fmt: skip
    speaker = speak(places.source, f"move {declared.name} {purpose}", "source")
    try:
        if not made.key:
            raise Refused(f"{source.name} has no primary key", "MOVE_REFUSED", next='Name one in the declaration: key = ["a", "b"]')  # fmt: skip
        side = Side(speaker, declared.name, source, made.key, fields, ())
        speaker.begin()
        try:
            free = uncaptured(side.switch())
        finally:
            speaker.rollback()
    except BaseException:
        speaker.close()
        raise
    if free:
        return Pair(side, side)
    speaker.close()
    return None


def engine_of(url: str) -> str:
    """The engine that ``url`` names."""
    scheme = url.partition(":")[0].lower()
    return "mysql" if scheme in ("mysql", "mariadb") else "sqlite" if scheme == "sqlite" else "postgres"


def open_pair(declared: DualDeclaration, places: Urls, purpose: str) -> Pair:
    """Open both sides. Raises ``Refused`` (``MOVE_REFUSED``) when the tables do not fit."""
    source, target = tables(declared, places)
    if target is None:
        raise NoTarget(f"there is no table {declared.target.table} yet", "MOVE_REFUSED", next=f"lockgate move start {declared.name}")  # fmt: skip
    made = plan(declared, source, target)
    if made.problems:
        raise Refused(made.problems[0][0], "MOVE_REFUSED", next=made.problems[0][1], details={"problems": [{"what": w, "fix": f} for w, f in made.problems]})  # fmt: skip
    opened: list[Speaker] = []
    try:
        opened += [speak(url, f"move {declared.name} {purpose}", side) for url, side in zip(places.both, ("source", "target"), strict=True)]  # fmt: skip
        shared, wrong = one_place(opened[0], opened[1], (source.name, target.name))
        if wrong:
            raise Refused(wrong[0][0], "MOVE_REFUSED", next=wrong[0][1])
        ready = [bound(g, part, s) for g, part, s in zip(made.given, (declared.columns, declared.reverse), opened, strict=True)]  # fmt: skip
    except BaseException:
        for one in opened:
            one.close()
        raise
    sides = [
        Side(speaker, declared.name, table, made.key, fields, given, second=shared and speaker is opened[1])
        for speaker, table, fields, given in zip(opened, (source, target), made.fields, ready, strict=True)
    ]  # fmt: skip
    return Pair(sides[0], sides[1])
