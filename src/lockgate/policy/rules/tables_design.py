"""Hazards of family D that are about the design of tables and partitions, and about long copies."""

import re
from collections.abc import Iterator

from lockgate.policy.hazard import ERROR, INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.schema import Relation
from lockgate.policy.model.spelling import qualified, quote, spelled, type_sql
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint);"
_PARTED = "CREATE TABLE events (id bigint NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);"
_OFF = ("false", "off", "0", "no")

# From this many partitions on, a statement that locks them all is worth a word.
_MANY = 8
# The room for locks that a server gives each session by default.
_LOCKS = 64
# Names that need no quotes; and words that do, of those that are likely as names.
_PLAIN = re.compile(r"[^\W\dA-Z][^\WA-Z]*(?:\$[^\WA-Z]*)*")
_RESERVED = frozenset({
    "all", "analyze", "any", "array", "asc", "case", "cast", "check", "collate", "column", "constraint", "default",
    "desc", "do", "end", "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in", "into",
    "lateral", "leading", "limit", "not", "null", "offset", "on", "only", "or", "order", "placing", "primary",
    "references", "select", "some", "table", "then", "to", "trailing", "true", "union", "unique", "user", "using",
    "when", "where", "window", "with",
})  # fmt: skip


@rule(
    Hazard(
        id="tab-partition-design",
        name="Partitioning that will get in the way",
        detects="A default partition; a primary key or unique index that leaves out the partition key.",
        effect="Each new partition reads the whole default partition under a lock; a key without the partition key is refused.",
        severity=INFO,
        workaround="Make partitions ahead of time instead of a default one, and put the partition key into every key.",
        source="PostgreSQL documentation, Table Partitioning, Limitations",
        setup=_PARTED,
        bad="CREATE TABLE events_rest PARTITION OF events DEFAULT;",
        good="CREATE TABLE events_2030 PARTITION OF events FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');",
    ),
    on=(w.CreateTable, w.CreateIndex, w.AddConstraint, w.AttachPartition),
)
def partition_design(subject: Subject) -> Iterator[Hit]:
    """What partitioning makes hard later, or impossible now."""
    word = subject.statement
    if isinstance(word, w.CreateTable):
        if word.default_partition and word.partition_of is not None:
            yield _default_partition(subject.schema.resolve(word.partition_of))
        inline = [constraint for column in word.columns for constraint in column.constraints]
        for constraint in (*inline, *word.constraints):
            if constraint.kind in ("primary", "unique"):
                yield from _without_key(subject.key, word.partition_columns, constraint.columns)
        return
    action = subject.action
    if isinstance(action, w.AttachPartition) and action.default:
        yield _default_partition(subject.key)
    if subject.table is None or subject.table.kind != "p":
        return
    parts = subject.table.partition_columns
    if isinstance(word, w.CreateIndex) and word.unique:
        yield from _without_key(subject.key, parts, tuple([key.column for key in word.keys]))
    elif isinstance(action, w.AddConstraint) and action.constraint.kind in ("primary", "unique"):
        # USING INDEX names no columns, and so none is missing.
        yield from _without_key(subject.key, parts, action.constraint.columns)


def _default_partition(parent: str) -> Hit:
    return Hit(
        f"rows that fit no other partition of {parent} pile up here, and each new partition reads them all "
        "under AccessExclusiveLock"
    )


def _without_key(table: str, parts: tuple[str, ...], columns: tuple[str, ...]) -> Iterator[Hit]:
    missing = [part for part in parts if part and part not in columns]
    if missing and columns:
        every = ", ".join([*columns, *missing])
        yield Hit(
            f"the server refuses a key of {table} over ({', '.join(columns)}): it is partitioned by "
            f"{', '.join(missing)}",
            f"-- over ({every})",
            severity=ERROR,
        )


@rule(
    Hazard(
        id="tab-partition-fanout",
        name="One statement that locks every partition",
        detects=f"ALTER TABLE, CREATE INDEX, CREATE TRIGGER or RENAME that locks {_MANY} partitions or more against writes.",
        effect="All partitions are locked until the end; past max_locks_per_transaction the server may run out of room for locks.",
        lock="ShareLock or stronger on every partition",
        severity=INFO,
        workaround="ON ONLY the parent, then partition by partition; or check max_locks_per_transaction first.",
        source="PostgreSQL documentation, max_locks_per_transaction; observed",
        setup="\n".join(
            [
                _PARTED,
                *[
                    f"CREATE TABLE events_{year} PARTITION OF events FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01');"
                    for year in range(2030, 2030 + _MANY)
                ],
            ]
        ),
        bad="ALTER TABLE events ADD COLUMN note text;",
        good="CREATE INDEX events_at ON ONLY events (at);",
    ),
    on=(w.AlterTable, w.CreateIndex, w.CreateTrigger, w.Rename),
)
def partition_fanout(subject: Subject) -> Iterator[Hit]:
    """Locks times partitions."""
    locks = subject.facts.locks
    if subject.new or len(locks) < _MANY:
        return
    locked = [
        key
        for key in subject.schema.partitions(subject.key)
        if locks.get(key, 0) >= LockMode.ShareLock and not subject.is_new(key)
    ]
    if len(locked) >= _MANY:
        much = len(locks) > _LOCKS
        yield Hit(
            f"{len(locked)} partitions of {subject.key} are locked at once, {len(locks)} relations in all"
            + (f": more than the default of max_locks_per_transaction, {_LOCKS}" if much else ""),
            severity=WARNING if much else "",
        )


@rule(
    Hazard(
        id="tab-exists-drift",
        name="IF NOT EXISTS that hides another shape",
        detects="CREATE TABLE IF NOT EXISTS of a table that exists with other columns or types.",
        effect="Nothing happens, without an error: what the file wants to add is not there.",
        severity=WARNING,
        workaround="ALTER TABLE … ADD COLUMN for what is missing.",
        source="PostgreSQL documentation, CREATE TABLE, IF NOT EXISTS",
        setup=_SETUP,
        bad="CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, total numeric);",
        good="ALTER TABLE orders ADD COLUMN total numeric;",
    ),
    on=w.CreateTable,
)
def exists_drift(subject: Subject) -> Iterator[Hit]:
    """Columns that the table of that name does not have, or has otherwise."""
    word = subject.statement
    assert isinstance(word, w.CreateTable)
    state = subject.schema.relations.get(subject.schema.new_key(word.name, word.persistence))
    if not word.if_not_exists or state is None:
        return
    missing = [column for column in word.columns if column.type.name and column.name not in state.columns]
    other = [column.name for column in word.columns if _differs(column, state)]
    if missing or other:
        found = [f"lacks {column.name}" for column in missing]
        found += [f"has {name} with another type" for name in other]
        yield Hit(
            f"{state.key} exists already and {', '.join(found)}; this statement does not change it",
            "\n".join(
                f"ALTER TABLE {spelled(state.key)} ADD COLUMN {quote(column.name)} {type_sql(column.type)};"
                for column in missing
            ),
        )


def _differs(column: w.Column, state: Relation) -> bool:
    known = state.columns.get(column.name)
    if known is None or not column.type.name or not known.type.name:
        return False
    one, two = column.type, known.type
    return (one.name, one.mods, one.array) != (two.name, two.mods, two.array)


@rule(
    Hazard(
        id="tab-policy",
        name="Table against good habits",
        detects="A new table without a primary key, or with names that need quotes.",
        effect="Without a key, rows cannot be told apart by replication or by a move in batches; odd names need quotes for ever.",
        severity=INFO,
        workaround="A primary key; lower-case names that are no keywords.",
        source="Field practice with tables and partitions",
        bad="CREATE TABLE visits (at timestamptz);",
        good="CREATE TABLE visits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz);",
    ),
    scope="file",
)
def habits(tree: Tree) -> Iterator[Hit]:
    """Tables that are still there at the end of the file that made them."""
    for file in tree.files:
        for judged in file.judged:
            word = judged.statement
            if not isinstance(word, w.CreateTable) or word.persistence == "t":
                continue
            state = tree.schema.get(word.name)
            if state is None or state.created_file != file.number:
                continue
            keyed = any(constraint.kind == "primary" for constraint in state.constraints.values())
            if not keyed and not state.parents and state.kind in "rp":
                yield Hit(
                    f"{state.key} has no primary key",
                    f"ALTER TABLE {spelled(state.key)} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;",
                    line=judged.line,
                )
            for name in (word.name.name, *(column.name for column in word.columns)):
                if not _PLAIN.fullmatch(name) or name in _RESERVED:
                    yield Hit(f'"{name}" can only be written with quotes', line=judged.line)


@rule(
    Hazard(
        id="tab-autovacuum",
        name="Autovacuum switched off",
        detects="SET (autovacuum_enabled = false) on a table, or on its TOAST table.",
        effect="Dead rows are never cleaned up and statistics grow old, until an emergency vacuum against wraparound.",
        lock="ShareUpdateExclusiveLock",
        severity=WARNING,
        workaround="Tune autovacuum_vacuum_scale_factor or autovacuum_vacuum_cost_delay of the table instead.",
        source="PostgreSQL documentation, Storage Parameters",
        setup=_SETUP,
        bad="ALTER TABLE orders SET (autovacuum_enabled = false);",
        good="ALTER TABLE orders SET (autovacuum_vacuum_scale_factor = 0.02);",
    ),
    on=w.SetOptions,
)
def autovacuum_off(subject: Subject) -> Iterator[Hit]:
    """The switch, in any spelling."""
    action = subject.action
    assert isinstance(action, w.SetOptions)
    for option, value in zip(action.options, action.values, strict=False):
        if option.lower().endswith("autovacuum_enabled") and value.lower() in _OFF:
            yield Hit(
                f"dead rows of {subject.key} pile up from now on",
                f"ALTER TABLE {subject.sql} SET (autovacuum_vacuum_scale_factor = 0.02);",
            )


@rule(
    Hazard(
        id="tab-ctas-large",
        name="Table copied inside the migration",
        detects="CREATE TABLE … AS or SELECT INTO that reads a table of an earlier file.",
        effect="The query runs to its end in the migration's transaction: its snapshot holds back vacuum, and every lock of the file waits with it.",
        severity=WARNING,
        by_size=True,
        workaround="Create the table empty and copy with a move, in batches.",
        source="Field practice with tables and partitions",
        setup=_SETUP,
        bad="CREATE TABLE orders_copy AS SELECT * FROM orders;",
        good="CREATE TABLE orders_copy AS SELECT * FROM orders WITH NO DATA;",
    ),
    on=w.CreateTableAs,
)
def copied(subject: Subject) -> Iterator[Hit]:
    """A copy with its rows."""
    word = subject.statement
    assert isinstance(word, w.CreateTableAs)
    if word.materialized or not word.with_data:
        return
    sources = [key for key in sources_of(subject, word.query) if not subject.is_new(key)]
    if sources:
        yield Hit(
            f"this file's transaction lasts until all is read: {', '.join(sources)}",
            f"CREATE TABLE {qualified(word.name)} (LIKE {spelled(sources[0])});\n-- then a move that copies in batches",
            largest(subject, sources),
        )


def sources_of(subject: Subject, query: w.Query) -> list[str]:
    """The relations that a query reads, without the server's own catalogues."""
    keys = [subject.schema.resolve(access.name) for access in query.accesses]
    system = ("pg_", "information_schema.")
    return list(dict.fromkeys(key for key in keys if not key.startswith(system)))


def largest(subject: Subject, keys: list[str]) -> str:
    """The relation whose size decides: one of unknown size before any known one."""
    return max(keys, key=lambda key: (subject.rows(key) < 0, subject.rows(key)))
