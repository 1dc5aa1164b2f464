"""The bounds of one partitioned table, seen as slots: the listed values, the stretches between bounds, or the remainders of a hash."""

import re

from msgspec import Struct

from lockgate.policy.model.datums import PLAIN_TEXT, TEXTS, Comparable, Labels, comparable, ordered
from lockgate.policy.model.schema import BUILT_IN, Relation, Schema
from lockgate.postgres.tree.words import TypeName

_PLAIN_COLLATION = re.compile(
    r"|C|POSIX|default|ucs_basic|unicode|pg_c_utf8|pg_unicode_fast|[a-z]{2,3}[-_].*|und-x-icu"
)
Slots = frozenset[int]


class Bounds(Struct):
    """The slots of one table: ``owners`` has the partition of each, "" where there is none but the default one."""

    strategy: str
    keys: tuple[str, ...]
    kinds: list[str]
    owners: list[str]
    # list: the value of each slot; the last slot is every other value.
    values: list[Comparable]
    # range: the bounds in order; slot n lies below bound n, one more above all, and the last is the default partition.
    edges: list[list[Comparable]]
    # hash: (modulus, remainder) of each slot.
    parts: list[tuple[int, int]]
    schema: Schema

    def meant(self, cast: str) -> str:
        """The type behind a cast to a domain that checks nothing; the server sees through no other."""
        made = (
            self.schema.types.get(self.schema.type_key("", cast)) if cast and cast not in BUILT_IN else None
        )
        if made is None or made.kind != "domain" or made.constrained or made.base is None or made.base.mods:
            return cast  # one with a length or a scale changes the value, too
        return self.meant(made.base.name)

    @property
    def every(self) -> Slots:
        """All slots."""
        return frozenset(range(len(self.owners)))


def bounds_of(schema: Schema, state: Relation) -> Bounds | None:
    """The bounds below ``state``; None when a key is an expression, or only a server could compare them."""
    keys = state.partition_columns
    if not keys or state.partition_order or not all(name in state.columns for name in keys):
        return None
    kinds = [_kind(schema, state, name) for name in keys]
    found = Bounds("", keys, kinds, [], [], [], [], schema)
    edges: list[tuple[list[Comparable], list[Comparable], str]] = []
    for child in state.children:
        bound = getattr(schema.relations.get(child), "bound", None)
        if child == state.default_partition:
            continue
        if bound is None:
            return None
        found.strategy = bound.strategy
        if bound.strategy == "hash":
            found.parts.append((bound.modulus, bound.remainder))
            found.owners.append(child)
            continue
        if bound.strategy == "list":
            values = values_of(bound.values, kinds * len(bound.values))
            if values is None:
                return None
            found.values += values
            found.owners += [child] * len(values)
            continue
        low, high = values_of(bound.lower, kinds), values_of(bound.upper, kinds)
        if low is None or high is None or len(low) != len(keys) or len(high) != len(keys):
            return None
        edges.append((low, high, child))
    if found.strategy == "list" or not found.strategy:
        found.strategy = "list"
        found.owners.append("")
    elif found.strategy == "range":
        if not all(
            ordered([low[at] for low, _, _ in edges] + [high[at] for _, high, _ in edges], kind)
            for at, kind in enumerate(kinds)
        ):
            return None
        _stretch(found, sorted(edges))
    return found


def _kind(schema: Schema, state: Relation, column: str) -> str:
    own = state.columns[column]
    declared = behind(schema, own.type)
    made = schema.user_type(declared)
    if made is not None and made.kind == "enum" and not declared.array:
        return Labels(made.labels)
    if declared.array:
        return ""
    if declared.name == "name":
        return PLAIN_TEXT
    if declared.name in TEXTS and not _PLAIN_COLLATION.fullmatch(own.collation):
        return ""  # one that users made may take two texts for one
    return PLAIN_TEXT if declared.name in TEXTS and own.collation in ("C", "POSIX") else declared.name


def behind(schema: Schema, declared: TypeName) -> TypeName:
    """The type behind a domain, through domains in between."""
    made = schema.user_type(declared)
    while made is not None and made.kind == "domain" and made.base is not None and not declared.array:
        declared, made = made.base, schema.user_type(made.base)
    return declared


def values_of(datums: tuple[str, ...], kinds: list[str]) -> list[Comparable] | None:
    """Every datum as a value of its type; None when one of them cannot be told."""
    made = [comparable(datum, kind) for datum, kind in zip(datums, kinds, strict=False)]
    known = [value for value in made if value is not None]
    return known if len(known) == len(datums) else None


def _stretch(found: Bounds, edges: list[tuple[list[Comparable], list[Comparable], str]]) -> None:
    """Partitions in order, with a slot of nobody's wherever something lies between them."""
    last: list[Comparable] | None = None
    for low, high, child in edges:
        if low != last:
            found.edges.append(low)
            found.owners.append("")
        found.edges.append(high)
        found.owners.append(child)
        last = high
    found.owners += ["", ""]
