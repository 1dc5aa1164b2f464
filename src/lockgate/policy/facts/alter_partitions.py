"""ATTACH and DETACH PARTITION, INHERIT and NO INHERIT, for tables and indexes."""

from lockgate.policy.facts.alter_constraints import check_foreign_key
from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.tables import partition_keys, reference
from lockgate.policy.model.replay_constraints import matching_key
from lockgate.policy.model.replay_indexes import matching_index
from lockgate.policy.model.schema import Relation
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_AX = LockMode.AccessExclusiveLock


def attach(draft: Draft, key: str, state: Relation | None, action: w.AttachPartition, only: bool) -> None:
    """The parent stays open; the new partition, and a default partition, do not."""
    schema = draft.schema
    child, _ = draft.known(action.partition)
    if key in schema.indexes:
        _attach_index(draft, key, child)
        return
    draft.lock(child, _AX)
    draft.lock_all(schema.descendants(child), _AX)
    # The first partition, when it is the default one, may hold anything.
    first = action.default and state is not None and not state.children
    if not first or any(matching_index(schema, child, index) is None for index in schema.indexes_of(key)):
        for below in (child, *schema.descendants(child)):
            draft.scan(below)
    draft.see(f"{child} answers for {key}")
    # What the partition has to hold is worked out up to the root.
    draft.lock_all(schema.ancestors(key), LockMode.AccessShareLock)
    if state is None:
        return
    if state.default_partition:
        draft.lock(state.default_partition, _AX)
        draft.scan(state.default_partition)
        for below in schema.descendants(state.default_partition):
            draft.lock(below, _AX)
            draft.scan(below)
    child_state = schema.relations.get(child)
    partition_keys(draft, key, child_state)
    for constraint in state.constraints.values():
        taken_over = child_state is not None and matching_key(child_state, constraint) is not None
        if constraint.kind == "foreign" and constraint.references and not taken_over:
            check_foreign_key(draft, child, constraint.references)


def _attach_index(draft: Draft, key: str, child: str) -> None:
    """ALTER INDEX … ATTACH PARTITION."""
    draft.lock(child, _AX)
    parent, below = draft.schema.indexes.get(key), draft.schema.indexes.get(child)
    if parent is not None:
        draft.lock(parent.table, LockMode.AccessShareLock)
    if below is not None:
        draft.lock(below.table, LockMode.AccessShareLock)


def detach(draft: Draft, key: str, state: Relation | None, action: w.DetachPartition, only: bool) -> None:
    """Plain DETACH locks both sides; CONCURRENTLY waits instead and needs to be outside a transaction."""
    schema = draft.schema
    child, child_state = draft.known(action.partition)
    draft.facts.transactional = action.how != "concurrently"
    # The concurrent form takes the partition with the strongest lock only at its very end.
    draft.lock(child, _AX)
    draft.see(f"{child} no longer answers for {key}")
    draft.lock_all(schema.descendants(child), _AX)
    if state is None or child_state is None:
        return
    if state.default_partition and state.default_partition != child:
        draft.lock(state.default_partition, _AX)
    for index in schema.indexes_of(child):
        if index.parent:
            draft.lock(index.key, _AX)
    for constraint in child_state.constraints.values():
        if constraint.kind == "foreign" and constraint.inherited:
            reference(draft, constraint.references)
    # Rows elsewhere may point into the partition: the server looks, and takes the triggers off.
    above = [state, *[schema.relations[name] for name in schema.ancestors(key)]]
    if any(relation.referenced_by for relation in above):
        # What the partition held is worked out up to the root.
        draft.lock_all(schema.ancestors(key), LockMode.AccessShareLock)
    for table in dict.fromkeys(table for relation in above for table, _ in relation.referenced_by):
        draft.lock(table, _AX)
        for name in (table, *schema.partitions(table)):
            draft.scan(name)
            draft.lock(name, LockMode.AccessShareLock)
            draft.indexes(name, LockMode.AccessShareLock)
        for name in (child, *schema.descendants(child)):
            draft.indexes(name, LockMode.AccessShareLock)
            draft.scan(name)


def inherit(draft: Draft, key: str, action: w.Inherit) -> None:
    """INHERIT needs the parent's shape to hold still; NO INHERIT only reads it."""
    parent, _ = draft.known(action.parent)
    draft.lock(parent, LockMode.ShareUpdateExclusiveLock if action.add else LockMode.AccessShareLock)
    if action.add:
        draft.lock_all(draft.schema.descendants(key), LockMode.AccessShareLock)
