"""Replaying constraints: their names, their indexes, and what partitions repeat of them."""

from collections.abc import Iterable

from lockgate.policy.model import replay_indexes as indexes
from lockgate.policy.model.names import Taken, bare, joined_columns, made_up
from lockgate.policy.model.schema import Constraint, Index, Relation, Schema, key_of, schema_of
from lockgate.postgres.tree import words as w


def inherit_foreign_keys(schema: Schema, state: Relation, parent: str) -> None:
    """The foreign keys of a partitioned table hold for each partition too."""
    source = schema.relations.get(parent)
    if source is None:
        return
    for constraint in list(source.constraints.values()):
        if constraint.kind != "foreign":
            continue
        match = matching_key(state, constraint)
        if match is not None:
            match.inherited = True
            other = schema.relations.get(match.references)
            if other is not None and (state.key, match.name) in other.referenced_by:
                other.referenced_by.remove((state.key, match.name))
        elif not any(
            key.kind == "foreign" and _same_key(key, constraint) for key in state.constraints.values()
        ):
            name = constraint.name
            if name in state.constraints:
                name = made_up(bare(state.key), joined_columns(constraint.columns), "fkey", state.constraints)
            copy = Constraint(
                name, "foreign", constraint.columns, constraint.valid, constraint.enforced, (),
                constraint.references, constraint.ref_columns, inherited=True, on_delete=constraint.on_delete,
                on_update=constraint.on_update,
                deferred=constraint.deferred,
            )  # fmt: skip
            state.constraints[copy.name] = copy


def _same_key(one: Constraint, other: Constraint) -> bool:
    return (one.references, one.columns, one.ref_columns) == (
        other.references,
        other.columns,
        other.ref_columns,
    )


def matching_key(state: Relation, constraint: Constraint) -> Constraint | None:
    """A foreign key of a partition that can stand for the one of its parent."""
    for own in state.constraints.values():
        if (
            own.kind == "foreign"
            and not own.inherited
            and own.valid
            and own.enforced
            and _same_key(own, constraint)
        ):
            return own
    return None


def mark_not_null(state: Relation, columns: Iterable[str]) -> None:
    """The columns are NOT NULL, by this table's own word."""
    for name in columns:
        if name in state.columns:
            state.columns[name].not_null = True
            state.columns[name].own_not_null = True


_LABELS = {"primary": "pkey", "unique": "key", "exclude": "excl", "foreign": "fkey", "check": "check"}


def add_constraint(schema: Schema, state: Relation, constraint: w.Constraint, file: int) -> Constraint | None:
    """One constraint, with the name and the index that the server gives it."""
    kind = constraint.kind
    if kind == "not_null":
        below = () if constraint.no_inherit else schema.descendants(state.key)
        for relation in (state, *[schema.relations[child] for child in below]):
            for name in constraint.columns:
                column = relation.columns.get(name)
                if column is not None:
                    # What was valid already stays so.
                    proven = column.not_null and column.not_null_valid
                    if (
                        relation is not state
                        and not column.not_null
                        and constraint.name
                        and schema.version >= 18
                    ):
                        relation.constraints.setdefault(
                            constraint.name,
                            Constraint(
                                constraint.name,
                                kind,
                                constraint.columns,
                                not constraint.not_valid,
                                inherited=True,
                                created_file=file,
                            ),
                        )
                    if relation is state:
                        column.own_not_null = True
                        column.not_null_only_here = constraint.no_inherit
                    column.not_null, column.not_null_valid = True, proven or not constraint.not_valid
        if (
            constraint.name and schema.version >= 18
        ):  # before, NOT NULL was no constraint and its name nothing
            made = Constraint(
                constraint.name,
                kind,
                constraint.columns,
                not constraint.not_valid,
                no_inherit=constraint.no_inherit,
                created_file=file,
            )
            state.constraints[constraint.name] = made
        return None
    if constraint.using_index:
        return _promote_index(schema, state, constraint, file)
    columns = constraint.columns
    name = constraint.name or _constraint_name(schema, state, constraint)
    made = Constraint(
        name, kind, columns, not constraint.not_valid and constraint.enforced, constraint.enforced,
        no_inherit=constraint.no_inherit, on_delete=constraint.on_delete, on_update=constraint.on_update, created_file=file,
        deferred=constraint.deferred,
    )  # fmt: skip
    state.constraints[name] = made
    if kind == "check" and constraint.expression is not None:
        made.columns = constraint.expression.columns
        made.not_null = constraint.expression.not_null
        made.functions = constraint.expression.functions
        if not constraint.no_inherit:
            for child in schema.descendants(state.key):
                schema.relations[child].constraints[name] = Constraint(
                    name, kind, made.columns, made.valid, made.enforced, made.not_null, inherited=True
                )
    elif kind == "foreign" and constraint.references is not None:
        made.references = schema.resolve(constraint.references)
        other = schema.relations.get(made.references)
        made.ref_columns = constraint.ref_columns or _primary_columns(other)
        if other is not None:
            other.referenced_by.append((state.key, name))
            made.ref_index = _key_index(schema, other, made.ref_columns)
        if state.kind == "p":
            for child in schema.descendants(state.key):
                inherit_foreign_keys(schema, schema.relations[child], state.key)
    elif kind in ("primary", "unique", "exclude"):
        if kind == "primary":
            for relation in (state, *[schema.relations[child] for child in schema.descendants(state.key)]):
                mark_not_null(relation, columns)
        key, more = key_of(schema_of(state.key), name), constraint.index
        index = Index(
            key, state.key, columns, more.names if more else columns, more.reads if more else columns, kind != "exclude", kind == "primary",
            partial=more is not None and more.partial, expressions="" in columns, method=constraint.method or "btree",
            opclasses=more.opclasses if more else (), functions=more.functions if more else (), constraint=name, created_file=file,
        )  # fmt: skip
        made.index = key
        indexes.place_index(schema, state, index)
        indexes.index_partitions(schema, state, index, file)
    return made


def _primary_columns(other: Relation | None) -> tuple[str, ...]:
    if other is not None:
        for constraint in other.constraints.values():
            if constraint.kind == "primary":
                return constraint.columns
    return ()


def _key_index(schema: Schema, other: Relation, columns: tuple[str, ...]) -> str:
    """The first unique index that covers exactly ``columns``: the one that the server picks."""
    for index in schema.indexes_of(other.key):
        if (
            index.unique
            and not index.partial
            and not index.expressions
            and set(index.columns) == set(columns)
        ):
            return index.key
    return ""


def _constraint_name(schema: Schema, state: Relation, constraint: w.Constraint) -> str:
    kind, table = constraint.kind, bare(state.key)
    if kind in ("primary", "unique", "exclude"):
        middle = (
            ""
            if kind == "primary"
            else joined_columns(constraint.index.names if constraint.index else constraint.columns)
        )
        return made_up(table, middle, _LABELS[kind], Taken(schema, schema_of(state.key)))
    if kind == "check":
        columns = constraint.expression.columns if constraint.expression is not None else ()
        middle = columns[0] if len(columns) == 1 else ""
    else:
        middle = joined_columns(constraint.columns)
    if schema.plain_names:
        return made_up(table, middle, _LABELS[kind], state.constraints)
    schema_name = schema_of(state.key)
    taken = {
        name
        for key, other in schema.relations.items()
        if schema_of(key) == schema_name
        for name in other.constraints
    }
    return made_up(table, middle, _LABELS[kind], taken)


def _promote_index(schema: Schema, state: Relation, constraint: w.Constraint, file: int) -> Constraint | None:
    old = key_of(schema_of(state.key), constraint.using_index)
    name = constraint.name or constraint.using_index
    index = schema.indexes.get(old)
    if index is None:
        return None
    if name != constraint.using_index:
        indexes.rename_index(schema, old, name)
    index.constraint, index.primary = name, constraint.kind == "primary"
    if index.primary:
        for relation in (state, *[schema.relations[child] for child in schema.descendants(state.key)]):
            mark_not_null(relation, index.columns)
    made = Constraint(name, constraint.kind, index.columns, index=index.key, created_file=file)
    state.constraints[name] = made
    return made
