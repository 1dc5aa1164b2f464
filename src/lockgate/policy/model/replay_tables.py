"""Replaying CREATE TABLE and CREATE TABLE AS."""

import re
from collections.abc import Iterable

from lockgate.policy.model import replay_constraints as constraints
from lockgate.policy.model import replay_indexes as indexes
from lockgate.policy.model.defaults import domain_of
from lockgate.policy.model.names import Taken, bare, made_up
from lockgate.policy.model.schema import Column, Constraint, Read, Relation, Schema, key_of, schema_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.lexing import names

# Bits of LIKE … INCLUDING, in the parser's order.
_LIKE_CONSTRAINTS, _LIKE_DEFAULTS, _LIKE_IDENTITY, _LIKE_INDEXES = 1 << 2, 1 << 3, 1 << 5, 1 << 6


def create_table(schema: Schema, word: w.CreateTable, file: int) -> None:
    """CREATE TABLE."""
    key = schema.new_key(word.name, word.persistence)
    if key in schema.relations:
        return
    kind = "p" if word.partition_by else "f" if word.foreign else "r"
    state = Relation(key, kind, persistence=word.persistence, created_file=file)
    state.partition_columns = word.partition_columns
    state.bound, state.server = word.bound, word.server
    state.tablespace = "" if word.tablespace == "pg_default" else word.tablespace
    schema.relations[key] = state
    parents = (word.partition_of,) if word.partition_of is not None else word.inherits
    for parent in parents:
        adopt(schema, state, parent, partition=word.partition_of is not None, default=word.default_partition)
    for like in word.like:
        _copy_like(schema, state, like)
    if word.of_type is not None:
        state.of_type = schema.type_key(word.of_type.schema, word.of_type.name)
        composite = schema.relations.get(state.of_type)
        if composite is not None:
            state.columns.update({name: _copy_column(column) for name, column in composite.columns.items()})
    for column in word.columns:
        if column.type.name or column.name not in state.columns:
            add_column(schema, state, column)
        else:
            # PARTITION OF and OF type list a column to give it options only.
            known = state.columns[column.name]
            known.not_null = known.not_null or column.not_null
    state.partition_order = any(
        _orders_itself(state.columns.get(name), *order)
        for name, order in zip(word.partition_columns, word.partition_orders, strict=False)
    )
    # The server makes indexes of constraints in this order: primary key first, then as written.
    inline = [constraint for column in word.columns for constraint in column.constraints]
    every = [*inline, *word.constraints]
    for constraint in every:
        if constraint.kind == "not_null":
            constraints.mark_not_null(state, constraint.columns)
    for constraint in sorted(every, key=lambda item: item.kind != "primary"):
        made = constraints.add_constraint(schema, state, constraint, file)
        if made is not None:
            # A new table is empty, so the server marks even a NOT VALID constraint as valid.
            made.valid = made.enforced
    if word.partition_of is not None:
        _partition_indexes(schema, state, schema.resolve(word.partition_of), file)


def _copy_column(column: Column) -> Column:
    return Column(column.name, column.type, column.not_null, collation=column.collation)


_USUAL_CLASS = re.compile(r"|(?!.*pattern)[a-z0-9]+_ops")


def _orders_itself(column: Column | None, collation: str, opclass: str) -> bool:
    """Whether a partition key that names them has another collation than its column, or an operator class that is not the usual one."""
    own = column.collation if column is not None else ""
    other = bool(collation) and (collation.removeprefix("default") != own.removeprefix("default"))
    return other or not _USUAL_CLASS.fullmatch(opclass)


def _copy_like(schema: Schema, state: Relation, like: w.Like) -> None:
    source = schema.get(like.source)
    if source is None:
        return
    options = like.options
    for column in source.columns.values():
        copy = _copy_column(column)
        if options & _LIKE_DEFAULTS:
            copy.has_default, copy.default_functions = column.has_default, column.default_functions
            copy.default_null = column.default_null
            copy.sequence = "" if column.identity else column.sequence
        if column.identity and options & _LIKE_IDENTITY:
            copy.identity = column.identity
        state.columns[copy.name] = copy
        if copy.identity:
            make_sequence(schema, state, copy)
    if options & _LIKE_CONSTRAINTS:
        for constraint in source.constraints.values():
            if constraint.kind == "check":
                state.constraints[constraint.name] = Constraint(
                    constraint.name, "check", constraint.columns, not_null=constraint.not_null
                )
    if options & _LIKE_INDEXES:
        for index in schema.indexes_of(source.key):
            indexes.copy_index(schema, state, index, state.created_file)


def _partition_indexes(schema: Schema, state: Relation, parent: str, file: int) -> None:
    """A partition gets an index for each of its parent's, and the parent's foreign keys."""
    for index in schema.indexes_of(parent):
        copy = indexes.copy_index(schema, state, index, file)
        copy.parent = index.key
        index.children.append(copy.key)
    constraints.inherit_foreign_keys(schema, state, parent)


def adopt(schema: Schema, state: Relation, parent: w.Name, *, partition: bool, default: bool = False) -> None:
    """Make ``state`` a child of ``parent``; its columns and inheritable checks come along."""
    key = schema.resolve(parent)
    state.parents.append(key)
    state.partition = partition
    source = schema.relations.get(key)
    if source is None:
        return
    source.children.append(state.key)
    schema.plain_names = False
    if default:
        source.default_partition = state.key
    if partition:
        state.triggers.update({name: trigger for name, trigger in source.triggers.items() if trigger.row})
    for column in source.columns.values():
        if column.name not in state.columns:
            copy = _copy_column(column)
            copy.not_null = column.not_null and not column.not_null_only_here
            copy.has_default, copy.default_functions = column.has_default, column.default_functions
            copy.default_null = column.default_null
            copy.sequence = column.sequence if column.sequence and not column.identity else ""
            copy.generated, copy.reads = column.generated, column.reads
            copy.identity = column.identity if partition else ""
            state.columns[column.name] = copy
        elif column.not_null:
            state.columns[column.name].not_null = True
    for constraint in source.constraints.values():
        if constraint.kind != "check" or constraint.no_inherit:
            continue
        if constraint.name in state.constraints:
            # A partition's own copy becomes its parent's; a child by inheritance keeps it.
            state.constraints[constraint.name].inherited = partition
        else:
            state.constraints[constraint.name] = Constraint(
                constraint.name, "check", constraint.columns, constraint.enforced, constraint.enforced,
                constraint.not_null, inherited=True,
            )  # fmt: skip


def add_column(schema: Schema, state: Relation, column: w.Column) -> Column:
    """One column of a CREATE TABLE or ADD COLUMN, without its constraints."""
    default = column.default
    made = Column(
        column.name,
        column.type,
        column.not_null,
        default is not None and not column.generated and not default.null,
        default.functions if default is not None else (),
        column.identity,
        column.generated,
        default.columns if default is not None and column.generated else (),
        collation=column.collation,
        own_not_null=column.not_null,
        generated_functions=default.functions if default is not None and column.generated else (),
    )
    made.default_null = default is not None and default.null and domain_of(schema, made) is not None
    state.columns[column.name] = made
    if column.type.serial or column.identity:
        made.has_default = True
        make_sequence(schema, state, made, column.sequence)
    elif default is not None:
        made.sequence = asked_sequence(schema, default)
    return made


def asked_sequence(schema: Schema, default: w.Expression) -> str:
    """The sequence that a default asks, "" when none."""
    if not default.sequences:
        return ""
    parts = names(default.sequences[0])
    return schema.resolve(w.Name(parts[-2] if len(parts) > 1 else "", parts[-1]))


def make_sequence(schema: Schema, state: Relation, column: Column, named: w.Name | None = None) -> None:
    """The sequence behind a serial or identity column, named and owned as the server does it."""
    if named is None:
        name = made_up(bare(state.key), column.name, "seq", Taken(schema, schema_of(state.key)))
        key = key_of(schema_of(state.key), name)
    else:
        key = schema.new_key(named) if named.schema else key_of(schema_of(state.key), named.name)
    schema.relations[key] = Relation(
        key, "S", owner_table=state.key, owner_column=column.name, persistence=state.persistence,
        created_file=state.created_file,
    )  # fmt: skip
    state.owned_sequences.append(key)
    column.sequence = key


def own_sequence(schema: Schema, sequence: str, table: w.Name, column: str) -> None:
    """OWNED BY: the sequence goes with its table from now on."""
    state = schema.get(table)
    owned = schema.relations.get(sequence)
    if state is not None and owned is not None:
        state.owned_sequences.append(sequence)
        owned.owner_table, owned.owner_column = state.key, column


def create_table_as(schema: Schema, word: w.CreateTableAs, file: int) -> None:
    """CREATE TABLE AS and CREATE MATERIALIZED VIEW."""
    key = schema.new_key(word.name, word.persistence)
    if key not in schema.relations:
        kind = "m" if word.materialized else "r"
        state = from_query(schema, key, kind, word.query, file, depends=word.materialized)
        state.persistence = word.persistence
        schema.relations[key] = state


def from_query(
    schema: Schema, key: str, kind: str, query: w.Query, file: int, *, depends: bool = True
) -> Relation:
    """A relation whose columns come from a query; types are found for plain columns of known tables."""
    state = Relation(key, kind, created_file=file)
    sources: dict[str, int] = {}
    types: dict[str, w.TypeName] = {}
    every: list[str] = []
    for access in query.accesses:
        source = schema.resolve(access.name)
        sources[source] = max(sources.get(source, 0), int(access.mode))
        known = schema.relations.get(source)
        if known is not None:
            if depends:
                known.dependents.append(key)
            for column in known.columns.values():
                types.setdefault(column.name, column.type)
                every.append(column.name)
    names = list(_output(schema, query, every))
    told = query.columns is not None and len(query.plain) == len(names) and "*" not in query.plain
    for name, plain in zip(names, query.plain if told else names, strict=True):
        state.columns[name] = Column(name, types.get(plain, w.TypeName("")))
    if depends:
        state.functions, state.calls = query.functions, query.calls
        state.view_reads = [
            Read(schema.resolve(at.name), int(at.mode), at.only, at.conditions, at.outputs)
            for at in query.accesses
        ]
        state.sources = list(sources.items())
        # A star stands for the columns of that moment.
        known_stars = [at for name in query.starred if name for at in _columns(schema, name)]
        state.source_columns = (*query.column_refs, *(every if None in query.starred else known_stars))
    return state


def _output(schema: Schema, query: w.Query, every: list[str]) -> Iterable[str]:
    """The names of the columns that a query gives out; ``every`` is what all its tables have."""
    if query.columns is not None:
        return query.columns
    if not query.shown:
        return every if query.star else ()
    return [
        at for part in query.shown for at in ((part,) if isinstance(part, str) else _columns(schema, part))
    ]


def _columns(schema: Schema, name: w.Name) -> Iterable[str]:
    known = schema.relations.get(schema.resolve(name))
    return known.columns if known is not None else ()
