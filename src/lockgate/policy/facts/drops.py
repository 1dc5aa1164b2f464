"""DROP and TRUNCATE."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.routines import fire
from lockgate.policy.model.drops import closure_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_RELATIONS = {"table", "view", "matview", "sequence", "foreign_table", "index", "trigger", "rule", "policy"}


def drop(draft: Draft, word: w.Drop) -> None:
    """AccessExclusiveLock on all that goes, and on all that survives it changed."""
    draft.facts.kind = f"DROP {word.kind.upper().replace('_', ' ')}"
    draft.facts.reversible = word.kind in ("index", "view", "trigger", "rule", "policy", "statistic_ext")
    schema = draft.schema
    names, subs = word.names, word.subs
    if word.kind in _RELATIONS:
        for name in names:
            key, _ = draft.known(name)
            draft.see(f"{key if not subs else word.kind} is gone")
    if word.concurrently:
        draft.facts.transactional = False
        for name in names:
            key = schema.resolve(name)
            if word.if_exists and key in draft.facts.unknown:
                continue
            draft.lock(key, LockMode.AccessExclusiveLock)
            index = schema.indexes.get(key)
            if index is not None:
                draft.lock(index.table, LockMode.ShareUpdateExclusiveLock)
        return
    if word.if_exists and subs:
        there = [name for name, sub in zip(names, subs, strict=True) if _has(draft, word.kind, name, sub)]
        subs = tuple([sub for name, sub in zip(names, subs, strict=True) if name in there])
        names = tuple(there)
    closure = closure_of(schema, word.kind, names, subs, cascade=word.cascade)
    for key in closure.gone:
        if word.if_exists and key in draft.facts.unknown:
            # As far as the files tell it is not there, and what is not there is not locked.
            continue
        draft.lock(key, LockMode.AccessExclusiveLock)
    for key in closure.touched:
        if not (word.if_exists and key in draft.facts.unknown):
            draft.lock(key, LockMode.AccessExclusiveLock)
    draft.lock_all(closure.sampled, LockMode.ShareUpdateExclusiveLock)
    if word.kind in ("owned", "extension") and word.cascade:
        draft.facts.reversible = None
    if word.kind == "owned":
        draft.see(f"what {', '.join(name.name for name in names)} owned is gone")
    if word.kind == "subscription" or word.kind == "database":
        draft.facts.transactional = False


def _has(draft: Draft, kind: str, name: w.Name, sub: str) -> bool:
    """Whether a table has a trigger, rule or policy; of a table that nobody knows, it may."""
    state = draft.schema.get(name)
    if state is None:
        return not draft.absent(name)
    return sub in {"trigger": state.triggers, "rule": state.rules, "policy": state.policies}[kind]


def truncate(draft: Draft, word: w.Truncate) -> None:
    """AccessExclusiveLock and new storage for the tables, their indexes, and all that CASCADE reaches."""
    schema = draft.schema
    draft.facts.reversible = False
    queue = []
    for position, name in enumerate(word.names):
        key, _ = draft.known(name)
        queue.append(key)
        if not (word.only and word.only[position]):
            queue.extend(schema.descendants(key))
    done: dict[str, None] = {}
    while queue:
        key = queue.pop(0)
        if key in done:
            continue
        done[key] = None
        state = schema.relations.get(key)
        draft.lock(key, LockMode.AccessExclusiveLock)
        if state is None:
            draft.rewrite(key)
            continue
        fire(draft, state.triggers.values(), "truncate", rows=False)
        if state.has_storage:
            draft.storage(key)
        if word.restart:
            for sequence in state.owned_sequences:
                draft.lock(sequence, LockMode.AccessExclusiveLock)
                draft.rewrite(sequence)
        if word.cascade:
            for above in (key, *schema.ancestors(key)):
                for table, _ in schema.relations[above].referenced_by:
                    queue.extend([table, *schema.partitions(table)])
        draft.see(f"{key} is empty")
