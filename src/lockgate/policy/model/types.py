"""Does a change of column type rewrite the table? Read from the server's own cast rules.

The server rewrites unless the conversion is a relabelling: same bytes, new name. Length and precision casts that
only widen are simplified away by the types' support functions, and so count as relabelling.
"""

from msgspec import structs

from lockgate.policy.model.schema import Column, Schema
from lockgate.postgres.tree.words import AlterType, TypeName

# Binary-coercible pairs of built-in types that an ALTER TYPE can use (assignment or implicit casts).
_RELABEL = {
    ("varchar", "text"), ("text", "varchar"), ("bpchar", "bpchar"), ("varchar", "bpchar"), ("text", "bpchar"),
    ("cidr", "inet"), ("bit", "varbit"), ("varbit", "bit"), ("xml", "text"), ("xml", "varchar"),
    ("int4", "oid"), ("oid", "int4"), ("regproc", "regprocedure"), ("regprocedure", "regproc"),
    ("regoper", "regoperator"), ("regoperator", "regoper"),
    ("text", "citext"), ("citext", "text"), ("varchar", "citext"), ("citext", "varchar"),
}  # fmt: skip

# The types that hold an oid and show a name: each is the same four bytes as oid and int4.
_NAMED_OIDS = (
    "regclass", "regtype", "regproc", "regprocedure", "regrole", "regnamespace", "regoper", "regoperator", "regconfig",
    "regdictionary", "regcollation",
)  # fmt: skip
_RELABEL |= {
    pair for name in _NAMED_OIDS for other in ("int4", "oid") for pair in ((name, other), (other, name))
}

# The operator class a btree, hash or brin index picks by default; equal means the index is kept.
_OPERATOR_FAMILY = {
    "varchar": "text", "text": "text", "citext": "citext", "bpchar": "bpchar", "cidr": "inet", "inet": "inet",
    "bit": "bit", "varbit": "varbit", "name": "name", "oid": "oid", **dict.fromkeys(_NAMED_OIDS, "oid"),
}  # fmt: skip

_TEMPORAL = {"timestamp": 6, "timestamptz": 6, "time": 6, "timetz": 6}
_UTC_NAMES = {"utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "zulu", "etc/zulu", "universal", "0"}


def is_utc(zone: str) -> bool:
    """Whether a TimeZone setting is a fixed offset of zero, which makes timestamp ↔ timestamptz a relabelling."""
    return zone.lower() in _UTC_NAMES


def rewrites(schema: Schema, column: Column, action: AlterType) -> bool:
    """Whether ``action`` on ``column`` makes the server write the whole table again."""
    steps = _steps(column, action)
    if steps is None:
        return True
    source = column.type
    for target in steps:
        if _step_rewrites(schema, source, target):
            return True
        source = target
    return False


def _steps(column: Column, action: AlterType) -> list[TypeName] | None:
    """The chain of types that the value passes; None when USING is more than casts of the same column."""
    if action.using is None:
        return [action.type]
    if action.using.cast_of != column.name:
        return None
    return [*action.using.casts, action.type]


def _step_rewrites(schema: Schema, source: TypeName, target: TypeName) -> bool:
    source_state = schema.user_type(source) if not source.array else None
    target_state = schema.user_type(target) if not target.array else None
    domains = [
        state for state in (source_state, target_state) if state is not None and state.kind == "domain"
    ]
    if (source.array or target.array) and not domains:
        return not (
            source.array
            and target.array
            and (source.schema, source.name) == (target.schema, target.name)
            # The server looks into no array for whether each of its values fits.
            and (not target.mods or source.mods == target.mods)
        )
    if source_state is not None and target_state is not None and source_state.key == target_state.key:
        return False
    # A domain value is stored as its base type; becoming a constrained domain means checking every row.
    if target_state is not None and target_state.kind == "domain":
        base = schema.base_of(target_state)
        if base is None or schema.checked(target_state):
            return True
        return _step_rewrites(schema, source, base)
    if source_state is not None and source_state.kind == "domain" and source_state.base is not None:
        # The limits of a domain are the domain's: to the server its values come without any.
        return _step_rewrites(schema, structs.replace(source_state.base, mods=()), target)
    if source_state is not None or target_state is not None:
        return True
    if source.name == target.name:
        return not _keeps_length(source, target)
    if {source.name, target.name} == {"timestamp", "timestamptz"}:
        # What the conversion gives has no precision of its own, so a smaller one is applied to every value.
        return not (is_utc(schema.time_zone) and _keeps_length(structs.replace(source, mods=()), target))
    if (source.name, target.name) in _RELABEL:
        # The relabelled value has no length of its own, so any limit has to be checked; varchar keeps its own.
        return bool(target.mods)
    return True


def _keeps_length(source: TypeName, target: TypeName) -> bool:
    """Whether every value of ``source`` fits ``target`` by declaration, so that the length cast is dropped."""
    name = target.name
    if not target.mods:
        return True
    if source.mods == target.mods and source.name == target.name:
        return True
    if name == "interval":
        return _keeps_fields(source.mods, target.mods)
    if name in _TEMPORAL:
        if target.mods[0] >= _TEMPORAL[name]:
            return True
        return bool(source.mods) and source.mods[0] <= target.mods[0]
    if not source.mods:
        return False
    if name in ("varchar", "varbit"):
        return source.mods[0] <= target.mods[0]
    if name == "numeric":
        scale = source.mods[1] if len(source.mods) > 1 else 0
        new_scale = target.mods[1] if len(target.mods) > 1 else 0
        return scale == new_scale and source.mods[0] <= target.mods[0]
    return False


_ALL_FIELDS = 0x7FFF
_LEAST_FIELDS = ((1 << 12, 0), (1 << 11, 1), (1 << 10, 2), (1 << 3, 3), (1 << 1, 4), (1 << 2, 5))
"""Bits of second, minute, hour, day, month, year in the modifier of an interval, and their rank."""


def _keeps_fields(source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Intervals: the smallest field may only get smaller, the digits of its seconds only more."""
    old, new = _least_field(source), _least_field(target)
    precision = target[1] if len(target) > 1 else 6
    return new <= old and (old > 0 or precision >= (source[1] if len(source) > 1 else 6))


def _least_field(mods: tuple[int, ...]) -> int:
    if not mods or mods[0] == _ALL_FIELDS:
        return 0
    return next((rank for bit, rank in _LEAST_FIELDS if mods[0] & bit), 0)


def index_survives(schema: Schema, source: TypeName, target: TypeName) -> bool:
    """Whether an index on the column is kept (not built again) when the table is not rewritten."""
    return _family(schema, source) == _family(schema, target)


def _family(schema: Schema, type: TypeName) -> tuple[str, bool]:
    base = type
    state = schema.user_type(base)
    while state is not None and state.kind == "domain" and state.base is not None:
        base = state.base
        state = schema.user_type(base)
    if base.array or (state is not None and state.kind in ("enum", "range", "composite")):
        # Their operator classes take any enum or array, and the server keeps such an index for the very same type only.
        return f"{type.schema}.{type.name}", type.array
    return _OPERATOR_FAMILY.get(base.name, f"{base.schema}.{base.name}"), base.array
