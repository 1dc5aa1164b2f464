"""Queries and what is made of them: views, CREATE TABLE AS, REFRESH, DML, functions."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.model.routing import pruned, route
from lockgate.policy.model.schema import Column, Relation, Schema
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode


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
        if not key.startswith(("pg_catalog.", "information_schema.")):
            _plan(draft, key, access.mode, set(), only=access.only)


def opened(draft: Draft, accesses: tuple[w.Access, ...]) -> None:
    """Locks of rewriting without planning: views are opened, indexes and children are not."""
    parsed(draft, accesses)
    for access in accesses:
        for source in expand(draft.schema, draft.schema.resolve(access.name)):
            draft.lock(source, access.mode)


def _plan(draft: Draft, key: str, mode: LockMode, seen: set[str], *, only: bool = False) -> None:
    state = draft.schema.relations.get(key)
    draft.lock(key, mode)
    if state is None or key in seen:
        return
    seen.add(key)
    if state.kind == "v":
        for source, source_mode in state.sources:
            _plan(draft, source, max(mode, LockMode(source_mode)), seen)
        return
    draft.indexes(key, mode)
    if only:
        return
    for child in draft.schema.descendants(key):
        draft.lock(child, mode)
        draft.indexes(child, mode)


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


def create_table_as(draft: Draft, word: w.CreateTableAs) -> None:
    """The query is planned and run; WITH NO DATA only parses it."""
    draft.facts.kind = "CREATE MATERIALIZED VIEW" if word.materialized else "CREATE TABLE AS"
    if word.if_not_exists and draft.schema.new_key(word.name, word.persistence) in draft.schema.relations:
        parsed(draft, word.query.accesses)
        return
    if word.with_data:
        planned(draft, word.query.accesses)
    else:
        parsed(draft, word.query.accesses)
    draft.see(f"{draft.schema.new_key(word.name, word.persistence)} exists")


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
        for source, _ in state.sources:
            _plan(draft, source, LockMode.AccessShareLock, set())


def dml(draft: Draft, word: w.Dml) -> None:
    """SELECT, INSERT, UPDATE, DELETE, MERGE, COPY and EXPLAIN."""
    draft.facts.kind = word.kind.upper()
    draft.facts.reversible = word.kind in ("select", "explain", "copy to")
    _called(draft, word)
    if _prunes(draft, word):
        return
    if word.target is None:
        (parsed if word.unplanned else planned)(draft, word.query.accesses)
        return
    target = draft.schema.resolve(word.target)
    others = tuple(
        [
            access
            for access in word.query.accesses
            if access.mode != LockMode.RowExclusiveLock or draft.schema.resolve(access.name) != target
        ]
    )
    planned(draft, others)
    draft.known(word.target)
    mode = LockMode.RowExclusiveLock
    if word.kind in ("insert", "copy from"):
        _insert(draft, target, word)
    else:
        only = any(
            access.only for access in word.query.accesses if draft.schema.resolve(access.name) == target
        )
        _plan(draft, target, mode, set(), only=only)
        if not word.where:
            draft.scan(target)
    draft.see(f"rows of {target} change")


_PRUNING = frozenset({"select", "update", "delete"})


def _prunes(draft: Draft, word: w.Dml) -> bool:
    """A query of one partitioned table, whose key WHERE holds equal to constants, plans the partitions of that key only."""
    accesses = word.query.accesses
    if not word.equals or len({access.name for access in accesses}) != 1 or word.kind not in _PRUNING:
        return False
    key, state = draft.known(accesses[0].name)
    if state is None or state.kind != "p" or accesses[0].only:
        return False
    mode = max(access.mode for access in accesses)
    for name in (key, *pruned(draft.schema, state, dict(word.equals))):
        draft.lock(name, mode)
        draft.indexes(name, mode)
    if word.target is not None:
        draft.see(f"rows of {key} change")
    return True


_ONE_ROW = frozenset({"max", "min", "count", "sum", "avg"})
"""Aggregates: a query of them has its row whatever the tables hold."""


def _called(draft: Draft, word: w.Dml) -> None:
    """Sequences that the one row of a SELECT asks for a value, or sets."""
    query = word.query
    if word.kind != "select" or (query.accesses and _ONE_ROW.isdisjoint(query.functions)):
        return
    found = [draft.schema.resolve(_named(name)) for name in query.sequences]
    for table, column in query.serials:
        state = draft.schema.get(_named(table))
        own = state.columns.get(column) if state is not None else None
        if own is not None and own.sequence:
            found.append(own.sequence)
    for key in found:
        draft.lock(key, LockMode.RowExclusiveLock)


def _named(text: str) -> w.Name:
    schema, _, name = text.rpartition(".")
    return w.Name(*(part[1:-1] if part.startswith('"') else part.lower() for part in (schema, name)))


def _insert(draft: Draft, target: str, word: w.Dml) -> None:
    """Indexes of the target are locked only while rows go in, but ON CONFLICT plans with them. Which partition
    a row goes to is for the row to say."""
    mode = LockMode.RowExclusiveLock
    state = draft.schema.relations.get(target)
    draft.lock(target, mode)
    if state is None:
        return
    if state.kind == "v":
        for source, _ in state.sources:
            _insert(draft, source, word)
        return
    if word.infers:
        draft.indexes(target, mode)
    if word.values:
        if state.partition:
            # The first row is held against the bounds, and these are worked out from the parents.
            draft.lock_all(draft.schema.ancestors(target), LockMode.AccessShareLock)
        names = list(word.columns or state.columns)
        if state.kind == "p":
            _routed(draft, state, names, word)
        given = {name for at, name in enumerate(names[: word.width]) if at not in word.defaults}
        for column in state.columns.values():
            if column.sequence and column.name not in given:
                draft.lock(column.sequence, mode)


def _routed(draft: Draft, state: Relation, names: list[str], word: w.Dml) -> None:
    """The partitions that rows of constants go to; where that cannot be told, the table alone is claimed."""
    found: list[str] = []
    for row in word.rows:
        values = {name: "null" for name, column in state.columns.items() if not _filled(column)}
        values.update({name: "?" for name in state.columns if name not in values})
        values.update(dict(zip(names, row, strict=False)))
        path = route(draft.schema, state, values)
        if path is None:
            return
        found += path
    draft.lock_all(found, LockMode.RowExclusiveLock)


def _filled(column: Column) -> bool:
    return column.has_default or bool(column.identity or column.generated or column.sequence)


def create_function(draft: Draft, word: w.CreateFunction) -> None:
    """An SQL body is parsed when the function is made; any other body stays closed."""
    opened(draft, word.accesses)
    draft.see(f"function {word.name.name}")
    if word.replace:
        draft.facts.reversible = None
