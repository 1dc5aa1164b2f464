"""What a column gets where nobody gives it a value: its own default, or that of its domain."""

from collections.abc import Sequence
from typing import NamedTuple

from lockgate.policy.model.schema import Column, Relation, Schema, UserType
from lockgate.postgres.tree.written import DEFAULT


class Default(NamedTuple):
    """``there``: it is not NULL, as far as can be told; what it calls, and the sequence that it asks."""

    there: bool = False
    functions: tuple[str, ...] = ()
    sequence: str = ""


_NONE = Default()


def default_of(schema: Schema, column: Column) -> Default:
    """The default of ``column``. DEFAULT NULL of its own hides that of its domain."""
    if column.has_default or column.identity or column.sequence:
        return Default(True, column.default_functions, column.sequence)
    if column.generated:
        return Default(True)
    if column.default_null:
        return _NONE
    domain = domain_of(schema, column)
    return _NONE if domain is None else Default(domain.has_default, domain.default_functions, domain.sequence)


def row_of(
    schema: Schema, state: Relation, names: Sequence[str], row: Sequence[str] | None
) -> dict[str, str]:
    """Every column of a row of VALUES: "null" and "?" where the default says so; without ``row`` nobody knows those named."""
    values = {name: "?" if default_of(schema, own).there else "null" for name, own in state.columns.items()}
    given = dict.fromkeys(names, "?") if row is None else dict(zip(names, row, strict=False))
    return values | {name: value for name, value in given.items() if value != DEFAULT}


def domain_of(schema: Schema, column: Column) -> UserType | None:
    """The domain that the values of ``column`` are of; an array of a domain is none."""
    state = None if column.type.array else schema.user_type(column.type)
    return state if state is not None and state.kind == "domain" else None
