"""Which triggers a statement that writes sets off: of its target, behind views, of partitions, and by what rules write."""

from lockgate.policy.facts import lookups
from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.routines import become, call, fire
from lockgate.policy.model.schema import Relation
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode


def fired(draft: Draft, target: str, word: w.Dml) -> None:
    """The triggers of the target, unless rules or INSTEAD OF have taken the statement over."""
    if word.insert is not None and word.insert.values and word.on_conflict:
        fire_all(
            draft, target, "insert", conflict=() if word.where else ("insert", *(word.events or ("nothing",)))
        )
    elif word.insert is not None:
        fire_all(draft, target, "insert", rows=word.insert.values)
    # Without WHERE each row that there is has its turn.
    each = word.kind in ("update", "delete") and not word.where and len(word.query.accesses) == 1
    each = each and lookups.has_rows(draft.schema, target)
    for event in word.events or ((word.kind,) if word.insert is None else ()):
        fire_all(draft, target, event, rows=each, columns=tuple(dict(word.sets)) if event == "update" else ())


def fire_all(
    draft: Draft,
    key: str,
    event: str,
    *,
    rows: bool = False,
    columns: tuple[str, ...] = (),
    certain: bool = True,
    above: tuple[str, ...] = (),
    conflict: tuple[str, ...] = (),
) -> None:
    """The triggers of a relation, of the table behind a view, of partitions, and of what rules write."""
    state = draft.schema.relations.get(key)
    if state is None or key in above:
        return
    above = (*above, key)
    if any(guard.rule for guard in state.guards.values()):
        certain = False
        for rule in rules_for(state, event):
            _by_rule(draft, rule, above)
    if event in ("insert", "update", "merge"):
        _checked(draft, state)
    fire(
        draft, state.triggers.values(), event, rows=rows, columns=columns, certain=certain, conflict=conflict
    )
    if state.kind == "v" and not taken_over(state, event):
        alone = len(state.sources) == 1
        for source, _ in state.sources:
            fire_all(
                draft, source, event, rows=rows, certain=certain and alone, above=above, conflict=conflict
            )
    elif event != "insert" or state.kind == "p":
        _below(draft, state, event, columns)


def _below(draft: Draft, state: Relation, event: str, columns: tuple[str, ...]) -> None:
    """Row triggers that only partitions or children have; which of them get a row, the rows say."""
    events = [event]
    if (
        event == "update"
        and state.kind == "p"
        and (not columns or set(columns) & set(state.partition_columns))
    ):
        events += ["delete", "insert"]  # a row moves to another partition
        for moved in events[1:]:
            rowwise = [trigger for trigger in state.triggers.values() if trigger.row]
            fire(draft, rowwise, moved, rows=False, certain=False)
    known = {(trigger.name, trigger.routine) for trigger in state.triggers.values()}
    for key in draft.schema.descendants(state.key):
        below = draft.schema.relations.get(key)
        own = [] if below is None else [at for at in below.triggers.values() if at.row]
        for each in events:
            fire(
                draft,
                [at for at in own if (at.name, at.routine) not in known],
                each,
                rows=False,
                columns=columns,
                certain=False,
            )


def _by_rule(draft: Draft, rule: w.CreateRule, above: tuple[str, ...]) -> None:
    for insert in rule.inserts:
        fire_all(draft, draft.schema.resolve(insert.target), "insert", certain=False, above=above)
    for access in rule.accesses:
        if access.mode == LockMode.RowExclusiveLock and not access.insert:
            for event in ("update", "delete"):
                fire_all(draft, draft.schema.resolve(access.name), event, certain=False, above=above)


def _checked(draft: Draft, state: Relation) -> None:
    """What a row of a table runs that may or may not be there: checks, generated columns, and what its types run."""
    for column in state.columns.values():
        become(draft, column.type)
        for name in column.generated_functions if column.generated == "s" else ():
            call(draft, name, sure=False)
    for constraint in state.constraints.values():
        for name in constraint.functions if constraint.enforced else ():
            call(draft, name, sure=False)


def taken_over(state: Relation, event: str) -> bool:
    """Whether a trigger INSTEAD OF does the work."""
    return any(event in trigger.instead for trigger in state.triggers.values())


def rules_for(state: Relation, event: str) -> list[w.CreateRule]:
    """The rules of a relation for ``event``."""
    return [
        guard.rule for guard in state.guards.values() if guard.rule is not None and guard.rule.event == event
    ]
