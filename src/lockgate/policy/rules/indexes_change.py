"""Hazards of family A: what happens to an index over time - built again, replaced, dropped, left over."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.names import joined
from lockgate.policy.model.replay_indexes import built_index
from lockgate.policy.model.schema import Index
from lockgate.policy.model.spelling import beside, keys_sql, quote, spelled
from lockgate.policy.registry import rule
from lockgate.policy.rules.own_words import index_tail
from lockgate.policy.subject import File, Hit, Judged, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, code text);"
_SETUP_INDEX = _SETUP + "\nCREATE INDEX orders_customer_id_idx ON orders (customer_id);"
_OFF = "-- lockgate: transaction=off\n"
_CONCURRENT = _OFF + "CREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);"


def _concurrent(word: w.Statement) -> bool:
    return isinstance(word, w.CreateIndex | w.Drop | w.Reindex) and word.concurrently


@rule(
    Hazard(
        id="idx-invalid-leftover",
        name="IF NOT EXISTS hides an invalid index",
        detects="CREATE INDEX CONCURRENTLY IF NOT EXISTS.",
        effect="After a failed build the retry finds the invalid index, does nothing and reports success; queries never use it.",
        severity=WARNING,
        workaround="DROP INDEX CONCURRENTLY IF EXISTS first, then build without IF NOT EXISTS.",
        source="PostgreSQL documentation, CREATE INDEX, Building Indexes Concurrently; observed",
        setup=_SETUP,
        bad=_OFF + "CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_code_idx ON orders (code);",
        good=_CONCURRENT,
    ),
    on=w.CreateIndex,
)
def invalid_leftover(subject: Subject) -> Iterator[Hit]:
    """A retry that cannot tell a good index from a broken one."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    if word.concurrently and word.if_not_exists and not _dropped_before(subject, word.name):
        yield Hit(
            f"when a build of {word.name} fails, the retry skips the invalid index that it left",
            f"DROP INDEX CONCURRENTLY IF EXISTS {beside(subject.key, word.name)};\n-- next file:\n"
            f"-- lockgate: transaction=off\nCREATE {'UNIQUE ' if word.unique else ''}INDEX CONCURRENTLY "
            f"{quote(word.name)} ON {subject.sql} {index_tail(subject, word)};",
        )


def _dropped_before(subject: Subject, name: str) -> bool:
    return any(
        isinstance(item.statement, w.Drop) and any(dropped.name == name for dropped in item.statement.names)
        for item in subject.earlier()
    )


@rule(
    Hazard(
        id="idx-concurrently-lock-timeout",
        name="Lock timeout around a concurrent build",
        detects="SET lock_timeout in front of a CONCURRENTLY statement.",
        effect="Waiting for old snapshots counts as waiting for a lock: the build fails with 55P03 and leaves an invalid index.",
        severity=WARNING,
        workaround="No lock_timeout for this statement; limit it by statement_timeout if at all.",
        source="observed",
        setup=_SETUP,
        bad=_OFF + "SET lock_timeout = '2s';\nCREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);",
        good=_OFF
        + "SET statement_timeout = '1h';\nCREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);",
    ),
    on=(w.CreateIndex, w.Drop, w.Reindex),
)
def lock_timeout_around(subject: Subject) -> Iterator[Hit]:
    """The last word of the file on lock_timeout before the statement."""
    if not _concurrent(subject.statement):
        return
    value = ""
    for item in subject.earlier():
        word = item.statement
        # SET LOCAL does nothing outside a transaction.
        if isinstance(word, w.SetVariable) and word.name.lower() == "lock_timeout" and not word.local:
            value = word.values[0] if word.values else ""
    if value.rstrip(" smhind") not in ("", "0"):
        yield Hit(
            f"lock_timeout = {value} ends the {subject.facts.kind} on {subject.key} as soon as it waits that long "
            "for an old snapshot",
            "SET statement_timeout = '1h';   -- and no lock_timeout",
        )


_BLOCKING = {"pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared"}  # fmt: skip


@rule(
    Hazard(
        id="idx-concurrently-advisory-deadlock",
        name="Concurrent build under a blocking advisory lock",
        detects="pg_advisory_lock() in the file of a CONCURRENTLY statement.",
        effect="A second runner waits in pg_advisory_lock with its snapshot open, the build waits for that snapshot: deadlock.",
        severity=WARNING,
        workaround="Poll pg_try_advisory_lock, or leave the locking to lockgate, which polls.",
        source="observed",
        setup=_SETUP,
        bad=_OFF
        + "SELECT pg_advisory_lock(4711);\nCREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);",
        good=_OFF
        + "SELECT pg_try_advisory_lock(4711);\nCREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);",
    ),
    on=(w.CreateIndex, w.Drop, w.Reindex),
)
def advisory_deadlock(subject: Subject) -> Iterator[Hit]:
    """A lock call that waits, before a statement that waits for all snapshots."""
    if not _concurrent(subject.statement):
        return
    for item in subject.earlier():
        word = item.statement
        called = _BLOCKING.intersection(word.query.functions) if isinstance(word, w.Dml) else ()
        for name in called:
            yield Hit(
                f"whoever waits in {name}() holds a snapshot that this {subject.facts.kind} CONCURRENTLY waits for",
                "SELECT pg_try_advisory_lock(…);   -- in a loop, outside any transaction",
            )


@rule(
    Hazard(
        id="idx-unique-duplicates",
        name="Unique index over data that may hold duplicates",
        detects="A unique index or constraint on a table of an earlier file, with nothing that proves its keys unique.",
        effect="The build fails at its end when two rows are equal; a concurrent one leaves an invalid index.",
        severity=INFO,
        workaround="Count duplicates first.",
        source="PostgreSQL documentation, CREATE INDEX",
        setup=_SETUP,
        bad=_OFF + "CREATE UNIQUE INDEX CONCURRENTLY orders_code_key ON orders (code);",
        good=_OFF + "CREATE UNIQUE INDEX CONCURRENTLY orders_id_code_key ON orders (id, code);",
    ),
    on=(w.CreateIndex, w.AddConstraint),
)
def unique_duplicates(subject: Subject) -> Iterator[Hit]:
    """Nothing in the model says that no two rows are equal."""
    word = subject.action or subject.statement
    if isinstance(word, w.AddConstraint):
        unique = word.constraint.kind in ("unique", "primary") and not word.constraint.using_index
        columns, name = word.constraint.columns, word.constraint.name
    else:
        assert isinstance(word, w.CreateIndex)
        unique, columns, name = word.unique, tuple(key.column for key in word.keys), word.name
    if not unique or subject.new or subject.rows(subject.key) == 0:
        return
    for index in subject.schema.indexes_of(subject.key):
        plain = index.unique and index.valid and not index.partial and not index.expressions
        if plain and set(index.columns) <= set(columns):
            return
    keys = ", ".join(column or "…" for column in columns)
    listed = ", ".join(quote(column) if column else "…" for column in columns)
    yield Hit(
        f"{name or 'the unique index'} fails at the end of its build if {subject.key} holds two equal ({keys})",
        f"SELECT {listed}, count(*) FROM {subject.sql} GROUP BY {listed} HAVING count(*) > 1 LIMIT 10;",  # noqa: S608 - advice, never run
    )


@rule(
    Hazard(
        id="idx-exists-other-definition",
        name="IF NOT EXISTS keeps another index of that name",
        detects="CREATE INDEX IF NOT EXISTS whose name an index with another definition has.",
        effect="Nothing is built and nothing is said: the index in the file and the one on the server differ.",
        severity=WARNING,
        workaround="Build it under another name, then drop the old one.",
        source="PostgreSQL documentation, CREATE INDEX, IF NOT EXISTS",
        setup=_SETUP_INDEX,
        bad="CREATE INDEX IF NOT EXISTS orders_customer_id_idx ON orders (customer_id, code);",
        good=_OFF + "CREATE INDEX CONCURRENTLY orders_customer_id_code_idx ON orders (customer_id, code);",
    ),
    on=w.CreateIndex,
)
def exists_other_definition(subject: Subject) -> Iterator[Hit]:
    """What the file asks for, against what the model has under that name."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    if not word.if_not_exists:
        return
    asked = built_index(subject.schema, word, -1)
    there = subject.schema.indexes.get(asked.key) if asked is not None else None
    if asked is not None and there is not None and _definition(asked) != _definition(there):
        yield Hit(
            f"{there.key} is there already, on {there.table} ({', '.join(c or '…' for c in there.columns)}): "
            "nothing is built",
            f"{_OFF}CREATE {'UNIQUE ' if word.unique else ''}INDEX CONCURRENTLY {quote(joined(word.name, '', '2'))} "
            f"ON {subject.sql} {index_tail(subject, word)};\n-- next file:\n{_OFF}DROP INDEX CONCURRENTLY {spelled(there.key)};",
        )


def _definition(index: Index) -> tuple[object, ...]:
    return (
        index.table, index.columns, index.unique, index.method, index.shapes, index.orders, set(index.reads),
        tuple(filter(None, index.opclasses)),
    )  # fmt: skip


@rule(
    Hazard(
        id="idx-drop-backs-constraint",
        name="Index dropped that a constraint stands on",
        detects="DROP INDEX of the index behind a primary key, a unique constraint, or a foreign key of another table.",
        effect="The server refuses it and the file fails.",
        lock="AccessExclusiveLock",
        workaround="Drop the constraint; its index goes with it.",
        source="PostgreSQL documentation, DROP INDEX; observed",
        setup=_SETUP + "\nALTER TABLE orders ADD CONSTRAINT orders_code_key UNIQUE (code);",
        bad="DROP INDEX orders_code_key;",
        good="-- lockgate: phase=contract\nALTER TABLE orders DROP CONSTRAINT orders_code_key;",
        unproven="the server refuses it",
    ),
    on=w.Drop,
)
def drop_backs_constraint(subject: Subject) -> Iterator[Hit]:
    """The index is owned by a constraint, or foreign keys hang on it."""
    word = subject.statement
    assert isinstance(word, w.Drop)
    if word.kind != "index":
        return
    for name in word.names:
        index = subject.schema.indexes.get(subject.schema.resolve(name))
        if index is None:
            continue
        table = subject.schema.relations.get(index.table)
        if index.constraint:
            yield Hit(
                f"{index.key} cannot be dropped: the constraint {index.constraint} of {index.table} requires it",
                f"ALTER TABLE {spelled(index.table)} DROP CONSTRAINT {quote(index.constraint)};",
            )
            continue
        for child, key in table.referenced_by if table is not None else ():
            other = subject.schema.relations.get(child)
            constraint = other.constraints.get(key) if other is not None else None
            if constraint is not None and constraint.ref_index == index.key:
                how = "takes" if word.cascade else "is refused because of"
                yield Hit(
                    f"dropping {index.key} {how} the foreign key {key} of {child}",
                    f"ALTER TABLE {spelled(child)} DROP CONSTRAINT {quote(key)};",
                )


@rule(
    Hazard(
        id="idx-replace",
        name="Index dropped before its successor is built",
        detects="DROP INDEX, then CREATE INDEX of the same name in the same file or the next.",
        effect="Between the two, queries that need it read the whole table.",
        severity=WARNING,
        workaround="Build the new one under another name, drop the old one, rename.",
        source="Field practice with indexes",
        setup=_SETUP_INDEX,
        bad="DROP INDEX orders_customer_id_idx;\nCREATE INDEX orders_customer_id_idx ON orders (customer_id, code);",
        good=_OFF
        + "CREATE INDEX CONCURRENTLY orders_customer_id_code_idx ON orders (customer_id, code);\n"
        + "DROP INDEX CONCURRENTLY orders_customer_id_idx;",
    ),
    scope="tree",
)
def replace(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """By name; a drop IF EXISTS clears away what a failed build left."""
    dropped: dict[str, tuple[File, Judged]] = {}
    for file in tree.files:
        for judged in file.judged:
            word = judged.statement
            if isinstance(word, w.Drop) and word.kind == "index" and not word.if_exists:
                dropped.update({name.name: (file, judged) for name in word.names})
            elif isinstance(word, w.CreateIndex) and word.name in dropped:
                before, drop = dropped.pop(word.name)
                table = tree.schema.relations.get(tree.schema.resolve(word.table))
                young = table is not None and table.created_file == file.number
                if young or file.place - before.place > 1:
                    continue
                keys = keys_sql(word)
                where = tree.schema.resolve(word.table)
                new = joined(word.name, "", "new")
                yield (
                    before,
                    Hit(
                        f"queries have no {word.name} from here until it is built again",
                        f"CREATE INDEX CONCURRENTLY {quote(new)} ON {spelled(where)} ({keys});\n"
                        f"DROP INDEX CONCURRENTLY {beside(where, word.name)};\n"
                        f"ALTER INDEX {beside(where, new)} RENAME TO {quote(word.name)};",
                        line=drop.line,
                    ),
                )


REFRESHED = ("ALTER COLLATION", "ALTER DATABASE REFRESH COLLATION")


@rule(
    Hazard(
        id="idx-collation-version",
        name="Collation version accepted, indexes not built again",
        detects="ALTER COLLATION or ALTER DATABASE … REFRESH VERSION without a REINDEX before it.",
        effect="The warning goes away, the indexes keep the old order: rows are not found, duplicates get in.",
        severity=WARNING,
        workaround="REINDEX … CONCURRENTLY every index on text first, then refresh the version.",
        source="PostgreSQL documentation, ALTER COLLATION",
        setup=_SETUP_INDEX + "\nCREATE COLLATION plain (provider = libc, locale = 'C');",
        bad="ALTER COLLATION plain REFRESH VERSION;",
        good=_OFF + "REINDEX TABLE CONCURRENTLY orders;\nALTER COLLATION plain REFRESH VERSION;",
    ),
    scope="tree",
)
def collation_version(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """A REINDEX stands earlier in the same file or in the one before."""
    reindexed = -9
    for file in tree.files:
        for judged in file.judged:
            word = judged.statement
            if isinstance(word, w.Reindex):
                reindexed = file.place
            elif isinstance(word, w.Utility) and word.kind in REFRESHED and file.place - reindexed > 1:
                yield (
                    file,
                    Hit(
                        "the new version is written down, but no index was built again for it",
                        "REINDEX TABLE CONCURRENTLY …;   -- every index that sorts text",
                        line=judged.line,
                    ),
                )
