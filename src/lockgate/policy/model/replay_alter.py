"""Replaying ALTER TABLE, action by action."""

from collections.abc import Callable
from typing import Any

from lockgate.policy.model import replay_constraints as constraints
from lockgate.policy.model import replay_indexes as indexes
from lockgate.policy.model import replay_tables as tables
from lockgate.policy.model.defaults import domain_of
from lockgate.policy.model.drops import Closure
from lockgate.policy.model.forgetting import forget
from lockgate.policy.model.schema import Relation, Schema
from lockgate.policy.model.types import index_survives
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.lexing import parted

# Ways to name the role that runs the migrations.
SELF = ("", "current_user", "session_user", "current_role")


def alter_table(schema: Schema, word: w.AlterTable, file: int) -> None:
    """ALTER TABLE and its kin."""
    key = schema.resolve(word.name)
    state = schema.relations.get(key)
    if state is None:
        if key in schema.indexes:
            for action in word.actions:
                if isinstance(action, w.AttachPartition):
                    _attach_index(schema, key, schema.resolve(action.partition))
                elif isinstance(action, w.SetTablespace):
                    schema.indexes[key].tablespace = (
                        "" if action.tablespace == "pg_default" else action.tablespace
                    )
        if word.kind == "type":
            _own_type(schema, word)
        return
    # The server works through the actions in passes, whatever their order in the text.
    actions = sorted(word.actions, key=_pass) if len(word.actions) > 1 else word.actions
    # What a composite type gains or loses, the tables made OF it gain or lose.
    typed: list[Relation] = []
    if state.kind == "c":
        _own_type(schema, word)
        if not any(isinstance(action, w.OwnerTo) for action in word.actions):
            typed = [schema.relations[name] for name in schema.tables_of_type(key)]
    for action in actions:
        handler = _ACTIONS.get(type(action))
        if handler is not None:
            for relation in (state, *typed):
                handler(schema, relation, action, file, word.only)


def _own_type(schema: Schema, word: w.AlterTable) -> None:
    state = schema.types.get(schema.type_key(word.name.schema, word.name.name))
    for action in word.actions if state is not None else ():
        if isinstance(action, w.OwnerTo) and state is not None:
            state.owner = "" if action.role in SELF else action.role


_PASSES: dict[type, int] = {
    w.DropColumn: 0, w.DropConstraint: 0, w.DropNotNull: 0, w.AlterType: 1, w.AddColumn: 2, w.SetExpression: 3,
    w.SetNotNull: 5, w.AlterIdentity: 5, w.AddConstraint: 6, w.SetDefault: 6,
}  # fmt: skip


def _pass(action: w.Action) -> int:
    if isinstance(action, w.SetDefault) and action.default is None:
        return 0
    return _PASSES.get(type(action), 7)


def _family(schema: Schema, state: Relation, only: bool) -> list[Relation]:
    if only:
        return [state]
    return [state, *[schema.relations[key] for key in schema.descendants(state.key)]]


def _add_column(schema: Schema, state: Relation, action: w.AddColumn, file: int, only: bool) -> None:
    if action.if_not_exists and action.column.name in state.columns:
        return
    column = action.column
    made = tables.add_column(schema, state, column)
    for child in schema.descendants(state.key):
        relation = schema.relations[child]
        if column.name not in relation.columns:
            relation.columns[column.name] = type(made)(
                made.name, made.type, made.not_null, made.has_default, made.default_functions, made.identity,
                made.generated, made.reads, "" if made.identity else made.sequence, made.collation,
                default_null=made.default_null,
            )  # fmt: skip
    for constraint in column.constraints:
        constraints.add_constraint(schema, state, constraint, file)


def _drop_column(schema: Schema, state: Relation, action: w.DropColumn, _file: int, only: bool) -> None:
    closure = Closure(schema)
    closure.column(state.key, action.column, cascade=action.cascade, only=only)
    forget(schema, closure)


def _alter_type(schema: Schema, state: Relation, action: w.AlterType, _file: int, only: bool) -> None:
    for relation in _family(schema, state, only):
        column = relation.columns.get(action.column)
        if column is not None:
            if not index_survives(schema, column.type, action.type):
                for index in schema.indexes_reading(relation.key, action.column):
                    index.opclasses = ()
            column.type = action.type
            column.collation = action.collation


def _set_default(schema: Schema, state: Relation, action: w.SetDefault, _file: int, only: bool) -> None:
    for relation in _family(schema, state, only):
        column = relation.columns.get(action.column)
        if column is not None:
            column.has_default = action.default is not None and not action.default.null
            null = action.default is not None and action.default.null
            column.default_null = null and domain_of(schema, column) is not None
            column.default_functions = action.default.functions if action.default is not None else ()
            if not column.identity:
                column.sequence = (
                    tables.asked_sequence(schema, action.default) if action.default is not None else ""
                )


def _not_null(
    schema: Schema, state: Relation, action: w.SetNotNull | w.DropNotNull, _file: int, only: bool
) -> None:
    for relation in _family(schema, state, only):
        column = relation.columns.get(action.column)
        if column is not None:
            sets = isinstance(action, w.SetNotNull)
            if not sets and relation is not state and schema.version >= 18 and column.own_not_null:
                continue
            column.not_null_only_here = (
                sets and only and schema.version >= 18 and bool(state.children) and not column.not_null
            )
            column.not_null = sets
            column.not_null_valid = True
            column.own_not_null = sets and relation is state


def _identity(schema: Schema, state: Relation, action: w.AlterIdentity, _file: int, only: bool) -> None:
    column = state.columns.get(action.column)
    if column is None:
        return
    if action.what == "add":
        column.identity = "a"
        tables.make_sequence(schema, state, column, action.named)
    elif action.what == "drop":
        if not column.identity:
            return
        column.identity = ""
        closure = Closure(schema)
        if column.sequence in state.owned_sequences:
            closure.relation(column.sequence, cascade=False)
        column.sequence = ""
        forget(schema, closure)


def _add_constraint(schema: Schema, state: Relation, action: w.AddConstraint, file: int, only: bool) -> None:
    constraints.add_constraint(schema, state, action.constraint, file)


def _drop_constraint(
    schema: Schema, state: Relation, action: w.DropConstraint, _file: int, only: bool
) -> None:
    closure = Closure(schema)
    closure.constraint(state.key, action.name, only=only)
    for child in state.children if only else ():
        kept = schema.relations[child].constraints.get(action.name)
        if kept is not None:
            kept.inherited = False
    for table, name in closure.constraints:
        relation = schema.relations.get(table)
        constraint = relation.constraints.get(name) if relation is not None else None
        if relation is None or constraint is None:
            continue
        if constraint.kind == "check" and constraint.valid:
            relation.lost_proofs.update(dict.fromkeys(constraint.not_null, name))
        elif constraint.kind == "not_null":
            for key in (table, *(schema.descendants(table) if not only else ())):
                for column in constraint.columns:
                    own = schema.relations[key].columns.get(column)
                    if own is not None and (key == table or not own.own_not_null):
                        own.not_null = False
    forget(schema, closure)


def _validate(schema: Schema, state: Relation, action: w.ValidateConstraint, _file: int, only: bool) -> None:
    for relation in _family(schema, state, only):
        constraint = relation.constraints.get(action.name)
        if constraint is not None:
            constraint.valid = True
            for below in _family(schema, relation, only) if constraint.kind == "not_null" else ():
                for name in constraint.columns:
                    if name in below.columns:
                        below.columns[name].not_null_valid = True


def _alter_constraint(
    schema: Schema, state: Relation, action: w.AlterConstraint, _file: int, only: bool
) -> None:
    """ENFORCED checks the rows that are there, NOT ENFORCED trusts nothing."""
    constraint = state.constraints.get(action.name)
    if constraint is not None and action.enforced is not None:
        constraint.enforced = constraint.valid = action.enforced
    elif constraint is not None and action.inherited is not None:
        constraint.no_inherit = not action.inherited
    elif constraint is not None:
        constraint.deferred = action.deferred


def _toggle(schema: Schema, state: Relation, action: w.ToggleTrigger, _file: int, only: bool) -> None:
    for key in _family(schema, state, only):
        for name, trigger in schema.relations[key.key].triggers.items():
            if action.name in ("", name):
                trigger.enabled = action.enable and not action.replica


def _logged(schema: Schema, state: Relation, action: w.SetLogged, _file: int, only: bool) -> None:
    state.persistence = "p" if action.logged else "u"
    for sequence in state.owned_sequences:
        schema.relations[sequence].persistence = state.persistence


def _owner(_schema: Schema, state: Relation, action: w.OwnerTo, _file: int, only: bool) -> None:
    state.owner = "" if action.role in SELF else action.role


def _tablespace(_schema: Schema, state: Relation, action: w.SetTablespace, _file: int, only: bool) -> None:
    state.tablespace = "" if action.tablespace == "pg_default" else action.tablespace


def _replica(_schema: Schema, state: Relation, action: w.ReplicaIdentity, _file: int, only: bool) -> None:
    state.replica_identity = action.kind


def _cluster_on(schema: Schema, state: Relation, action: w.ClusterOn, _file: int, only: bool) -> None:
    indexes.cluster_on(schema, state.key, action.index)


def _row_security(_schema: Schema, state: Relation, action: w.RowSecurity, _file: int, only: bool) -> None:
    if action.what in ("enable", "disable"):
        state.row_security = action.what == "enable"


def _attach(schema: Schema, state: Relation, action: w.AttachPartition, file: int, only: bool) -> None:
    child = schema.get(action.partition)
    if child is None:
        return
    tables.adopt(schema, child, action_name(state), partition=True, default=action.default)
    child.bound = action.bound
    for index in schema.indexes_of(state.key):
        match = indexes.matching_index(schema, child.key, index)
        if match is None:
            match = indexes.copy_index(schema, child, index, file)
        match.parent = index.key
        index.children.append(match.key)
    constraints.inherit_foreign_keys(schema, child, state.key)


def action_name(state: Relation) -> w.Name:
    """The key of a relation as a name that resolves to it."""
    schema, name = parted(state.key)
    return w.Name(schema or "public", name)


def _attach_index(schema: Schema, parent: str, child: str) -> None:
    index, below = schema.indexes.get(parent), schema.indexes.get(child)
    if index is None or below is None or below.parent:
        return
    below.parent = parent
    index.children.append(child)
    table = schema.relations.get(index.table)
    if table is not None and len(index.children) >= len(table.children):
        index.valid = True


def _detach(schema: Schema, state: Relation, action: w.DetachPartition, _file: int, only: bool) -> None:
    child = schema.get(action.partition)
    if child is None or child.key not in state.children:
        return
    state.children.remove(child.key)
    child.parents.remove(state.key)
    child.partition, child.bound = False, None
    if state.default_partition == child.key:
        state.default_partition = ""
    for index in schema.indexes_of(child.key):
        parent = schema.indexes.get(index.parent)
        if parent is not None and parent.table == state.key:
            parent.children.remove(index.key)
            index.parent = ""
    for constraint in child.constraints.values():
        if constraint.inherited:
            constraint.inherited = False
            if constraint.kind == "foreign":
                other = schema.relations.get(constraint.references)
                if other is not None:
                    other.referenced_by.append((child.key, constraint.name))


def _inherit(schema: Schema, state: Relation, action: w.Inherit, _file: int, only: bool) -> None:
    parent = schema.get(action.parent)
    if parent is None:
        return
    if action.add:
        tables.adopt(schema, state, action_name(parent), partition=False)
    elif parent.key in state.parents:
        state.parents.remove(parent.key)
        parent.children.remove(state.key)


def _expression(schema: Schema, state: Relation, action: w.SetExpression, _file: int, only: bool) -> None:
    for relation in _family(schema, state, only):
        column = relation.columns.get(action.column)
        if column is not None:
            if action.expression is None:
                column.generated, column.reads = "", ()
            else:
                column.reads = action.expression.columns


_ACTIONS: dict[type, Callable[[Schema, Relation, Any, int, bool], None]] = {
    w.AddColumn: _add_column,
    w.DropColumn: _drop_column,
    w.AlterType: _alter_type,
    w.SetDefault: _set_default,
    w.SetNotNull: _not_null,
    w.DropNotNull: _not_null,
    w.SetExpression: _expression,
    w.AlterIdentity: _identity,
    w.AddConstraint: _add_constraint,
    w.DropConstraint: _drop_constraint,
    w.ValidateConstraint: _validate,
    w.AlterConstraint: _alter_constraint,
    w.SetLogged: _logged,
    w.ToggleTrigger: _toggle,
    w.ReplicaIdentity: _replica,
    w.ClusterOn: _cluster_on,
    w.OwnerTo: _owner,
    w.SetTablespace: _tablespace,
    w.RowSecurity: _row_security,
    w.AttachPartition: _attach,
    w.DetachPartition: _detach,
    w.Inherit: _inherit,
}
