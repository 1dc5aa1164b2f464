"""Hazards of family C: constraints that are attached, validated, renamed, dropped."""

from collections.abc import Iterator

from lockgate.policy.hazard import ERROR, INFO, WARNING, Hazard
from lockgate.policy.model.names import bare
from lockgate.policy.model.schema import Constraint
from lockgate.policy.model.spelling import quote
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_SETUP = """CREATE TABLE orders (id bigint PRIMARY KEY, code text, qty integer);
ALTER TABLE orders ADD CONSTRAINT qty_present CHECK (qty IS NOT NULL);
ALTER TABLE orders ADD CONSTRAINT code_present CHECK (code IS NOT NULL);
ALTER TABLE orders ADD CONSTRAINT orders_code_key UNIQUE (code);"""
_AX = "AccessExclusiveLock"


def _dropped(subject: Subject) -> Constraint | None:
    """What a DROP CONSTRAINT drops, when older files made the table."""
    action = subject.action
    assert isinstance(action, w.DropConstraint)
    return None if subject.new or subject.table is None else subject.table.constraints.get(action.name)


@rule(
    Hazard(
        id="con-validate-while-blocking",
        name="Validated while something else is locked",
        detects="VALIDATE CONSTRAINT after a statement of the same transaction that blocks writes to a table.",
        effect="The whole table is read while the lock taken before, on that table or another, is kept.",
        lock="ShareLock or stronger, kept from an earlier statement",
        by_size=True,
        workaround="Validate in a file of its own.",
        source="observed",
        setup="CREATE TABLE customers (id bigint PRIMARY KEY);\n"
        "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);\n"
        "ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;",
        bad="ALTER TABLE customers ADD COLUMN name text;\nALTER TABLE orders VALIDATE CONSTRAINT qty_positive;",
        good="ALTER TABLE orders VALIDATE CONSTRAINT qty_positive;",
    ),
    on=w.ValidateConstraint,
)
def validate_while_blocking(subject: Subject) -> Iterator[Hit]:
    """Locks of the statements before, and of the other actions of the same one."""
    action = subject.action
    assert isinstance(action, w.ValidateConstraint)
    if subject.new:
        return
    constraint = subject.table.constraints.get(action.name) if subject.table is not None else None
    if constraint is not None and constraint.valid:
        return
    held = {key: mode for key, mode in subject.facts.locks.items() if mode >= LockMode.ShareLock}
    if subject.file.transactional:
        for item in subject.earlier():
            held.update({key: mode for key, mode in item.facts.locks.items() if mode >= LockMode.ShareLock})
    if constraint is not None and constraint.created_file == subject.file.number:
        # The lock of its own ADD CONSTRAINT is another hazard: con-validate-same-tx.
        held.pop(subject.key, None)
        held.pop(constraint.references, None)
    tables = [key for key in held if key in subject.schema.relations and not subject.is_new(key)]
    if tables:
        yield Hit(
            f"{', '.join(tables)} stay locked ({', '.join(held[key].name for key in tables)}) while all of "
            f"{subject.key} is read",
            f"-- a file of its own:\nALTER TABLE {subject.sql} VALIDATE CONSTRAINT {quote(action.name)};",
            subject.key,
        )


@rule(
    Hazard(
        id="con-unique-using-index",
        name="Prepared index becomes a constraint",
        detects="ADD CONSTRAINT … UNIQUE or PRIMARY KEY USING INDEX.",
        effect="A short lock; nothing is read.",
        lock=_AX,
        severity=INFO,
        workaround="None needed but the lock timeout that lockgate sets.",
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup="CREATE TABLE orders (id bigint PRIMARY KEY, code text);\n"
        "CREATE UNIQUE INDEX orders_code_key ON orders (code);",
        bad="ALTER TABLE orders ADD CONSTRAINT orders_code_key UNIQUE USING INDEX orders_code_key;",
        good="ALTER TABLE orders ADD COLUMN note text;",
    ),
    on=w.AddConstraint,
)
def unique_using_index(subject: Subject) -> Iterator[Hit]:
    """The safe second half of a unique constraint."""
    action = subject.action
    assert isinstance(action, w.AddConstraint)
    if action.constraint.using_index and not subject.new:
        name = action.constraint.name or action.constraint.using_index
        also = (
            f" and {action.constraint.using_index} is renamed"
            if name != action.constraint.using_index
            else ""
        )
        yield Hit(f"all access to {subject.key} waits for a moment{also}")


@rule(
    Hazard(
        id="con-drop",
        name="Constraint dropped",
        detects="DROP CONSTRAINT of a check, a unique constraint, a primary key or an exclusion.",
        effect="A short lock; what the constraint kept out gets in, and ON CONFLICT on a dropped key fails.",
        lock=_AX,
        severity=INFO,
        workaround="Make sure that no release relies on it.",
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders DROP CONSTRAINT qty_present;",
        good="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;",
    ),
    on=w.DropConstraint,
)
def drop(subject: Subject) -> Iterator[Hit]:
    """Foreign keys are a hazard of their own; dropping the helper of a NOT NULL is the end of a recipe."""
    constraint = _dropped(subject)
    if constraint is None or constraint.kind == "foreign":
        return
    if constraint.kind in ("unique", "primary"):
        yield Hit(
            f"ON CONFLICT ({', '.join(constraint.columns)}) on {subject.key} fails without {constraint.name}, "
            "and its index goes too",
            severity=WARNING if subject.file.declared != "contract" else INFO,
        )
    else:
        yield Hit(f"{constraint.name} guards {subject.key} no more")


@rule(
    Hazard(
        id="con-drop-pk-replica",
        name="Primary key dropped that replication finds rows by",
        detects="DROP CONSTRAINT of a primary key on a table whose replica identity is the default.",
        effect="If the table is published, every UPDATE and DELETE on it fails from then on.",
        lock=_AX,
        severity=WARNING,
        workaround="REPLICA IDENTITY USING INDEX another unique index first, or the new key in the same statement.",
        source="PostgreSQL documentation, Logical Replication, Publication",
        setup="CREATE TABLE orders (id bigint NOT NULL, number bigint NOT NULL, CONSTRAINT orders_pkey PRIMARY KEY (id));\n"
        "CREATE UNIQUE INDEX orders_number_key ON orders (number);",
        bad="ALTER TABLE orders DROP CONSTRAINT orders_pkey;",
        good="ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_number_key;\n"
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey;",
    ),
    on=w.DropConstraint,
)
def drop_pk_replica(subject: Subject) -> Iterator[Hit]:
    """Another identity, or another key in the same statement, will do."""
    constraint, word = _dropped(subject), subject.statement
    if constraint is None or constraint.kind != "primary" or subject.table is None:
        return
    assert isinstance(word, w.AlterTable)
    again = any(
        isinstance(action, w.ReplicaIdentity)
        or (isinstance(action, w.AddConstraint) and action.constraint.kind == "primary")
        for action in word.actions
    )
    if subject.table.replica_identity == "d" and not again:
        spare = [
            index.key
            for index in subject.schema.indexes_of(subject.key)
            if index.unique and not index.primary and not index.partial and not index.expressions
            and all(subject.table.columns[name].not_null for name in index.columns if name in subject.table.columns)
        ]  # fmt: skip
        published = any(
            book.all_tables or subject.key in book.tables for book in subject.schema.publications.values()
        )
        how = f"USING INDEX {quote(bare(spare[0]))}" if spare else "FULL"
        yield Hit(
            f"without {constraint.name} a subscriber cannot tell the rows of {subject.key} apart",
            f"ALTER TABLE {subject.sql} REPLICA IDENTITY {how};",
            severity=ERROR if published else "",
        )


@rule(
    Hazard(
        id="con-rename",
        name="Constraint renamed",
        detects="RENAME CONSTRAINT on a table of an earlier file.",
        effect="A short lock; code that names it (ON CONFLICT ON CONSTRAINT, error handling) no longer finds it.",
        lock=_AX,
        severity=INFO,
        workaround="Look for the old name in the code of both releases.",
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders RENAME CONSTRAINT qty_present TO orders_qty_present;",
        good="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;",
    ),
    on=w.Rename,
)
def rename(subject: Subject) -> Iterator[Hit]:
    """Of tables; of domains it is their own matter."""
    word = subject.statement
    assert isinstance(word, w.Rename)
    if word.kind == "tabconstraint" and not subject.new:
        yield Hit(
            f"whoever names {word.sub} of {subject.key} in code does not find it as {word.new}",
        )


@rule(
    Hazard(
        id="con-check-drops-proof",
        name="CHECK dropped before the NOT NULL that it proved",
        detects="SET NOT NULL on a column whose proving CHECK an earlier statement, or file, dropped.",
        effect="The whole table is read again while nobody can use it.",
        lock=_AX,
        by_size=True,
        workaround="SET NOT NULL first, then drop the CHECK, in two statements.",
        source="PostgreSQL documentation, ALTER TABLE, SET NOT NULL; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders DROP CONSTRAINT qty_present;\nALTER TABLE orders ALTER COLUMN qty SET NOT NULL;\n"
        "ALTER TABLE orders ALTER COLUMN code SET NOT NULL, DROP CONSTRAINT code_present;",
        good="ALTER TABLE orders ALTER COLUMN qty SET NOT NULL;\nALTER TABLE orders DROP CONSTRAINT qty_present;",
    ),
    on=w.SetNotNull,
)
def check_drops_proof(subject: Subject) -> Iterator[Hit]:
    """The model remembers what a dropped CHECK proved; inside one ALTER TABLE, drops come first."""
    action, table, word = subject.action, subject.table, subject.statement
    assert isinstance(action, w.SetNotNull)
    assert isinstance(word, w.AlterTable)
    if table is None or subject.new:
        return
    going = [other.name for other in word.actions if isinstance(other, w.DropConstraint)]
    if subject.schema.proves_not_null(table, action.column, going):
        return
    lost = subject.schema.proves_not_null(table, action.column) or table.lost_proofs.get(action.column, "")
    if lost:
        yield Hit(
            f"{lost} proved that {subject.key}.{action.column} holds no NULL, and it is gone: all rows are read again",
            f"ALTER TABLE {subject.sql} ALTER COLUMN {quote(action.column)} SET NOT NULL;\n"
            f"ALTER TABLE {subject.sql} DROP CONSTRAINT {quote(lost)};",
            subject.key,
        )
