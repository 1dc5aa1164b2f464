"""Hazards of family B: what an existing column becomes - and what it takes with it when it goes."""

from collections.abc import Iterator

from lockgate.policy.hazard import ERROR, INFO, WARNING, Hazard
from lockgate.policy.model.dependents import dependents_of
from lockgate.policy.model.names import bare, joined, joined_columns
from lockgate.policy.model.schema import Column
from lockgate.policy.model.spelling import quote, quoted, spelled, type_sql
from lockgate.policy.model.types import rewrites
from lockgate.policy.model.volatility import is_volatile
from lockgate.policy.registry import rule
from lockgate.policy.rules.each_partition import OFF, index_on_each
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer NOT NULL DEFAULT 1, code varchar(10), total numeric(10,2));"
_AX = "AccessExclusiveLock"
_CONTRACT = "-- lockgate: phase=contract\n"


def _column(subject: Subject, name: str) -> Column | None:
    return subject.table.columns.get(name) if subject.table is not None else None


@rule(
    Hazard(
        id="col-drop-dependents",
        name="Column dropped that others depend on",
        detects="DROP COLUMN of a column that a view, a generated column, another table's foreign key, a policy, a trigger (UPDATE OF, WHEN), a publication or a function with a parsed body uses.",
        effect="Without CASCADE the server refuses it; with CASCADE the dependents go too.",
        lock=f"{_AX} on the dependents too",
        workaround="Change or drop each dependent by name first.",
        destructive=True,
        source="PostgreSQL documentation, Dependency Tracking; observed",
        setup=_SETUP + "\nCREATE VIEW order_codes AS SELECT id, code FROM orders;",  # noqa: S608 - an example
        bad=_CONTRACT + "ALTER TABLE orders DROP COLUMN code CASCADE;",
        good=_CONTRACT + "ALTER TABLE orders DROP COLUMN total;",
    ),
    on=w.DropColumn,
)
def drop_dependents(subject: Subject) -> Iterator[Hit]:
    """Views by the column names in their queries, generated columns and foreign keys by the model."""
    action, table = subject.action, subject.table
    assert isinstance(action, w.DropColumn)
    if table is None or action.column not in table.columns:
        return
    how = "goes too" if action.cascade else "makes the server refuse it"
    for view in table.dependents:
        state = subject.schema.relations.get(view)
        if state is not None and ({action.column, "*"} & set(state.source_columns)):
            yield Hit(
                f"the view {view} uses {subject.key}.{action.column} and {how}",
                f"DROP VIEW {spelled(view)};   -- or build it anew without {action.column}",
            )
    for column in table.columns.values():
        if action.column in column.reads:
            yield Hit(
                f"the generated column {column.name} reads {subject.key}.{action.column} and {how}",
                f"ALTER TABLE {subject.sql} DROP COLUMN {quote(column.name)};",
            )
    for found in dependents_of(subject.schema, table, action.column):
        yield Hit(f"{found.what} uses {subject.key}.{action.column} and {how}", found.remedy)
    for child, name in table.referenced_by:
        other = subject.schema.relations.get(child)
        constraint = other.constraints.get(name) if other is not None else None
        if constraint is not None and action.column in constraint.ref_columns and child != subject.key:
            yield Hit(
                f"the foreign key {name} of {child} points to {subject.key}.{action.column} and {how}",
                f"ALTER TABLE {spelled(child)} DROP CONSTRAINT {quote(name)};",
            )


@rule(
    Hazard(
        id="col-drop-index-lost",
        name="Column dropped with indexes that others need",
        detects="DROP COLUMN of a column that is part of an index over several columns.",
        effect="The whole index goes without a word, and queries on its other columns read the whole table.",
        lock=_AX,
        severity=WARNING,
        workaround="Build the index without the column CONCURRENTLY first.",
        source="PostgreSQL documentation, ALTER TABLE, DROP COLUMN; observed",
        setup=_SETUP + "\nCREATE INDEX orders_qty_code_idx ON orders (qty, code);",
        bad=_CONTRACT + "ALTER TABLE orders DROP COLUMN code;",
        good=_CONTRACT + "ALTER TABLE orders DROP COLUMN total;",
    ),
    on=w.DropColumn,
)
def drop_index_lost(subject: Subject) -> Iterator[Hit]:
    """Indexes and multi-column constraints that read the column beside others."""
    action = subject.action
    assert isinstance(action, w.DropColumn)
    if subject.new:
        return
    for index in subject.schema.indexes_reading(subject.key, action.column):
        rest = [name for name in index.columns if name not in ("", action.column)]
        others = [name for name in index.reads if name != action.column]
        if rest or (others and len(index.columns) > 1):
            # Keys that were unique together are not so each: what is left is no unique index.
            name = joined(bare(subject.key), joined_columns(rest), "idx")
            build = f"{OFF}CREATE INDEX CONCURRENTLY {quote(name)} ON {subject.sql} ({quoted(rest)});"
            if subject.table is not None and subject.table.kind == "p":
                build = index_on_each(subject.schema, subject.key, name, f"({quoted(rest)})")
            yield Hit(
                f"the index {index.key} on ({', '.join(name or '…' for name in index.columns)}) goes with {action.column}",
                build if rest else "",
                subject.key,
            )


_INTEGERS = {"int2": 2, "int4": 4, "int8": 8}
_TEMPORAL = ("timestamp", "timestamptz", "time", "timetz")


def narrows(before: w.TypeName, after: w.TypeName) -> bool:
    """Whether some value of ``before`` does not fit ``after``."""
    if before.array != after.array:
        return False
    one, other = before.name, after.name
    if one in _INTEGERS and other in _INTEGERS:
        return _INTEGERS[one] > _INTEGERS[other]
    if other in _INTEGERS:
        return one in ("numeric", "float4", "float8")
    if (one, other) == ("float8", "float4"):
        return True
    if other in ("varchar", "bpchar", "bit", "varbit") and one in (
        "text",
        "varchar",
        "bpchar",
        "bit",
        "varbit",
    ):
        return bool(after.mods) and (not before.mods or before.mods[0] > after.mods[0])
    if one == other == "numeric":
        return bool(after.mods) and (not before.mods or _whole(before) > _whole(after) or _scale(before) > _scale(after))  # fmt: skip
    if one in _TEMPORAL and one == other:
        return bool(after.mods) and after.mods[0] < (before.mods[0] if before.mods else 6)
    return one in ("timestamp", "timestamptz") and other == "date"


def _scale(type: w.TypeName) -> int:
    return type.mods[1] if len(type.mods) > 1 else 0


def _whole(type: w.TypeName) -> int:
    return type.mods[0] - _scale(type)


@rule(
    Hazard(
        id="col-type-narrowing",
        name="Type change to something smaller",
        detects="ALTER COLUMN … TYPE to a shorter limit, a smaller number or less precision.",
        effect="It fails on the first value that does not fit, or cuts values off; the old release still writes such values.",
        lock=_AX,
        severity=WARNING,
        workaround="Look for values that do not fit, and stop writing them first; a CHECK … NOT VALID does both.",
        source="PostgreSQL documentation, ALTER TABLE",
        setup=_SETUP,
        bad="ALTER TABLE orders ALTER COLUMN code TYPE varchar(5);",
        good="ALTER TABLE orders ALTER COLUMN code TYPE varchar(20);",
    ),
    on=w.AlterType,
)
def type_narrowing(subject: Subject) -> Iterator[Hit]:
    """The source type comes from the model."""
    action = subject.action
    assert isinstance(action, w.AlterType)
    column = _column(subject, action.column)
    if column is None or subject.new or not narrows(column.type, action.type):
        return
    before, after = type_sql(column.type), type_sql(action.type)
    yield Hit(
        f"values of {subject.key}.{action.column} ({before}) that do not fit {after} make it fail or are cut",
        f"SELECT count(*) FROM {subject.sql} WHERE {quote(action.column)}::{after}::{before} IS DISTINCT FROM {quote(action.column)};",  # noqa: S608 - advice, never run
        subject.key,
    )


@rule(
    Hazard(
        id="col-type-using",
        name="Type change by an expression",
        detects="ALTER COLUMN … TYPE … USING an expression that computes each value.",
        effect="The table is written again, and both releases read the column: one of them expects the other kind of value.",
        lock=_AX,
        severity=WARNING,
        by_size=True,
        workaround="A new column, kept in step by a trigger and filled in batches, then a swap.",
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ALTER COLUMN code TYPE integer USING length(code);",
        good="ALTER TABLE orders ADD COLUMN code_length integer;",
    ),
    on=w.AlterType,
)
def type_using(subject: Subject) -> Iterator[Hit]:
    """USING that is more than a relabelling."""
    action = subject.action
    assert isinstance(action, w.AlterType)
    column = _column(subject, action.column)
    if action.using is None or subject.new:
        return
    if column is None or rewrites(subject.schema, column, action):
        yield Hit(
            f"USING computes {subject.key}.{action.column} anew for every row, with no way back",
            f"ALTER TABLE {subject.sql} ADD COLUMN {quote(joined(action.column, '', 'new'))} {type_sql(action.type)};\n-- then a move, and a swap",
            subject.key,
        )


@rule(
    Hazard(
        id="col-collation-change",
        name="Column gets another collation",
        detects="ALTER COLUMN … TYPE … COLLATE another, or without COLLATE on a column that has one.",
        effect="Its indexes are built again while nobody can use the table, and queries sort and compare otherwise.",
        lock=_AX,
        severity=WARNING,
        by_size=True,
        workaround="An index with the wanted COLLATE, built CONCURRENTLY, and COLLATE in the queries.",
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup=_SETUP + "\nCREATE INDEX orders_code_idx ON orders (code);",
        bad='ALTER TABLE orders ALTER COLUMN code TYPE varchar(10) COLLATE "C";\n'
        "ALTER TABLE orders ALTER COLUMN code TYPE varchar(20);",
        good="ALTER TABLE orders ALTER COLUMN code TYPE varchar(20);",
    ),
    on=w.AlterType,
)
def collation_change(subject: Subject) -> Iterator[Hit]:
    """Silence means the default collation."""
    action = subject.action
    assert isinstance(action, w.AlterType)
    column = _column(subject, action.column)
    if column is None or subject.new or action.collation == column.collation:
        return
    lost = [index.key for index in subject.schema.indexes_reading(subject.key, action.column)]
    new = spelled(action.collation) if action.collation else "the default collation"
    table = bare(subject.key)
    built = f"; built again under {_AX}: {', '.join(lost)}" if lost else ""
    yield Hit(
        f"{subject.key}.{action.column} sorts by {new} from then on{built}",
        f"CREATE INDEX CONCURRENTLY {quote(joined(table, action.column, 'sorted_idx'))} ON {subject.sql} ({quote(action.column)} COLLATE {new});"
        if action.collation
        else f"ALTER TABLE {subject.sql} ALTER COLUMN {quote(action.column)} TYPE {type_sql(action.type)} "
        f"COLLATE {spelled(column.collation)};",
        subject.key,
        severity=ERROR if lost else "",
    )


@rule(
    Hazard(
        id="col-drop-not-null",
        name="NOT NULL given up",
        detects="DROP NOT NULL on a column of an earlier file.",
        effect="Code of the release that is still running meets NULL where it never had to expect it.",
        lock=_AX,
        severity=WARNING,
        contract_severity=INFO,
        workaround="Ship code that can read NULL everywhere, then drop it in a file with `-- lockgate: phase=contract`.",
        source="Field practice with columns",
        setup=_SETUP,
        bad="ALTER TABLE orders ALTER COLUMN qty DROP NOT NULL;",
        good=_CONTRACT + "ALTER TABLE orders ALTER COLUMN qty DROP NOT NULL;",
    ),
    on=w.DropNotNull,
)
def drop_not_null(subject: Subject) -> Iterator[Hit]:
    """Unless it was not NOT NULL anyway."""
    action = subject.action
    assert isinstance(action, w.DropNotNull)
    column = _column(subject, action.column)
    if not subject.new and (column is None or column.not_null):
        yield Hit(
            f"a release that reads {subject.key}.{action.column} may meet NULL once this is applied",
            f"{_CONTRACT}ALTER TABLE {subject.sql} ALTER COLUMN {quote(action.column)} DROP NOT NULL;",
        )


def _added_here(subject: Subject, column: str) -> bool:
    """Whether this file itself added the column."""
    return any(
        isinstance(action, w.AddColumn)
        and action.column.name == column
        and subject.schema.resolve(item.statement.name) == subject.key
        for item in subject.earlier()
        if isinstance(item.statement, w.AlterTable)
        for action in item.statement.actions
    )


@rule(
    Hazard(
        id="col-set-default",
        name="Default changed or dropped",
        detects="SET DEFAULT on a column that has one, or DROP DEFAULT.",
        effect="Inserts of the release that is still running get another value, or fail on NOT NULL.",
        lock=_AX,
        severity=INFO,
        workaround="Ship code that names the column in every insert first.",
        source="Field practice with columns",
        setup=_SETUP,
        bad="ALTER TABLE orders ALTER COLUMN qty SET DEFAULT 2;",
        good="ALTER TABLE orders ALTER COLUMN code SET DEFAULT 'none';",
    ),
    on=w.SetDefault,
)
def set_default(subject: Subject) -> Iterator[Hit]:
    """A first default takes nothing from anybody."""
    action = subject.action
    assert isinstance(action, w.SetDefault)
    column = _column(subject, action.column)
    if subject.new or column is None or not column.has_default or _added_here(subject, action.column):
        return
    where = f"{subject.key}.{action.column}"
    if action.default is not None:
        yield Hit(f"inserts of the old release that leave {where} out get the new default")
    elif column.not_null:
        yield Hit(f"inserts of the old release that leave {where} out fail: it is NOT NULL", severity=WARNING)
    else:
        yield Hit(f"inserts of the old release that leave {where} out get NULL")


@rule(
    Hazard(
        id="col-default-volatile-existing",
        name="Default computed for each row, for new rows only",
        detects="SET DEFAULT to a volatile expression on an existing column.",
        effect="Nothing is written: rows that exist keep what they have.",
        lock=_AX,
        severity=INFO,
        workaround="Fill the rows that exist in batches, by a move.",
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup="CREATE TABLE orders (id bigint PRIMARY KEY, token uuid, qty integer);",
        bad="ALTER TABLE orders ALTER COLUMN token SET DEFAULT gen_random_uuid();",
        good="ALTER TABLE orders ALTER COLUMN qty SET DEFAULT 1;",
    ),
    on=w.SetDefault,
)
def default_volatile(subject: Subject) -> Iterator[Hit]:
    """The safe half of adding a volatile default."""
    action = subject.action
    assert isinstance(action, w.SetDefault)
    if action.default is not None and not subject.new and is_volatile(action.default, subject.schema):
        yield Hit(
            f"rows that exist keep their {action.column}; only new rows of {subject.key} get the default"
        )
