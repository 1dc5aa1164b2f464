"""Hazards of family C: constraints."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.names import bare, joined, joined_columns
from lockgate.policy.model.spelling import quote, quoted, spelled
from lockgate.policy.registry import rule
from lockgate.policy.rules.each_partition import foreign_key, key_on_each
from lockgate.policy.rules.own_words import check_text
from lockgate.policy.subject import File, Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = """CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint NOT NULL, customer_id bigint, qty integer);"""
_SETUP_KEYED = """CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint CONSTRAINT orders_customer_fk REFERENCES customers (id));"""
_AX = "AccessExclusiveLock"


def _added(subject: Subject, *kinds: str) -> w.Constraint | None:
    """The constraint of an ADD CONSTRAINT on a table that older files made."""
    action = subject.action
    assert isinstance(action, w.AddConstraint)
    return None if subject.new or action.constraint.kind not in kinds else action.constraint


def _named(constraint: w.Constraint, default: str) -> str:
    return constraint.name or default


@rule(
    Hazard(
        id="con-fk-validating",
        name="Foreign key checked while it is added",
        detects="ADD FOREIGN KEY without NOT VALID; before PostgreSQL 18, on a partitioned table, also with it, as the server refuses it.",
        effect="Writes to both tables wait while both are read.",
        lock="ShareRowExclusiveLock on both tables",
        workaround="Add it as NOT VALID, then VALIDATE CONSTRAINT in a later file.",
        by_size=True,
        source="PostgreSQL documentation, ALTER TABLE, Notes; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id);",
        good="ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id) NOT VALID;",
    ),
    on=w.AddConstraint,
)
def fk_validating(subject: Subject) -> Iterator[Hit]:
    """A foreign key that is proved at once."""
    constraint = _added(subject, "foreign")
    if constraint is None or constraint.references is None or not constraint.enforced:
        return
    other = subject.schema.resolve(constraint.references)
    name = _named(constraint, joined(bare(subject.key), joined_columns(constraint.columns), "fkey"))
    version = subject.options.server.version
    if version < 18 and subject.table is not None and subject.table.kind == "p":
        yield Hit(
            f"PostgreSQL {version} refuses a NOT VALID foreign key on the partitioned table {subject.key}"
            if constraint.not_valid
            else f"writes to {subject.key} and {other} wait while every row of {subject.key} is checked",
            key_on_each(subject.schema, subject.table, name, constraint, other),
            "" if constraint.not_valid else subject.key,
        )
    if constraint.not_valid or (version < 18 and subject.table is not None and subject.table.kind == "p"):
        return
    yield Hit(
        f"writes to {subject.key} and {other} wait while every row of {subject.key} is checked",
        f"ALTER TABLE {subject.sql} ADD CONSTRAINT {quote(name)} {foreign_key(constraint, other)} NOT VALID;\n-- next file:\nALTER TABLE {subject.sql} VALIDATE CONSTRAINT {quote(name)};",
        subject.key,
    )


@rule(
    Hazard(
        id="con-fk-notvalid-parent-lock",
        name="Foreign key locks the referenced table too",
        detects="ADD FOREIGN KEY … NOT VALID.",
        effect="Writes to both tables wait for a moment, and it waits for writers of both.",
        lock="ShareRowExclusiveLock on both tables",
        severity=INFO,
        workaround="Nothing but a lock timeout with retries, which lockgate sets.",
        source="observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id) NOT VALID;",
        good="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;",
    ),
    on=w.AddConstraint,
)
def fk_parent_lock(subject: Subject) -> Iterator[Hit]:
    """The parent is locked even though nothing is read."""
    constraint = _added(subject, "foreign")
    if constraint is not None and constraint.references is not None and constraint.not_valid:
        other = subject.schema.resolve(constraint.references)
        if not subject.is_new(other):
            yield Hit(f"writes to {other} wait for a moment too", relation=other)


@rule(
    Hazard(
        id="con-fk-drop",
        name="Foreign key dropped",
        detects="DROP CONSTRAINT of a foreign key.",
        effect="All access to both tables waits, and it waits for every query on both.",
        lock=f"{_AX} on both tables",
        severity=WARNING,
        workaround="A file of its own, so that both locks are held for a moment only.",
        source="observed",
        setup=_SETUP_KEYED,
        bad="ALTER TABLE orders DROP CONSTRAINT orders_customer_fk;",
        good="ALTER TABLE orders ALTER COLUMN customer_id SET STATISTICS 500;",
    ),
    on=w.DropConstraint,
)
def fk_drop(subject: Subject) -> Iterator[Hit]:
    """The other side's triggers go too."""
    action = subject.action
    assert isinstance(action, w.DropConstraint)
    constraint = subject.table.constraints.get(action.name) if subject.table is not None else None
    if constraint is not None and constraint.kind == "foreign" and not subject.new:
        yield Hit(f"{constraint.references} is locked as hard as {subject.key}", relation=subject.key)


@rule(
    Hazard(
        id="con-check-validating",
        name="CHECK proved while it is added",
        detects="ADD CHECK without NOT VALID.",
        effect="The whole table is read while nobody can use it.",
        lock=_AX,
        workaround="Add it as NOT VALID, then VALIDATE CONSTRAINT in a later file.",
        by_size=True,
        source="PostgreSQL documentation, ALTER TABLE, Notes; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0);",
        good="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;",
    ),
    on=w.AddConstraint,
)
def check_validating(subject: Subject) -> Iterator[Hit]:
    """A CHECK that is proved at once."""
    constraint = _added(subject, "check")
    if constraint is not None and not constraint.not_valid and constraint.enforced:
        name = _named(constraint, joined(bare(subject.key), "", "check"))
        yield Hit(
            f"all of {subject.key} is read under {_AX}",
            f"ALTER TABLE {subject.sql} ADD CONSTRAINT {quote(name)} {check_text(subject, constraint.expression)} NOT VALID;\n"
            f"-- next file:\nALTER TABLE {subject.sql} VALIDATE CONSTRAINT {quote(name)};",
            subject.key,
        )


@rule(
    Hazard(
        id="con-validate-same-tx",
        name="Validated in the transaction that added it",
        detects="VALIDATE CONSTRAINT in the same transactional file that added the constraint.",
        effect="The lock of the ADD is kept while the table is read: NOT VALID has gained nothing.",
        lock=_AX,
        workaround="Validate in a file of its own.",
        by_size=True,
        source="Field practice with constraints",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;\n"
        "ALTER TABLE orders VALIDATE CONSTRAINT qty_positive;",
        good="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;",
    ),
    on=w.ValidateConstraint,
)
def validate_same_transaction(subject: Subject) -> Iterator[Hit]:
    """The constraint is as young as the file."""
    action = subject.action
    assert isinstance(action, w.ValidateConstraint)
    constraint = subject.table.constraints.get(action.name) if subject.table is not None else None
    if constraint is None or subject.new or not subject.file.transactional:
        return
    if constraint.created_file == subject.file.number:
        yield Hit(
            f"{subject.key} stays locked by ADD CONSTRAINT {action.name} while it is read",
            f"-- a file of its own:\nALTER TABLE {subject.sql} VALIDATE CONSTRAINT {quote(action.name)};",
            subject.key,
        )


@rule(
    Hazard(
        id="con-unique-direct",
        name="Unique constraint that builds its own index",
        detects="ADD UNIQUE without USING INDEX.",
        effect="The index is built while nobody can use the table.",
        lock=_AX,
        workaround="CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX.",
        by_size=True,
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup=_SETUP + "\nCREATE UNIQUE INDEX orders_qty_key ON orders (qty);",
        bad="ALTER TABLE orders ADD CONSTRAINT orders_id_key UNIQUE (id);",
        good="ALTER TABLE orders ADD CONSTRAINT orders_qty_key UNIQUE USING INDEX orders_qty_key;",
    ),
    on=w.AddConstraint,
)
def unique_direct(subject: Subject) -> Iterator[Hit]:
    """UNIQUE over columns, not over an index."""
    constraint = _added(subject, "unique")
    if constraint is not None and not constraint.using_index:
        yield _prepared(subject, constraint, "UNIQUE", "key")


def _prepared(subject: Subject, constraint: w.Constraint, kind: str, label: str) -> Hit:
    name = _named(constraint, joined(bare(subject.key), "", label))
    return Hit(
        f"the index {name} is built under {_AX} on {subject.key}",
        f"-- lockgate: transaction=off\nCREATE UNIQUE INDEX CONCURRENTLY {quote(name)} ON {subject.sql} "
        f"({quoted(constraint.columns)});\n-- next file:\n"
        f"ALTER TABLE {subject.sql} ADD CONSTRAINT {quote(name)} {kind} USING INDEX {quote(name)};",
        subject.key,
    )


@rule(
    Hazard(
        id="con-pk-direct",
        name="Primary key that builds its own index",
        detects="ADD PRIMARY KEY without USING INDEX.",
        effect="The index is built, and NOT NULL proved, while nobody can use the table.",
        lock=_AX,
        workaround="Prove NOT NULL, CREATE UNIQUE INDEX CONCURRENTLY, then ADD PRIMARY KEY USING INDEX.",
        by_size=True,
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup=_SETUP + "\nCREATE UNIQUE INDEX orders_pkey ON orders (id);",
        bad="ALTER TABLE orders ADD PRIMARY KEY (id);",
        good="ALTER TABLE orders ADD CONSTRAINT orders_pkey PRIMARY KEY USING INDEX orders_pkey;",
    ),
    on=w.AddConstraint,
)
def pk_direct(subject: Subject) -> Iterator[Hit]:
    """PRIMARY KEY over columns, not over an index."""
    constraint = _added(subject, "primary")
    if constraint is not None and not constraint.using_index:
        yield _prepared(subject, constraint, "PRIMARY KEY", "pkey")


@rule(
    Hazard(
        id="con-pk-nullable-index",
        name="Primary key over a column that may be NULL",
        detects="ADD PRIMARY KEY USING INDEX on columns without NOT NULL or a CHECK that proves it.",
        effect="A hidden SET NOT NULL reads the whole table while nobody can use it.",
        lock=_AX,
        workaround="Prove NOT NULL first.",
        by_size=True,
        source="observed",
        setup=_SETUP
        + "\nCREATE UNIQUE INDEX orders_qty ON orders (qty);\nCREATE UNIQUE INDEX orders_id ON orders (id);",
        bad="ALTER TABLE orders ADD CONSTRAINT orders_qty PRIMARY KEY USING INDEX orders_qty;",
        good="ALTER TABLE orders ADD CONSTRAINT orders_id PRIMARY KEY USING INDEX orders_id;",
    ),
    on=w.AddConstraint,
)
def pk_nullable_index(subject: Subject) -> Iterator[Hit]:
    """The index is ready, the proof is not."""
    constraint = _added(subject, "primary")
    if constraint is None or not constraint.using_index or subject.table is None:
        return
    index = subject.schema.indexes.get(subject.schema.resolve(w.Name("", constraint.using_index)))
    for column in index.columns if index is not None else ():
        if not subject.schema.proves_not_null(subject.table, column):
            yield Hit(
                f"all of {subject.key} is read under {_AX} to prove that {column} holds no NULL",
                f"ALTER TABLE {subject.sql} ADD CONSTRAINT {quote(joined(column, '', 'present'))} CHECK ({quote(column)} IS NOT NULL) NOT VALID;",
                subject.key,
            )


@rule(
    Hazard(
        id="con-exclude",
        name="Exclusion constraint",
        detects="ADD EXCLUDE on an existing table.",
        effect="Its index is built while nobody can use the table; there is no concurrent way.",
        lock=_AX,
        workaround="A new table with the constraint and a move of the rows, or a window.",
        by_size=True,
        source="observed",
        setup="CREATE TABLE bookings (id bigint PRIMARY KEY, during tsrange);",
        bad="ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&);",
        good="CREATE TABLE bookings_2 (id bigint PRIMARY KEY, during tsrange, EXCLUDE USING gist (during WITH &&));",
    ),
    on=w.AddConstraint,
)
def exclude(subject: Subject) -> Iterator[Hit]:
    """EXCLUDE has no concurrent form."""
    constraint = _added(subject, "exclude")
    if constraint is not None:
        yield Hit(f"the index of the constraint is built under {_AX} on {subject.key}", relation=subject.key)


@rule(
    Hazard(
        id="con-notvalid-forgotten",
        name="Constraint never validated",
        detects="A constraint added as NOT VALID that no later file validates.",
        effect="Rows from before were never checked; the planner and readers cannot trust it.",
        severity=WARNING,
        workaround="ALTER TABLE … VALIDATE CONSTRAINT in a later file.",
        source="Field practice with constraints",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;",
        good="ALTER TABLE orders ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;\n"
        "ALTER TABLE orders VALIDATE CONSTRAINT qty_positive;",
    ),
    scope="tree",
)
def notvalid_forgotten(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """Whatever is still not valid when all files are replayed. The newest file may leave it to the next one."""
    for file in tree.files:
        for judged in file.judged if file.place != tree.last or tree.last == 0 else ():
            word = judged.statement
            if not isinstance(word, w.AlterTable):
                continue
            state = tree.schema.get(word.name)
            for action in word.actions:
                if isinstance(action, w.AddConstraint) and action.constraint.not_valid and state is not None:
                    constraint = state.constraints.get(action.constraint.name)
                    if constraint is not None and not constraint.valid and constraint.enforced:
                        yield (
                            file,
                            Hit(
                                f"{constraint.name} of {state.key} is NOT VALID and no later file validates it",
                                f"ALTER TABLE {spelled(state.key)} VALIDATE CONSTRAINT {quote(constraint.name)};",
                                line=judged.line,
                            ),
                        )
