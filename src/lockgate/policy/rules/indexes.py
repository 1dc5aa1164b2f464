"""Hazards of family A: indexes."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, Hazard
from lockgate.policy.model.names import bare, joined, joined_columns
from lockgate.policy.model.schema import Schema
from lockgate.policy.model.spelling import in_words, made_name, spelled
from lockgate.policy.registry import rule
from lockgate.policy.rules.each_partition import index_on_each
from lockgate.policy.rules.own_words import index_tail
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, placed_at timestamptz);"
_SETUP_INDEX = _SETUP + "\nCREATE INDEX orders_customer_id_idx ON orders (customer_id);"
_PARTED = """CREATE TABLE events (id bigint NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE events_2030 PARTITION OF events FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');"""


@rule(
    Hazard(
        id="idx-create-blocking",
        name="Index built while writes wait",
        detects="CREATE [UNIQUE] INDEX without CONCURRENTLY on a table that earlier files created.",
        effect="Every INSERT, UPDATE and DELETE on the table waits until the whole table has been read.",
        lock="ShareLock",
        workaround="CREATE INDEX CONCURRENTLY in a file of its own with `-- lockgate: transaction=off`.",
        by_size=True,
        source="PostgreSQL documentation, CREATE INDEX, Building Indexes Concurrently; observed",
        setup=_SETUP,
        bad="CREATE INDEX orders_customer_id_idx ON orders (customer_id);",
        good="-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);",
    ),
    on=w.CreateIndex,
)
def create_blocking(subject: Subject) -> Iterator[Hit]:
    """A plain build on an existing table; a partitioned parent is a hazard of its own."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    if word.concurrently or subject.new or (subject.table is not None and subject.table.kind == "p"):
        return
    unique = "UNIQUE " if word.unique else ""
    fix = f"CREATE {unique}INDEX CONCURRENTLY{made_name(word)} ON {subject.sql} {index_tail(subject, word)};"
    yield Hit(
        f"writes to {subject.key} wait while the index {word.name or ''} is built".replace("  ", " "),
        f"In a file of its own, with -- lockgate: transaction=off\n{fix}",
        subject.key,
    )


@rule(
    Hazard(
        id="idx-partitioned-parent",
        name="Index on a partitioned table",
        detects="CREATE INDEX on a partitioned parent, which builds on every partition at once.",
        effect="Writes to every partition wait until all of them have been read.",
        lock="ShareLock",
        workaround="CREATE INDEX ON ONLY the parent, CONCURRENTLY on each partition, then ALTER INDEX … ATTACH PARTITION.",
        by_size=True,
        source="PostgreSQL documentation, Table Partitioning, Partition Maintenance; observed",
        setup=_PARTED,
        bad="CREATE INDEX events_at_idx ON events (at);",
        good="CREATE INDEX events_at_idx ON ONLY events (at);",
    ),
    on=w.CreateIndex,
)
def partitioned_parent(subject: Subject) -> Iterator[Hit]:
    """A build that recurses into partitions."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    if word.only or subject.new or subject.table is None or subject.table.kind != "p":
        return
    children = subject.schema.descendants(subject.key)
    columns = [key.column for key in word.keys if key.column]
    name = word.name or joined(bare(subject.key), joined_columns(columns), "idx")
    yield Hit(
        f"writes to {subject.key} and its {len(children)} partitions wait while the index is built on each of them",
        index_on_each(subject.schema, subject.key, name, index_tail(subject, word), unique=word.unique),
        subject.key,
    )


@rule(
    Hazard(
        id="idx-drop-blocking",
        name="Index dropped under the strongest lock",
        detects="DROP INDEX without CONCURRENTLY.",
        effect="Reads and writes of the index's table wait behind it, and it waits behind every running query.",
        lock="AccessExclusiveLock",
        workaround="DROP INDEX CONCURRENTLY in a file of its own with `-- lockgate: transaction=off`.",
        by_size=True,
        source="PostgreSQL documentation, DROP INDEX; observed",
        setup=_SETUP_INDEX,
        bad="DROP INDEX orders_customer_id_idx;",
        good="-- lockgate: transaction=off\nDROP INDEX CONCURRENTLY orders_customer_id_idx;",
    ),
    on=w.Drop,
)
def drop_blocking(subject: Subject) -> Iterator[Hit]:
    """A plain drop of an index on a table of an earlier file."""
    word = subject.statement
    assert isinstance(word, w.Drop)
    if word.kind != "index" or word.concurrently:
        return
    for name in word.names:
        key = subject.schema.resolve(name)
        index = subject.schema.indexes.get(key)
        table = index.table if index is not None else ""
        if table and subject.is_new(table):
            continue
        fix = f"In a file of its own, with -- lockgate: transaction=off\nDROP INDEX CONCURRENTLY {in_words(name, key)};"
        if index is not None and (index.parent or index.constraint):
            fix = ""  # the server refuses either form
        elif index is not None and _split(subject.schema, table):
            fix = (
                "PostgreSQL has no concurrent drop of a partitioned index. In a file of its own, so that the lock is "
                f"held for a moment only:\nDROP INDEX {in_words(name, key)};"
            )
        yield Hit(f"all access to {table or 'the table of ' + key} waits while {key} is dropped", fix, table)


def _split(schema: Schema, table: str) -> bool:
    state = schema.relations.get(table)
    return state is not None and state.kind == "p"


@rule(
    Hazard(
        id="idx-reindex-blocking",
        name="Index built again while writes wait",
        detects="REINDEX without CONCURRENTLY.",
        effect="Writes to the table wait, and so does every query that would use the index.",
        lock="ShareLock, AccessExclusiveLock on each index",
        workaround="REINDEX … CONCURRENTLY in a file of its own with `-- lockgate: transaction=off`.",
        by_size=True,
        source="PostgreSQL documentation, REINDEX; observed",
        setup=_SETUP_INDEX,
        bad="REINDEX TABLE orders;",
        good="-- lockgate: transaction=off\nREINDEX TABLE CONCURRENTLY orders;",
    ),
    on=w.Reindex,
)
def reindex_blocking(subject: Subject) -> Iterator[Hit]:
    """A plain REINDEX."""
    word = subject.statement
    assert isinstance(word, w.Reindex)
    if not word.concurrently and not subject.is_new(subject.key):
        yield Hit(f"writes wait while {subject.key} is indexed again", _again(subject, word), subject.key)


def _again(subject: Subject, word: w.Reindex) -> str:
    """The concurrent form. It refuses the index of an exclusion constraint, and passes over it in a table."""
    schema = subject.schema
    below = schema.index_descendants(subject.key) if word.kind == "index" else ()
    keys = [subject.key, *below]
    if word.kind == "table":
        keys = [name for at in (subject.key, *schema.descendants(subject.key)) if at in schema.relations for name in schema.relations[at].indexes]  # fmt: skip
    plain = [at for at in keys if not schema.excludes(at)]
    fix = f"In a file of its own, with -- lockgate: transaction=off\nREINDEX {word.kind.upper()} CONCURRENTLY {subject.sql};"
    if len(plain) == len(keys):
        return fix
    left = "\n".join(f"REINDEX INDEX {spelled(at)};" for at in keys if at not in plain)
    more = "\n".join(f"REINDEX INDEX CONCURRENTLY {spelled(at)};" for at in plain)
    return f"The index of an exclusion constraint is built again in a window only:\n{left}" + (
        f"\n-- others, each in a file of its own:\n-- lockgate: transaction=off\n{more}" if more else ""
    )


def _concurrent(word: w.Statement) -> bool:
    if isinstance(word, w.AlterTable):
        return any(
            isinstance(action, w.DetachPartition) and action.how == "concurrently" for action in word.actions
        )
    return bool(getattr(word, "concurrently", False)) and not isinstance(word, w.Refresh)


@rule(
    Hazard(
        id="idx-concurrently-in-tx",
        name="CONCURRENTLY inside a transaction",
        detects="A statement that PostgreSQL refuses inside a transaction, in a file that runs in one; REINDEX without CONCURRENTLY and CLUSTER of a partitioned table in any.",
        effect="The server refuses it with 25001 and the file fails.",
        workaround="Give the file `-- lockgate: transaction=off` and put nothing else in it.",
        suppressible=False,
        source="PostgreSQL documentation, CREATE INDEX; observed",
        setup=_SETUP,
        bad="CREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);",
        good="-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);",
    ),
    on=(w.CreateIndex, w.Drop, w.Reindex, w.AlterTable, w.Vacuum, w.Cluster, w.Utility),
)
def concurrently_in_transaction(subject: Subject) -> Iterator[Hit]:
    """Whatever is not transactional needs a file that says so; in one, too, plain statements run in a transaction each."""
    word = subject.statement
    if isinstance(word, w.Reindex | w.Cluster) and not subject.facts.transactional and not _concurrent(word):
        if subject.table is not None or subject.key in subject.schema.indexes:
            yield Hit(
                f"{subject.facts.kind} of the partitioned {subject.key} cannot run inside a transaction, and lockgate "
                "runs it in one in every file",
                _one_by_one(subject, word),
            )
        return
    if subject.file.transactional and not subject.facts.transactional:
        what = "CONCURRENTLY" if _concurrent(subject.statement) else subject.facts.kind
        yield Hit(
            f"{what} cannot run inside a transaction, and this file runs in one",
            "-- lockgate: transaction=off",
        )


def _one_by_one(subject: Subject, word: w.Reindex | w.Cluster) -> str:
    """What runs in place of a statement that takes one partition after the other in transactions of its own."""
    if isinstance(word, w.Reindex):
        return f"-- lockgate: transaction=off\nREINDEX {word.kind.upper()} CONCURRENTLY {subject.sql};"
    leaves = [at for at in subject.schema.descendants(subject.key) if not _split(subject.schema, at)]
    return "\n".join(f"CLUSTER {spelled(at)};" for at in leaves)


@rule(
    Hazard(
        id="idx-concurrently-mixed-file",
        name="CONCURRENTLY beside other statements",
        detects="A concurrent statement that shares its non-transactional file with others.",
        effect="When it fails half way, part of the file is applied; the journal goes on at the right statement, but a reviewer sees one file that is neither applied nor pending.",
        severity=INFO,
        workaround="One concurrent statement a file.",
        source="Field practice with indexes",
        setup=_SETUP,
        bad="""-- lockgate: transaction=off
CREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);
COMMENT ON TABLE orders IS 'one row an order';""",
        good="-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);",
    ),
    on=(w.CreateIndex, w.Drop, w.Reindex),
)
def concurrently_mixed(subject: Subject) -> Iterator[Hit]:
    """More than one statement in the file of a concurrent one."""
    if _concurrent(subject.statement) and subject.file.total > 1 and not subject.file.transactional:
        yield Hit(
            f"{subject.facts.kind} CONCURRENTLY shares its file with {subject.file.total - 1} other statements"
        )


@rule(
    Hazard(
        id="idx-name-required",
        name="Index without a name",
        detects="CREATE INDEX that leaves the name to the server.",
        effect="The name depends on what exists, so environments drift and later files cannot rely on it.",
        severity=INFO,
        workaround="Name the index.",
        source="Field practice with indexes",
        setup=_SETUP,
        bad="-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY ON orders (customer_id);",
        good="-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);",
    ),
    on=w.CreateIndex,
)
def name_required(subject: Subject) -> Iterator[Hit]:
    """No name in the text."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    if not word.name:
        yield Hit(f"the index on {subject.key} has no name")
