"""What foreign keys make of written rows: the look-ups of a referencing table, and what a referenced one sets off.

A key is looked up by a query of the server's own, which is planned: it locks the other table and its indexes. Rows that are
certain are claimed. Of an UPDATE, DELETE or MERGE the rows decide: where the files put rows into the table, the look-up is
claimed as if WHERE chose one that needs it; where none did, it is said as something that may be.
"""

from collections.abc import Iterable, Iterator, Mapping

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.queries import plan
from lockgate.policy.facts.routines import call, fire, may_refuse
from lockgate.policy.model.defaults import default_of, row_of
from lockgate.policy.model.schema import Column, Constraint, Relation, Schema
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode
from lockgate.postgres.tree.written import DEFAULT, SAME

_CUSTOM_PLANS = 5
"""So many look-ups of a key are planned for their own value; later ones for any."""
_WRITING = frozenset("cnd")
"""Actions of a foreign key that write: CASCADE, SET NULL, SET DEFAULT."""


def has_rows(schema: Schema, key: str) -> bool:
    """Whether there are rows, as far as files or a snapshot tell; of a partition that nobody counted, whether its parent has some."""
    states = [schema.relations.get(each) for each in (key, *schema.descendants(key))]
    if any(state is not None and (state.filled or state.rows > 0) for state in states):
        return True
    counted = states[0] is not None and states[0].rows >= 0
    above = [schema.relations[each] for each in schema.ancestors(key)]
    return any(state.filled or (state.rows > 0 and not counted) for state in above)


def worked_out(draft: Draft, keys: Iterable[str], expression: w.Expression | None) -> None:
    """What an expression calls that is worked out for each row of the tables ``keys``."""
    if expression is not None and expression.functions:
        there = any(has_rows(draft.schema, key) for key in keys)
        for name in expression.functions:
            call(draft, name, sure=there and name in expression.calls)


def constants(draft: Draft, state: Relation, names: list[str], word: w.Insert) -> None:
    """The look-ups of rows of VALUES."""
    stays = not may_refuse(draft.schema, state.triggers.values(), "insert")
    for constraint, other in _keys(draft, state):
        rows = list(_given(draft.schema, state, constraint, names, word))
        if rows and not stays:
            _may(draft, constraint, other)
            continue
        for values in rows[: _CUSTOM_PLANS + 1]:
            _look(draft, constraint, other, values if len(rows) <= _CUSTOM_PLANS else {})


def _given(
    schema: Schema, state: Relation, constraint: Constraint, names: list[str], word: w.Insert
) -> Iterator[dict[str, str]]:
    """The keys of the rows of VALUES, but for those that are NULL, which refer to nothing."""
    for row in word.rows or (None,):
        values = row_of(schema, state, names if row is not None else names[: word.width], row)
        found = {name: values.get(name, "null") for name in constraint.columns}
        if "null" not in found.values():
            yield found


def queried(draft: Draft, state: Relation, word: w.Insert, sources: list[str] | None) -> None:
    """The look-ups of rows that come from a query of ``sources``, or from the client (None), and the sequences that they ask."""
    names = set(word.columns or list(state.columns)[: word.width or None])
    come = bool(sources) and all(has_rows(draft.schema, key) for key in sources or ())
    for column in state.columns.values():
        sequence = default_of(draft.schema, column).sequence
        if sequence and (column.name not in names or (column.identity and word.own_identity)):
            ask(draft, sequence, claimed=come)
    for constraint, other in _keys(draft, state):
        left_out = [state.columns[name] for name in constraint.columns if name not in names]
        if any(not default_of(draft.schema, column).there for column in left_out):
            continue  # NULL refers to nothing
        if come:
            _look(draft, constraint, other, {})
        else:
            _may(draft, constraint, other)


def merged(draft: Draft, state: Relation, puts: tuple[w.Put, ...], sources: list[str]) -> None:
    """What rows lock that a MERGE inserts: as if one were, where its source has rows."""
    come = bool(sources) and all(has_rows(draft.schema, key) for key in sources)
    rows = [row_of(draft.schema, state, names or tuple(state.columns), row) for names, row in puts]
    for column in state.columns.values():
        sequence = default_of(draft.schema, column).sequence
        if sequence and not all(_gives(state, column.name, put) for put in puts):
            ask(draft, sequence, claimed=come)
    for constraint, other in _keys(draft, state):
        if all("null" in [row.get(name, "?") for name in constraint.columns] for row in rows):
            continue  # NULL refers to nothing
        if come:
            _look(draft, constraint, other, {})
        else:
            _may(draft, constraint, other)


def _default(schema: Schema, column: Column) -> str:
    return "?" if default_of(schema, column).there else "null"


def _gives(state: Relation, column: str, put: w.Put) -> bool:
    names, row = put
    return dict(zip(names or tuple(state.columns), row, strict=False)).get(column, DEFAULT) != DEFAULT


def ask(draft: Draft, sequence: str, *, claimed: bool) -> None:
    """A sequence that rows take their number from."""
    if claimed:
        draft.lock(sequence, LockMode.RowExclusiveLock)
    elif draft.locks.get(sequence, 0) < LockMode.RowExclusiveLock:
        draft.hide(f"rows decide whether {sequence} is asked", slight=True)


def conflicting(
    draft: Draft, state: Relation, names: list[str], word: w.Insert, sets: Mapping[str, str]
) -> None:
    """ON CONFLICT: into a table without rows everything goes; of others only what the UPDATE sets is looked up for certain."""
    there = has_rows(draft.schema, state.key)
    if not there:
        constants(draft, state, names, word)
    for constraint, other in _keys(draft, state):
        if there and set(sets) & set(constraint.columns):
            _look(draft, constraint, other, {})
        elif set(sets) & set(constraint.columns) or any(_given(draft.schema, state, constraint, names, word)):
            _may(draft, constraint, other)
    _referencing(draft, state, "update", sets, sure=False, claimed=there, above=(state.key,))


def changed(
    draft: Draft,
    state: Relation,
    events: tuple[str, ...],
    sets: Mapping[str, str],
    *,
    sure: bool,
    moves: bool,
) -> None:
    """The look-ups and actions of an UPDATE, DELETE or MERGE; ``sure``: no WHERE chooses the rows; ``moves``: some may go to
    another partition."""
    claimed = has_rows(draft.schema, state.key)
    claimed = claimed and not any(may_refuse(draft.schema, state.triggers.values(), each) for each in events)
    for column in state.columns.values():
        if sets.get(column.name) == DEFAULT and (sequence := default_of(draft.schema, column).sequence):
            ask(draft, sequence, claimed=claimed)
    if "update" in events:
        for constraint, other in _keys(draft, state):
            values = {name: sets[name] for name in constraint.columns if sets.get(name, SAME) != SAME}
            for name in [name for name, value in values.items() if value == DEFAULT]:
                values[name] = _default(draft.schema, state.columns[name])
            # A row that goes to another partition is a new row there, with all its keys.
            if not (values or moves) or "null" in values.values():
                continue
            if claimed:
                _look(draft, constraint, other, values)
                if other.kind == "p":
                    _may(draft, constraint, other)  # of many rows, the plan is for any key
            else:
                _may(draft, constraint, other)
    for each in events:
        _referencing(draft, state, each, sets, sure=sure, claimed=claimed, above=(state.key,))


def _keys(draft: Draft, state: Relation) -> Iterator[tuple[Constraint, Relation]]:
    """The foreign keys that are looked up when a row is written, with the tables that they point to."""
    for constraint in state.constraints.values():
        if constraint.kind == "foreign" and constraint.enforced and not constraint.deferred:
            other = draft.schema.relations.get(constraint.references)
            if other is not None:
                yield constraint, other


def _look(draft: Draft, constraint: Constraint, other: Relation, values: Mapping[str, str]) -> None:
    """The plan of one look-up; of a partitioned table only where the key may be."""
    tests = tuple([
        w.Test(name, "=", (values[own],))
        for own, name in zip(constraint.columns, constraint.ref_columns, strict=False)
        if values.get(own, "?") != "?"
    ])  # fmt: skip
    access = w.Access(w.Name("", other.key), LockMode.RowShareLock, other.kind != "p", tests)
    plan(draft, other.key, LockMode.RowShareLock, set(), access)


def _may(draft: Draft, constraint: Constraint, other: Relation) -> None:
    keys = (other.key, *other.indexes, *draft.schema.partitions(other.key))
    if any(draft.locks.get(key, 0) < LockMode.RowShareLock for key in keys):
        draft.hide(f"rows decide whether {constraint.name} looks them up in {other.key}", slight=True)


def _referencing(
    draft: Draft,
    state: Relation,
    event: str,
    sets: Mapping[str, str],
    *,
    sure: bool,
    claimed: bool,
    above: tuple[str, ...],
) -> None:
    """What foreign keys that point to the table do about its rows."""
    schema = draft.schema
    keys = [
        found
        for key in (state.key, *schema.ancestors(state.key))
        for found in schema.relations[key].referenced_by
    ]
    for table, name in keys:
        other = schema.relations.get(table)
        constraint = other.constraints.get(name) if other is not None else None
        if other is None or constraint is None or not constraint.enforced:
            continue
        actions = _actions(constraint, event, sets)
        writes = bool(_WRITING & actions)
        if not actions or (constraint.deferred and not writes):
            continue
        mode = LockMode.RowExclusiveLock if writes else LockMode.RowShareLock
        if claimed:
            plan(draft, table, mode, set(), w.Access(w.Name("", table), mode, other.kind != "p"))
        if draft.locks.get(table, 0) < mode:
            draft.hide(f"rows decide whether {name} of {table} does something about them", slight=True)
        if writes and table not in above:
            _written(
                draft,
                constraint,
                other,
                "c" in actions and event != "update",
                sure=sure and claimed,
                above=above,
            )


def _actions(constraint: Constraint, event: str, sets: Mapping[str, str]) -> set[str]:
    """The action that may come."""
    found = {constraint.on_delete} if event == "delete" else set()
    if event == "update" and any(sets.get(name, SAME) != SAME for name in constraint.ref_columns):
        found.add(constraint.on_update)
    return found


def _written(
    draft: Draft,
    constraint: Constraint,
    other: Relation,
    deleted: bool,
    *,
    sure: bool,
    above: tuple[str, ...],
) -> None:
    """Rows of the referencing table that an action deletes or changes: its triggers, and the tables that refer to it in turn."""
    event = "delete" if deleted else "update"
    fire(draft, other.triggers.values(), event, rows=False, columns=constraint.columns, certain=False)
    sets = dict.fromkeys(constraint.columns, "?")
    claimed = sure and has_rows(draft.schema, other.key)
    _referencing(draft, other, event, sets, sure=False, claimed=claimed, above=(*above, other.key))
