"""A schema that notes what is looked up in it, so that it can be told which files have to do with each other.

Two files that touch no common entry cannot change each other's judgement: whatever one learns of the model, it learns
through these tables.
"""

# ruff: noqa: D102 - the methods are those of dict

from collections.abc import Iterator
from typing import Any, TypeVar

from msgspec import Struct

from lockgate.policy.model.schema import Schema

V = TypeVar("V")
CHANGEABLE = ("relations", "indexes", "types", "publications")
"""Tables whose entries are records that are changed in place: who finds one may change it."""
FIXED = ("functions", "routines", "schemas", "extensions", "extension_schemas", "servers", "statistics")
"""Tables of plain values: looking one up changes nothing."""
TABLES = (*CHANGEABLE, *FIXED)


class Trace(Struct):
    """What one file touched.

    ``held`` are entries that it made, took out, or found where finding is enough to change them; ``read`` those that it
    only looked for; ``whole`` tables that it went through from end to end.
    """

    held: set[str]
    read: set[str]
    whole: set[str]


class Watched(dict[str, V]):
    """A table that notes the keys that are asked for."""

    __slots__ = ("fixed", "held", "read", "whole")

    def __init__(self, content: dict[str, V], *, fixed: bool) -> None:
        super().__init__(content)
        self.fixed = fixed
        self.held: set[str] = set()
        self.read: set[str] = set()
        self.whole = False

    def _note(self, key: str) -> bool:
        there = dict.__contains__(self, key)
        (self.held if there and not self.fixed else self.read).add(key)
        return there

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return dict.get(self, key, default)

    def __getitem__(self, key: str) -> V:
        self._note(key)
        return dict.__getitem__(self, key)

    def __contains__(self, key: object) -> bool:
        return self._note(str(key))

    def __setitem__(self, key: str, value: V) -> None:
        self.held.add(key)
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        self.held.add(key)
        dict.__delitem__(self, key)

    def pop(self, key: str, *default: Any) -> Any:
        self.held.add(key)
        return dict.pop(self, key, *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self.held.add(key)
        return dict.setdefault(self, key, default)

    def update(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("entries are set one by one")

    def __iter__(self) -> Iterator[str]:
        self.whole = True
        return dict.__iter__(self)

    def __len__(self) -> int:
        self.whole = True
        return dict.__len__(self)

    def keys(self) -> Any:
        self.whole = True
        return dict.keys(self)

    def values(self) -> Any:
        self.whole = True
        return dict.values(self)

    def items(self) -> Any:
        self.whole = True
        return dict.items(self)


def watched(version: int) -> Schema:
    """An empty schema that is watched."""
    schema = Schema(version=version)
    for name in TABLES:
        setattr(schema, name, Watched(getattr(schema, name), fixed=name in FIXED))
    return schema


def take(schema: Schema) -> Trace:
    """What was touched since the last call."""
    trace = Trace(set(), set(), set())
    for name in TABLES:
        table: Watched[Any] = getattr(schema, name)
        trace.held.update([f"{name} {key}" for key in table.held])
        trace.read.update([f"{name} {key}" for key in table.read])
        if table.whole:
            trace.whole.add(name)
        table.held, table.read, table.whole = set(), set(), False
    trace.read -= trace.held
    return trace
