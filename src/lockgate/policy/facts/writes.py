"""What statements that write lock: the target, what its rules make of the statement, and where rows go."""

from collections.abc import Mapping

from msgspec import structs

from lockgate.policy.facts import lookups, targets
from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.firing import fire_all, fired, rules_for, taken_over
from lockgate.policy.facts.queries import of_nothing, opened, parsed, plan, planned, read_by
from lockgate.policy.facts.routines import call, run_calls
from lockgate.policy.model.defaults import default_of
from lockgate.policy.model.schema import Relation
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.conditions import NOTHING_LASTS
from lockgate.postgres.tree.lexing import names
from lockgate.postgres.tree.pushing import agreed, lasting, translated
from lockgate.postgres.tree.words import LockMode


def dml(draft: Draft, word: w.Dml) -> None:
    """SELECT, INSERT, UPDATE, DELETE, MERGE, COPY and EXPLAIN."""
    draft.facts.kind = word.kind.upper()
    draft.facts.reversible = word.kind in ("select", "explain", "copy to") and not word.changes
    if word.runs:
        _called(draft, word)
        run_calls(draft, word.query)
    come_in(draft, word.query, runs=word.runs)
    accesses, runs = word.query.accesses, True
    if word.target is not None:
        target, _ = draft.known(word.target)
        draft.see(f"rows of {target} change")
        if word.insert is not None:
            sources = None if word.kind == "copy from" else _sources(draft, word.query, target)
            runs = _insert(draft, target, word.insert, sources=sources, sets=dict(word.sets), looks=word.runs)
            if word.runs:
                fired(draft, target, word)
        else:
            own = [access for access in accesses if _is_target(draft, access, target)]
            accesses = tuple([access for access in accesses if access not in own])
            runs = _change(
                draft, target, word.kind, own[0] if own else None, alone=not (accesses or word.where),
                sets=dict(word.sets), events=(word.events or (word.kind,)) if word.runs else (),
            )  # fmt: skip
            state = draft.schema.relations.get(target)
            if word.runs and runs and "insert" in word.events and state is not None:
                _merged(draft, state, word.puts, _sources(draft, word.query, target))
            if not word.where and runs:
                draft.scan(target)
            if word.runs:
                fired(draft, target, word)
    if word.kind == "prepare":
        opened(draft, accesses)
    else:
        (parsed if word.unplanned or not runs else planned)(draft, accesses)
    if word.runs:
        go_on(draft, word.query)


def come_in(draft: Draft, query: w.Query, *, runs: bool) -> None:
    """What a query inserts inside WITH, and the triggers of all that it writes there."""
    for insert in query.inserts:
        key = draft.known(insert.target)[0]
        _insert(draft, key, insert, sources=_sources(draft, query, key), looks=runs)
        if runs:
            fire_all(draft, key, "insert", rows=insert.values and not insert.conflicts)
    for write in query.writes if runs else ():
        fire_all(draft, draft.schema.resolve(write.target), write.event, columns=tuple(dict(write.sets)))


def go_on(draft: Draft, query: w.Query) -> None:
    """What the rows set off that a query changes inside WITH; its tables are planned by now."""
    for write in query.writes:
        key = draft.schema.resolve(write.target)
        _set_off(draft, key, write, dict(write.sets), _sources(draft, query, key))


def _set_off(
    draft: Draft,
    key: str,
    write: w.Write,
    sets: Mapping[str, str],
    sources: list[str],
    *,
    where: bool = False,
) -> None:
    """Rows that move, and what foreign keys look up and do, through a view too."""
    state = draft.schema.relations.get(key)
    if state is None or rules_for(state, write.event) or taken_over(state, write.event):
        return
    if state.kind == "v":
        for read in read_by(state):
            own = dict(read.outputs)
            renamed = {own.get(name, name): value for name, value in sets.items()}
            _set_off(draft, read.key, write, renamed, sources, where=where or bool(read.conditions))
        return
    moves = targets.rows_that_move(draft, state, sets)
    if "update" in write.events:
        targets.rows_that_stay(draft, state)
    lookups.changed(draft, state, write.events, sets, sure=not (write.where or where), moves=moves)
    if "insert" in write.events:
        _merged(draft, state, write.puts, sources)


def _merged(draft: Draft, state: Relation, puts: tuple[w.Put, ...], sources: list[str]) -> None:
    """What rows lock that a MERGE inserts, through a view too."""
    if state.kind != "v":
        targets.rows_of_a_query(draft, state, None)
        lookups.merged(draft, state, puts, sources)
    elif not taken_over(state, "insert"):
        for read in read_by(state):
            base = draft.schema.relations.get(read.key)
            if base is not None:
                own = dict(read.outputs)
                inner = [
                    (tuple([own.get(at, at) for at in names or tuple(state.columns)[: len(row)]]), row)
                    for names, row in puts
                ]
                _merged(draft, base, tuple(inner), sources)


def _is_target(draft: Draft, access: w.Access, target: str) -> bool:
    writes = access.mode == LockMode.RowExclusiveLock and not access.insert
    return writes and draft.schema.resolve(access.name) == target


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
    *schema, name = names(text)
    return w.Name(schema[-1] if schema else "", name)


def _sources(draft: Draft, query: w.Query, target: str) -> list[str]:
    """What the rows of an INSERT … SELECT are read from."""
    keys = [draft.schema.resolve(access.name) for access in query.accesses if not access.insert]
    return [key for key in keys if key != target]


_NO_SETS: Mapping[str, str] = {}


def _insert(
    draft: Draft,
    target: str,
    word: w.Insert,
    *,
    certain: bool = True,
    sources: list[str] | None = None,
    sets: Mapping[str, str] = _NO_SETS,
    looks: bool = True,
) -> bool:
    """Indexes of the target are locked only while rows go in, but ON CONFLICT plans with them. Which partition
    a row goes to is for the row to say. Whether the source of the rows is planned."""
    mode = LockMode.RowExclusiveLock
    state = draft.schema.relations.get(target)
    draft.lock(target, mode)
    if state is None:
        return True
    runs, acts = _ruled(draft, state, "insert", certain=certain and word.values)
    if not runs:
        return acts
    if state.kind == "v":
        if not taken_over(state, "insert"):
            for source, _ in state.sources:
                inner = _through(draft, state, source, word)
                _insert(draft, source, inner, certain=certain, sources=sources, sets=sets, looks=looks)
        return True
    if word.infers:
        _arbiters(draft, state, word)
    if word.values and certain and looks:
        _rows(draft, target, state, word, sets)
    elif looks:
        targets.rows_of_a_query(draft, state, sources)
        lookups.queried(draft, state, word, sources)
    return True


def _arbiters(draft: Draft, state: Relation, word: w.Insert) -> None:
    """The indexes that are looked at for the one that decides: all, or those up to the one of the constraint that is named."""
    own = state.constraints.get(word.arbiter)
    for index in state.indexes:
        draft.lock(index, LockMode.RowExclusiveLock)
        if own is not None and index == own.index:
            return


def _through(draft: Draft, view: Relation, source: str, word: w.Insert) -> w.Insert:
    """The row as the table behind a view gets it, where the view calls its columns what the table does."""
    base = draft.schema.relations.get(source)
    (read,) = [read for read in read_by(view) if read.key == source][:1]
    own = dict(read.outputs)
    columns = tuple([own.get(name, name) for name in word.columns or tuple(view.columns)[: word.width]])
    alike = base is not None and set(columns) <= set(base.columns)
    return structs.replace(word, columns=columns, rows=word.rows if alike else ())


def _rows(draft: Draft, target: str, state: Relation, word: w.Insert, sets: Mapping[str, str]) -> None:
    """What rows that are certain lock: partitions that they go to, and sequences that they ask."""
    if state.partition:
        # The first row is held against the bounds, and these are worked out from the parents.
        draft.lock_all(draft.schema.ancestors(target), LockMode.AccessShareLock)
    names = list(word.columns or state.columns)
    if state.kind == "p":
        targets.rows_of_constants(draft, state, names, word)
    given = {name for at, name in enumerate(names[: word.width]) if at not in word.defaults}
    _computed(draft, state, given)
    if word.conflicts:
        lookups.conflicting(draft, state, names, word, sets)
    else:
        lookups.constants(draft, state, names, word)
    # Of INSTEAD with WHERE the rule decides which rows are left.
    left = not any(rule.instead for rule in rules_for(state, "insert"))
    for column in state.columns.values():
        asked = column.name not in given or (column.identity and word.own_identity)
        if asked and (sequence := default_of(draft.schema, column).sequence):
            lookups.ask(draft, sequence, claimed=left)


def _computed(draft: Draft, state: Relation, given: set[str]) -> None:
    """What defaults, generated columns and checks of a row call."""
    for column in state.columns.values():
        if column.generated:
            for name in column.generated_functions:
                call(draft, name, sure=column.generated == "s")
        elif column.name not in given:
            for name in default_of(draft.schema, column).functions:
                call(draft, name, sure=True)
    for constraint in state.constraints.values():
        for name in constraint.functions if constraint.enforced else ():
            call(draft, name, sure=True)


def _change(
    draft: Draft,
    target: str,
    event: str,
    access: w.Access | None,
    *,
    alone: bool,
    sets: Mapping[str, str] = _NO_SETS,
    events: tuple[str, ...] = (),
) -> bool:
    """UPDATE, DELETE or MERGE of one table, or through a view. Whether the rest of the query is planned."""
    mode = LockMode.RowExclusiveLock
    state = draft.schema.relations.get(target)
    draft.lock(target, mode)
    if state is None:
        return True
    runs, acts = _ruled(draft, state, event, certain=False)
    if state.kind == "v" and runs:
        for read in read_by(state):
            outer = access.conditions if access else ()
            asked = agreed((*lasting(read.conditions), *translated(outer, read.outputs)))
            if NOTHING_LASTS in outer:
                asked = (NOTHING_LASTS,)
            elif of_nothing(state, outer, read):
                asked = (w.Either(()),)
            inner = w.Access(w.Name("", ""), mode, read.only, asked)
            if taken_over(state, event):
                plan(draft, read.key, LockMode(read.mode), set(), inner)
            else:
                own = dict(read.outputs)
                renamed = {own.get(name, name): value for name, value in sets.items()}
                _change(
                    draft,
                    read.key,
                    event,
                    inner,
                    alone=alone and not read.conditions,
                    sets=renamed,
                    events=events,
                )
        return True
    speaks = any(rule.rows for rule in rules_for(state, event))
    if runs or (acts and (speaks or not alone)):
        plan(draft, target, mode, set(), access)
    asked = access.conditions if access is not None else ()
    # A partitioned table has no rows of its own, and of WHERE false nobody has any.
    nobody = w.Either(()) in asked or (state.kind == "p" and access is not None and access.only)
    if runs and events and not nobody:
        moves = targets.rows_that_move(draft, state, sets, asked)
        if "update" in events:
            targets.rows_that_stay(draft, state)
        lookups.changed(draft, state, events, sets, sure=alone, moves=moves)
    return runs or acts


def _ruled(draft: Draft, state: Relation, event: str, *, certain: bool) -> tuple[bool, bool]:
    """Lock what the rules of a relation do on ``event``: whether the statement itself still runs, and whether any acts."""
    runs, acts = True, False
    for rule in rules_for(state, event):
        own = tuple([access for access in rule.accesses if access.name.name not in ("old", "new")])
        planned(draft, own)
        for insert in rule.inserts:
            _insert(draft, draft.known(insert.target)[0], insert, certain=certain and not rule.qualified)
        if rule.instead and not rule.qualified:
            runs = False
        acts = acts or rule.acts
    return runs, acts
