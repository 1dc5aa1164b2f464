"""Hazards of family G: many rows in one statement, and what it leaves behind."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.schema import Schema
from lockgate.policy.model.spelling import literal, quote, quoted, spelled
from lockgate.policy.registry import rule
from lockgate.policy.subject import File, Hit, Judged, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.lexing import parted
from lockgate.postgres.tree.words import LockMode

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, total integer, doc jsonb);"
_MOVE = "lockgate move: batches by key, resumable and throttled"


def unbounded(word: w.Dml, schema: Schema) -> str:
    """The table of which ``word`` reads or writes all rows as far as its text shows, or ""."""
    for change in word.changes:
        key = _all_of(schema, schema.resolve(change.target), word, where=change.where)
        if key:
            return key
    if word.kind == "insert" and word.target is not None and not word.values:
        for access in word.query.accesses:
            if access.mode == LockMode.AccessShareLock:
                key = _all_of(schema, schema.resolve(access.name), word, where=word.where)
                if key:
                    return key
    return ""


def _all_of(schema: Schema, key: str, word: w.Dml, *, where: bool) -> str:
    state = schema.relations.get(key)
    if state is None or state.kind not in "rpm":
        return ""
    indexed = {column for index in schema.indexes_of(key) for column in index.columns if column}
    return "" if where and indexed.intersection(word.query.column_refs) else key


def _old(schema: Schema, key: str, file: File) -> bool:
    state = schema.relations.get(key)
    return state is not None and state.created_file != file.number


@rule(
    Hazard(
        id="dml-unbatched-backfill",
        name="Backfill in one statement",
        detects="UPDATE or DELETE whose WHERE names no indexed column, or INSERT … SELECT of a whole table that an earlier file created.",
        effect="One long transaction: row locks until it ends, bloat, and replicas that fall behind.",
        lock="RowExclusiveLock, and row locks until the end",
        severity=WARNING,
        by_size=True,
        workaround="A move, or batches by key.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad="UPDATE orders SET total = qty WHERE total IS NULL;",
        good="UPDATE orders SET total = qty WHERE total IS NULL AND id BETWEEN 1 AND 1000;",
    ),
    on=w.Dml,
)
def unbatched(subject: Subject) -> Iterator[Hit]:
    """No key says where a batch would end."""
    word = subject.statement
    assert isinstance(word, w.Dml)
    if any(not change.where for change in word.changes):
        return
    key = unbounded(word, subject.schema)
    if key and not subject.is_new(key):
        yield Hit(f"{word.kind.upper()} goes through all of {key} in one transaction", _MOVE, key)


@rule(
    Hazard(
        id="dml-row-limit",
        name="More rows than one transaction may change",
        detects="UPDATE, DELETE or INSERT … SELECT that a key does not bound, on a table that the snapshot shows to be large.",
        effect="Minutes of row locks, and a log that every replica has to replay.",
        lock="RowExclusiveLock",
        workaround="A move, or batches by key.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad="DELETE FROM orders WHERE qty = 0;",
        good="DELETE FROM orders WHERE qty = 0 AND id BETWEEN 1 AND 1000;",
        sizes={"orders": (5_000_000, 800_000_000)},
    ),
    on=w.Dml,
)
def row_limit(subject: Subject) -> Iterator[Hit]:
    """The snapshot has the number."""
    word = subject.statement
    assert isinstance(word, w.Dml)
    key = unbounded(word, subject.schema)
    rows, limit = subject.rows(key), subject.options.row_limit
    if key and not subject.is_new(key) and rows > limit:
        yield Hit(f"{key} has about {rows:,} rows; one transaction may go through {limit:,}", _MOVE, key)


@rule(
    Hazard(
        id="dml-toast-bloat",
        name="Large values written again",
        detects="UPDATE of a json, jsonb, bytea, xml or tsvector column that a key does not bound.",
        effect="Every value that is stored out of line is written anew, and the old ones stay until a vacuum.",
        severity=INFO,
        by_size=True,
        workaround="Batches with a vacuum between them; write only rows whose value really changes (IS DISTINCT FROM).",
        source="PostgreSQL documentation, TOAST",
        setup=_SETUP,
        bad="UPDATE orders SET doc = doc || '{\"v\": 2}' WHERE doc IS NOT NULL;",
        good="UPDATE orders SET doc = doc || '{\"v\": 2}' WHERE id BETWEEN 1 AND 1000;",
    ),
    on=w.Dml,
)
def toast(subject: Subject) -> Iterator[Hit]:
    """The columns that usually do not fit their row."""
    word = subject.statement
    assert isinstance(word, w.Dml)
    if word.kind != "update" or subject.table is None or subject.new or not unbounded(word, subject.schema):
        return
    wide = [
        name
        for name in word.columns
        if name in subject.table.columns and subject.table.columns[name].type.name in _WIDE
    ]
    if wide:
        yield Hit(f"every value of {', '.join(wide)} in {subject.key} is written again", _MOVE, subject.key)


_WIDE = frozenset({"json", "jsonb", "bytea", "xml", "tsvector"})


@rule(
    Hazard(
        id="dml-backfill-no-analyze",
        name="Statistics of before the backfill",
        detects="UPDATE, DELETE or INSERT … SELECT of a whole table, and no ANALYZE of it in this or a later file.",
        effect="Until autovacuum comes by, plans rest on numbers that are no longer true.",
        severity=INFO,
        workaround="ANALYZE the table at the end.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad="UPDATE orders SET total = qty WHERE total IS NULL;",
        good="UPDATE orders SET total = qty WHERE total IS NULL;\nANALYZE orders;",
    ),
    scope="tree",
)
def no_analyze(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """From the back: what is analysed later needs no mention."""
    fresh: set[str] = set()
    for file in reversed(tree.files):
        for judged in reversed(file.judged):
            word = judged.statement
            if isinstance(word, w.Vacuum) and word.analyze:
                if not word.names:
                    return
                fresh.update(tree.schema.resolve(name) for name in word.names)
            elif isinstance(word, w.Dml) and word.target is not None and unbounded(word, tree.schema):
                key = tree.schema.resolve(word.target)
                if key not in fresh and _old(tree.schema, key, file):
                    fresh.add(key)
                    yield (
                        file,
                        Hit(
                            f"the statistics of {key} are old then",
                            f"ANALYZE {spelled(key)};",
                            key,
                            line=judged.line,
                        ),
                    )


@rule(
    Hazard(
        id="dml-sequence-reset",
        name="Sequence left behind",
        detects="INSERT that names the identity or serial column of its table, and no setval or RESTART after it in the file.",
        effect="The sequence gives out a value that is taken: the next INSERT fails with a duplicate key.",
        severity=WARNING,
        workaround="setval to the highest value, in the same file.",
        source="Field practice with backfills",
        setup="CREATE TABLE plans (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text);",
        bad="INSERT INTO plans (id, name) VALUES (1, 'free'), (2, 'paid');",
        good="INSERT INTO plans (name) VALUES ('free'), ('paid');",
    ),
    scope="file",
)
def sequence_reset(tree: Tree) -> Iterator[Hit]:
    """Explicit values, and nobody tells the sequence."""
    (file,) = tree.files
    told = False
    for judged in reversed(file.judged):
        told = told or _tells_sequence(judged)
        word = judged.statement
        if told or not isinstance(word, w.Dml) or word.kind != "insert" or word.target is None:
            continue
        key = tree.schema.resolve(word.target)
        state = tree.schema.relations.get(key)
        for name in word.columns if state is not None else ():
            column = state.columns.get(name) if state is not None else None
            if column is not None and (column.identity or column.sequence):
                yield Hit(
                    f"the sequence of {key}.{name} does not know the values that are written here",
                    f"SELECT setval(pg_get_serial_sequence({literal(spelled(key))}, {literal(name)}), (SELECT max({quote(name)}) FROM {spelled(key)}));",  # noqa: S608 - advice, never run
                    key,
                    line=judged.line,
                )


def _tells_sequence(judged: Judged) -> bool:
    word = judged.statement
    if isinstance(word, w.Dml):
        return any(parted(name)[1] == "setval" for name in word.query.functions)
    if isinstance(word, w.AlterTable):
        return any(
            isinstance(action, w.AlterIdentity) and action.what in ("set", "sequence")
            for action in word.actions
        )
    return isinstance(word, w.AlterSequence | w.DoBlock)


@rule(
    Hazard(
        id="dml-hot-disable-trigger",
        name="Rows written with triggers off",
        detects="INSERT, UPDATE, DELETE or COPY on a table whose triggers the same file has disabled.",
        effect="What the triggers keep true (foreign keys with ALL, audit, dual writes) is not kept for these rows, nor for those of anybody else until the file is done.",
        workaround="Leave the triggers on; write in batches if they are slow.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad="ALTER TABLE orders DISABLE TRIGGER USER;\nUPDATE orders SET qty = 1 WHERE id = 1;\nALTER TABLE orders ENABLE TRIGGER USER;",
        good="UPDATE orders SET qty = 1 WHERE id = 1;",
    ),
    on=w.Dml,
)
def triggers_off(subject: Subject) -> Iterator[Hit]:
    """DISABLE TRIGGER earlier in the file, ENABLE not yet."""
    word = subject.statement
    assert isinstance(word, w.Dml)
    if word.target is None or subject.new:
        return
    off = 0
    for judged in subject.earlier():
        alter = judged.statement
        if isinstance(alter, w.AlterTable) and subject.schema.resolve(alter.name) == subject.key:
            for action in alter.actions:
                if isinstance(action, w.ToggleTrigger):
                    off = 0 if action.enable else judged.line
    if off:
        yield Hit(f"the triggers of {subject.key} are off since line {off}", relation=subject.key)


@rule(
    Hazard(
        id="dml-select-style",
        name="Copy by position",
        detects="INSERT without a list of columns from SELECT *.",
        effect="A column added to either table later shifts the values into other columns, or the file no longer runs on a fresh database.",
        severity=WARNING,
        workaround="Name the columns on both sides.",
        source="Field practice with backfills",
        setup="CREATE TABLE orders (id bigint PRIMARY KEY);\nCREATE TABLE archive (id bigint PRIMARY KEY);",
        bad="INSERT INTO archive SELECT * FROM orders WHERE id < 10;",
        good="INSERT INTO archive (id) SELECT id FROM orders WHERE id < 10;",
    ),
    on=w.Dml,
)
def by_position(subject: Subject) -> Iterator[Hit]:
    """A star on the right, nothing on the left."""
    word = subject.statement
    assert isinstance(word, w.Dml)
    if word.kind != "insert" or word.columns or not word.query.star:
        return
    names = quoted(subject.table.columns) if subject.table is not None else ""
    fix = f"INSERT INTO {subject.sql} ({names}) SELECT {names} FROM …;" if names else ""  # noqa: S608 - advice, never run
    yield Hit(f"which value goes into which column of {subject.key} depends on their order", fix, subject.key)
