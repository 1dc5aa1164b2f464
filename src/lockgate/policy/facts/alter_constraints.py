"""Actions of ALTER TABLE on constraints."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.indexes import build_below
from lockgate.policy.facts.lookups import has_rows, worked_out
from lockgate.policy.facts.routines import call
from lockgate.policy.facts.tables import reference
from lockgate.policy.model.drops import Closure
from lockgate.policy.model.schema import Index, Relation, key_of, schema_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_AX = LockMode.AccessExclusiveLock


def constraint_level(constraint: w.Constraint) -> LockMode:
    """The lock that adding the constraint takes on its own table."""
    return LockMode.ShareRowExclusiveLock if constraint.kind == "foreign" else _AX


def _family(draft: Draft, key: str, only: bool) -> list[str]:
    return [key] if only else [key, *draft.schema.descendants(key)]


def add_constraint(
    draft: Draft, key: str, state: Relation | None, action: w.AddConstraint, only: bool
) -> None:
    """ADD CONSTRAINT: its other side, its index, and whether rows are read."""
    constraint = action.constraint
    draft.see(f"{constraint.kind} constraint on {key}")
    if constraint.kind == "foreign" and constraint.references is not None:
        referenced = draft.known(constraint.references)[0]
        reference(draft, referenced)
        if not constraint.not_valid and constraint.enforced:
            if constraint.period:
                draft.scan(key)  # row by row, without a query over both tables
            else:
                check_foreign_key(draft, key, referenced)
    elif constraint.using_index:
        _using_index(draft, key, state, constraint)
    elif constraint.kind in ("unique", "primary", "exclude"):
        draft.scan(key)
        if state is not None and state.kind == "p":
            draft.lock_all(draft.schema.descendants(key), LockMode.ShareLock)
            build_below(draft, state, unplaced_index(state, constraint))
        if constraint.kind == "primary":
            _prove(draft, key, state, constraint.columns, only)
    elif constraint.kind == "check":
        if not constraint.not_valid and constraint.enforced:
            family = _family(draft, key, only or constraint.no_inherit)
            for name in family:
                draft.scan(name)
            worked_out(draft, family, constraint.expression)
    elif constraint.kind == "not_null" and not constraint.not_valid:
        _prove(draft, key, state, constraint.columns, only or constraint.no_inherit)


def unplaced_index(state: Relation, constraint: w.Constraint) -> Index:
    """The index that a constraint is going to have, to compare it with those of partitions."""
    return Index(
        "", state.key, constraint.columns, unique=constraint.kind != "exclude", primary=constraint.kind == "primary",
        method=constraint.method or "btree", constraint="(new)",
    )  # fmt: skip


def check_foreign_key(draft: Draft, key: str, referenced: str) -> None:
    """One query over both tables proves the key; planning it opens their indexes."""
    # A partitioned table is checked partition by partition, so without any there is no query at all.
    family = [key, *draft.schema.partitions(key)]
    read = [
        name
        for name in family
        if name not in draft.schema.relations or draft.schema.relations[name].kind == "r"
    ]
    if not read:
        return
    for name in read:
        draft.lock(name, LockMode.AccessShareLock)
        draft.indexes(name, LockMode.AccessShareLock)
        draft.scan(name)
    for name in (referenced, *draft.schema.partitions(referenced)):
        draft.lock(name, LockMode.AccessShareLock)
        draft.indexes(name, LockMode.AccessShareLock)
        draft.scan(name)


def _prove(draft: Draft, key: str, state: Relation | None, columns: tuple[str, ...], only: bool) -> None:
    for name in _family(draft, key, only):
        relation = draft.schema.relations.get(name)
        if relation is None or not all(draft.schema.proves_not_null(relation, column) for column in columns):
            draft.scan(name)


def _using_index(draft: Draft, key: str, state: Relation | None, constraint: w.Constraint) -> None:
    index_key = key_of(schema_of(key), constraint.using_index)
    renamed = bool(constraint.name) and constraint.name != constraint.using_index
    # The index is opened to be looked at; taking the constraint's name needs more.
    draft.lock(index_key, LockMode.ShareUpdateExclusiveLock if renamed else LockMode.AccessShareLock)
    index = draft.schema.indexes.get(index_key)
    if constraint.kind == "primary":
        _prove(draft, key, state, index.columns if index is not None else (), False)


def drop_constraint(
    draft: Draft, key: str, state: Relation | None, action: w.DropConstraint, only: bool
) -> None:
    """DROP CONSTRAINT: the other side of a foreign key, or the index of a unique one, goes too."""
    closure = Closure(draft.schema)
    closure.constraint(key, action.name, only=only)
    draft.lock_all(list(closure.gone), _AX)
    draft.lock_all(list(closure.touched), _AX)
    draft.see(f"constraint {action.name} of {key} is gone")


def validate(
    draft: Draft, key: str, state: Relation | None, action: w.ValidateConstraint, only: bool
) -> None:
    """VALIDATE CONSTRAINT reads rows under a lock that lets writes go on."""
    constraint = state.constraints.get(action.name) if state is not None else None
    if constraint is None:
        draft.scan(key)
        return
    if constraint.valid:
        return
    if constraint.kind == "foreign":
        referenced = constraint.references
        draft.lock(referenced, LockMode.RowShareLock)
        check_foreign_key(draft, key, referenced)
        return
    family = _family(draft, key, only)
    for name in family:
        draft.scan(name)
    for function in constraint.functions:
        call(draft, function, sure=any(has_rows(draft.schema, each) for each in family))


def alter_constraint(
    draft: Draft, key: str, state: Relation | None, action: w.AlterConstraint, only: bool
) -> None:
    """ALTER CONSTRAINT changes rows of catalogues; enforcing or not (18+) changes triggers on both sides."""
    constraint = state.constraints.get(action.name) if state is not None else None
    if constraint is not None and constraint.kind == "not_null" and action.inherited and state is not None:
        for child in draft.schema.descendants(state.key):
            _prove(draft, child, draft.schema.relations.get(child), constraint.columns, True)
        return
    if constraint is None or constraint.kind != "foreign" or action.enforced in (None, constraint.enforced):
        return
    if action.enforced:
        reference(draft, constraint.references)
        check_foreign_key(draft, key, constraint.references)
    else:
        draft.lock(constraint.references, _AX)
