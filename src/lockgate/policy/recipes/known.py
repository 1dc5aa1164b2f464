"""The names of a call against the schema that the project's files build: a slip of the pen is refused before it is a file.

A table that the files do not make may be in the database all the same, so it is only told.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from msgspec import Struct, field

from lockgate.policy.model.names import bare
from lockgate.policy.model.replay import replay
from lockgate.policy.model.schema import Relation, Schema, schema_of
from lockgate.policy.model.spelling import quote, spelled
from lockgate.policy.recipes.left import checks, functions, views
from lockgate.policy.recipes.names import Table, name_of, names_of, split, table_of
from lockgate.policy.recipes.recipe import Partitions, RecipeError
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.postgres.tree import words as w

_SHOWN = 20
_TABLES = "rpf"
# Recipe → the parameters that name columns of `table`; all of them are there already.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "add-not-null": ("column",),
    "rename-column": ("column",),
    "change-type": ("column",),
    "drop-column": ("column",),
    "add-foreign-key": ("column",),
    "add-unique": ("columns",),
    "add-index": ("columns",),
    "split-table": ("key", "columns"),
    "partition-table": ("key", "by", "columns"),
}
# Recipe → the parameter that names columns of `table` that go in the end.
_DROPPED: Mapping[str, str] = {
    "rename-column": "column",
    "change-type": "column",
    "drop-column": "column",
    "split-table": "columns",
}
# What a migration selects as a matter of course, and what changes no table.
_HARMLESS = frozenset(
    {"setval", "nextval", "set_config", "pg_get_serial_sequence", "max", "min", "count", "now"}
)
_TYPED = ("split-table",)


class Known(Struct):
    """What the files build, and what of it is not sure."""

    schema: Schema = field(default_factory=Schema)
    # Tables that took columns from something that the files do not make.
    partial: set[str] = field(default_factory=set)
    # Statements that may do anything, and files that cannot be read, in small letters.
    hidden: list[str] = field(default_factory=list)

    def sure_of(self, state: Relation) -> bool:
        """Whether the columns of the table are those that the files say, and no others."""
        name = bare(state.key).lower()
        unsure = any(name in text or "execute" in text for text in self.hidden)
        return state.key not in self.partial and bool(state.columns) and not unsure


def learn(texts: Iterable[str]) -> Known:
    """The schema after the files ``texts``, in their order."""
    known = Known()
    for number, text in enumerate(texts):
        try:
            located = statements_of(text)
        except SyntaxProblem:
            known.hidden.append(text.lower())
            continue
        # Each file starts on a fresh session.
        known.schema.search_path = ["public"]
        raw = text.encode()
        for item in located:
            word = item.statement
            if _hides(word):
                known.hidden.append(raw[item.start : item.end].decode("utf-8", "replace").lower())
            borrowed = _borrows(known, word)
            replay(known.schema, word, number)
            if borrowed is not None:
                known.partial.add(known.schema.resolve(borrowed))
    known.schema.search_path = ["public"]
    return known


def _hides(word: w.Statement) -> bool:
    """Whether it may do anything: blocks, procedures, and queries that call functions."""
    called = (
        isinstance(word, w.Dml) and word.kind == "select" and not _HARMLESS.issuperset(word.query.functions)
    )
    return called or isinstance(word, (w.DoBlock, w.Call))


def _borrows(known: Known, word: w.Statement) -> w.Name | None:
    """The table that ``word`` makes with columns of something that is not known, or not known whole."""
    if isinstance(word, w.CreateTableAs):
        return word.name
    if not isinstance(word, w.CreateTable):
        return None
    sources = [*word.inherits, *(like.source for like in word.like)]
    sources += [] if word.partition_of is None else [word.partition_of]
    keys = [known.schema.resolve(name) for name in sources]
    unsure = any(key not in known.schema.relations or key in known.partial for key in keys)
    return word.name if unsure or word.of_type is not None else None


def partitions_of(values: Mapping[str, str], known: Known) -> Partitions | None:
    """The parts of the call's table, where the files make it a partitioned one. Raises ``RecipeError``."""
    if "table" not in values:
        return None
    table = table_of("table", values["table"])
    state = known.schema.get(w.Name(table.schema, table.name))
    if state is None or state.kind != "p":
        return None
    parts = [known.schema.relations[key] for key in known.schema.partitions(state.key)]
    obstacle = ""
    if any(part.kind == "p" for part in parts):
        obstacle = "its partitions are partitioned too; write the index of each level by hand"
    elif any(part.kind != "r" for part in parts):
        obstacle = "a partition of it is a foreign table, which has no index here"
    named = [
        ("" if schema_of(part.key) == "public" else schema_of(part.key), bare(part.key)) for part in parts
    ]
    return Partitions(tuple(named), state.partition_columns, obstacle)


def judge(recipe: str, values: Mapping[str, str], known: Known) -> list[str]:
    """What is worth telling of the names in a call that ``steps_of`` took.

    Raises ``RecipeError`` for a column that a known table does not have, and for a new one that it has.
    """
    if "table" not in values:
        return []
    state, notes = _table(known, "table", values["table"])
    if state is not None:
        for key in _COLUMNS.get(recipe, ()):
            notes += _columns(known, state, key, _named(recipe, key, values[key]), values[key])
            for name in _named(recipe, key, values[key]):
                _made_by_server(state, recipe, key, name, values)
        if recipe in ("rename-column", "change-type") and values.get("to"):
            _new(known, state, name_of("to", values["to"]))
        notes += _users(known, state, recipe, values)
    if recipe == "add-foreign-key":
        other, told = _table(known, "references", values["references"])
        notes += told
        if other is not None:
            given = values.get("references_column") or "id"
            notes += _columns(known, other, "references_column", names_of("references_column", given), given)
    return notes


def _users(known: Known, state: Relation, recipe: str, values: Mapping[str, str]) -> list[str]:
    """The views and functions that use what the contract file takes away."""
    if recipe == "drop-table":
        columns = [""]
    else:
        columns = _named(recipe, _DROPPED[recipe], values[_DROPPED[recipe]]) if recipe in _DROPPED else []
    left = [
        one
        for c in columns
        for find in (views, functions, checks)
        for one in find(known.schema, state.key, c)
    ]
    return [f"{one.said}: {one.remedy} before you promote the file that drops it" for one in left]


def _named(recipe: str, key: str, value: str) -> list[str]:
    if recipe in _TYPED and key == "columns":
        return [name_of(key, part.rpartition(":")[0]) for part in split(value)]
    return names_of(key, value)


def _table(known: Known, key: str, value: str) -> tuple[Relation | None, list[str]]:
    """The table as the files have it, or None and a note that they do not."""
    table: Table = table_of(key, value)
    state = known.schema.get(w.Name(table.schema, table.name))
    if state is not None and state.kind in _TABLES:
        return state, []
    if state is not None:
        raise RecipeError(f"{key}={value}: in the files this is no table")
    tables = [one.key for one in known.schema.relations.values() if one.kind in _TABLES]
    told = f"{key}={value}: no file makes this table, so its columns could not be looked up"
    return None, [f"{told}{_near(value, tables)}"]


def _columns(known: Known, state: Relation, key: str, names: list[str], value: str) -> list[str]:
    for name in names:
        if name not in state.columns:
            there = list(state.columns)
            more = f", and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
            told = f"{key}={value}: {state.key} has no column {name!r}{_near(name, there)}"
            if not known.sure_of(state):
                return [
                    f"{told}; not every statement of the files could be read for it, so this may be wrong"
                ]
            raise RecipeError(f"{told}; it has {', '.join(there[:_SHOWN])}{more}")
    return []


def _made_by_server(state: Relation, recipe: str, key: str, name: str, values: Mapping[str, str]) -> None:
    """Refuse what the recipe would have to write, or to keep in step, and the server makes by itself."""
    column = state.columns.get(name)
    if column is None:
        return
    where = f"{key}={values[key]}: {state.key}.{name}"
    beside = recipe in ("rename-column", "change-type")
    if column.generated:
        if beside:
            # In a BEFORE trigger a generated column is NULL, and what the trigger writes to it is thrown away.
            raise RecipeError(
                f"{where} is a generated column, which no trigger can keep in step with another: add a second generated column beside it "
                f"in a file, and drop this one with the recipe drop-column when no release reads it any more"
            )
        if recipe in ("split-table", "partition-table") and key != "by":
            raise RecipeError(
                f"{where} is a generated column, which the trigger of the new table cannot write: leave it out of {key}, "
                f"and generate it in the new table, in the file that makes that"
            )
        if values.get("fill") or (recipe == "drop-column" and values.get("default")):
            word = "fill" if values.get("fill") else "default"
            raise RecipeError(f"{where} is a generated column: it takes no {word}")
    if column.identity and beside:
        raise RecipeError(
            f"{where} is an identity column, whose sequence goes with it. In a file before: CREATE SEQUENCE, setval it, "
            f"ALTER TABLE {spelled(state.key)} ALTER COLUMN {quote(name)} DROP IDENTITY, ALTER COLUMN {quote(name)} SET DEFAULT nextval('…'); then call the recipe with default=nextval('…')"
        )
    # Of a key the trigger writes only new rows, and overrides the server's value in them.
    kept = recipe == "partition-table" and (column.identity == "d" or name in names_of("key", values["key"]))
    if column.identity and key == "columns" and not kept:
        raise RecipeError(
            f"{where} is an identity column, which the trigger that keeps both tables in step cannot write: "
            f"ALTER TABLE {spelled(state.key)} ALTER COLUMN {quote(name)} DROP IDENTITY in a file before"
        )


def _new(known: Known, state: Relation, name: str) -> None:
    if name in state.columns and known.sure_of(state):
        raise RecipeError(f"to={name}: {state.key} has a column of this name already")


def _near(name: str, names: list[str]) -> str:
    by_case = {one.lower(): one for one in names}
    near = [by_case[one] for one in get_close_matches(name.lower(), by_case, n=1, cutoff=0.5)]
    return f" (did you mean {near[0]}?)" if near else ""
