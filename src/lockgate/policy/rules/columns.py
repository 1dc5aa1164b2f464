"""Hazards of family B: columns that go, are renamed, retyped or get NOT NULL."""

import shlex
from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.model.names import bare, joined
from lockgate.policy.model.spelling import quote, type_sql
from lockgate.policy.model.types import index_survives, rewrites
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, code varchar(10));"
_AX = "AccessExclusiveLock"


@rule(
    Hazard(
        id="col-drop",
        name="Column dropped",
        detects="DROP COLUMN on a table of an earlier file.",
        effect="The release that still reads the column fails from that moment on.",
        lock=_AX,
        contract_severity=INFO,
        workaround="Stop reading it, deploy everywhere, then drop it in a file with `-- lockgate: phase=contract`.",
        destructive=True,
        source="Field practice with columns",
        setup=_SETUP,
        bad="ALTER TABLE orders DROP COLUMN code;",
        good="-- lockgate: phase=contract\nALTER TABLE orders DROP COLUMN code;",
    ),
    on=w.DropColumn,
)
def drop(subject: Subject) -> Iterator[Hit]:
    """A column goes."""
    action = subject.action
    assert isinstance(action, w.DropColumn)
    if not subject.new:
        yield Hit(
            f"a release that still names {subject.key}.{action.column} fails once this is applied",
            f"-- lockgate: phase=contract\nALTER TABLE {subject.sql} DROP COLUMN {quote(action.column)};",
        )


@rule(
    Hazard(
        id="col-rename",
        name="Column renamed in place",
        detects="RENAME COLUMN on a table of an earlier file.",
        effect="The old release knows only the old name, the new one only the new: one of the two fails.",
        lock=_AX,
        contract_severity=WARNING,
        workaround="Add the new column, keep both in step, move readers, drop the old one in a contract file.",
        destructive=True,
        source="Field practice with columns",
        setup=_SETUP,
        bad="ALTER TABLE orders RENAME COLUMN qty TO quantity;",
        good="ALTER TABLE orders ADD COLUMN quantity integer;",
    ),
    on=w.Rename,
)
def rename(subject: Subject) -> Iterator[Hit]:
    """A column gets another name."""
    word = subject.statement
    assert isinstance(word, w.Rename)
    if word.kind == "column" and not subject.new:
        yield Hit(
            f"whoever uses {subject.key}.{word.sub} fails once it is called {word.new}",
            _renaming(subject, word),
        )


def _renaming(subject: Subject, word: w.Rename) -> str:
    """The recipe with the user's own names, as a shell takes it. It reads the files, so this one must not be among them."""
    column = subject.table.columns.get(word.sub) if subject.table is not None else None
    told = {
        "table": subject.sql,
        "column": quote(word.sub),
        "to": quote(word.new),
        "type": type_sql(column.type) if column is not None and column.type.name else "TYPE",
    }
    given = " ".join(f"--set {shlex.quote(f'{key}={value}')}" for key, value in told.items())
    return f"# take the rename out of {subject.file.name} first: the recipe reads the files\nlockgate new --recipe rename-column {given}"


@rule(
    Hazard(
        id="col-type-rewrite",
        name="Type change that writes the table again",
        detects="ALTER COLUMN … TYPE where the old and the new type do not share their bytes, or SET EXPRESSION of a stored generated column.",
        effect="The table and all its indexes are written again while nobody can use it.",
        lock=_AX,
        by_size=True,
        workaround="A new column of the new type, kept in step and filled in batches, then a swap.",
        source="PostgreSQL source, ATColumnChangeRequiresRewrite; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ALTER COLUMN qty TYPE bigint;",
        good="ALTER TABLE orders ALTER COLUMN code TYPE varchar(20);",
    ),
    on=(w.AlterType, w.SetExpression),
)
def type_rewrite(subject: Subject) -> Iterator[Hit]:
    """The model knows the source type; a table it does not know is said to be rewritten."""
    action = subject.action
    assert isinstance(action, w.AlterType | w.SetExpression)
    if subject.new:
        return
    column = subject.table.columns.get(action.column) if subject.table is not None else None
    if isinstance(action, w.SetExpression):
        # A virtual one is computed when it is read.
        if action.expression is not None and (column is None or column.generated != "v"):
            yield Hit(
                f"SET EXPRESSION of {action.column} writes {subject.key} and its indexes again",
                relation=subject.key,
            )
        return
    if column is not None and not rewrites(subject.schema, column, action):
        return
    before = type_sql(column.type) if column is not None else "a type that no file shows"
    yield Hit(
        f"from {before} to {type_sql(action.type)} writes {subject.key} and its indexes again",
        f"ALTER TABLE {subject.sql} ADD COLUMN {quote(joined(action.column, '', 'new'))} {type_sql(action.type)};\n-- then a move, and a swap",
        subject.key,
    )


@rule(
    Hazard(
        id="col-type-indexed",
        name="Type change that builds indexes again",
        detects="ALTER COLUMN … TYPE that keeps the table but not the indexes on the column.",
        effect="The indexes are built again while nobody can use the table.",
        lock=_AX,
        by_size=True,
        workaround="Build the new index CONCURRENTLY on a new column; or drop the index concurrently first and build it after.",
        source="observed",
        setup="CREATE TABLE visits (id bigint PRIMARY KEY, at timestamp);\nCREATE INDEX visits_at_idx ON visits (at);",
        bad="ALTER TABLE visits ALTER COLUMN at TYPE timestamptz;",
        good="ALTER TABLE visits ADD COLUMN at_tz timestamptz;",
    ),
    on=w.AlterType,
)
def type_indexed(subject: Subject) -> Iterator[Hit]:
    """No rewrite, but another operator class."""
    action = subject.action
    assert isinstance(action, w.AlterType)
    column = subject.table.columns.get(action.column) if subject.table is not None else None
    if subject.new or column is None or rewrites(subject.schema, column, action):
        return
    lost = [
        index.key
        for index in subject.schema.indexes_reading(subject.key, action.column)
        if index.expressions or index.partial or not index_survives(subject.schema, column.type, action.type)
    ]
    if lost:
        yield Hit(f"{', '.join(lost)} are built again under {_AX} on {subject.key}", relation=subject.key)


@rule(
    Hazard(
        id="col-set-not-null",
        name="NOT NULL without a proof",
        detects="SET NOT NULL on a column that no valid CHECK (column IS NOT NULL) covers.",
        effect="The whole table is read while nobody can use it.",
        lock=_AX,
        by_size=True,
        workaround="CHECK (column IS NOT NULL) NOT VALID; VALIDATE it in a later file; SET NOT NULL; drop the CHECK.",
        source="PostgreSQL documentation, ALTER TABLE, SET NOT NULL; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ALTER COLUMN qty SET NOT NULL;",
        good="ALTER TABLE orders ADD CONSTRAINT orders_qty_present CHECK (qty IS NOT NULL) NOT VALID;",
    ),
    on=w.SetNotNull,
)
def set_not_null(subject: Subject) -> Iterator[Hit]:
    """No CHECK proves it."""
    action = subject.action
    assert isinstance(action, w.SetNotNull)
    if subject.new or (
        subject.table is not None and subject.schema.proves_not_null(subject.table, action.column)
    ):
        return
    name = joined(bare(subject.key), action.column, "present")
    yield Hit(
        f"all of {subject.key} is read under {_AX} to prove that {action.column} holds no NULL",
        f"ALTER TABLE {subject.sql} ADD CONSTRAINT {quote(name)} CHECK ({quote(action.column)} IS NOT NULL) NOT VALID;\n"
        f"-- next file:\nALTER TABLE {subject.sql} VALIDATE CONSTRAINT {quote(name)};\n"
        f"-- then:\nALTER TABLE {subject.sql} ALTER COLUMN {quote(action.column)} SET NOT NULL;\n"
        f"ALTER TABLE {subject.sql} DROP CONSTRAINT {quote(name)};",
        subject.key,
    )
