"""CLUSTER, VACUUM, ANALYZE, LOCK TABLE."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.queries import expand
from lockgate.policy.model.tablespaces import moved
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode


def cluster(draft: Draft, word: w.Cluster) -> None:
    """CLUSTER writes the table in the order of an index."""
    if word.name is None:
        draft.facts.transactional = False
        return
    key, state = draft.known(word.name)
    if state is not None and state.kind == "p":
        draft.facts.transactional = False
        draft.lock_all([key, *draft.schema.descendants(key)], LockMode.AccessExclusiveLock)
        for child in draft.schema.descendants(key):
            draft.storage(child)
        return
    draft.lock(key, LockMode.AccessExclusiveLock)
    draft.storage(key)
    draft.scan(key)


def vacuum(draft: Draft, word: w.Vacuum) -> None:
    """VACUUM, VACUUM FULL and ANALYZE; without names, every table."""
    schema = draft.schema
    draft.facts.kind = "VACUUM FULL" if word.full else "VACUUM" if word.vacuum else "ANALYZE"
    draft.facts.transactional = not word.vacuum
    keys: list[str] = []
    for name in word.names:
        key, state = draft.known(name)
        keys.append(key)
        if state is not None and state.partition is False and state.kind == "p":
            keys.extend(schema.descendants(key))
    if not word.names:
        keys = [key for key, state in schema.relations.items() if state.kind in "rmp"]
    for key in keys:
        state = schema.relations.get(key)
        if word.full:
            if state is None or state.kind != "p":
                draft.lock(key, LockMode.AccessExclusiveLock)
                draft.storage(key)
                draft.scan(key)
            continue
        draft.lock(key, LockMode.ShareUpdateExclusiveLock)
        if word.vacuum and (state is None or state.kind != "p"):
            draft.indexes(key, LockMode.RowExclusiveLock)
        elif state is None or state.kind != "p":
            draft.indexes(key, LockMode.AccessShareLock)
        if state is not None and state.children and not word.vacuum:
            mode = (
                LockMode.ShareUpdateExclusiveLock if draft.server.version >= 18 else LockMode.AccessShareLock
            )
            draft.lock_all(schema.descendants(key), mode)
            if draft.server.version >= 18:
                for child in schema.descendants(key):
                    below = schema.relations.get(child)
                    if below is not None and below.kind != "p":
                        draft.indexes(child, LockMode.AccessShareLock)


def move_all(draft: Draft, word: w.MoveAll) -> None:
    """ALTER … ALL IN TABLESPACE: AccessExclusiveLock on each of them, and new storage."""
    for key in moved(draft.schema, word):
        draft.lock(key, LockMode.AccessExclusiveLock)
        state, index = draft.schema.relations.get(key), draft.schema.indexes.get(key)
        split = (state is not None and state.kind == "p") or (index is not None and bool(index.children))
        if not split:
            draft.rewrite(key)


def lock_table(draft: Draft, word: w.LockTable) -> None:
    """LOCK TABLE, also through views to what they read."""
    for position, name in enumerate(word.names):
        key, state = draft.known(name)
        draft.lock(key, word.mode)
        if state is not None and state.kind == "v":
            for source in expand(draft.schema, key):
                draft.lock(source, word.mode)
                draft.lock_all(draft.schema.descendants(source), word.mode)
        elif not (word.only and word.only[position]):
            draft.lock_all(draft.schema.descendants(key), word.mode)
