"""Replaying CREATE INDEX, and indexes that come and go with their tables."""

from lockgate.policy.model.names import Taken, bare, joined_columns, made_up
from lockgate.policy.model.schema import Constraint, Index, Relation, Schema, key_of, schema_of
from lockgate.postgres.tree import words as w


def copy_index(schema: Schema, state: Relation, index: Index, file: int) -> Index:
    """An index like that of another table, with the name that the server makes up for it."""
    label = "pkey" if index.primary else "key" if index.constraint else "idx"
    middle = "" if index.primary else joined_columns(index.names)
    taken = Taken(schema, schema_of(state.key))
    name = made_up(bare(state.key), middle, label, taken)
    copy = Index(
        key_of(schema_of(state.key), name), state.key, index.columns, index.names, index.reads, index.unique, index.primary,
        index.partial, index.expressions, index.shapes, index.method, index.opclasses, index.orders, created_file=file,
        functions=index.functions,
    )  # fmt: skip
    if index.constraint:
        copy.constraint = name
        kind = "primary" if index.primary else "unique"
        state.constraints[name] = Constraint(name, kind, index.columns, index=copy.key, created_file=file)
    place_index(schema, state, copy)
    return copy


def rename_index(schema: Schema, key: str, new: str) -> None:
    """Give an index another name in the same schema; the constraint it belongs to is renamed too."""
    index = move_index(schema, key, key_of(schema_of(key), new))
    table = schema.relations.get(index.table)
    if table is not None and index.constraint in table.constraints:
        constraint = table.constraints.pop(index.constraint)
        constraint.name, index.constraint = new, new
        table.constraints[new] = constraint


def move_index(schema: Schema, key: str, new_key: str) -> Index:
    """Give an index another key and follow every reference to it."""
    index = schema.indexes.pop(key)
    table = schema.relations.get(index.table)
    index.key = new_key
    schema.indexes[new_key] = index
    if table is not None:
        table.indexes = [new_key if name == key else name for name in table.indexes]
        if index.constraint in table.constraints:
            table.constraints[index.constraint].index = new_key
        for child, name in table.referenced_by:
            other = schema.relations.get(child)
            if other is not None and name in other.constraints and other.constraints[name].ref_index == key:
                other.constraints[name].ref_index = new_key
    for child in index.children:
        schema.indexes[child].parent = index.key
    parent = schema.indexes.get(index.parent)
    if parent is not None:
        parent.children = [index.key if name == key else name for name in parent.children]
    return index


def place_index(schema: Schema, state: Relation, index: Index) -> None:
    """Put an index into the model."""
    schema.indexes[index.key] = index
    if index.key not in state.indexes:
        state.indexes.append(index.key)


def index_partitions(schema: Schema, state: Relation, index: Index, file: int) -> None:
    """An index on a partitioned table is built on, or finds its match in, every partition."""
    if state.kind != "p":
        return
    for child in list(state.children):
        child_state = schema.relations.get(child)
        if child_state is None or child_state.kind not in "rp":
            continue
        match = matching_index(schema, child, index)
        if match is None:
            match = copy_index(schema, child_state, index, file)
            index_partitions(schema, child_state, match, file)
        match.parent = index.key
        index.children.append(match.key)


def matching_index(schema: Schema, table: str, index: Index) -> Index | None:
    """An index of ``table`` that can be attached to ``index`` of its parent."""
    for candidate in schema.indexes_of(table):
        if (
            not candidate.parent
            and candidate.valid
            and candidate.columns == index.columns
            and candidate.unique == index.unique
            and candidate.method == index.method
            and candidate.shapes == index.shapes
            and bool(candidate.constraint) >= bool(index.constraint)
        ):
            return candidate
    return None


def create_index(schema: Schema, word: w.CreateIndex, file: int) -> None:
    """CREATE INDEX."""
    state = schema.get(word.table)
    index = built_index(schema, word, file)
    if state is None or index is None or index.key in schema.indexes:
        return
    place_index(schema, state, index)
    if not word.only:
        index_partitions(schema, state, index, file)


def built_index(schema: Schema, word: w.CreateIndex, file: int) -> Index | None:
    """The index that CREATE INDEX makes, not yet part of the model."""
    state = schema.get(word.table)
    if state is None:
        return None
    schema_name = schema_of(state.key)
    parts = _distinct([key.column or key.derived_name for key in word.keys] + list(word.include))
    name = word.name or made_up(bare(state.key), joined_columns(parts), "idx", Taken(schema, schema_name))
    key = key_of(schema_name, name)
    reads: dict[str, None] = {}
    for item in word.keys:
        if item.column:
            reads[item.column] = None
        elif item.expression is not None:
            reads.update(dict.fromkeys(item.expression.columns))
    reads.update(dict.fromkeys(word.include))
    if word.where is not None:
        reads.update(dict.fromkeys(word.where.columns))
    shapes = [item.expression.shape for item in word.keys if item.expression is not None]
    expressions = [item.expression for item in word.keys if item.expression is not None]
    if word.where is not None:
        expressions.append(word.where)
    return Index(
        key, state.key, tuple([item.column for item in word.keys]), tuple(parts), tuple(reads), word.unique,
        partial=word.where is not None,
        expressions=any(not item.column for item in word.keys),
        shapes=(*shapes, word.where.shape) if word.where is not None else tuple(shapes),
        method=word.method,
        opclasses=tuple([item.opclass for item in word.keys]),
        orders=tuple([f"{item.collation} {item.order}".strip() for item in word.keys])
        if any(item.collation or item.order for item in word.keys)
        else (),
        valid=not (word.only and state.kind == "p" and bool(state.children)),
        created_file=file,
        concurrently=word.concurrently,
        functions=tuple([function for expression in expressions for function in expression.functions]),
        tablespace=word.tablespace,
    )  # fmt: skip


def _distinct(parts: list[str]) -> list[str]:
    """The server numbers a column name that occurs twice."""
    seen: dict[str, int] = {}
    names = []
    for part in parts:
        count = seen.get(part, -1) + 1
        seen[part] = count
        names.append(part + (str(count) if count else ""))
    return names


def cluster(schema: Schema, word: w.Cluster, _file: int) -> None:
    """CLUSTER … USING: the table keeps this order in mind."""
    if word.name is not None and word.index:
        cluster_on(schema, schema.resolve(word.name), word.index)


def cluster_on(schema: Schema, table: str, name: str) -> None:
    """One index of a table at most is the one that CLUSTER without a name goes by; of none, ``name`` is empty."""
    for index in schema.indexes_of(table):
        index.clustered = index.key == key_of(schema_of(table), name)
