"""What runs inside a statement: functions, procedures, DO blocks and triggers, as far as earlier files tell their bodies.

What is sure to run is claimed like a statement of the file. What hangs on rows, on a branch or on a text that is put
together, and every body that no file has, is told as hidden.
"""

import copy
from collections.abc import Iterable
from itertools import pairwise

from lockgate.policy.facts.fact import Change, Draft, Facts
from lockgate.policy.model.built_in import built_in_functions, extension_functions
from lockgate.policy.model.pruning import kept
from lockgate.policy.model.replay import replay_step
from lockgate.policy.model.schema import Schema, Trigger
from lockgate.policy.model.settings import settings
from lockgate.policy.model.watched import TABLES
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.bodies import Step, steps_of
from lockgate.postgres.tree.lexing import dotted, parted, words
from lockgate.postgres.tree.words import LockMode

_DEEPEST = 12
_MOST = 500
"""Of runs of functions in one statement: each of a few that call the next several times is soon a billion."""


_LOCKING = frozenset({
    "brin_desummarize_range", "brin_summarize_new_values", "brin_summarize_range", "cursor_to_xml",
    "database_to_xml", "gin_clean_pending_list", "pg_clear_attribute_stats", "pg_clear_relation_stats",
    "pg_restore_attribute_stats", "pg_restore_relation_stats", "query_to_xml", "query_to_xml_and_xmlschema",
    "schema_to_xml", "table_to_xml", "ts_rewrite", "ts_stat",
})  # fmt: skip
"""Functions of PostgreSQL's own that lock a relation, or run a query, which stands in a text."""


def do_block(draft: Draft, word: w.DoBlock) -> None:
    """Its statements, as far as they can be read. No rule looks at them, so it stays marked as opaque."""
    draft.facts.opaque = True
    draft.facts.reversible = None
    _run(draft, steps_of(word), "the DO block")


def call_procedure(draft: Draft, word: w.Call) -> None:
    """The body of the procedure, after what its arguments read and call."""
    draft.facts.opaque = True
    draft.facts.reversible = None
    for access in word.query.accesses:
        draft.lock(draft.known(access.name)[0], access.mode)
    run_calls(draft, word.query)
    call(draft, dotted(*filter(None, (word.name.schema, word.name.name))), sure=True)


def run_calls(draft: Draft, query: w.Query) -> None:
    """The functions that a query calls: those that it is sure to, and those that its rows ask for."""
    for name, value in query.settings:
        if name in ("search_path", "?") and ("?" in (name, value) or "set_config" not in query.calls):
            draft.hide("set_config() may change where names are looked up")
    for name in query.functions:
        call(draft, name, sure=name in query.calls)
    for operator in query.operators:
        if f"operator {operator}" in draft.schema.functions:
            run_routine(draft, f"operator {operator}", sure=False)
    for kind in query.types:
        become(draft, kind)


def become(draft: Draft, kind: w.TypeName) -> None:
    """What runs when a value becomes a type of users: which of its casts, and whether any, the value says."""
    state = draft.schema.user_type(kind)
    for name in state.functions if state is not None else ():
        call(draft, name, sure=False)


def call(draft: Draft, name: str, *, sure: bool) -> None:
    """One function by the name in the text."""
    schema, plain = parted(name)
    key = draft.schema.routine_key(w.Name(schema, plain))
    if key in draft.schema.functions:
        run_routine(draft, key, sure=sure)
    elif schema in ("", "pg_catalog") and plain in _LOCKING:
        draft.hide(f"{plain}() locks or runs what its arguments name")
    elif schema in ("", "pg_catalog") and plain in built_in_functions():
        return
    elif extensions := _bringing(draft.schema, schema, plain):
        if not any(extension in draft.schema.extensions for extension in extensions):
            draft.hide(
                f"{name}() is made by none of the files; {' or '.join(sorted(extensions))} has one",
                slight=True,
            )
    else:
        draft.hide(f"{name}() is made by none of the files")


def _bringing(schema: Schema, named: str, function: str) -> frozenset[str]:
    """The extensions whose function this may be: where a schema is named, those that are in it."""
    found = extension_functions().get(function, frozenset())
    kept = [each for each in found if named in ("", schema.extension_schemas.get(each, "public"))]
    return frozenset(kept)


def run_routine(draft: Draft, key: str, *, sure: bool, event: str = "", unseen: tuple[str, ...] = ()) -> None:
    """The body of a routine that the model knows; ``unseen`` are names in it that are no tables."""
    words = draft.schema.routines.get(key, ())
    if key in draft.inside or len(draft.inside) > _DEEPEST:
        return  # what it does is claimed once
    if len(words) != 1:
        draft.hide(
            f"there are {len(words)} functions {key}()" if words else f"no file has the body of {key}()"
        )
        return
    if len(draft.course.runs) >= _MOST:
        draft.hide("more functions call each other than are followed")
        return
    draft.course.runs.append(key)
    (routine,) = words
    sure = sure and not routine.strict
    for name in routine.defaults:
        call(draft, name, sure=False)  # who calls it may give the argument
    path = draft.schema.search_path
    if routine.search_path:
        draft.schema.search_path = [part for part in routine.search_path if part != "pg_catalog"]
    try:
        _run(draft, steps_of(routine, event), f"{key}()", key, sure=sure, unseen=unseen)
    finally:
        draft.schema.search_path = path


def fire(
    draft: Draft,
    triggers: Iterable[Trigger],
    event: str,
    *,
    rows: bool,
    columns: tuple[str, ...] = (),
    certain: bool = True,
    conflict: tuple[str, ...] = (),
) -> None:
    """Those of the triggers that are for ``event``; ``rows``: there is a row for certain. Of UPDATE, ``columns`` it sets.

    ``conflict``: there is one for ON CONFLICT, of which one of these events comes, and what is BEFORE INSERT in any case.
    """
    refused = False
    for trigger in sorted(triggers, key=lambda at: (not at.before, at.name)):
        if not trigger.events:  # a snapshot of before
            draft.hide(f"nobody says what fires {trigger.name}", slight=True)
        if event not in trigger.events or not trigger.enabled:
            continue
        if event == "update" and trigger.columns and columns and not set(columns) & set(trigger.columns):
            continue
        row = rows or bool(conflict and (trigger.before or set(conflict) <= set(trigger.events)))
        sure = certain and not trigger.hesitates and ((row and not refused) or not trigger.row)
        refused = refused or may_refuse(draft.schema, [trigger], event)
        if trigger.routine in draft.schema.functions:
            run_routine(draft, trigger.routine, sure=sure, event=event, unseen=trigger.transitions)
        elif trigger.function not in built_in_functions():
            draft.hide(f"no file has the body of {trigger.function}()")


def may_refuse(schema: Schema, triggers: Iterable[Trigger], event: str) -> bool:
    """Whether a row may come to nothing, since BEFORE a trigger's function may return NULL in its place."""
    for trigger in triggers:
        if trigger.before and trigger.row and trigger.enabled and event in trigger.events:
            for routine in schema.routines.get(trigger.routine, ()):
                if "null" in routine.body.lower() and ("return", "null") in pairwise(words(routine.body)):
                    return True
    return False


# -- bodies ----------------------------------------------------------------------------------------


def _run(
    draft: Draft,
    steps: tuple[Step, ...],
    label: str,
    key: str = "",
    *,
    sure: bool = True,
    unseen: tuple[str, ...] = (),
) -> None:
    from lockgate.policy.facts.gather import facts_of  # the one circle: statements inside a statement

    schema, apart = draft.schema, False
    for step in steps:
        if step.statement is None:
            draft.hide(f"{label}: {step.closed}")
            continue
        inside = (*draft.inside, key) if key else draft.inside
        inner = facts_of(step.statement, schema, draft.server, inside, draft.course)
        for name in unseen:
            inner.locks.pop(schema.resolve(w.Name("", name)), None)
        if draft.course.look is not None:
            draft.course.look(label, step.statement, inner, schema)
        if _changes(step.statement, inner, schema, draft.course.file):
            draft.change(Change(inner.kind, label, sure and step.certain))
        for change in inner.changes:
            draft.change(Change(change.what, change.where, change.certain and sure and step.certain))
        if not inner.understood:
            draft.hide(f"{label}: {inner.kind.lower()}")
        elif sure and step.certain:
            _take(draft, inner, schema)
            if isinstance(step.statement, w.Dml) and key:
                _by_argument(draft, step.statement.query, label)
        else:
            _mention(draft, inner, label)
        if (
            isinstance(step.statement, w.SetVariable)
            and step.statement.name == "search_path"
            and not step.certain
        ):
            draft.hide(f"{label} may change where names are looked up")
        if isinstance(step.statement, w.SetVariable) or (
            isinstance(step.statement, w.Dml) and step.statement.query.settings
        ):
            schema = copy.copy(schema) if schema is draft.schema else schema
            if step.certain:
                settings(schema, step.statement)
        elif not isinstance(step.statement, w.Dml):
            # What it makes is not there before it runs, so later steps see a model of their own.
            schema = schema if apart else _apart(schema)
            apart = True
            replay_step(schema, step.statement, draft.course.file, certain=step.certain)


_QUIET = (w.Dml, w.Call, w.DoBlock, w.SetVariable, w.TransactionControl, w.Utility)
"""What changes no schema by itself; what such a step calls has steps of its own."""


def _changes(statement: w.Statement, inner: Facts, schema: Schema, file: int) -> bool:
    """Whether a step is DDL of more than a temporary table, or keeps writers from a table that is not new."""
    if isinstance(statement, w.LockTable):
        states = [schema.relations.get(key) for key in inner.locks]
        old = any(state is None or file < 0 or state.created_file != file for state in states)
        return old and max(inner.locks.values(), default=0) >= LockMode.ShareLock
    temporary = isinstance(statement, w.CreateTable | w.CreateTableAs) and statement.persistence == "t"
    return not (isinstance(statement, _QUIET) or temporary or _of_temporary(statement, schema))


def _of_temporary(statement: w.Statement, schema: Schema) -> bool:
    """Whether all that the statement names are temporary tables."""
    names = (
        getattr(statement, "names", ())
        or [getattr(statement, part) for part in ("table", "name", "target") if hasattr(statement, part)][:1]
    )
    keys = [schema.resolve(name) for name in names if isinstance(name, w.Name)]
    return bool(keys) and all(key.startswith("pg_temp.") for key in keys)


def _take(draft: Draft, inner: Facts, schema: Schema) -> None:
    """What the statement does is done by the one around it, but for what an earlier step made."""
    there = draft.schema
    for key, mode in inner.locks.items():
        made = schema is not there and (key in schema.relations or key in schema.indexes)
        if not made or key in there.relations or key in there.indexes:
            draft.lock(key, mode)
    for key in inner.rewrites:
        if key in there.relations or key in there.indexes:
            draft.rewrite(key)
    for key in inner.scans:
        if key in there.relations:
            draft.scan(key)
    for hidden in inner.hidden:
        draft.hide(hidden.why, slight=hidden.slight)
    draft.facts.visible += [told for told in inner.visible if told not in draft.facts.visible]
    if inner.reversible is not True and draft.facts.reversible is True:
        draft.facts.reversible = inner.reversible
    draft.facts.unknown += [key for key in inner.unknown if key not in draft.facts.unknown]


def _by_argument(draft: Draft, query: w.Query, label: str) -> None:
    """Partitions that a value of this very call leaves out are claimed, and told."""
    for access in query.accesses:
        state = draft.schema.get(access.name)
        if state is None or state.kind != "p" or access.insert or access.only:
            continue
        every = draft.schema.partitions(state.key)
        asked = set(query.column_refs) & set(state.partition_columns)
        if len(every) > 1 and asked and len(kept(draft.schema, state, access.conditions)) == len(every):
            draft.hide(f"{label} may leave out partitions of {state.key}, by its arguments", slight=True)


def _mention(draft: Draft, inner: Facts, label: str) -> None:
    """What may run is not claimed."""
    if inner.locks:
        strong = max(inner.locks.values())
        keys = ", ".join(key for key in inner.locks if key not in draft.schema.indexes)
        if any(draft.locks.get(key, 0) < mode for key, mode in inner.locks.items()):
            draft.hide(
                f"{label} may lock {keys} ({strong.name}): that hangs on rows or on a branch",
                slight=strong <= LockMode.RowExclusiveLock,
            )
    elif inner.visible or inner.rewrites:
        draft.hide(f"{label} may run {inner.kind}")
    for hidden in inner.hidden:
        draft.hide(hidden.why, slight=hidden.slight)


def _apart(schema: Schema) -> Schema:
    """The model once more, to be changed."""
    twin = Schema(version=schema.version, search_path=[*schema.search_path], time_zone=schema.time_zone)
    for name in TABLES:
        setattr(twin, name, copy.deepcopy(dict(getattr(schema, name).items())))
    twin.plain_names = schema.plain_names
    return twin
