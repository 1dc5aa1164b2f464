"""What a session looks names up by, and its time zone: as SET and set_config leave them."""

from lockgate.policy.model.schema import Schema
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.lexing import names

_NO_HOME = ("pg_catalog", "$user")
"""Of a search path: nothing of ours is in the one, and a schema of the role's own is rare."""


def set_variable(schema: Schema, word: w.SetVariable, _file: int) -> None:
    """SET and RESET."""
    name = word.name.lower()
    if name == "search_path" or (word.reset and name == "all"):
        schema.search_path = [value for value in word.values if value not in _NO_HOME] or ["public"]
    if name == "timezone":
        schema.time_zone = word.values[0] if word.values else "UTC"


def settings(schema: Schema, word: w.SetVariable | w.Dml) -> None:
    """What SET, or set_config for certain, sets."""
    if isinstance(word, w.SetVariable):
        set_variable(schema, word, -1)
        return
    for name, value in word.query.settings if word.runs and "set_config" in word.query.calls else ():
        if value != "?":
            values = tuple(names(value)) if name == "search_path" else (value,)
            set_variable(schema, w.SetVariable(name, values), -1)
