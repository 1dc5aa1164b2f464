"""The names that PostgreSQL makes up for what a statement leaves unnamed."""

from collections.abc import Container, Iterable

from lockgate.policy.model.schema import Schema, key_of
from lockgate.postgres.tree.lexing import parted

_LIMIT = 63


def made_up(first: str, second: str, label: str, taken: Container[str]) -> str:
    """``first_second_label``, cut to 63 bytes as the server does it, with a number when taken."""
    number = 0
    while True:
        suffix = label + (str(number) if number else "")
        name = joined(first, second, suffix)
        if name not in taken:
            return name
        number += 1


def joined(first: str, second: str, label: str) -> str:
    """``first_second_label`` within 63 bytes: the longer of the first two is cut, as the server does it (``makeObjectName``)."""
    one, two = first.encode(), second.encode()
    room = _LIMIT - len(label.encode()) - 1 - (1 if two else 0)
    while len(one) + len(two) > room:
        if len(one) > len(two):
            one = one[:-1]
        else:
            two = two[:-1]
    parts = [one.decode(errors="ignore")]
    if second:
        parts.append(two.decode(errors="ignore"))
    parts.append(label)
    return "_".join(parts)


def clipped(name: str, less: int = 0) -> str:
    """``name`` within 63 bytes, or ``less`` fewer."""
    return name.encode()[: _LIMIT - less].decode(errors="ignore")


def joined_columns(columns: Iterable[str]) -> str:
    """The middle part of an index or constraint name: columns joined, cut where the server stops."""
    text = ""
    for column in columns:
        text = f"{text}_{column}" if text else column
        if len(text.encode()) >= _LIMIT:
            break
    return text


def bare(key: str) -> str:
    """The name in a key, without its schema."""
    return parted(key)[1]


class Taken:
    """The relation names that a schema already has, asked for one at a time."""

    __slots__ = ("_name", "_schema")

    def __init__(self, schema: Schema, name: str) -> None:
        self._schema, self._name = schema, name

    def __contains__(self, name: object) -> bool:
        key = key_of(self._name, str(name))
        return key in self._schema.relations or key in self._schema.indexes
