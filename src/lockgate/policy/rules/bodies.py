"""Bodies of functions that use by name what a file takes from them."""

from collections.abc import Iterator

from msgspec import Struct

from lockgate.policy.hazard import WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.names import bare
from lockgate.policy.model.schema import Schema, key_of, schema_of
from lockgate.policy.model.spelling import spelled
from lockgate.policy.model.users import (
    Use,
    functions_called_in,
    users_of_column,
    users_of_function,
    users_of_relation,
)
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Judged
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.bodies import steps_of

_SETUP = """CREATE TABLE orders (id bigint PRIMARY KEY, note text);
CREATE TABLE audit (what text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (new.note); RETURN new; END $$;
CREATE TRIGGER orders_noted AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();"""
_BETTER = "CREATE OR REPLACE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES ('new'); RETURN new; END $$;"
_DROP = "ALTER TABLE orders DROP COLUMN note;"
_CONTRACT = "-- lockgate: phase=contract\n"
_RELATIONS = ("table", "view", "matview", "foreign_table")
_ROUTINES = ("function", "procedure", "routine")


class _Gone(Struct, frozen=True):
    """What a statement takes from its name: a column of a relation, a relation, or a function."""

    line: int
    how: str
    key: str
    column: str = ""
    routine: bool = False


@rule(
    Hazard(
        id="function-body-left-behind",
        name="Function left behind by what it uses",
        detects="DROP, RENAME or SET SCHEMA (of it, or of its schema) of a column, a table, a view or a function that the body of a function of an earlier file uses by name.",
        effect="The server keeps no dependency of a body that is text: it says nothing, and every call fails from then on; where a trigger runs it, every write of its table does.",
        workaround="CREATE OR REPLACE FUNCTION first, so that the body no longer uses it; where nobody can tell (SQL put together from text, records, equal names), look.",
        source="observed",
        setup=_SETUP,
        bad=_CONTRACT + _DROP,
        good=f"{_CONTRACT}{_BETTER}\n{_DROP}",
    ),
    scope="file",
)
def left_behind(tree: Tree) -> Iterator[Hit]:
    """What is gone at the end of the file, against the bodies as they are then: those that it replaced are well."""
    (file,) = tree.files
    schema = tree.schema
    for judged in file.judged:
        for gone in dict.fromkeys(gone for word in _words(judged) for gone in _taken(schema, judged, word)):
            for use in _users(schema, gone):
                what = f"{gone.key}()" if gone.routine else gone.key
                what = f"{what}.{gone.column}" if gone.column else what
                fails = (
                    f"and {use.fired} runs it: those writes fail" if use.fired else "and fails when it runs"
                )
                told = f"{use.routine}() uses {what}, which is {gone.how}, {fails}"
                perhaps = f"{use.routine}() may use {what}, which is {gone.how}; its body does not tell"
                perhaps += f", and {use.fired} runs it" if use.fired else ""
                yield Hit(
                    told if use.sure else perhaps,
                    f"-- in a file before this one:\nCREATE OR REPLACE FUNCTION {spelled(use.routine)}(…) …;"
                    f"   -- without {gone.column or bare(gone.key)}",
                    severity="" if use.sure else WARNING,
                    line=gone.line,
                )


def _users(schema: Schema, gone: _Gone) -> list[Use]:
    if gone.routine:
        return [] if gone.key in schema.functions else users_of_function(schema, gone.key)
    state = schema.relations.get(gone.key)
    if not gone.column:
        return [] if state is not None else users_of_relation(schema, gone.key)
    if state is None or gone.column in state.columns:
        return []
    return users_of_column(schema, gone.key, gone.column, dropped=gone.how == "dropped")


def _words(judged: Judged) -> Iterator[w.Statement]:
    """The statement, and those of a DO block."""
    yield judged.statement
    if isinstance(judged.statement, w.DoBlock):
        yield from (step.statement for step in steps_of(judged.statement) if step.statement is not None)


def _taken(schema: Schema, judged: Judged, word: w.Statement) -> Iterator[_Gone]:
    line = judged.line
    if isinstance(word, w.AlterTable):
        for action in word.actions:
            if isinstance(action, w.DropColumn):
                yield _Gone(line, "dropped", _before(schema, judged, word.name), action.column)
    elif isinstance(word, w.Rename) and word.kind == "column":
        yield _Gone(line, f"called {word.new} then", _before(schema, judged, word.name), word.sub)
    elif isinstance(word, (w.Rename, w.SetSchema)) and word.kind in (*_RELATIONS, *_ROUTINES):
        how = f"called {word.new} then" if isinstance(word, w.Rename) else f"in {word.schema} then"
        yield _whole(schema, judged, word.name, word.kind, how)
    elif isinstance(word, w.Rename) and word.kind == "schema":
        for key in [key for key in schema.relations if schema_of(key) == word.new]:
            yield _Gone(line, f"called {word.new}.{bare(key)} then", key_of(word.sub, bare(key)))
        for key in [key for key in schema.functions if schema_of(key) == word.new]:
            how = f"called {word.new}.{bare(key)} then"
            yield _Gone(line, how, key_of(word.sub, bare(key)), routine=True)
    elif isinstance(word, w.Drop):
        for name in word.names if word.kind in (*_RELATIONS, *_ROUTINES) else ():
            yield _whole(schema, judged, name, word.kind, "dropped")
        # What CASCADE takes was locked, too.
        for key in judged.facts.locks if word.cascade else ():
            yield _Gone(line, "dropped", key)
        if word.kind == "schema" and word.cascade:
            gone = {name.name for name in word.names}
            yield from (
                _Gone(line, "dropped", key, routine=True) for key in functions_called_in(schema, gone)
            )


def _whole(schema: Schema, judged: Judged, name: w.Name, kind: str, how: str) -> _Gone:
    if kind in _ROUTINES:
        return _Gone(judged.line, how, schema.type_key(name.schema, name.name), routine=True)
    return _Gone(judged.line, how, _before(schema, judged, name))


def _before(schema: Schema, judged: Judged, name: w.Name) -> str:
    """The key that ``name`` had when the statement ran; the statement locked it."""
    if name.schema:
        return key_of(name.schema, name.name)
    locked = [key for key in judged.facts.locks if bare(key) == name.name]
    return locked[0] if locked else schema.resolve(name)
