"""Which partitions rows go to: those of constants by their values; of others it is said that their values decide."""

from collections.abc import Mapping

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.lookups import has_rows
from lockgate.policy.model.defaults import row_of
from lockgate.policy.model.pruning import kept, only_the_server_knows, route
from lockgate.policy.model.schema import Relation
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode
from lockgate.postgres.tree.written import SAME


def rows_of_constants(draft: Draft, state: Relation, names: list[str], word: w.Insert) -> None:
    """The partitions that the rows of VALUES pass on their way down; from where it cannot be told, their values decide."""
    if word.rows and only_the_server_knows(draft.schema, state, names):
        draft.hide(f"which partition of {state.key} a label is hashed to, only the server knows", slight=True)
        return
    for row in word.rows or ((),):
        values = row_of(draft.schema, state, names, row if word.rows else None)
        found = route(draft.schema, state, values)
        draft.lock_all(found, LockMode.RowExclusiveLock)
        _told(draft, draft.schema.relations[found[-1]] if found else state)


def rows_of_a_query(draft: Draft, state: Relation, sources: list[str] | None) -> None:
    """Rows that may come: their partition; the bounds of a partition that is named itself are worked out from its parents."""
    _told(draft, state)
    above = draft.schema.ancestors(state.key) if state.partition else []
    if above and sources and all(has_rows(draft.schema, key) for key in sources):
        draft.lock_all(above, LockMode.AccessShareLock)
    elif above:
        draft.hide(f"rows decide whether the bounds of {above[0]} are looked at", slight=True)


def rows_that_stay(draft: Draft, state: Relation) -> None:
    """An UPDATE of a partition by its own name holds rows against its bounds, which are worked out from its parents."""
    above = draft.schema.ancestors(state.key) if state.partition else []
    if above and has_rows(draft.schema, state.key):
        draft.lock_all(above, LockMode.AccessShareLock)
    elif any(draft.locks.get(key, 0) < LockMode.AccessShareLock for key in above):
        draft.hide(f"rows decide whether the bounds of {above[0]} are looked at", slight=True)


def rows_that_move(
    draft: Draft, state: Relation, sets: Mapping[str, str], asked: tuple[w.Condition, ...] = ()
) -> bool:
    """An UPDATE of the key puts rows into other partitions than those where it finds them, by what it asks. Whether it may."""
    schema = draft.schema
    tables = [key for key in (state.key, *schema.descendants(state.key)) if schema.relations[key].kind == "p"]
    changed = {name for name, value in sets.items() if value != SAME}
    if not any(changed & set(schema.relations[key].partition_columns) for key in tables):
        return False
    values = {name: sets.get(name, "?") for name in state.columns}
    found = route(schema, state, values)
    told = bool(found) and schema.relations[found[-1]].kind != "p"
    read = [key for key in kept(schema, state, asked) if schema.relations[key].kind != "p"]
    if told and read in ([], found[-1:]):
        return False
    if all(draft.locks.get(key, 0) >= LockMode.RowExclusiveLock for key in schema.partitions(state.key)):
        return True
    if told:
        if any(has_rows(schema, key) for key in read if key != found[-1]):
            draft.lock_all(found, LockMode.RowExclusiveLock)
        elif any(draft.locks.get(key, 0) < LockMode.RowExclusiveLock for key in found):
            _told(draft, state)
    else:
        _told(draft, state)
    return True


def _told(draft: Draft, state: Relation) -> None:
    if state.kind == "p" and state.children:
        draft.hide(f"which partition of {state.key} a row goes to, its values decide", slight=True)
