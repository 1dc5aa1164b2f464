"""CREATE INDEX and REINDEX."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.model.replay_indexes import built_index, matching_index
from lockgate.policy.model.schema import Index, Relation, Schema, key_of, schema_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode


def create_index(draft: Draft, word: w.CreateIndex) -> None:
    """ShareLock on the table and, through a partitioned parent, on every partition."""
    schema = draft.schema
    key, state = draft.known(word.table)
    if word.concurrently:
        draft.facts.transactional = False
        draft.lock(key, LockMode.ShareUpdateExclusiveLock)
        draft.scan(key)
        return
    draft.lock(key, LockMode.ShareLock)
    if word.name and word.if_not_exists and key_of(schema_of(key), word.name) in schema.indexes:
        # The partitions are locked before the server looks for the name.
        if not word.only:
            draft.lock_all(schema.partitions(key), LockMode.ShareLock)
        return
    draft.scan(key)
    if state is not None and state.kind == "p" and not word.only:
        draft.lock_all(schema.descendants(key), LockMode.ShareLock)
        built = built_index(schema, word, -1)
        if built is not None:
            build_below(draft, state, built)


def build_below(draft: Draft, state: Relation, built: Index) -> None:
    """Each partition is read, unless an index of its own fits: that one is locked and taken over."""
    for child in state.children:
        match = matching_index(draft.schema, child, built)
        if match is not None:
            draft.lock(match.key, LockMode.ShareLock)
            continue
        draft.scan(child)
        child_state = draft.schema.relations.get(child)
        if child_state is not None:
            build_below(draft, child_state, built)


def reindex(draft: Draft, word: w.Reindex) -> None:
    """ShareLock on the table and AccessExclusiveLock on what is built again; concurrently much less."""
    schema = draft.schema
    if word.kind in ("schema", "system", "database"):
        draft.facts.transactional = False
        prefix = word.name.name if word.kind == "schema" else ""
        for name, relation in schema.relations.items():
            if relation.kind in "rm" and (not prefix or schema_of(name) == prefix):
                _reindex_table(draft, name, concurrently=word.concurrently)
        return
    key, state = draft.known(word.name)
    if word.concurrently:
        draft.facts.transactional = False
    if word.kind == "table":
        if state is not None and state.kind == "p":
            draft.facts.transactional = False
            draft.lock(key, LockMode.ShareUpdateExclusiveLock if word.concurrently else LockMode.ShareLock)
            for child in schema.descendants(key):
                # All are held for a moment, to see which there are; each is then built again by itself.
                draft.lock(child, LockMode.ShareLock)
                if not _partitioned(schema, child):
                    _reindex_table(draft, child, concurrently=word.concurrently)
            return
        _reindex_table(draft, key, concurrently=word.concurrently)
        return
    index = schema.indexes.get(key)
    if index is None:
        draft.lock(key, LockMode.AccessExclusiveLock)
        draft.rewrite(key)
        return
    names = [key]
    if _partitioned(schema, index.table):
        draft.facts.transactional = False
        mild = LockMode.ShareUpdateExclusiveLock
        draft.lock(key, mild if word.concurrently else LockMode.AccessExclusiveLock)
        draft.lock(index.table, mild if word.concurrently else LockMode.ShareLock)
        below = schema.index_descendants(key)
        draft.lock_all(below, LockMode.ShareLock)
        names = [at for at in below if not _partitioned(schema, schema.indexes[at].table)]
    for name in names:
        _reindex_one(draft, name, schema.indexes[name].table, concurrently=word.concurrently)


def _partitioned(schema: Schema, table: str) -> bool:
    state = schema.relations.get(table)
    return state is not None and state.kind == "p"


def _reindex_table(draft: Draft, key: str, *, concurrently: bool) -> None:
    draft.lock(key, LockMode.ShareUpdateExclusiveLock if concurrently else LockMode.ShareLock)
    state = draft.schema.relations.get(key)
    for name in state.indexes if state is not None else ():
        if concurrently and draft.schema.excludes(name):
            draft.lock(name, LockMode.ShareUpdateExclusiveLock)
            continue  # looked at, and passed over with a warning
        _reindex_one(draft, name, key, concurrently=concurrently)


def _reindex_one(draft: Draft, name: str, table: str, *, concurrently: bool) -> None:
    draft.lock(table, LockMode.ShareUpdateExclusiveLock if concurrently else LockMode.ShareLock)
    # The concurrent form swaps a new index in and, at its very end, drops the old one under the strongest lock.
    draft.lock(name, LockMode.ShareUpdateExclusiveLock if concurrently else LockMode.AccessExclusiveLock)
    draft.rewrite(name)
    draft.scan(table)
