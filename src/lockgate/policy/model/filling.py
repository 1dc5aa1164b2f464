"""Which tables have rows, as far as the statements of the files tell."""

from lockgate.policy.model.defaults import row_of
from lockgate.policy.model.pruning import route
from lockgate.policy.model.schema import Relation, Schema
from lockgate.postgres.tree import words as w


def fill(schema: Schema, word: w.Dml) -> None:
    """Whether there are rows now: those of an INSERT, or none after a DELETE of all."""
    if word.target is None or not word.runs:
        return
    state = schema.get(word.target)
    if state is None:
        return
    if word.kind == "copy from":
        state.filled = True
    elif word.insert is not None and word.values and not state.filled and state.kind == "p":
        _spread(schema, state, word.insert)
    elif word.insert is not None:
        read = [schema.get(access.name) for access in word.query.accesses if not access.insert]
        state.filled = (
            state.filled
            or word.values
            or (not word.where and all(one is not None and one.filled for one in read))
        )
    elif word.kind == "delete" and not (word.where or word.query.accesses[1:]):
        for key in (state.key, *schema.descendants(state.key)):
            schema.relations[key].filled = False


def _spread(schema: Schema, state: Relation, word: w.Insert) -> None:
    """Rows of VALUES are in the partitions that their values choose; where that cannot be told, anywhere below the table."""
    names = word.columns or tuple(state.columns)
    found: list[Relation] = []
    for row in word.rows:
        way = route(schema, state, row_of(schema, state, names, row))
        last = schema.relations[way[-1]] if way else state
        if last.kind == "p":
            found = []
            break
        found.append(last)
    for each in found or [state]:
        each.filled = True


def empty(schema: Schema, word: w.Truncate, _file: int) -> None:
    """TRUNCATE leaves none."""
    for name in word.names:
        key = schema.resolve(name)
        for each in (key, *schema.descendants(key)):
            state = schema.relations.get(each)
            if state is not None:
                state.filled = False
