"""Queries and what is made of them: views, CREATE TABLE AS, REFRESH, functions."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.routines import call
from lockgate.policy.model.pruning import kept, only_the_server_knows
from lockgate.policy.model.schema import Read, Relation, Schema
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.pushing import agreed, lasting, pushed, translated
from lockgate.postgres.tree.words import Either, LockMode


def parsed(draft: Draft, accesses: tuple[w.Access, ...]) -> None:
    """Locks of parse analysis alone: the relations that the text names, and nothing behind them."""
    for access in accesses:
        key, _ = draft.known(access.name)
        if not key.startswith(("pg_catalog.", "information_schema.")):
            draft.lock(key, access.mode)


def planned(draft: Draft, accesses: tuple[w.Access, ...]) -> None:
    """Locks of planning: views are opened to their tables, and children and indexes come along."""
    for access in accesses:
        key, _ = draft.known(access.name)
        if access.idle:
            opened(draft, (access,))
        elif not access.insert and not key.startswith(("pg_catalog.", "information_schema.")):
            plan(draft, key, access.mode, set(), access)


def opened(draft: Draft, accesses: tuple[w.Access, ...]) -> None:
    """Locks of rewriting without planning: views are opened, indexes and children are not."""
    parsed(draft, accesses)
    for access in accesses:
        for source in expand(draft.schema, draft.schema.resolve(access.name)):
            draft.lock(source, access.mode)


def plan(draft: Draft, key: str, mode: LockMode, seen: set[str], access: w.Access | None = None) -> None:
    """Locks of planning one relation; ``seen`` are those that were planned for the same view already."""
    state = draft.schema.relations.get(key)
    draft.lock(key, mode)
    if state is None or (key in seen and access is None):
        return
    seen.add(key)
    if state.kind == "v":
        for name in state.functions:
            call(draft, name, sure=name in state.calls)
        for read in read_by(state):
            outer = access.conditions if access else ()
            asked = agreed((*lasting(read.conditions), *pushed(translated(outer, read.outputs))))
            if of_nothing(state, outer, read):
                asked = (Either(()),)
            inner = w.Access(w.Name("", ""), mode, read.only, asked)
            if read.key in draft.schema.relations and draft.schema.relations[read.key].kind == "v":
                seen.discard(read.key)  # asked otherwise than before, maybe
            plan(draft, read.key, max(mode, LockMode(read.mode)), seen, inner)
        return
    draft.indexes(key, mode)
    if access is not None and access.only:
        return
    if state.kind == "p" and state.partition:
        # What a partition holds that has partitions itself is worked out up to the root.
        draft.lock_all(draft.schema.ancestors(key), LockMode.AccessShareLock)
    conditions = access.conditions if access is not None else ()
    below = kept(draft.schema, state, conditions) if state.kind == "p" else draft.schema.descendants(key)
    given = [test.column for test in conditions if isinstance(test, w.Test) and test.op == "="]
    if given and only_the_server_knows(draft.schema, state, given):
        draft.hide(f"which partitions of {key} a label is hashed to, only the server knows", slight=True)
    for child in below:
        draft.lock(child, mode)
        draft.indexes(child, mode)


def of_nothing(state: Relation, outer: tuple[w.Condition, ...], read: Read) -> bool:
    """Whether what is asked of a view is never true, and so no partition of the one table that it reads is looked at."""
    return Either(()) in outer and len(state.view_reads) == 1 and bool(read.outputs)


def read_by(state: Relation) -> list[Read]:
    """What a view reads; of one whose tables were renamed since, or that a snapshot told, without its conditions."""
    if {read.key for read in state.view_reads} == {key for key, _ in state.sources}:
        return state.view_reads
    return [Read(key, mode) for key, mode in state.sources]


def expand(schema: Schema, key: str) -> list[str]:
    """The tables behind a view, through views in between."""
    found: list[str] = []
    queue = [key]
    while queue:
        state = schema.relations.get(queue.pop(0))
        if state is not None and state.kind == "v":
            for source, _ in state.sources:
                if source not in found:
                    found.append(source)
                    queue.append(source)
    return found


def create_view(draft: Draft, word: w.CreateView) -> None:
    """AccessShareLock on what the query names; replacing locks the view itself."""
    parsed(draft, word.query.accesses)
    key = draft.schema.resolve(word.name)
    if word.replace and key in draft.schema.relations:
        draft.lock(key, LockMode.AccessExclusiveLock)
    draft.see(f"view {key}")


def refresh(draft: Draft, word: w.Refresh) -> None:
    """REFRESH replaces the storage; CONCURRENTLY compares and changes rows in place."""
    key, state = draft.known(word.name)
    if word.concurrently:
        draft.lock(key, LockMode.ExclusiveLock)
        draft.indexes(key, LockMode.RowExclusiveLock)
    else:
        draft.lock(key, LockMode.AccessExclusiveLock)
        draft.storage(key)
    if state is not None and word.with_data:
        for name in state.functions:
            call(draft, name, sure=name in state.calls)
        for source, _ in state.sources:
            plan(draft, source, LockMode.AccessShareLock, set())


def create_function(draft: Draft, word: w.CreateFunction) -> None:
    """An SQL body is parsed when the function is made; any other body stays closed."""
    opened(draft, word.accesses)
    draft.see(f"function {word.name.name}")
    if word.replace:
        draft.facts.reversible = None
