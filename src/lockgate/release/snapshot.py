"""``snapshot``: the rows of the live catalogue become the model that the policy judges against.

What the server says in its own words (a default, a CHECK, an index, a view) goes through the same parser as a
migration does, so that the model of a snapshot and the model replayed from files say the same of the same schema.
"""

from collections.abc import Iterable
from typing import TypeVar

from msgspec import json, structs

from lockgate.errors import LockgateError, Refused
from lockgate.migrations.limits import Limits
from lockgate.policy.model.environment import Environment, Life
from lockgate.policy.model.replay import trigger_of
from lockgate.policy.model.replay_indexes import built_index
from lockgate.policy.model.schema import (
    Column,
    Constraint,
    Guard,
    Published,
    Read,
    Relation,
    Schema,
    UserType,
    key_of,
)
from lockgate.policy.model.snapshot import SCHEMA_VERSION, Snapshot
from lockgate.postgres.snapshot import Catalogue, ColumnRow, ConstraintRow, Named, PartRow, read_catalogue
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.blanking import blanked
from lockgate.postgres.tree.lexing import names
from lockgate.record.reasons import Exit
from lockgate.release.look import connect_patiently

_KINDS = {"c": "check", "f": "foreign", "p": "primary", "u": "unique", "x": "exclude", "n": "not_null"}
_TYPES = {"e": "enum", "d": "domain", "c": "composite", "r": "range", "b": "base"}
S = TypeVar("S", bound=w.Statement)


def take(target: Target, migrator: str, limits: Limits, *, at: str) -> Snapshot:
    """The snapshot of ``target``, taken ``at`` that time. Reads only. Raises ``Unreachable``, ``Refused``."""
    wire = connect_patiently(target, "snapshot", limits, None)
    try:
        return snapshot_of(read_catalogue(wire, migrator), at)
    except ServerError as error:
        if error.sqlstate == "42501":
            raise Refused(
                f"this role may not read what a snapshot needs: {error.message}",
                "PRIVILEGE",
                next="lockgate roles prints the SQL that grants it to the reader.",
            ) from None
        raise
    finally:
        wire.close()


def snapshot_of(catalogue: Catalogue, at: str) -> Snapshot:
    """The snapshot that these rows make."""
    server = catalogue.server
    return Snapshot(
        SCHEMA_VERSION,
        server.version,
        at,
        schema_of_rows(catalogue),
        catalogue.revision,
        Environment(
            role=server.role,
            memberships=tuple(server.memberships),
            superuser=server.superuser,
            max_locks=server.max_locks,
            standbys=server.standbys,
            freeze_max_age=server.freeze_max_age,
            available_extensions=tuple(server.available_extensions),
            tables={
                key_of(row.schema, row.name): Life(
                    _rate(row.reads, server.seconds), _rate(row.writes, server.seconds), row.age
                )
                for row in catalogue.relations
                if row.kind in "rm"
            },
        ),
    )


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 2) if count >= 0 else -1


def schema_of_rows(catalogue: Catalogue) -> Schema:
    """The model that these rows make."""
    # Whether a name was made up or given cannot be told any more.
    schema = Schema(version=catalogue.server.version, plain_names=False)
    types = _types(
        {row.type for row in catalogue.columns} | {row.base for row in catalogue.types if row.base}
    )
    _relations(schema, catalogue)
    _columns(schema, catalogue.columns, types)
    defaults = _defaults(sorted({row.fallback for row in catalogue.types if row.fallback}))
    for row in catalogue.types:
        key = key_of(row.schema, row.name)
        schema.types[key] = UserType(
            key,
            _TYPES[row.kind],
            row.labels,
            types.get(row.base),
            row.constraints,
            row.not_null,
            owner=row.owner,
            functions=tuple([name for at in row.checks for name in _plain(_checked(at).functions)]),
        )
        default = defaults.get(row.fallback)
        if default is not None and not default.null:
            state = schema.types[key]
            state.has_default, state.default_functions = True, _plain(default.functions)
            state.sequence = _asked(default)
    _indexes(schema, catalogue)
    _constraints(schema, catalogue.constraints)
    _views(schema, catalogue)
    for part in catalogue.parts:
        _part(schema, part)
    _add_up(schema)
    return schema


def _key(named: Named | None) -> str:
    return key_of(*named) if named is not None else ""


# -- what the server says in its own words ----------------------------------------------------------


def _parsed(text: str, kind: type[S]) -> S:
    """The word for what the server said. A newer server may say what this parser does not know: that is no guess."""
    try:
        word = statements_of(text)[0].statement
    except SyntaxProblem as problem:
        raise _unclear(text, problem.message) from None
    if not isinstance(word, kind):
        raise _unclear(text, word.why if isinstance(word, w.NotUnderstood) else type(word).__name__)
    return word


def _unclear(text: str, why: str) -> LockgateError:
    return Refused(
        f"the server describes its schema in words that lockgate does not understand ({why}): {text[:200]}",
        "CONFIG",
        next="A newer lockgate may know them; until then check without --snapshot.",
        exit=Exit.HOLD,
    )


def _types(texts: set[str]) -> dict[str, w.TypeName]:
    ordered = sorted(texts)
    if not ordered:
        return {}
    columns = ", ".join(f"c{number} {text}" for number, text in enumerate(ordered))
    table = _parsed(f"CREATE TABLE t ({columns})", w.CreateTable)
    return {
        text: structs.replace(c.type, schema=_plain_schema(c.type.schema))
        for text, c in zip(ordered, table.columns, strict=True)
    }


def _plain_schema(schema: str) -> str:
    """What lies in public is called without its schema, as most files do."""
    return "" if schema == "public" else schema


def _plain(names: Iterable[str]) -> tuple[str, ...]:
    return tuple([name.removeprefix("public.") for name in names])


def _defaults(texts: list[str]) -> dict[str, w.Expression]:
    found: dict[str, w.Expression] = {}
    for start in range(0, len(texts), 500):
        part = texts[start : start + 500]
        actions = ", ".join(f"ALTER c SET DEFAULT ({text})" for text in part)
        word = _parsed(f"ALTER TABLE t {actions}", w.AlterTable)
        for text, action in zip(part, word.actions, strict=True):
            if isinstance(action, w.SetDefault) and action.default is not None:
                found[text] = action.default
    return found


def _asked(default: w.Expression) -> str:
    """The sequence that a default asks, "" when none."""
    if not default.sequences:
        return ""
    parts = names(default.sequences[0])
    return key_of(parts[-2] if len(parts) > 1 else "", parts[-1])


# -- relations --------------------------------------------------------------------------------------


def _relations(schema: Schema, catalogue: Catalogue) -> None:
    for row in catalogue.relations:
        key = key_of(row.schema, row.name)
        schema.relations[key] = Relation(
            key, row.kind, parents=[key_of(*parent) for parent in row.parents], partition=row.partition,
            partition_columns=tuple(row.partition_columns), partition_order=row.partition_order, row_security=row.row_security,
            replica_identity=row.replica_identity, persistence=row.persistence, of_type=_key(row.of_type),
            tablespace=row.tablespace, owner=row.owner, owner_table=_key(row.owner_table), owner_column=row.owner_column, rows=row.rows, bytes=row.bytes,
        )  # fmt: skip
    for row in catalogue.relations:
        key = key_of(row.schema, row.name)
        state = schema.relations[key]
        for parent in state.parents:
            above = schema.relations.get(parent)
            if above is not None:
                above.children.append(key)
                if row.bound and row.bound != "DEFAULT":
                    state.bound = _bound(row.bound)
                if row.default_partition:
                    above.default_partition = key
        owner = schema.relations.get(state.owner_table)
        if owner is not None:
            owner.owned_sequences.append(key)


def _bound(text: str) -> w.Bound | None:
    return _parsed(f"CREATE TABLE t PARTITION OF p {text}", w.CreateTable).bound


def _columns(schema: Schema, rows: list[ColumnRow], types: dict[str, w.TypeName]) -> None:
    expressions = _defaults(sorted({row.expression for row in rows if row.expression}))
    for row in rows:
        state = schema.relations.get(key_of(row.schema, row.relation))
        if state is None:
            continue
        default = expressions.get(row.expression)
        column = Column(
            row.name,
            types[row.type],
            row.not_null,
            bool(row.identity) or (default is not None and not row.generated and not default.null),
            _plain(default.functions) if default is not None else (),
            row.identity,
            row.generated,
            default.columns if default is not None and row.generated else (),
            _key(row.identity_sequence) if row.identity else "",
            row.collation,
            own_not_null=row.not_null and row.local,
            null_share=round(row.null_share, 4),
            distinct=round(row.distinct_values, 4),
            width=row.width,
            generated_functions=_plain(default.functions) if default is not None and row.generated else (),
            default_null=default is not None and default.null,
        )
        if default is not None and not column.sequence:
            column.sequence = _asked(default)
        state.columns[row.name] = column


def _views(schema: Schema, catalogue: Catalogue) -> None:
    for row in catalogue.relations:
        if not row.definition:
            continue
        key = key_of(row.schema, row.name)
        query = _parsed(f"CREATE VIEW v AS {row.definition}", w.CreateView).query
        state, sources = schema.relations[key], dict[str, int]()
        for access in query.accesses:
            source = key_of(access.name.schema, access.name.name)
            sources[source] = max(sources.get(source, 0), int(access.mode))
        state.sources, state.source_columns = list(sources.items()), query.column_refs
        state.functions, state.calls = _plain(query.functions), _plain(query.calls)
        state.view_reads = [
            Read(key_of(at.name.schema, at.name.name), int(at.mode), at.only, at.conditions, at.outputs)
            for at in query.accesses
        ]
        for source in sources:
            known = schema.relations.get(source)
            if known is not None:
                known.dependents.append(key)


# -- indexes and constraints ------------------------------------------------------------------------


def _indexes(schema: Schema, catalogue: Catalogue) -> None:
    for row in catalogue.indexes:
        index = built_index(schema, _parsed(row.definition, w.CreateIndex), -1)
        if index is None:
            continue
        index.valid, index.primary, index.constraint = row.valid, row.primary, row.constraint
        index.parent, index.tablespace, index.clustered = _key(row.parent), row.tablespace, row.clustered
        index.functions = _plain(index.functions)
        schema.indexes[index.key] = index
        schema.relations[index.table].indexes.append(index.key)
    for key, index in schema.indexes.items():
        above = schema.indexes.get(index.parent)
        if above is not None:
            above.children.append(key)


def _constraints(schema: Schema, rows: list[ConstraintRow]) -> None:
    for row in rows:
        state = schema.relations.get(key_of(row.schema, row.relation))
        if state is None:
            continue
        if row.kind == "n":
            _not_null(state, row)
            continue
        made = Constraint(
            row.name, _KINDS[row.kind], tuple(row.columns), row.valid and row.enforced, row.enforced,
            references=_key(row.references_table), ref_columns=tuple(row.ref_columns),
            no_inherit=row.no_inherit and row.kind == "c",
            inherited=row.part if row.kind == "f" else row.kind == "c" and not row.local,
            on_delete=row.on_delete if row.kind == "f" else "a",
            on_update=row.on_update if row.kind == "f" else "a",
            deferred=row.deferred,
        )  # fmt: skip
        if row.kind == "c":
            _check(made, row.definition)
        elif row.kind == "f":
            _foreign(schema, state, made, _key(row.index))
        else:
            made.index = _key(row.index)
        state.constraints[made.name] = made


def _checked(definition: str) -> w.Expression:
    """The expression of a CHECK as the server writes it."""
    action = _parsed(f"ALTER TABLE t ADD CONSTRAINT c {definition}", w.AlterTable).actions[0]
    assert isinstance(action, w.AddConstraint)
    return action.constraint.expression or w.Expression()


def _check(made: Constraint, definition: str) -> None:
    found = _checked(definition)
    made.columns, made.not_null, made.functions = found.columns, found.not_null, _plain(found.functions)


def _foreign(schema: Schema, state: Relation, made: Constraint, index: str) -> None:
    other = schema.relations.get(made.references)
    if not made.inherited:
        made.ref_index = index
        if other is not None:
            other.referenced_by.append((state.key, made.name))


def _not_null(state: Relation, row: ConstraintRow) -> None:
    """NOT NULL of PostgreSQL 18; one with a name of the server's making is only a property of its column."""
    for name in row.columns:
        column = state.columns.get(name)
        if column is not None:
            column.not_null_valid = row.valid
            column.own_not_null = row.local
            column.not_null_only_here = row.no_inherit
            if row.local and not row.name.endswith(f"_{name}_not_null"):
                state.constraints[row.name] = Constraint(row.name, "not_null", (name,), row.valid)


# -- the rest ---------------------------------------------------------------------------------------


def _part(schema: Schema, row: PartRow) -> None:
    state = schema.relations.get(key_of(row.schema, row.relation))
    if row.what == "schema":
        schema.schemas[row.name] = -1
    elif row.what == "server":
        schema.servers[row.name] = row.detail
    elif state is not None and row.what == "foreign":
        state.server = row.name
    elif row.what == "extension":
        schema.extensions[row.name] = row.detail
    elif row.what == "function":
        schema.functions[key_of(row.schema, row.name)] = row.detail
    elif row.what == "routine":
        key = key_of(row.schema, row.name)
        made = blanked(_parsed(row.detail, w.CreateFunction).routine)
        schema.routines[key] = (*schema.routines.get(key, ()), made)
    elif row.what == "publication":
        schema.publications[row.name] = Published(all_tables=row.detail == "all")
    elif row.what == "published":
        columns = json.decode(row.detail, type=tuple[str, ...])
        schema.publications[row.name].tables[key_of(row.schema, row.relation)] = columns
    elif row.what == "statistics":
        schema.statistics[key_of(row.detail, row.name)] = key_of(row.schema, row.relation)
    elif state is not None and row.what == "trigger":
        trigger = trigger_of(schema, _parsed(row.detail, w.CreateTrigger))
        trigger.enabled = row.more != "D"
        state.triggers[row.name] = trigger
    elif state is not None:
        (state.policies if row.what == "policy" else state.rules).append(row.name)
        state.guards[f"{row.what} {row.name}"] = _guard(row)


def _guard(row: PartRow) -> Guard:
    """A policy or rule, from the statement that would make it."""
    if row.what == "policy":
        policy = _parsed(row.detail, w.Policy)
        sources = [key_of(access.name.schema, access.name.name) for access in policy.accesses]
        return Guard(row.name, tuple(sources), _plain(policy.functions), policy.roles, columns=policy.columns)
    rule = _parsed(row.detail, w.CreateRule)
    names = [access.name for access in rule.accesses if access.name.name not in ("old", "new")]
    sources = [key_of(name.schema, name.name) for name in names]
    return Guard(row.name, tuple(sources), _plain(rule.functions), rule=rule)


def _add_up(schema: Schema) -> None:
    """A partitioned table is as large as its partitions; when one of them is not known, neither is the whole."""
    for key, state in schema.relations.items():
        if state.kind != "p":
            continue
        leaves = [schema.relations[name] for name in schema.partitions(key)]
        leaves = [leaf for leaf in leaves if leaf.kind == "r"]
        if leaves and all(leaf.rows >= 0 for leaf in leaves):
            state.rows = sum(leaf.rows for leaf in leaves)
        if leaves and all(leaf.bytes >= 0 for leaf in leaves):
            state.bytes = sum(leaf.bytes for leaf in leaves)
