"""Replaying a statement: the model before becomes the model after.

Replay never judges and never fails: a statement on something the model does not know changes nothing.
"""

from collections.abc import Callable
from typing import Any

from msgspec import structs

from lockgate.policy.model import replay_alter, replay_indexes, replay_rename, replay_tables
from lockgate.policy.model.drops import closure_of, servers_of
from lockgate.policy.model.filling import empty, fill
from lockgate.policy.model.forgetting import forget, forget_guard
from lockgate.policy.model.replay_tables import asked_sequence
from lockgate.policy.model.schema import (
    Guard,
    Published,
    Relation,
    Schema,
    Trigger,
    UserType,
    key_of,
    schema_of,
)
from lockgate.policy.model.settings import set_variable, settings
from lockgate.policy.model.tablespaces import moved
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.bodies import steps_of
from lockgate.postgres.tree.lexing import parted


def replay(schema: Schema, statement: w.Statement, file: int) -> None:
    """Change ``schema`` as ``statement`` of file number ``file`` would."""
    handler = _HANDLERS.get(type(statement))
    if handler is not None:
        handler(schema, statement, file)


def _drop(schema: Schema, word: w.Drop, _file: int) -> None:
    closure = closure_of(schema, word.kind, word.names, word.subs, cascade=word.cascade)
    forget(schema, closure)
    for position, name in enumerate(word.names):
        state = schema.get(name)
        if word.kind == "schema":
            schema.schemas.pop(name.name, None)
            for key in [key for key in schema.functions if word.cascade and schema_of(key) == name.name]:
                schema.functions.pop(key)
                schema.routines.pop(key, None)
        elif word.kind in ("foreign_server", "fdw"):
            for server in servers_of(schema, word.kind, name.name):
                schema.servers.pop(server, None)
        elif word.kind == "extension":
            schema.extensions.pop(name.name, None)
        elif word.kind in ("function", "procedure", "routine"):
            key = schema.routine_key(name)
            schema.functions.pop(key, None)
            schema.routines.pop(key, None)
        elif word.kind == "statistic_ext":
            schema.statistics.pop(schema.type_key(name.schema, name.name), None)
        elif word.kind == "publication":
            schema.publications.pop(name.name, None)
        elif state is not None and word.kind == "trigger":
            for key in (state.key, *schema.descendants(state.key)):
                schema.relations[key].triggers.pop(word.subs[position], None)
        elif state is not None and word.kind in ("policy", "rule"):
            forget_guard(state, f"{word.kind} {word.subs[position]}")


def _view(schema: Schema, word: w.CreateView, file: int) -> None:
    key = schema.resolve(word.name) if word.replace else schema.new_key(word.name, word.persistence)
    before = schema.relations.get(key)
    if before is not None and before.kind == "v":
        for source, _ in before.sources:
            other = schema.relations.get(source)
            if other is not None and key in other.dependents:
                other.dependents.remove(key)
    dependents = before.dependents if before is not None else []
    schema.relations[key] = replay_tables.from_query(schema, key, "v", word.query, file)
    schema.relations[key].dependents = dependents


_EVENTS = ((4, "insert"), (8, "delete"), (16, "update"), (32, "truncate"))
"""Bits of a trigger's events (TRIGGER_TYPE_…)."""


def _trigger(schema: Schema, word: w.CreateTrigger, _file: int) -> None:
    state = schema.get(word.table)
    if state is None:
        return
    tables = [state.key, *schema.descendants(state.key)] if word.row and state.kind == "p" else [state.key]
    for key in tables:
        schema.relations[key].triggers[word.name] = trigger_of(schema, word)


def trigger_of(schema: Schema, word: w.CreateTrigger) -> Trigger:
    """The trigger that the statement makes."""
    events = tuple([event for bit, event in _EVENTS if word.events & bit])
    function = word.function or w.Name("", "")
    return Trigger(
        word.name,
        word.row,
        function.name,
        events if word.timing == "instead" else (),
        events,
        schema.routine_key(function),
        hesitates=word.when or word.deferred,
        columns=word.columns,
        transitions=word.transitions,
        reads=word.reads,
        before=word.timing == "before",
    )


def _reassign(schema: Schema, word: w.ReassignOwned, _file: int) -> None:
    new = "" if word.new in replay_alter.SELF else word.new
    owned: list[Relation | UserType] = [*schema.relations.values(), *schema.types.values()]
    for one in owned:
        if one.owner in word.roles:
            one.owner = new


def _move_all(schema: Schema, word: w.MoveAll, _file: int) -> None:
    target = "" if word.target == "pg_default" else word.target
    for key in moved(schema, word):
        if key in schema.indexes:
            schema.indexes[key].tablespace = target
        else:
            schema.relations[key].tablespace = target


def _policy(schema: Schema, word: w.Policy, _file: int) -> None:
    state = schema.get(word.table)
    if state is None:
        return
    label = f"policy {word.name}"
    sources = tuple([schema.resolve(access.name) for access in word.accesses])
    if word.create:
        if word.name not in state.policies:
            state.policies.append(word.name)
        state.guards[label] = Guard(word.name, sources, word.functions, word.roles, columns=word.columns)
    elif label in state.guards:
        guard = state.guards[label]
        guard.roles = word.roles or guard.roles
        guard.sources, guard.functions = sources or guard.sources, word.functions or guard.functions
        # An expression that stays is not told apart from one that is replaced.
        guard.columns = (*guard.columns, *word.columns)


def _rule(schema: Schema, word: w.CreateRule, _file: int) -> None:
    state = schema.get(word.table)
    if state is None:
        return
    if word.name not in state.rules:
        state.rules.append(word.name)
    names = [access.name for access in word.accesses if access.name.name not in ("old", "new")]
    sources = tuple([schema.resolve(name) for name in names])
    state.guards[f"rule {word.name}"] = Guard(word.name, sources, word.functions, rule=word)


def _sequence(schema: Schema, word: w.CreateSequence, file: int) -> None:
    key = schema.new_key(word.name, word.persistence)
    if key in schema.relations:
        return
    schema.relations[key] = Relation(key, "S", persistence=word.persistence, created_file=file)
    if word.owned_by is not None:
        replay_tables.own_sequence(schema, key, word.owned_by[0], word.owned_by[1])


def _alter_sequence(schema: Schema, word: w.AlterSequence, _file: int) -> None:
    state = schema.get(word.name)
    if state is None or not (word.owned_by or word.owned_by_none):
        return
    owner = schema.relations.get(state.owner_table)
    if owner is not None and state.key in owner.owned_sequences:
        owner.owned_sequences.remove(state.key)
    state.owner_table = state.owner_column = ""
    if word.owned_by is not None:
        replay_tables.own_sequence(schema, state.key, word.owned_by[0], word.owned_by[1])


def _create_type(schema: Schema, word: w.CreateType, file: int) -> None:
    key = schema.type_key(word.name.schema, word.name.name)
    schema.types[key] = UserType(key, word.kind, list(word.labels), created_file=file)
    if word.kind == "composite":
        state = Relation(key, "c", created_file=file)
        for column in word.columns:
            replay_tables.add_column(schema, state, column)
        schema.relations[key] = state


def _alter_enum(schema: Schema, word: w.AlterEnum, _file: int) -> None:
    state = schema.types.get(schema.type_key(word.name.schema, word.name.name))
    if state is None:
        return
    if word.renamed_from:
        state.labels = [word.value if label == word.renamed_from else label for label in state.labels]
    elif word.value not in state.labels:
        at = (
            state.labels.index(word.beside) + word.after if word.beside in state.labels else len(state.labels)
        )
        state.labels.insert(at, word.value)


def _create_domain(schema: Schema, word: w.CreateDomain, file: int) -> None:
    key = schema.type_key(word.name.schema, word.name.name)
    constraints: dict[str, bool] = {}
    for constraint in word.constraints:
        number = len(constraints) or ""
        constraints[constraint.name or f"{word.name.name}_check{number}"] = not constraint.not_valid
    schema.types[key] = UserType(key, "domain", [], word.base, constraints, word.not_null, file)
    for constraint in word.constraints:
        _checks(schema.types[key], constraint)
    above = schema.user_type(word.base)
    if word.default is None and above is not None and above.kind == "domain" and not word.base.array:
        # What the other domain has at this moment becomes its own.
        made = schema.types[key]
        made.has_default, made.sequence = above.has_default, above.sequence
        made.default_functions = above.default_functions
    _default(schema, schema.types[key], word.default)


def _default(schema: Schema, state: UserType, default: w.Expression | None) -> None:
    if default is not None:
        state.has_default = not default.null
        state.default_functions = default.functions
        state.sequence = asked_sequence(schema, default)


def _checks(state: UserType, constraint: w.Constraint) -> None:
    if constraint.expression is not None:
        state.functions = (*state.functions, *constraint.expression.functions)


def _conversion(schema: Schema, word: w.CreateConversion, _file: int) -> None:
    """An operator is a function by another name; a cast runs one whenever a value becomes the type."""
    key = schema.routine_key(word.function)
    if word.operator:
        schema.functions[f"operator {word.operator}"] = schema.functions.get(key, "volatile")
        schema.routines[f"operator {word.operator}"] = schema.routines.get(key, ())
    state = schema.user_type(word.type) if word.type is not None else None
    if state is not None:
        state.functions = (*state.functions, key)


def _alter_domain(schema: Schema, word: w.AlterDomain, _file: int) -> None:
    state = schema.types.get(schema.type_key(word.name.schema, word.name.name))
    if state is None:
        return
    if word.what == "add" and word.constraint is not None:
        name = word.constraint.name or f"{word.name.name}_check{len(state.constraints) or ''}"
        state.constraints[name] = not word.constraint.not_valid
        _checks(state, word.constraint)
    elif word.what == "drop":
        state.constraints.pop(word.constraint_name, None)
    elif word.what == "validate":
        state.constraints[word.constraint_name] = True
    elif word.what in ("set_not_null", "drop_not_null"):
        state.not_null = word.what == "set_not_null"
    elif word.what == "default":
        state.has_default, state.default_functions, state.sequence = False, (), ""
        _default(schema, state, word.default)


def _create_schema(schema: Schema, word: w.CreateSchema, file: int) -> None:
    schema.schemas.setdefault(word.name, file)
    path = schema.search_path
    schema.search_path = [word.name, *path]
    for element in word.elements:
        replay(schema, element, file)
    schema.search_path = path


def _extension(schema: Schema, word: w.CreateExtension, _file: int) -> None:
    if word.create and word.name not in schema.extensions:
        schema.extensions[word.name] = word.version
        schema.extension_schemas[word.name] = word.schema or (schema.search_path or ["public"])[0]


def _server(schema: Schema, word: w.CreateServer, _file: int) -> None:
    schema.servers[word.name] = word.wrapper


def _function(schema: Schema, word: w.CreateFunction, _file: int) -> None:
    key = schema.type_key(word.name.schema, word.name.name)
    schema.functions[key] = word.volatility
    made = word.routine
    others = [routine for routine in schema.routines.get(key, ()) if routine.signature != made.signature]
    schema.routines[key] = (*others, made)


def _alter_function(schema: Schema, word: w.AlterFunction, _file: int) -> None:
    """What runs with another search path is another body; where nobody can tell which, none is known."""
    key = schema.routine_key(word.name)
    known = () if word.unclear else schema.routines.get(key, ())
    if key in schema.functions:
        schema.routines[key] = tuple(
            [
                structs.replace(
                    routine,
                    search_path=word.search_path or routine.search_path,
                    strict=routine.strict or word.strict,
                )
                for routine in known
            ]
        )


def _statistics(schema: Schema, word: w.CreateStatistics, _file: int) -> None:
    if word.table is None:
        return
    table = schema.resolve(word.table)
    name = word.name.name
    if not name:
        taken = {parted(key)[1] for key in schema.statistics}
        number = ""
        while f"{word.table.name}_stat{number}" in taken:
            number = str(int(number or 0) + 1)
        name = f"{word.table.name}_stat{number}"
    schema.statistics[key_of(word.name.schema or schema_of(table), name)] = table


def _publication(schema: Schema, word: w.Publication, _file: int) -> None:
    before = schema.publications.get(word.name)
    if before is None or word.create:
        before = schema.publications[word.name] = Published(all_tables=word.all_tables)
    if word.what == "set":
        before.tables.clear()
        before.reads.clear()
    for name, columns, reads in zip(word.tables, word.columns, word.reads, strict=True):
        key = schema.resolve(name)
        before.reads.pop(key, None)
        if word.what == "drop":
            before.tables.pop(key, None)
        else:
            before.tables[key] = columns
            if reads:
                before.reads[key] = reads


def _do(schema: Schema, word: w.DoBlock, file: int) -> None:
    _body(schema, word, file)


def _call(schema: Schema, word: w.Call, file: int) -> None:
    _routine(schema, word.name, file)


def _select(schema: Schema, word: w.Dml, file: int) -> None:
    """A function that a SELECT is sure to call may build something."""
    fill(schema, word)
    settings(schema, word)
    for name in word.query.calls if word.kind == "select" and word.runs else ():
        named, plain = parted(name)
        _routine(schema, w.Name(named, plain), file)


def _routine(schema: Schema, name: w.Name, file: int) -> None:
    words = schema.routines.get(schema.routine_key(name), ())
    if len(words) == 1 and not words[0].strict:
        _body(schema, words[0], file)


def _body(schema: Schema, word: w.DoBlock | w.Routine, file: int) -> None:
    """What is sure to run, and what a branch makes that is not there yet: IF NOT EXISTS, then CREATE."""
    for step in steps_of(word):
        made = step.statement
        if isinstance(made, w.Dml) and step.certain:
            settings(schema, made)
        if isinstance(made, w.Dml | w.Call | w.DoBlock) or made is None:
            continue  # what a body calls in turn is left out: few build tables two calls away
        replay_step(schema, made, file, certain=step.certain)


def replay_step(schema: Schema, made: w.Statement, file: int, *, certain: bool) -> None:
    """One statement of a body. What only may have been made is known by its columns, but it is neither new nor a proof."""
    if not isinstance(made, w.CreateTable | w.CreateType | w.CreateDomain):
        if certain:
            replay(schema, made, file)
        return
    key = schema.new_key(made.name, made.persistence) if isinstance(made, w.CreateTable) else ""
    there = (
        key in schema.relations if key else schema.type_key(made.name.schema, made.name.name) in schema.types
    )
    sure = certain and not (isinstance(made, w.CreateTable) and made.if_not_exists)
    if sure or not there:
        replay(schema, made, file if sure else -1)
    if key and not sure and not there:
        state = schema.relations[key]
        for column in state.columns.values():
            column.not_null = False
        for constraint in state.constraints.values():
            constraint.valid = constraint.valid and constraint.kind != "check"


_HANDLERS: dict[type, Callable[[Schema, Any, int], None]] = {
    w.CreateTable: replay_tables.create_table,
    w.CreateTableAs: replay_tables.create_table_as,
    w.CreateIndex: replay_indexes.create_index,
    w.Cluster: replay_indexes.cluster,
    w.AlterTable: replay_alter.alter_table,
    w.Rename: replay_rename.rename,
    w.SetSchema: replay_rename.set_schema,
    w.Drop: _drop,
    w.ReassignOwned: _reassign,
    w.MoveAll: _move_all,
    w.CreateView: _view,
    w.CreateTrigger: _trigger,
    w.Policy: _policy,
    w.CreateRule: _rule,
    w.CreateSequence: _sequence,
    w.AlterSequence: _alter_sequence,
    w.CreateType: _create_type,
    w.AlterEnum: _alter_enum,
    w.CreateDomain: _create_domain,
    w.AlterDomain: _alter_domain,
    w.CreateSchema: _create_schema,
    w.CreateExtension: _extension,
    w.CreateFunction: _function,
    w.CreateConversion: _conversion,
    w.AlterFunction: _alter_function,
    w.CreateServer: _server,
    w.CreateStatistics: _statistics,
    w.Publication: _publication,
    w.SetVariable: set_variable,
    w.DoBlock: _do,
    w.Call: _call,
    w.Dml: _select,
    w.Truncate: empty,
}
