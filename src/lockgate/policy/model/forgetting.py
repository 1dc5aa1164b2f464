"""Taking out of the model what a drop took with it."""

from lockgate.policy.model.drops import Closure
from lockgate.policy.model.schema import Relation, Schema


def forget_guard(state: Relation, label: str) -> None:
    """Take a policy or rule out of the model."""
    kind, _, name = label.partition(" ")
    listed = state.policies if kind == "policy" else state.rules
    if name in listed:
        listed.remove(name)
    state.guards.pop(label, None)


def forget(schema: Schema, closure: Closure) -> None:
    """Take what the closure names out of the model."""
    for table, label in closure.guards:
        state = schema.relations.get(table)
        if state is not None:
            forget_guard(state, label)
    for table, name in closure.triggers:
        state = schema.relations.get(table)
        if state is not None:
            state.triggers.pop(name, None)
    for table, name in closure.constraints:
        _forget_constraint(schema, table, name)
    for table, column in closure.columns:
        state = schema.relations.get(table)
        if state is not None:
            state.columns.pop(column, None)
            for name in [c.name for c in state.constraints.values() if column in c.columns]:
                _forget_constraint(schema, table, name)
    for key in closure.gone:
        if key in schema.indexes:
            forget_index(schema, key)
        elif key in schema.relations:
            _forget_relation(schema, schema.relations[key])
    for key in closure.types:
        schema.types.pop(key, None)


def _forget_constraint(schema: Schema, table: str, name: str) -> None:
    state = schema.relations.get(table)
    constraint = state.constraints.pop(name, None) if state is not None else None
    if constraint is None:
        return
    if constraint.kind == "foreign":
        other = schema.relations.get(constraint.references)
        if other is not None and (table, name) in other.referenced_by:
            other.referenced_by.remove((table, name))
    if constraint.index:
        forget_index(schema, constraint.index)


def forget_index(schema: Schema, key: str) -> None:
    """Take one index out of the model."""
    index = schema.indexes.pop(key, None)
    if index is None:
        return
    table = schema.relations.get(index.table)
    if table is not None and key in table.indexes:
        table.indexes.remove(key)
    parent = schema.indexes.get(index.parent)
    if parent is not None and key in parent.children:
        parent.children.remove(key)


def _forget_relation(schema: Schema, state: Relation) -> None:
    key = state.key
    for name in list(state.constraints):
        _forget_constraint(schema, key, name)
    for index in list(state.indexes):
        forget_index(schema, index)
    for parent in state.parents:
        other = schema.relations.get(parent)
        if other is not None:
            if key in other.children:
                other.children.remove(key)
            if other.default_partition == key:
                other.default_partition = ""
    for source, _ in state.sources:
        other = schema.relations.get(source)
        if other is not None and key in other.dependents:
            other.dependents.remove(key)
    owner = schema.relations.get(state.owner_table)
    if owner is not None and key in owner.owned_sequences:
        owner.owned_sequences.remove(key)
    schema.relations.pop(key, None)
