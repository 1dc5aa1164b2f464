"""Which functions use a relation, a column or a function by name.

The server keeps no dependency of a body that is text: what the body names can be dropped, renamed or moved, and nothing
is said until the body runs. A body that was parsed when it was made (BEGIN ATOMIC) depends like a view, so it is left out.
"""

import re
from collections.abc import Collection, Iterator

from msgspec import Struct

from lockgate.policy.model.built_in import built_in_functions
from lockgate.policy.model.names import bare
from lockgate.policy.model.schema import Schema, Trigger, key_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.bodies import Step, steps_of
from lockgate.postgres.tree.lexing import dotted, parted, without_comments, words

_ROWS = ("new", "old")


class Use(Struct, frozen=True):
    """A function that uses something by name. ``sure``: a statement of it names just that, and not perhaps another."""

    routine: str
    sure: bool
    # "trigger NAME of TABLE", where one runs it.
    fired: str = ""


class _Body(Struct, frozen=True):
    """One body as the questions below need it."""

    routine: str
    steps: tuple[Step, ...]
    # Names, dots and percent signs outside of comments and texts, names as the server reads them.
    tokens: list[str]
    # All of it, for what is put together from text.
    lower: str
    path: list[str]

    def closed(self, *names: str) -> bool:
        """Whether it does something that cannot be read, and has all ``names`` somewhere in its text."""
        hidden = any(step.statement is None for step in self.steps)
        return hidden and all(
            re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", self.lower) for name in names
        )

    def means(self, name: w.Name, key: str, schema: Schema) -> bool | None:
        """Whether ``name`` in the body is the relation ``key``, there or gone; None where nobody can tell."""
        if name.schema:
            return key_of(name.schema, name.name) == key
        for path in self.path:
            candidate = key_of(path, name.name)
            if candidate == key or candidate in schema.relations:
                return candidate == key
        return None if name.name == bare(key) else False

    def before(self, name: str) -> set[str]:
        """What stands before ``name`` and a dot, wherever it occurs; "" where nothing does."""
        found = set()
        for at, token in enumerate(self.tokens):
            if token == name and self.tokens[at + 1 : at + 2] != ["."]:
                found.add(self.tokens[at - 2] if at > 1 and self.tokens[at - 1] == "." else "")
        return found

    def called(self, key: str) -> set[str]:
        """The relation's name and the names that follow it, among which are its aliases."""
        found = {bare(key)}
        for at, token in enumerate(self.tokens):
            if token == bare(key):
                found.update(self.tokens[at + 1 : at + 3])
        return found

    def holds(self, *tokens: str) -> bool:
        """Whether ``tokens`` stand in it one after the other."""
        size = len(tokens)
        return any(tuple(self.tokens[at : at + size]) == tokens for at in range(len(self.tokens) - size + 1))


def users_of_column(schema: Schema, key: str, column: str, *, dropped: bool) -> list[Use]:
    """The functions that use ``column`` of the relation, or of a partition or child of it."""
    family = [key, *schema.descendants(key)]
    fired = {state.routine for each in family for state in _triggers(schema, each)}
    return [
        _use(schema, body, sure)
        for body in _bodies(schema, [bare(each) for each in family], fired)
        if (sure := _of_column(schema, body, family, column, body.routine in fired, dropped)) is not None
    ]


def users_of_relation(schema: Schema, key: str) -> list[Use]:
    """The functions that name the relation."""
    return [
        _use(schema, body, sure)
        for body in _bodies(schema, [bare(key)])
        if (sure := _of_relation(schema, body, key)) is not None
    ]


def users_of_function(schema: Schema, key: str) -> list[Use]:
    """The functions that call the function."""
    return [
        _use(schema, body, sure)
        for body in _bodies(schema, [bare(key)])
        if body.routine != key and (sure := _of_function(schema, body, key)) is not None
    ]


def functions_called_in(schema: Schema, homes: Collection[str]) -> list[str]:
    """The keys of what bodies call in the schemas ``homes``, there or gone; by bare names too, where a body looks there."""
    found: dict[str, None] = {}
    for body in _bodies(schema, [""]):
        for prefix, plain in map(parted, _calls(body)):
            for home in [prefix] if prefix else body.path if plain not in built_in_functions() else ():
                if home in homes:
                    found[key_of(home, plain)] = None
    return list(found)


def _calls(body: _Body) -> Iterator[str]:
    """The functions and procedures that the statements of a body call, as they are written there."""
    for step in body.steps:
        query = getattr(step.statement, "query", None)
        if isinstance(query, w.Query):
            yield from query.functions
        if isinstance(step.statement, w.Call):
            name = step.statement.name
            yield dotted(*filter(None, (name.schema, name.name)))


def _bodies(schema: Schema, names: list[str], fired: Collection[str] = ()) -> Iterator[_Body]:
    """The bodies that hold one of ``names``, and those of the functions ``fired``."""
    for key, routines in schema.routines.items():
        for word in routines:
            lower = word.body.lower()
            held = key in fired or any(name.lower() in lower for name in names)
            if word.tree or not held:
                continue
            path = [part for part in word.search_path if part != "pg_catalog"] or schema.search_path
            text = without_comments(word.body).lower()
            yield _Body(key, steps_of(word), words(word.body), text, list(path))


def _triggers(schema: Schema, key: str) -> list[Trigger]:
    state = schema.relations.get(key)
    return list(state.triggers.values()) if state is not None else []


def _use(schema: Schema, body: _Body, sure: bool) -> Use:
    for key in schema.relations:
        for trigger in _triggers(schema, key):
            if trigger.routine == body.routine:
                return Use(body.routine, sure, f"trigger {trigger.name} of {key}")
    return Use(body.routine, sure)


def _named(word: w.Statement) -> Iterator[w.Name]:
    """The relations that a statement of a body names."""
    query = getattr(word, "query", None)
    if isinstance(query, w.Query):
        yield from (access.name for access in query.accesses)
        yield from (insert.target for insert in query.inserts)
        yield from (write.target for write in query.writes)
    if isinstance(word, w.Dml) and word.target is not None:
        yield word.target
    elif isinstance(word, w.AlterTable):
        yield word.name
    elif isinstance(word, (w.Truncate, w.LockTable)):
        yield from word.names


def _of_relation(schema: Schema, body: _Body, key: str) -> bool | None:
    told = [
        body.means(name, key, schema)
        for step in body.steps
        if step.statement
        for name in _named(step.statement)
    ]
    if True in told or body.holds(bare(key), "%", "rowtype"):
        return True
    return False if None in told or body.closed(bare(key)) else None


def _of_function(schema: Schema, body: _Body, key: str) -> bool | None:
    unsure = body.closed(bare(key))
    for prefix, plain in map(parted, _calls(body)):
        if plain != bare(key) or (not prefix and plain in built_in_functions()):
            continue
        keys = [key_of(part, plain) for part in ([prefix] if prefix else body.path)]
        there = next((one for one in keys if one == key or one in schema.functions), "")
        if there == key:
            return True
        unsure = unsure or not (there or prefix)
    return False if unsure else None


def _of_column(
    schema: Schema, body: _Body, family: list[str], column: str, fired: bool, dropped: bool
) -> bool | None:
    before = body.before(column)
    if fired and before & set(_ROWS):
        return True
    unsure = False
    for key in family:
        if body.holds(bare(key), ".", column, "%", "type"):
            return True
        unsure = unsure or body.closed(bare(key), column)
        for step in body.steps:
            if step.statement is not None:
                answer = _in_statement(schema, body, step.statement, key, column, dropped)
                if answer:
                    return True
                unsure = unsure or answer is False
    return False if unsure else None


def _in_statement(
    schema: Schema, body: _Body, word: w.Statement, key: str, column: str, dropped: bool
) -> bool | None:
    """Whether one statement uses the column of ``key``: surely, perhaps (False), or not at all (None)."""
    told = {name: body.means(name, key, schema) for name in _named(word)}
    query = getattr(word, "query", None)
    if not isinstance(query, w.Query) or not any(answer is not False for answer in told.values()):
        return None
    sure = True in told.values()
    if (
        isinstance(word, w.Dml)
        and word.target is not None
        and told.get(word.target)
        and column in word.columns
    ):
        return True
    if any(told.get(insert.target) and column in insert.columns for insert in query.inserts):
        return True
    answer: bool | None = None
    if dropped and isinstance(word, w.Dml) and word.insert is not None and not word.insert.columns:
        answer = _by_place(schema, word.insert, key, column, told.get(word.insert.target), star=query.star)
        if answer:
            return True
    before = body.before(column) - set(_ROWS)
    if column in query.column_refs and before:
        own = bool(before & {"", *body.called(key)})
        alone = all(_lacks(schema, body, name, column) for name, mine in told.items() if mine is False)
        return sure and own and alone
    hidden = (
        query.star or query.writes or (isinstance(word, w.Dml) and (word.on_conflict or word.kind == "merge"))
    )
    if hidden and before:
        return False
    return answer


def _by_place(
    schema: Schema, insert: w.Insert, key: str, column: str, mine: bool | None, *, star: bool
) -> bool | None:
    """An INSERT without a list of columns, once there is one column less."""
    state = schema.relations.get(key)
    if mine and state is not None and insert.width:
        return True if insert.width > len(set(state.columns) - {column}) else None
    return False if mine or star else None


def _lacks(schema: Schema, body: _Body, name: w.Name, column: str) -> bool:
    """Whether another relation of the statement is known not to have a column of that name."""
    keys = (
        [key_of(name.schema, name.name)] if name.schema else [key_of(part, name.name) for part in body.path]
    )
    states = [schema.relations[key] for key in keys if key in schema.relations]
    return bool(states) and bool(states[0].columns) and column not in states[0].columns
