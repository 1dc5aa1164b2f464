"""Replaying RENAME and SET SCHEMA: a new name, followed through every reference."""

from msgspec import structs

from lockgate.policy.model import replay_indexes as indexes
from lockgate.policy.model.names import bare
from lockgate.policy.model.schema import Schema, key_of, schema_of
from lockgate.postgres.tree import words as w


def rename(schema: Schema, word: w.Rename, _file: int) -> None:
    """RENAME of relations, columns, constraints and types."""
    key = schema.resolve(word.name)
    if word.kind in ("table", "view", "matview", "sequence", "foreign_table", "index"):
        if key in schema.indexes:
            indexes.rename_index(schema, key, word.new)
        else:
            _move(schema, key, key_of(schema_of(key), word.new))
    elif word.kind in ("column", "attribute"):
        _rename_column(schema, key, word.sub, word.new)
    elif word.kind == "tabconstraint":
        _rename_constraint(schema, key, word.sub, word.new)
    elif word.kind in ("type", "domain"):
        old = schema.type_key(word.name.schema, word.name.name)
        _rename_type(schema, old, key_of(schema_of(old), word.new))
    elif word.kind == "statistic_ext":
        old = schema.type_key(word.name.schema, word.name.name)
        if old in schema.statistics:
            schema.statistics[key_of(schema_of(old), word.new)] = schema.statistics.pop(old)
    elif word.kind in ("function", "procedure", "routine"):
        old = schema.routine_key(word.name)
        _move_routine(schema, old, key_of(schema_of(old), word.new))
    elif word.kind == "schema":
        _rename_schema(schema, word.sub, word.new)


def _rename_schema(schema: Schema, old: str, new: str) -> None:
    """Everything in it has another key."""
    for key in [key for key in schema.relations if schema_of(key) == old]:
        _move(schema, key, key_of(new, bare(key)))
    for key in [key for key in schema.indexes if schema_of(key) == old]:
        indexes.move_index(schema, key, key_of(new, bare(key)))
    for key in [key for key in schema.types if schema_of(key) == old]:
        _rename_type(schema, key, key_of(new, bare(key)))
    for key in [key for key in schema.functions if schema_of(key) == old]:
        _move_routine(schema, key, key_of(new, bare(key)))
    for key in [key for key in schema.statistics if schema_of(key) == old]:
        schema.statistics[key_of(new, bare(key))] = schema.statistics.pop(key)
    if old in schema.schemas:
        schema.schemas[new] = schema.schemas.pop(old)


def _move_routine(schema: Schema, old: str, new: str) -> None:
    if old in schema.functions:
        schema.functions[new] = schema.functions.pop(old)
    if old in schema.routines:
        schema.routines[new] = schema.routines.pop(old)
    for state in schema.relations.values():
        for trigger in state.triggers.values():
            if trigger.routine == old:
                trigger.routine, trigger.function = new, bare(new)


def _rename_constraint(schema: Schema, key: str, old: str, new: str) -> None:
    for name in (key, *schema.descendants(key)):
        state = schema.relations.get(name)
        constraint = state.constraints.get(old) if state is not None else None
        if state is None or constraint is None or (name != key and constraint.kind != "check"):
            continue
        if constraint.index:
            indexes.rename_index(schema, constraint.index, new)
            continue
        state.constraints.pop(old)
        constraint.name = new
        state.constraints[new] = constraint
        if constraint.kind == "foreign":
            other = schema.relations.get(constraint.references)
            if other is not None and (name, old) in other.referenced_by:
                other.referenced_by[other.referenced_by.index((name, old))] = (name, new)


def _rename_type(schema: Schema, key: str, new: str) -> None:
    """A type, domain or composite has another key; columns, domains over it and tables made of it follow."""
    state = schema.types.pop(key, None)
    if state is None:
        return
    state.key = new
    schema.types[new] = state
    old_name, name, place = bare(key), bare(new), schema_of(new)

    def renamed(type: w.TypeName) -> w.TypeName:
        if type.name != old_name or schema.type_key(type.schema, old_name) not in (key, new):
            return type
        return structs.replace(type, name=name, schema="" if place == "public" else place)

    for relation in schema.relations.values():
        if relation.of_type == key:
            relation.of_type = new
        for column in relation.columns.values():
            column.type = renamed(column.type)
    for other in schema.types.values():
        if other.base is not None:
            other.base = renamed(other.base)
    if key in schema.relations:
        _move(schema, key, new)


def _swapped(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple([new if name == old else name for name in names]) if old in names else names


def _rename_column(schema: Schema, key: str, old: str, new: str) -> None:
    for name in (key, *schema.descendants(key), *schema.tables_of_type(key)):
        state = schema.relations.get(name)
        if state is None or old not in state.columns:
            continue
        state.columns = {new if column == old else column: value for column, value in state.columns.items()}
        state.columns[new].name = new
        for sequence in state.owned_sequences:
            if schema.relations[sequence].owner_column == old:
                schema.relations[sequence].owner_column = new
        for column in state.columns.values():
            column.reads = _swapped(column.reads, old, new)
        for constraint in state.constraints.values():
            constraint.columns = _swapped(constraint.columns, old, new)
            constraint.not_null = _swapped(constraint.not_null, old, new)
            if constraint.references == name:
                constraint.ref_columns = _swapped(constraint.ref_columns, old, new)
        for index in schema.indexes_of(name):
            index.columns = _swapped(index.columns, old, new)
            index.reads = _swapped(index.reads, old, new)
        for child, label in state.referenced_by:
            other = schema.relations.get(child)
            if other is not None and label in other.constraints:
                other.constraints[label].ref_columns = _swapped(
                    other.constraints[label].ref_columns, old, new
                )
        for trigger in state.triggers.values():
            trigger.columns, trigger.reads = (
                _swapped(each, old, new) for each in (trigger.columns, trigger.reads)
            )
        for guard in state.guards.values():
            guard.columns = _swapped(guard.columns, old, new)
        for view in state.dependents:
            if view in schema.relations:
                dependent = schema.relations[view]
                dependent.source_columns = _swapped(dependent.source_columns, old, new)


def _move(schema: Schema, old: str, new: str) -> None:
    """Give a relation another key and follow every reference to it."""
    schema.plain_names = False
    state = schema.relations.pop(old, None)
    if state is None:
        return
    state.key = new
    schema.relations[new] = state
    for index in schema.indexes_of(new):
        index.table = new
    for parent in state.parents:
        other = schema.relations.get(parent)
        if other is not None:
            other.children = [new if child == old else child for child in other.children]
            if other.default_partition == old:
                other.default_partition = new
    for child in state.children:
        other = schema.relations.get(child)
        if other is not None:
            other.parents = [new if parent == old else parent for parent in other.parents]
    for constraint in state.constraints.values():
        other = schema.relations.get(constraint.references) if constraint.references else None
        if other is not None:
            other.referenced_by = [
                (new if table == old else table, name) for table, name in other.referenced_by
            ]
        if constraint.references == old:
            constraint.references = new
            state.referenced_by = [
                (new if table == old else table, name) for table, name in state.referenced_by
            ]
    for relation in schema.relations.values():
        # Partitions repeat the keys of their parent, so every table may point here.
        for constraint in relation.constraints.values():
            if constraint.references == old:
                constraint.references = new
    for view in state.dependents:
        other = schema.relations.get(view)
        if other is not None:
            other.sources = [(new if source == old else source, mode) for source, mode in other.sources]
    for source, _ in state.sources:
        other = schema.relations.get(source)
        if other is not None:
            other.dependents = [new if view == old else view for view in other.dependents]
    for sequence in state.owned_sequences:
        schema.relations[sequence].owner_table = new
    keeper = schema.relations.get(state.owner_table)
    if keeper is not None:
        keeper.owned_sequences = [new if item == old else item for item in keeper.owned_sequences]
    if state.kind == "S":
        for relation in schema.relations.values():
            for column in relation.columns.values():
                if column.sequence == old:
                    column.sequence = new
    for name, table in schema.statistics.items():
        if table == old:
            schema.statistics[name] = new


def set_schema(schema: Schema, word: w.SetSchema, _file: int) -> None:
    """SET SCHEMA: indexes and owned sequences move along."""
    if word.kind in ("type", "domain"):
        old = schema.type_key(word.name.schema, word.name.name)
        _rename_type(schema, old, key_of(word.schema, bare(old)))
        return
    if word.kind in ("function", "procedure", "routine"):
        old = schema.routine_key(word.name)
        _move_routine(schema, old, key_of(word.schema, bare(old)))
        return
    if word.kind == "statistic_ext":
        old = schema.type_key(word.name.schema, word.name.name)
        if old in schema.statistics:
            schema.statistics[key_of(word.schema, bare(old))] = schema.statistics.pop(old)
        return
    old = schema.resolve(word.name)
    table = schema.relations.get(old)
    if table is None:
        return
    _move(schema, old, key_of(word.schema, bare(old)))
    for key in list(table.indexes):
        indexes.move_index(schema, key, key_of(word.schema, bare(key)))
    for sequence in list(table.owned_sequences):
        _move(schema, sequence, key_of(word.schema, bare(sequence)))
