"""Actions of ALTER TABLE on columns."""

from lockgate.policy.facts.alter_constraints import check_foreign_key
from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.lookups import worked_out
from lockgate.policy.facts.routines import call
from lockgate.policy.facts.tables import reference
from lockgate.policy.model.drops import Closure
from lockgate.policy.model.schema import Column, Index, Relation
from lockgate.policy.model.types import index_survives, rewrites
from lockgate.policy.model.volatility import is_volatile
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_AX = LockMode.AccessExclusiveLock


def check_recursion(draft: Draft, state: Relation | None, action: w.Action) -> list[str]:
    """The children that an action reaches, for its own lock mode."""
    if state is None or not state.children:
        return []
    if isinstance(action, w.DropNotNull) and draft.server.version >= 18:
        # NOT NULL is a constraint of its own since 18: where there is none, nobody looks at the children.
        column = state.columns.get(action.column)
        return draft.schema.descendants(state.key) if column is None or column.not_null else []
    if isinstance(action, w.SetNotNull):
        column = state.columns.get(action.column)
        # Before 18 a child by inheritance could still be without, so the server looks at all of them.
        sure = state.kind == "p" or draft.server.version >= 18
        proven = column is not None and column.not_null and (column.not_null_valid or _has_it(draft, column))
        return [] if sure and proven else draft.schema.descendants(state.key)
    if isinstance(action, w.AlterConstraint):
        if action.inherited is not None:
            return draft.schema.descendants(state.key) if action.inherited else state.children
        return draft.schema.partitions(state.key)
    if isinstance(action, w.DropColumn) and action.if_exists and action.column not in state.columns:
        return []
    if isinstance(action, w.AddColumn) and action.if_not_exists and action.column.name in state.columns:
        return []
    if type(action) in _ALWAYS:
        return draft.schema.descendants(state.key)
    if isinstance(action, w.AddConstraint):
        return _constraint_children(draft, state, action.constraint)
    if isinstance(action, w.DropConstraint | w.ValidateConstraint):
        constraint = state.constraints.get(action.name)
        if isinstance(action, w.ValidateConstraint) and constraint is not None and constraint.valid:
            return []
        if constraint is not None and (
            (constraint.kind in ("check", "not_null") and not constraint.no_inherit)
            or (constraint.kind == "foreign" and state.kind == "p")
            or (constraint.index and state.kind == "p")
        ):
            return draft.schema.descendants(state.key)
        return []
    if isinstance(action, w.ToggleTrigger) and state.kind == "p":
        names = (action.name,) if action.name else tuple(state.triggers)
        rows = [name for name in names if name in state.triggers and state.triggers[name].row]
        keys = bool(state.referenced_by) or any(item.kind == "foreign" for item in state.constraints.values())
        internal = keys and not action.name and not action.user
        return draft.schema.descendants(state.key) if rows or internal else []
    if isinstance(action, w.SetStorage):
        return draft.schema.descendants(state.key) if action.what == "storage" else []
    if isinstance(action, w.AlterIdentity) and draft.server.version >= 17 and state.kind == "p":
        column = state.columns.get(action.column)
        there = column is not None and bool(column.identity)
        reaches = action.what == "add" or (there and action.what != "sequence")
        return draft.schema.descendants(state.key) if reaches else []
    return []


_ALWAYS = {
    w.AddColumn, w.DropColumn, w.AlterType, w.SetDefault, w.DropNotNull, w.SetStatistics,
    w.SetExpression,
}  # fmt: skip


def _constraint_children(draft: Draft, state: Relation, constraint: w.Constraint) -> list[str]:
    if draft.server.version >= 18:
        # Since 18 children are locked for any constraint, whether it reaches them or not.
        return draft.schema.descendants(state.key)
    if constraint.kind in ("check", "not_null"):
        return [] if constraint.no_inherit else draft.schema.descendants(state.key)
    if constraint.kind == "foreign":
        return draft.schema.partitions(state.key)
    # Children must be NOT NULL in the columns of a primary key.
    sure = state.kind == "p" and all(
        name in state.columns and state.columns[name].not_null for name in constraint.columns
    )
    return draft.schema.descendants(state.key) if constraint.kind == "primary" and not sure else []


def _family(draft: Draft, key: str, only: bool) -> list[str]:
    return [key] if only else [key, *draft.schema.descendants(key)]


def add_column(draft: Draft, key: str, state: Relation | None, action: w.AddColumn, only: bool) -> None:
    """ADD COLUMN: what its default, its type and its constraints cost."""
    column = action.column
    if action.if_not_exists and state is not None and column.name in state.columns:
        return
    draft.see(f"column {key}.{column.name}")
    family = _family(draft, key, only)
    if fills_rows(draft, column):
        for name in family:
            draft.storage(name)
            draft.scan(name)
    elif _needs_check(draft, column):
        for name in family:
            draft.scan(name)
    default = _default(draft, column)
    if default is not None and not column.generated and not is_volatile(default, draft.schema):
        for function in default.functions:
            call(draft, function, sure=True)  # once, whatever the rows
    elif column.generated != "v":
        worked_out(draft, family, column.default if column.generated else default)
    for constraint in column.constraints:
        if constraint.references is not None:
            referenced = draft.known(constraint.references)[0]
            reference(draft, referenced)
            if column.default is not None and constraint.enforced:
                check_foreign_key(draft, key, referenced)
        elif constraint.kind in ("unique", "primary", "exclude"):
            for name in family:
                draft.scan(name)
        elif constraint.kind == "check" and constraint.enforced:
            worked_out(draft, family, constraint.expression)


def fills_rows(draft: Draft, column: w.Column) -> bool:
    """Whether adding ``column`` writes every row."""
    if column.type.serial or column.identity or column.generated == "s":
        return True
    state = draft.schema.user_type(column.type)
    # An array of a domain is no domain: without a default there is nothing to check.
    if state is not None and state.kind == "domain" and not column.type.array and draft.schema.checked(state):
        return True
    default = _default(draft, column)
    return default is not None and not column.generated and is_volatile(default, draft.schema)


def _default(draft: Draft, column: w.Column) -> w.Expression | None:
    """The default of a new column, where it is not NULL: its own, or else that of its domain."""
    if column.default is not None:
        return None if column.default.null else column.default
    domain = None if column.type.array else draft.schema.user_type(column.type)
    if domain is None or not domain.has_default:
        return None
    return w.Expression(functions=domain.default_functions)


def _needs_check(draft: Draft, column: w.Column) -> bool:
    """Whether rows are read to prove the new column right, without being written."""
    if any(constraint.kind == "check" and not constraint.not_valid for constraint in column.constraints):
        return True
    return column.not_null and (_default(draft, column) is None or bool(column.generated))


def drop_column(draft: Draft, key: str, state: Relation | None, action: w.DropColumn, only: bool) -> None:
    """DROP COLUMN with what hangs on it. Bytes stay; nothing is written."""
    draft.facts.reversible = False
    closure = Closure(draft.schema)
    closure.column(key, action.column, cascade=action.cascade, only=only)
    draft.lock_all(list(closure.gone), _AX)
    draft.lock_all(list(closure.touched), _AX)
    draft.see(f"column {key}.{action.column} is gone")


def alter_type(draft: Draft, key: str, state: Relation | None, action: w.AlterType, only: bool) -> None:
    """ALTER TYPE: the source type decides; indexes, checks and foreign keys of the column are made again."""
    draft.facts.reversible = None
    draft.see(f"type of {key}.{action.column}")
    if state is None or action.column not in state.columns:
        draft.rewrite(key)
        draft.scan(key)
        return
    for name in _family(draft, key, only):
        relation = draft.schema.relations.get(name)
        column = relation.columns.get(action.column) if relation is not None else None
        if relation is not None and column is not None:
            _alter_type_of(draft, relation, column, action)


def _alter_type_of(draft: Draft, relation: Relation, column: Column, action: w.AlterType) -> None:
    name = relation.key
    if column.generated == "v":
        return  # nothing is stored, and no index can be on it
    written = relation.kind in "rm" and rewrites(draft.schema, column, action)
    if relation.kind == "c":
        return
    # Without COLLATE the column goes back to the default of its type.
    collation_kept = action.collation == column.collation
    if written:
        draft.storage(name)
        draft.scan(name)
        worked_out(draft, [name], action.using)
    if column.identity and column.sequence:
        # The sequence behind an identity column takes the new type too.
        draft.lock(column.sequence, LockMode.ShareRowExclusiveLock)
        draft.rewrite(column.sequence)
    for index in draft.schema.indexes_reading(name, column.name):
        draft.lock(index.key, _AX)
        kept = (
            not index.expressions
            and not index.partial
            # The server does not try to keep what belongs to an index of the parent.
            and not index.parent
            # GIN keeps the elements of an array, which to the server are of another type than the array.
            and not (index.method == "gin" and action.type.array)
            and (
                # What is only included is not sorted by.
                column.name not in index.columns
                or (
                    (collation_kept or _own_collation(index, column.name))
                    and index_survives(draft.schema, column.type, action.type)
                )
            )
        )
        if not kept and not written and relation.has_storage:
            draft.rewrite(index.key)
            draft.scan(name)
    for constraint in relation.constraints.values():
        if constraint.kind == "check" and column.name in constraint.columns and constraint.valid:
            draft.scan(name)


def _own_collation(index: Index, column: str) -> bool:
    """Whether the index says COLLATE itself wherever it has the column as a key."""
    orders = index.orders or ("",) * len(index.columns)
    return all(
        order.split(" ")[0] not in ("", "desc", "nulls")
        for name, order in zip(index.columns, orders, strict=False)
        if name == column
    )


def keys_made_again(draft: Draft, state: Relation, actions: tuple[w.Action, ...], *, only: bool) -> None:
    """Foreign keys on either side of a column that changes its type are made again once all types have changed.

    They are checked unless the old proof still holds: it does not where a new type writes the table anew, be it that
    of another column, or where the operators are others.
    """
    changes = [
        (relation, relation.columns[action.column], action)
        for action in actions
        if isinstance(action, w.AlterType)
        for relation in map(draft.schema.relations.get, _family(draft, state.key, only))
        if relation is not None and action.column in relation.columns
    ]
    written = {
        above
        for relation, column, action in changes
        if rewrites(draft.schema, column, action)
        for above in (relation.key, *draft.schema.ancestors(relation.key))
    }
    for relation, column, action in changes:
        kept = relation.key not in written and index_survives(draft.schema, column.type, action.type)
        _keys_of(draft, relation, column, proven=kept)


def _keys_of(draft: Draft, relation: Relation, column: Column, *, proven: bool) -> None:
    for constraint in relation.constraints.values():
        if constraint.kind == "foreign" and column.name in constraint.columns:
            draft.lock(constraint.references, _AX)
            draft.lock_all(draft.schema.partitions(constraint.references), _AX)
            if constraint.valid and not proven:
                check_foreign_key(draft, relation.key, constraint.references)
    for table, label in relation.referenced_by:
        other = draft.schema.relations.get(table)
        key = other.constraints.get(label) if other is not None else None
        if key is not None and column.name in key.ref_columns:
            draft.lock(table, _AX)
            draft.lock_all(draft.schema.partitions(table), _AX)
            if key.valid and not proven:
                check_foreign_key(draft, table, relation.key)


def set_not_null(draft: Draft, key: str, state: Relation | None, action: w.SetNotNull, only: bool) -> None:
    """SET NOT NULL reads the table unless a valid CHECK proves it."""
    draft.see(f"{key}.{action.column} refuses NULL")
    if state is None:
        draft.scan(key)
        return
    column = state.columns.get(action.column)
    if column is not None and _has_it(draft, column):
        return
    for name in _family(draft, key, only):
        relation = draft.schema.relations.get(name)
        if relation is None or not draft.schema.proves_not_null(relation, action.column):
            draft.scan(name)


def _has_it(draft: Draft, column: Column) -> bool:
    """Whether a NOT NULL that the column inherited becomes its own, and nothing else happens, valid or not: since 18."""
    return draft.server.version >= 18 and column.not_null and not column.own_not_null


def drop_expression(
    draft: Draft, key: str, state: Relation | None, action: w.SetExpression, only: bool
) -> None:
    """SET EXPRESSION writes a stored column anew (17+); DROP EXPRESSION keeps what is stored."""
    if action.expression is None or state is None:
        return
    column = state.columns.get(action.column)
    if column is None or column.generated != "v":
        for name in _family(draft, key, only):
            draft.storage(name)
            draft.scan(name)
