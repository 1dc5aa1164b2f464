"""Hazards of family A: which indexes a table should have - advice, not alarm."""

from collections.abc import Iterator

from lockgate.policy.hazard import ERROR, INFO, WARNING, Hazard
from lockgate.policy.model.environment import Environment, Life
from lockgate.policy.model.names import bare
from lockgate.policy.model.replay_indexes import built_index
from lockgate.policy.model.schema import Index
from lockgate.policy.model.spelling import keys_sql, literal, made_name, quote, spelled
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = (
    "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, code text, qty integer, placed_at date);"
)
_SETUP_INDEX = _SETUP + "\nCREATE INDEX orders_customer_id_code_idx ON orders (customer_id, code);"
_OFF = "-- lockgate: transaction=off\n"

# What PostgreSQL is built with: INDEX_MAX_KEYS.
_SERVER_LIMIT = 32
_MANY_COLUMNS = 3
_MANY_INDEXES = 10
_GIGABYTE = 1 << 30
_HOT = 100
_BIG = 10 * _GIGABYTE
_BIG_ROWS = 50_000_000


@rule(
    Hazard(
        id="idx-too-many-columns",
        name="Index over many columns",
        detects="A non-unique index with more than three key columns, or any with more than the server takes (32).",
        effect="Every write maintains a wide index, of which queries mostly use the first columns.",
        severity=INFO,
        workaround="Keep the columns that queries filter by; INCLUDE those that they only read.",
        source="Field practice with indexes",
        setup=_SETUP,
        bad=_OFF + "CREATE INDEX CONCURRENTLY orders_wide_idx ON orders (customer_id, code, qty, placed_at);",
        good=_OFF + "CREATE INDEX CONCURRENTLY orders_wide_idx ON orders (customer_id, code, qty);",
    ),
    on=w.CreateIndex,
)
def too_many_columns(subject: Subject) -> Iterator[Hit]:
    """Keys are counted; included columns count only for the limit of the server."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    total = len(word.keys) + len(word.include)
    if total > _SERVER_LIMIT:
        yield Hit(
            f"{word.name} has {total} columns and the server takes {_SERVER_LIMIT}: it is refused",
            severity=ERROR,
        )
    elif len(word.keys) > _MANY_COLUMNS and not word.unique:
        first = keys_sql(word, _MANY_COLUMNS)
        yield Hit(
            f"{word.name} has {len(word.keys)} key columns; every write to {subject.key} maintains them",
            f"CREATE INDEX CONCURRENTLY{made_name(word)} ON {subject.sql} ({first});",
        )


@rule(
    Hazard(
        id="idx-redundant",
        name="Index that another one makes needless",
        detects="An index equal to, or a leading part of, another index of the table; or one that makes an older one needless.",
        effect="Every write maintains both, and only one is needed.",
        severity=INFO,
        workaround="Keep the longer one.",
        source="Field practice with indexes",
        setup=_SETUP_INDEX,
        bad=_OFF + "CREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);",
        good=_OFF + "CREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);",
    ),
    on=w.CreateIndex,
)
def redundant(subject: Subject) -> Iterator[Hit]:
    """The new index against each that the table has."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    made = built_index(subject.schema, word, -1)
    if made is None or made.key in subject.schema.indexes:
        return
    for other in subject.schema.indexes_of(subject.key):
        if not other.valid:
            continue
        if _same(made, other):
            if other.unique or not made.unique:
                yield Hit(f"{made.key} is the same as {other.key}", severity=WARNING)
            elif not other.constraint:
                yield _outdone(made, other)
        elif _leads(made, other) and not made.unique:
            yield Hit(f"{other.key} ({', '.join(other.columns)}) already serves what {made.key} would")
        elif _leads(other, made) and not other.unique and not other.constraint:
            yield _outdone(made, other)


def _outdone(made: Index, other: Index) -> Hit:
    return Hit(
        f"{made.key} makes {other.key} ({', '.join(other.columns)}) needless",
        f"-- lockgate: transaction=off\nDROP INDEX CONCURRENTLY {spelled(other.key)};",
    )


def _keys(index: Index) -> list[tuple[str, str, str]]:
    """Column, operator class and order of each key."""
    count = len(index.columns)
    opclasses = index.opclasses or ("",) * count
    orders = index.orders or ("",) * count
    return list(zip(index.columns, opclasses, orders, strict=True))


def _same(one: Index, other: Index) -> bool:
    return (
        one.method == other.method
        and one.shapes == other.shapes
        and set(one.reads) == set(other.reads)
        and _keys(one) == _keys(other)
    )


def _leads(short: Index, long: Index) -> bool:
    """Whether ``short`` is a leading part of ``long``."""
    plain = not (short.partial or short.expressions or long.partial or long.expressions)
    count = len(short.columns)
    return (
        plain
        and short.method == long.method == "btree"
        and count < len(long.columns)
        and set(short.reads) <= set(long.reads)
        and _keys(short) == _keys(long)[:count]
    )


@rule(
    Hazard(
        id="idx-unused-or-too-many",
        name="Table with many indexes",
        detects=f"One more index on a table that has {_MANY_INDEXES} already.",
        effect="Every insert and most updates maintain all of them, and autovacuum reads them all.",
        severity=INFO,
        workaround="Look for indexes that pg_stat_user_indexes shows as never read, and drop them.",
        source="Field practice with indexes",
        setup=_SETUP
        + "".join(
            f"\nCREATE INDEX orders_{number}_idx ON orders (qty, (customer_id % {number + 1}));"
            for number in range(1, _MANY_INDEXES)
        ),
        bad=_OFF + "CREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);",
        good=_OFF + "DROP INDEX CONCURRENTLY orders_1_idx;",
    ),
    on=w.CreateIndex,
)
def too_many(subject: Subject) -> Iterator[Hit]:
    """Indexes of constraints count too."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    count = len(subject.table.indexes) if subject.table is not None else 0
    if count >= _MANY_INDEXES:
        yield Hit(
            f"{subject.key} has {count} indexes already",
            f"SELECT indexrelname FROM pg_stat_user_indexes WHERE relname = {literal(bare(subject.key))} AND idx_scan = 0;",  # noqa: S608 - advice, never run
        )


@rule(
    Hazard(
        id="idx-build-budget",
        name="Index build on a very big table",
        detects="CREATE INDEX or REINDEX on a table that the snapshot shows to be very big.",
        effect="It reads the table twice, sorts it on disk and takes room for a second index; it can run for hours.",
        severity=WARNING,
        workaround="Off-peak, with more maintenance_work_mem, and with disk room looked at first.",
        source="PostgreSQL documentation, CREATE INDEX, maintenance_work_mem",
        setup=_SETUP,
        bad=_OFF + "CREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);",
        good="CREATE TABLE refunds (id bigint PRIMARY KEY, order_id bigint);\nCREATE INDEX refunds_order_id_idx ON refunds (order_id);",
        sizes={"orders": (400_000_000, 60 * _GIGABYTE)},
    ),
    on=(w.CreateIndex, w.Reindex),
)
def build_budget(subject: Subject) -> Iterator[Hit]:
    """Sizes come from a snapshot; without one nothing is said."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex | w.Reindex)
    index = subject.schema.indexes.get(subject.key)
    key = index.table if index is not None else subject.key
    state = subject.schema.relations.get(key)
    if state is None or (state.bytes < _BIG and state.rows < _BIG_ROWS):
        return
    size = f"{state.bytes / _GIGABYTE:.0f} GB, " if state.bytes > 0 else ""
    yield Hit(
        f"{key} has {size}about {max(state.rows, 0):,} rows: the build takes long and needs disk for the sort and "
        "for the new index",
        "SET maintenance_work_mem = '2GB';   -- for this session, off-peak",
        key,
    )


@rule(
    Hazard(
        id="idx-write-hot",
        name="Index on columns that are written all the time",
        detects=f"A new index on columns that no index reads, on a table that the snapshot shows to have {_HOT} writes a second.",
        effect="Updates of these columns can no longer stay on their page (HOT): each writes every index of the table.",
        severity=INFO,
        workaround="Look at n_tup_hot_upd of the table before and after, and keep the index only if it earns its cost.",
        source="PostgreSQL documentation, Heap-Only Tuples",
        setup=_SETUP,
        bad=_OFF + "CREATE INDEX CONCURRENTLY orders_qty_idx ON orders (qty);",
        good=_OFF + "CREATE INDEX CONCURRENTLY orders_id_idx ON orders (id DESC);",
        environment=Environment(tables={"orders": Life(writes_per_second=400)}),
    ),
    on=w.CreateIndex,
    environment=True,
)
def write_hot(subject: Subject) -> Iterator[Hit]:
    """Write rates come from a snapshot; columns that are indexed already cost HOT updates already."""
    writes = subject.options.environment.life(subject.key).writes_per_second
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    made = built_index(subject.schema, word, -1) if writes >= _HOT else None
    if made is None:
        return
    read = {name for index in subject.schema.indexes_of(subject.key) for name in index.reads}
    fresh = [name for name in made.reads if name not in read]
    if fresh and made.method != "brin":
        yield Hit(
            f"{subject.key} has {writes:.0f} writes a second; those to {', '.join(fresh)} write every index from then on",
            f"SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = {literal(bare(subject.key))};",  # noqa: S608 - advice, never run
            subject.key,
        )


_NO_ORDER = {"jsonb", "tsvector", "hstore"}


@rule(
    Hazard(
        id="idx-extension-types",
        name="Index method that fits the type badly",
        detects="GIN on jsonb with its default operator class, btree on jsonb or tsvector, IVFFlat on vectors.",
        effect="The index is larger or slower than it need be, or serves no query at all.",
        severity=INFO,
        workaround="jsonb_path_ops for @>, GIN for documents, HNSW for vectors.",
        source="PostgreSQL documentation, GIN operator classes; pgvector documentation",
        setup="CREATE TABLE events (id bigint PRIMARY KEY, payload jsonb, words tsvector);",
        bad=_OFF + "CREATE INDEX CONCURRENTLY events_payload_idx ON events USING gin (payload);",
        good=_OFF
        + "CREATE INDEX CONCURRENTLY events_payload_idx ON events USING gin (payload jsonb_path_ops);",
    ),
    on=w.CreateIndex,
)
def extension_types(subject: Subject) -> Iterator[Hit]:
    """Column types come from the model."""
    word = subject.statement
    assert isinstance(word, w.CreateIndex)
    make = f"CREATE INDEX CONCURRENTLY{made_name(word)} ON {subject.sql} USING"
    for key in word.keys:
        column = subject.table.columns.get(key.column) if subject.table is not None else None
        if column is None or column.type.array:
            continue
        kind = column.type.name
        if word.method == "gin" and kind == "jsonb" and not key.opclass:
            yield Hit(
                f"if {key.column} is only searched by @>, jsonb_path_ops makes {word.name} smaller and faster",
                f"{make} gin ({quote(key.column)} jsonb_path_ops);",
            )
        elif word.method == "btree" and kind in _NO_ORDER and not word.unique:
            yield Hit(
                f"a btree on the {kind} {key.column} serves only equality of whole values",
                f"{make} gin ({quote(key.column)});",
            )
        elif word.method == "ivfflat" and subject.new:
            yield Hit(
                f"{word.name} learns its lists from the rows that are there, and {subject.key} has none yet",
                f"{make} hnsw ({quote(key.column)} {key.opclass});",
                severity=WARNING,
            )
        elif word.method == "ivfflat":
            yield Hit(
                f"IVFFlat on {key.column} loses recall as rows change; HNSW does not need to be built again",
                f"{make} hnsw ({quote(key.column)} {key.opclass});",
            )
