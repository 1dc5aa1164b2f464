"""Which partitions constants lead to, where bounds and values can be compared without a server.

A datum is a text: ``n:5`` a number, ``s:…`` a quoted value, ``null``, ``min``, ``max``, and ``?`` for anything else.
"""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from lockgate.policy.model.schema import Relation, Schema
from lockgate.postgres.tree.words import Bound

_NUMBERS = frozenset({"int2", "int4", "int8", "numeric"})
_TEXTS = frozenset({"text", "varchar"})
_DATES = frozenset({"date", "timestamp", "timestamptz"})
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?(Z|[+-]\d\d(?::?\d\d)?)?")
Comparable = tuple[int, Decimal | str]
_LOWEST: Comparable = (-1, "")
_HIGHEST: Comparable = (1, "")
_NULL: Comparable = (2, "")


def route(schema: Schema, state: Relation, row: Mapping[str, str]) -> list[str] | None:
    """The partitions that a row passes on its way down from ``state``; None when it cannot be told."""
    found: list[str] = []
    while state.kind == "p":
        child = _step(schema, state, row)
        below = schema.relations.get(child) if child else None
        if below is None or not child:
            return None
        found.append(child)
        state = below
    return found


def pruned(schema: Schema, state: Relation, row: Mapping[str, str]) -> list[str]:
    """What the planner keeps of the partitions below ``state`` when the columns of ``row`` are held against constants."""
    found: list[str] = []
    child = _step(schema, state, row)
    for name in state.children if child is None else filter(None, [child]):
        found.append(name)
        below = schema.relations.get(name)
        if below is not None and below.kind == "p":
            found += pruned(schema, below, row)
    return found


def _step(schema: Schema, state: Relation, row: Mapping[str, str]) -> str | None:
    """The partition of a row: "" when there is none for it, None when it cannot be told."""
    keys = state.partition_columns
    kinds = [state.columns[name].type.name if name in state.columns else "" for name in keys]
    values = [_comparable(row.get(name, "?"), kind) for name, kind in zip(keys, kinds, strict=True)]
    if not values or None in values:
        return None
    for child in state.children:
        if child == state.default_partition:
            continue
        bound = getattr(schema.relations.get(child), "bound", None)
        inside = _inside(bound, values, kinds) if bound is not None else None
        if inside is None:
            return None
        if inside:
            return child
    return state.default_partition


def _inside(bound: Bound, values: list[Comparable | None], kinds: list[str]) -> bool | None:
    if bound.strategy == "list":
        listed = [_comparable(datum, kinds[0]) for datum in bound.values]
        return None if None in listed else values[0] in listed
    if bound.strategy != "range" or set(kinds) & _TEXTS:
        return None  # hashes are the server's own, and the order of texts is a matter of collation
    if _NULL in values:
        return False  # only a default partition takes it
    low = _bounds(bound.lower, kinds)
    high = _bounds(bound.upper, kinds)
    known = [value for value in values if value is not None]
    if low is None or high is None or not len(low) == len(high) == len(known):
        return None
    return low <= known < high


def _bounds(datums: tuple[str, ...], kinds: list[str]) -> list[Comparable] | None:
    made = [_comparable(datum, kind) for datum, kind in zip(datums, kinds, strict=False)]
    known = [value for value in made if value is not None]
    return known if len(known) == len(made) else None


def _comparable(datum: str, kind: str) -> Comparable | None:
    if datum in ("null", "min", "max"):
        return {"null": _NULL, "min": _LOWEST, "max": _HIGHEST}[datum]
    form, _, value = datum.partition(":")
    if kind in _NUMBERS and form in ("n", "s"):
        try:
            return (0, Decimal(value.strip()))
        except InvalidOperation:
            return None
    if kind in _TEXTS and form == "s":
        return (0, value)
    match = _MOMENT.fullmatch(value.strip()) if kind in _DATES and form == "s" else None
    # An offset, or its absence, would have to be weighed against the session's time zone.
    if match is None or match[4] or (kind == "date" and match[2]):
        return None
    return (0, f"{match[1]} {match[2] or '00:00'}{match[3] or ':00'}")
