"""Which tables have rows, as far as the statements of the files tell."""

from lockgate.policy.model.schema import Schema
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


def empty(schema: Schema, word: w.Truncate, _file: int) -> None:
    """TRUNCATE leaves none."""
    for name in word.names:
        key = schema.resolve(name)
        for each in (key, *schema.descendants(key)):
            state = schema.relations.get(each)
            if state is not None:
                state.filled = False
