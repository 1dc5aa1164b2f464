"""Hazards of family D: tables and partitions."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.model.drops import closure_of
from lockgate.policy.model.spelling import beside, in_words, qualified, quote, quoted, spelled
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_SETUP = "CREATE TABLE customers (id bigint PRIMARY KEY);\nCREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint);"
_PARTED = """CREATE TABLE events (id bigint NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE events_2030 PARTITION OF events FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
CREATE TABLE events_2031 (id bigint NOT NULL, at date NOT NULL);"""
_AX = "AccessExclusiveLock"


@rule(
    Hazard(
        id="tab-drop",
        name="Table dropped",
        detects="DROP TABLE of a table that an earlier file created, and DROP OWNED of a role that owns one.",
        effect="Whoever still uses it fails; tables that its foreign keys point to are locked too.",
        lock=f"{_AX} on the table and on every referenced table",
        contract_severity=INFO,
        workaround="Stop using it, drop its foreign keys apart, then drop it in a file with `-- lockgate: phase=contract`.",
        destructive=True,
        source="observed",
        setup=_SETUP,
        bad="DROP TABLE orders;",
        good="-- lockgate: phase=contract\nDROP TABLE orders;",
    ),
    on=w.Drop,
)
def drop(subject: Subject) -> Iterator[Hit]:
    """A table of an earlier file goes."""
    word = subject.statement
    assert isinstance(word, w.Drop)
    if word.kind == "owned":
        yield from _owned(subject, word)
    if word.kind != "table":
        return
    for name in word.names:
        key = subject.schema.resolve(name)
        if subject.is_new(key) or (word.if_exists and key not in subject.schema.relations):
            continue
        others = [
            other for other in subject.facts.locks if other != key and other in subject.schema.relations
        ]
        also = f"; {', '.join(others)} {'are' if len(others) > 1 else 'is'} locked too" if others else ""
        yield Hit(
            f"whoever still uses {key} fails{also}",
            f"-- lockgate: phase=contract\nDROP TABLE {in_words(name, key)};",
            key,
        )


def _owned(subject: Subject, word: w.Drop) -> Iterator[Hit]:
    closure = closure_of(subject.schema, word.kind, word.names, (), cascade=word.cascade)
    roles = ", ".join(name.name for name in word.names)
    listed = quoted([name.name for name in word.names])
    gone = [key for key in closure.gone if key in subject.schema.relations and not subject.is_new(key)]
    told = f": {', '.join(gone)}" if gone else ", which the files and the snapshot do not tell"
    yield Hit(
        f"everything that {roles} owns goes{told}",
        f"-- lockgate: phase=contract\nREASSIGN OWNED BY {listed} TO CURRENT_USER;\nDROP OWNED BY {listed};",
    )


@rule(
    Hazard(
        id="tab-rename",
        name="Table renamed or moved",
        detects="RENAME TO or SET SCHEMA of a table that an earlier file created.",
        effect="The old release knows only the old name, the new one only the new: one of the two fails.",
        lock=_AX,
        contract_severity=WARNING,
        workaround="Keep the old name alive as a view until nobody uses it.",
        destructive=True,
        source="Field practice with tables and partitions",
        setup=_SETUP,
        bad="ALTER TABLE orders RENAME TO purchases;",
        good="CREATE VIEW purchases AS SELECT * FROM orders;",
    ),
    on=(w.Rename, w.SetSchema),
)
def rename(subject: Subject) -> Iterator[Hit]:
    """A table is called otherwise."""
    word = subject.statement
    assert isinstance(word, w.Rename | w.SetSchema)
    if word.kind == "table" and not subject.new and subject.key not in subject.schema.indexes:
        if isinstance(word, w.Rename):
            new, change, there = word.new, f"RENAME TO {quote(word.new)}", beside(subject.key, word.new)
        else:
            new, change = f"{word.schema}.{word.name.name}", f"SET SCHEMA {quote(word.schema)}"
            there = qualified(w.Name(word.schema, word.name.name))
        yield Hit(
            f"whoever uses {subject.key} fails once it is called {new}",
            f"ALTER TABLE {subject.sql} {change};\nCREATE VIEW {subject.sql} AS TABLE {there};",
        )


@rule(
    Hazard(
        id="tab-create-with-fk",
        name="New table that locks another",
        detects="CREATE TABLE … REFERENCES a table of an earlier file.",
        effect="Writes to the referenced table wait for a moment, and it waits for them.",
        lock="ShareRowExclusiveLock on the referenced table",
        severity=INFO,
        workaround="Create the table, then add the foreign key as NOT VALID in a file of its own.",
        source="observed",
        setup=_SETUP,
        bad="CREATE TABLE invoices (id bigint PRIMARY KEY, order_id bigint REFERENCES orders (id));",
        good="CREATE TABLE invoices (id bigint PRIMARY KEY, order_id bigint);",
    ),
    on=w.CreateTable,
)
def create_with_fk(subject: Subject) -> Iterator[Hit]:
    """The other side of a foreign key."""
    word = subject.statement
    assert isinstance(word, w.CreateTable)
    seen: set[str] = set()
    for constraint in [*word.constraints, *(c for column in word.columns for c in column.constraints)]:
        if constraint.references is not None:
            other = subject.schema.resolve(constraint.references)
            if other != subject.key and other not in seen and not subject.is_new(other):
                seen.add(other)
                yield Hit(f"writes to {other} wait until this is committed", relation=other)


@rule(
    Hazard(
        id="tab-create-partition-of",
        name="Partition made in place",
        detects="CREATE TABLE … PARTITION OF a table of an earlier file.",
        effect="All access to the partitioned table waits, and a default partition is read.",
        lock=f"{_AX} on the parent",
        severity=WARNING,
        workaround="CREATE TABLE (LIKE parent), a CHECK that fits the bounds, then ATTACH PARTITION.",
        source="observed",
        setup=_PARTED,
        bad="CREATE TABLE events_2032 PARTITION OF events FOR VALUES FROM ('2032-01-01') TO ('2033-01-01');",
        good="CREATE TABLE events_2032 (LIKE events INCLUDING ALL);",
    ),
    on=w.CreateTable,
)
def create_partition_of(subject: Subject) -> Iterator[Hit]:
    """The parent gets the strongest lock."""
    word = subject.statement
    assert isinstance(word, w.CreateTable)
    if word.partition_of is None:
        return
    parent = subject.schema.resolve(word.partition_of)
    if not subject.is_new(parent):
        yield Hit(
            f"all access to {parent} waits for it",
            f"CREATE TABLE {subject.sql} (LIKE {spelled(parent)} INCLUDING ALL);\n"
            f"ALTER TABLE {spelled(parent)} ATTACH PARTITION {subject.sql} FOR VALUES …;",
            parent,
        )


@rule(
    Hazard(
        id="tab-attach",
        name="Partition attached without a proof",
        detects="ATTACH PARTITION of a table that no CHECK covers.",
        effect="The new partition is read while nobody can use it, and so is a default partition.",
        lock=f"{_AX} on the partition, ShareUpdateExclusiveLock on the parent",
        severity=WARNING,
        by_size=True,
        workaround="Add and validate a CHECK that implies the bounds first, and drop it after.",
        source="PostgreSQL documentation, ALTER TABLE, ATTACH PARTITION; observed",
        setup=_PARTED,
        bad="ALTER TABLE events ATTACH PARTITION events_2031 FOR VALUES FROM ('2031-01-01') TO ('2032-01-01');",
        good="ALTER TABLE events_2031 ADD CONSTRAINT bounds CHECK (at >= '2031-01-01' AND at < '2032-01-01') NOT VALID;",
    ),
    on=w.AttachPartition,
)
def attach(subject: Subject) -> Iterator[Hit]:
    """Nothing shows that the rows fit."""
    action = subject.action
    assert isinstance(action, w.AttachPartition)
    key = subject.schema.resolve(action.partition)
    state = subject.schema.relations.get(key)
    if subject.is_new(key) or subject.key in subject.schema.indexes:
        return
    if state is None or not any(c.kind == "check" and c.valid for c in state.constraints.values()):
        yield Hit(f"all of {key} is read under {_AX} to prove its bounds", relation=key)


@rule(
    Hazard(
        id="tab-detach",
        name="Partition detached in place",
        detects="DETACH PARTITION without CONCURRENTLY.",
        effect="All access to the partitioned table waits.",
        lock=f"{_AX} on both",
        severity=WARNING,
        workaround="DETACH PARTITION … CONCURRENTLY in a file of its own with `-- lockgate: transaction=off`.",
        source="observed",
        setup=_PARTED,
        bad="ALTER TABLE events DETACH PARTITION events_2030;",
        good="-- lockgate: transaction=off\nALTER TABLE events DETACH PARTITION events_2030 CONCURRENTLY;",
    ),
    on=w.DetachPartition,
)
def detach(subject: Subject) -> Iterator[Hit]:
    """The plain form."""
    action = subject.action
    assert isinstance(action, w.DetachPartition)
    if action.how == "plain" and not subject.new:
        key = subject.schema.resolve(action.partition)
        yield Hit(
            f"all access to {subject.key} waits for it",
            f"-- lockgate: transaction=off\nALTER TABLE {subject.sql} DETACH PARTITION {spelled(key)} CONCURRENTLY;",
            subject.key,
        )


@rule(
    Hazard(
        id="tab-truncate",
        name="Table emptied",
        detects="TRUNCATE of a table that an earlier file created.",
        effect="All rows are gone for good; CASCADE empties every table that points here.",
        lock=f"{_AX} on all tables emptied",
        workaround="Delete in batches, or keep the rows.",
        destructive=True,
        source="observed",
        setup=_SETUP,
        bad="TRUNCATE orders;",
        good="DELETE FROM orders WHERE id BETWEEN 1 AND 1000;",
    ),
    on=w.Truncate,
)
def truncate(subject: Subject) -> Iterator[Hit]:
    """Rows of an earlier file's table go."""
    word = subject.statement
    assert isinstance(word, w.Truncate)
    emptied = [
        key for key in subject.facts.rewrites if key in subject.schema.relations and not subject.is_new(key)
    ]
    named = [subject.schema.resolve(name) for name in word.names]
    emptied += [key for key in named if key not in subject.schema.relations]
    if emptied:
        yield Hit(f"all rows of {', '.join(emptied)} are gone")


@rule(
    Hazard(
        id="tab-full-rewrite",
        name="Table written again",
        detects="VACUUM FULL or CLUSTER.",
        effect="The table and its indexes are written again while nobody can use it.",
        lock=_AX,
        by_size=True,
        workaround="Plain VACUUM, or pg_repack.",
        source="observed",
        setup=_SETUP,
        bad="CLUSTER orders USING orders_pkey;",
        good="ANALYZE orders;",
    ),
    on=(w.Vacuum, w.Cluster),
)
def full_rewrite(subject: Subject) -> Iterator[Hit]:
    """VACUUM FULL and CLUSTER."""
    word = subject.statement
    if isinstance(word, w.Cluster) or (isinstance(word, w.Vacuum) and word.full):
        tables = [key for key in subject.facts.rewrites if key in subject.schema.relations]
        what = ", ".join(tables) or "every table"
        yield Hit(f"{what} is written again under {_AX}", relation=tables[0] if len(tables) == 1 else "")


@rule(
    Hazard(
        id="tab-set-logged",
        name="Persistence changed",
        detects="SET LOGGED or SET UNLOGGED.",
        effect="The table, its indexes and sequences are written again while nobody can use them.",
        lock=_AX,
        by_size=True,
        workaround="A new table with the wanted persistence and a move of the rows.",
        source="observed",
        setup=_SETUP,
        bad="ALTER TABLE orders SET UNLOGGED;",
        good="ALTER TABLE orders SET (fillfactor = 90);",
    ),
    on=w.SetLogged,
)
def set_logged(subject: Subject) -> Iterator[Hit]:
    """LOGGED and UNLOGGED."""
    if not subject.new and subject.facts.rewrites:
        yield Hit(f"{', '.join(subject.facts.rewrites)} are written again", relation=subject.key)


@rule(
    Hazard(
        id="tab-explicit-lock",
        name="Table locked by hand",
        detects="LOCK TABLE in a mode that stops writers or readers.",
        effect="Others wait until the file is done.",
        lock="as named",
        severity=WARNING,
        workaround="None is needed: each statement takes the lock it needs.",
        source="observed",
        setup=_SETUP,
        bad="LOCK TABLE orders;",
        good="LOCK TABLE orders IN ACCESS SHARE MODE;",
    ),
    on=w.LockTable,
)
def explicit_lock(subject: Subject) -> Iterator[Hit]:
    """ShareLock and above."""
    word = subject.statement
    assert isinstance(word, w.LockTable)
    if word.mode >= LockMode.ShareLock:
        held = subject.busy_locks(LockMode.ShareLock)
        if held:
            yield Hit(
                f"{', '.join(held)} are held in {word.mode.name} until the end of the file", relation=held[0]
            )
