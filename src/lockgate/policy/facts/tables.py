"""CREATE TABLE, RENAME, SET SCHEMA."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.model.replay_constraints import matching_key
from lockgate.policy.model.schema import Relation
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_LIKE_INDEXES = 1 << 6


def create_table(draft: Draft, word: w.CreateTable) -> None:
    """The new table itself is left out; its parents, sources and foreign-key targets are locked."""
    schema = draft.schema
    key = schema.new_key(word.name, word.persistence)
    if key in schema.relations and word.if_not_exists:
        # The server looks, finds, and leaves without a lock.
        return
    draft.see(f"{key} exists")
    for parent in word.inherits:
        draft.lock(draft.known(parent)[0], LockMode.ShareUpdateExclusiveLock)
    if word.partition_of is not None:
        parent_key, state = draft.known(word.partition_of)
        draft.lock(parent_key, LockMode.AccessExclusiveLock)
        if state is not None:
            if state.default_partition:
                draft.lock(state.default_partition, LockMode.AccessExclusiveLock)
                _default_below(draft, state.default_partition)
            partition_keys(draft, parent_key)
    for like in word.like:
        source, _ = draft.known(like.source)
        draft.lock(source, LockMode.AccessShareLock)
    if word.of_type is not None:
        draft.lock(schema.type_key(word.of_type.schema, word.of_type.name), LockMode.AccessShareLock)
    for constraint in [*(c for column in word.columns for c in column.constraints), *word.constraints]:
        if constraint.references is not None:
            referenced = schema.resolve(constraint.references)
            if referenced != key:
                draft.known(constraint.references)
                reference(draft, referenced)


def _default_below(draft: Draft, default: str) -> None:
    """The default partition is read to see that none of its rows belongs to the new one."""
    draft.scan(default)
    for child in draft.schema.descendants(default):
        draft.lock(child, LockMode.AccessExclusiveLock)
        draft.scan(child)


def reference(draft: Draft, referenced: str) -> None:
    """A new foreign key puts triggers on the table it points to, and on each of its partitions."""
    draft.lock(referenced, LockMode.ShareRowExclusiveLock)
    draft.lock_all(draft.schema.partitions(referenced), LockMode.ShareRowExclusiveLock)


def partition_keys(draft: Draft, parent: str, child: Relation | None = None) -> None:
    """A new partition repeats the indexes of its parent, its foreign keys, and those that point to it."""
    state = draft.schema.relations[parent]
    draft.indexes(parent, LockMode.ShareUpdateExclusiveLock)
    for constraint in state.constraints.values():
        if constraint.kind != "foreign" or not constraint.references:
            continue
        if child is not None and matching_key(child, constraint) is not None:
            # The partition has the same key already: it is taken over, and its triggers go.
            draft.lock(constraint.references, LockMode.AccessExclusiveLock)
            draft.lock_all(draft.schema.partitions(constraint.references), LockMode.AccessExclusiveLock)
        else:
            reference(draft, constraint.references)
    for above in (parent, *draft.schema.ancestors(parent)):
        for table, _ in draft.schema.relations[above].referenced_by:
            draft.lock(table, LockMode.ShareRowExclusiveLock)


def rename(draft: Draft, word: w.Rename) -> None:
    """RENAME: AccessExclusiveLock, on children too for a column; an index takes less."""
    schema = draft.schema
    kind = word.kind
    if word.if_exists and draft.absent(word.name):
        return
    if kind in ("type", "domain"):
        key = schema.type_key(word.name.schema, word.name.name)
        if key in schema.relations:
            draft.lock(key, LockMode.AccessExclusiveLock)
        draft.see(f"type {key} is called {word.new}")
        return
    if kind in ("table", "view", "matview", "sequence", "foreign_table", "index"):
        key, _ = draft.known(word.name)
        is_index = key in schema.indexes or kind == "index"
        mode = (
            LockMode.ShareUpdateExclusiveLock
            if is_index and kind == "index"
            else LockMode.AccessExclusiveLock
        )
        draft.lock(key, mode)
        draft.see(f"{key} is called {word.new}")
    elif kind in ("column", "attribute", "tabconstraint", "trigger", "rule", "policy"):
        key, _ = draft.known(word.name)
        draft.lock(key, LockMode.AccessExclusiveLock)
        if kind == "attribute":
            draft.lock_all(schema.tables_of_type(key), LockMode.AccessExclusiveLock)
        elif kind in ("column", "tabconstraint") and not word.only:
            _rename_below(draft, key, word)
        elif kind == "trigger":
            for child in schema.descendants(key):
                if word.sub in schema.relations[child].triggers:
                    draft.lock(child, LockMode.AccessExclusiveLock)
        draft.see(f"{kind} {word.sub} of {key} is called {word.new}")


def _rename_below(draft: Draft, key: str, word: w.Rename) -> None:
    schema = draft.schema
    state = schema.relations.get(key)
    if word.kind == "tabconstraint":
        constraint = state.constraints.get(word.sub) if state is not None else None
        if constraint is not None and constraint.index:
            draft.lock(constraint.index, LockMode.ShareUpdateExclusiveLock)
            return
        if constraint is None or constraint.kind not in ("check", "not_null") or constraint.no_inherit:
            return
    draft.lock_all(schema.descendants(key), LockMode.AccessExclusiveLock)


def set_schema(draft: Draft, word: w.SetSchema) -> None:
    """SET SCHEMA: AccessExclusiveLock on the relation and on the sequences it owns."""
    if word.kind in ("table", "view", "matview", "sequence", "foreign_table"):
        if word.if_exists and draft.absent(word.name):
            return
        key, state = draft.known(word.name)
        draft.lock(key, LockMode.AccessExclusiveLock)
        if state is not None:
            draft.lock_all(state.owned_sequences, LockMode.AccessExclusiveLock)
        draft.see(f"{key} moves to schema {word.schema}")
