"""Hazards of family I that a snapshot shows: sizes, traffic, disk, roles, replicas."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.environment import Environment, Life
from lockgate.policy.model.spelling import quote, spelled
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_SETUP = "CREATE TABLE customers (id bigint PRIMARY KEY);\nCREATE TABLE orders (id bigint PRIMARY KEY, qty integer);"
_ADD = "ALTER TABLE orders ADD COLUMN note text;"
_OTHER = "ALTER TABLE customers ADD COLUMN note text;"
_REWRITE = "ALTER TABLE orders ALTER COLUMN qty TYPE bigint;"
_BIG = {"orders": (40_000_000, 9_000_000_000)}


@rule(
    Hazard(
        id="env-size-risk",
        name="Large table read or written under a lock",
        detects="A statement that goes through a table which the snapshot shows to be large, while writers wait.",
        effect="They wait for as long as the disk needs for all of it.",
        lock="ShareLock or stronger",
        workaround="The form that does not block (CONCURRENTLY, NOT VALID and VALIDATE), or a move.",
        source="Field practice: what the server and its surroundings decide",
        setup=_SETUP,
        bad=_REWRITE,
        good=_ADD,
        sizes=_BIG,
    )
)
def size_risk(subject: Subject) -> Iterator[Hit]:
    """Rows and bytes of the snapshot."""
    if not (subject.facts.scans or subject.facts.rewrites):
        return
    for key in dict.fromkeys((*subject.facts.scans, *subject.facts.rewrites)):
        state = subject.schema.relations.get(key)
        if state is None or subject.is_new(key) or subject.facts.locks.get(key, 0) < LockMode.ShareLock:
            continue
        if state.rows >= subject.options.big_rows or state.bytes >= subject.options.big_bytes:
            size = f"{state.bytes / 1e9:.1f} GB, " if state.bytes > 0 else ""
            yield Hit(
                f"{key} has {size}about {max(state.rows, 0):,} rows; others wait until all of it is done",
                relation=key,
            )


@rule(
    Hazard(
        id="env-disk-headroom",
        name="No room for the rewrite",
        detects="A rewrite of a table that is larger than what the snapshot shows as free.",
        effect="Old and new storage exist side by side until the commit: the disk fills up, and the server stops writing.",
        workaround="A move, or more disk first.",
        source="Field practice: what the server and its surroundings decide",
        setup=_SETUP,
        bad=_REWRITE,
        good=_ADD,
        sizes=_BIG,
        environment=Environment(free_bytes=5_000_000_000),
    ),
    environment=True,
)
def disk(subject: Subject) -> Iterator[Hit]:
    """The sum of what is rewritten, against what is free."""
    free = subject.options.environment.free_bytes
    if free < 0:
        return
    known = [
        subject.schema.relations[key] for key in subject.facts.rewrites if key in subject.schema.relations
    ]
    needed = sum(max(state.bytes, 0) for state in known)
    if needed > free:
        tables = ", ".join(state.key for state in known)
        yield Hit(f"{tables} needs {needed / 1e9:.1f} GB once more, and {free / 1e9:.1f} GB is free")


@rule(
    Hazard(
        id="env-traffic-connections",
        name="Busy table locked",
        detects="A lock that stops queries or writes on a table which the snapshot shows to be busy.",
        effect="While it is waited for and held, that many queries a second queue up and take connections.",
        lock="ShareLock or stronger",
        severity=WARNING,
        workaround="A short lock_timeout (lockgate tries again by itself), and a quiet hour.",
        source="Field practice: what the server and its surroundings decide",
        setup=_SETUP,
        bad=_ADD,
        good=_OTHER,
        environment=Environment(tables={"orders": Life(reads_per_second=900, writes_per_second=80)}),
    ),
    environment=True,
)
def traffic(subject: Subject) -> Iterator[Hit]:
    """Queries a second that would wait."""
    tables = subject.options.environment.tables
    for key in tables:
        mode = subject.facts.locks.get(key, 0)
        life = tables[key]
        reads = max(life.reads_per_second, 0) if mode == LockMode.AccessExclusiveLock else 0
        waiting = reads + max(life.writes_per_second, 0) if mode >= LockMode.ShareLock else 0
        if waiting >= _BUSY and not subject.is_new(key):
            yield Hit(f"{key} has about {waiting:.0f} queries a second that wait for this", relation=key)


_BUSY = 100


@rule(
    Hazard(
        id="env-wraparound",
        name="Table about to be frozen",
        detects="DDL on a table whose oldest transaction id is beyond autovacuum_freeze_max_age in the snapshot.",
        effect="An autovacuum to prevent wraparound runs or is about to; it does not yield, so the statement waits and everybody behind it.",
        lock="ShareUpdateExclusiveLock or stronger",
        severity=WARNING,
        workaround="VACUUM (FREEZE) the table first.",
        source="PostgreSQL documentation, Preventing Transaction ID Wraparound Failures",
        setup=_SETUP,
        bad=_ADD,
        good=_OTHER,
        environment=Environment(tables={"orders": Life(age=210_000_000)}),
    ),
    environment=True,
)
def wraparound(subject: Subject) -> Iterator[Hit]:
    """Ages of the snapshot."""
    around = subject.options.environment
    for key, life in around.tables.items():
        mode = subject.facts.locks.get(key, 0)
        if mode >= LockMode.ShareUpdateExclusiveLock and life.age > around.freeze_max_age:
            yield Hit(
                f"{key} is {life.age:,} transactions old; autovacuum to prevent wraparound does not give way",
                f"VACUUM (FREEZE) {spelled(key)};",
                key,
            )


@rule(
    Hazard(
        id="dml-standby-conflict",
        name="Queries on standbys cancelled",
        detects="An AccessExclusiveLock or a VACUUM on a table of an earlier file, where the snapshot shows standbys.",
        effect="The standby replays the lock too: its queries on the table are cancelled after max_standby_streaming_delay, or replay stops behind them.",
        lock="AccessExclusiveLock",
        severity=INFO,
        workaround="No long reports on standbys while it runs.",
        source="PostgreSQL documentation, Handling Query Conflicts",
        setup=_SETUP,
        bad=_ADD,
        good="CREATE INDEX orders_qty ON orders (qty);",
        environment=Environment(standbys=2),
    ),
    environment=True,
)
def standbys(subject: Subject) -> Iterator[Hit]:
    """Only the strongest lock is logged."""
    if subject.options.environment.standbys <= 0:
        return
    held = [
        key for key in subject.busy_locks(LockMode.AccessExclusiveLock) if key in subject.schema.relations
    ]
    if held:
        yield Hit(f"queries on standbys that read {', '.join(held)} are in the way", relation=held[0])


@rule(
    Hazard(
        id="env-max-locks",
        name="More locks than the server has room for",
        detects="A file whose locks, partitions and indexes included, need more than half of the lock table of the snapshot.",
        effect="The statement, or that of somebody else, fails with `out of shared memory`.",
        workaround="Fewer partitions a file, or a higher max_locks_per_transaction.",
        source="PostgreSQL documentation, max_locks_per_transaction",
        setup="CREATE TABLE events (id bigint) PARTITION BY HASH (id);\n"
        + "\n".join(
            f"CREATE TABLE events_{n} PARTITION OF events FOR VALUES WITH (MODULUS 4, REMAINDER {n});"
            for n in range(4)
        ),
        bad="ALTER TABLE events ADD COLUMN note text;",
        good="ALTER TABLE events_0 SET (fillfactor = 90);",
        environment=Environment(max_locks=4),
    ),
    scope="file",
    environment=True,
)
def max_locks(tree: Tree) -> Iterator[Hit]:
    """One entry a relation, until the end of the transaction."""
    (file,) = tree.files
    room = tree.options.environment.max_locks
    if room < 0:
        return
    held: set[str] = set()
    for judged in file.judged:
        held = held.union(judged.facts.locks) if file.transactional else set(judged.facts.locks)
        if len(held) * 2 > room:
            severity = "" if len(held) > room else WARNING
            yield Hit(
                f"{len(held)} relations are locked at once; the lock table has room for {room}",
                severity=severity,
                line=judged.line,
            )
            return


@rule(
    Hazard(
        id="env-role-owner",
        name="Table of another owner",
        detects="ALTER, DROP or CREATE INDEX on a table whose owner the migrating role is not a member of, by the snapshot.",
        effect="It fails with `must be owner`, maybe after other files have run.",
        workaround="GRANT the owner to the migrating role, or have the owner hand the table over.",
        source="Field practice: what the server and its surroundings decide",
        setup=f"{_SETUP}\nALTER TABLE orders OWNER TO pg_monitor;",
        bad=_ADD,
        good=_OTHER,
        environment=Environment(role="app_migrator", memberships=("app_migrator", "app_owner")),
    ),
    on=(w.AlterTable, w.CreateIndex, w.Rename, w.SetSchema, w.Drop),
    environment=True,
)
def role_owner(subject: Subject) -> Iterator[Hit]:
    """The owner in the model, against the memberships."""
    around = subject.options.environment
    if not around.role or around.superuser:
        return
    word = subject.statement
    keys = [subject.key]
    if isinstance(word, w.Drop):
        keys = [subject.schema.resolve(name) for name in word.names]
    for key in keys:
        state = subject.schema.relations.get(key)
        if state is not None and state.owner and state.owner not in (around.role, *around.memberships):
            yield Hit(
                f"{key} belongs to {state.owner}, and {around.role} is no member of it",
                f"GRANT {quote(state.owner)} TO {quote(around.role)};",
                key,
            )


@rule(
    Hazard(
        id="env-extensions",
        name="Extension that the server lacks",
        detects="CREATE EXTENSION of one that is not among those the snapshot lists as available.",
        effect="The file fails.",
        workaround="Have it installed on the server first.",
        source="Field practice: what the server and its surroundings decide",
        bad="CREATE EXTENSION postgis;",
        good="CREATE EXTENSION IF NOT EXISTS plpgsql;",
        environment=Environment(available_extensions=("plpgsql", "citext")),
        unproven="an extension that is not there cannot be created",
    ),
    on=w.CreateExtension,
    environment=True,
)
def extensions(subject: Subject) -> Iterator[Hit]:
    """The list of the snapshot."""
    word = subject.statement
    assert isinstance(word, w.CreateExtension)
    available = subject.options.environment.available_extensions
    if word.create and available and word.name not in available:
        yield Hit(f"the server has no extension {word.name} to create")
