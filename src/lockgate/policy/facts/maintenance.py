"""CLUSTER, VACUUM, ANALYZE, LOCK TABLE."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.queries import expand
from lockgate.policy.model.schema import key_of, schema_of
from lockgate.policy.model.tablespaces import moved
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode


def cluster(draft: Draft, word: w.Cluster) -> None:
    """CLUSTER writes the table in the order of an index."""
    if word.name is None:
        draft.facts.transactional = False
        for key in [index.table for index in draft.schema.indexes.values() if index.clustered]:
            _clustered(draft, key)
        return
    key, state = draft.known(word.name)
    if state is not None and state.kind == "p":
        draft.facts.transactional = False
        draft.lock(key, LockMode.AccessExclusiveLock)
        if word.index:
            draft.lock(key_of(schema_of(key), word.index), LockMode.AccessShareLock)
        # Only tables that hold rows are opened; what is split again is passed over.
        for child in draft.schema.descendants(key):
            if draft.schema.relations[child].kind == "r":
                _clustered(draft, child)
        return
    _clustered(draft, key)


def _clustered(draft: Draft, key: str) -> None:
    draft.lock(key, LockMode.AccessExclusiveLock)
    draft.storage(key)
    draft.scan(key)


def vacuum(draft: Draft, word: w.Vacuum) -> None:
    """VACUUM, VACUUM FULL and ANALYZE; without names, every table."""
    schema = draft.schema
    draft.facts.kind = "VACUUM FULL" if word.full else "VACUUM" if word.vacuum else "ANALYZE"
    draft.facts.transactional = not word.vacuum
    keys: dict[str, bool] = {}
    for name, only in zip(word.names, word.only or [False] * len(word.names), strict=True):
        key, state = draft.known(name)
        keys[key] = only
        # Since 18 children by inheritance come along as well.
        split = state is not None and (state.kind == "p" or (draft.server.version >= 18 and word.vacuum))
        if split and not only:
            keys.update(dict.fromkeys(schema.descendants(key), False))
    if not word.names:
        keys = {key: False for key, state in schema.relations.items() if state.kind in "rmp"}
    for key, only in keys.items():
        state = schema.relations.get(key)
        if state is not None and state.kind in "vSc":
            continue  # skipped with a warning
        split = state is not None and state.kind == "p"
        if word.full:
            draft.lock(key, LockMode.AccessExclusiveLock)
            if not split:
                draft.storage(key)
                draft.scan(key)
            continue
        draft.lock(key, LockMode.ShareUpdateExclusiveLock)
        if not split:
            draft.indexes(key, LockMode.RowExclusiveLock if word.vacuum else LockMode.AccessShareLock)
        if state is not None and state.children and (word.analyze or not word.vacuum):
            _analyzed_below(draft, key, only=only)


def _analyzed_below(draft: Draft, key: str, *, only: bool) -> None:
    """Children are sampled for the parent; since 18 they are analyzed too, unless ONLY says otherwise."""
    each = draft.server.version >= 18 and not only
    mode = LockMode.ShareUpdateExclusiveLock if each else LockMode.AccessShareLock
    for child in draft.schema.descendants(key):
        below = draft.schema.relations.get(child)
        if not each and below is not None and below.kind == "p":
            continue  # it has no rows of its own, and is let go at once
        draft.lock(child, mode)
        if each and below is not None and below.kind != "p":
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
                below = draft.schema.relations.get(source)
                if below is not None and below.kind not in "rpv":
                    continue  # a materialized view is left alone
                draft.lock(source, word.mode)
                draft.lock_all(draft.schema.descendants(source), word.mode)
        elif not (word.only and word.only[position]):
            draft.lock_all(draft.schema.descendants(key), word.mode)
