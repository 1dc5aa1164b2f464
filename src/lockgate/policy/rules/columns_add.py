"""Hazards of family B: new columns, by what their default, their type and their constraints cost."""

from collections.abc import Iterator

from lockgate.policy.hazard import Hazard
from lockgate.policy.model.names import bare, joined
from lockgate.policy.model.spelling import beside, literal, quote, spelled, type_sql
from lockgate.policy.model.volatility import is_volatile
from lockgate.policy.registry import rule
from lockgate.policy.rules.own_words import check_text
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, code varchar(10));"
_AX = "AccessExclusiveLock"


def _added(subject: Subject) -> w.Column | None:
    """The column of an ADD COLUMN on a table that older files made."""
    action = subject.action
    assert isinstance(action, w.AddColumn)
    return None if subject.new else action.column


@rule(
    Hazard(
        id="col-add-volatile-default",
        name="New column with a default computed for each row",
        detects="ADD COLUMN with a volatile default (random(), gen_random_uuid(), nextval …); now() and constants are fine.",
        effect="The whole table and its indexes are written again while nobody can read or write it.",
        lock=_AX,
        workaround="Add the column without a default, fill it in batches, then SET DEFAULT.",
        by_size=True,
        source="PostgreSQL documentation, ALTER TABLE, Notes; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid();",
        good="ALTER TABLE orders ADD COLUMN token uuid;",
    ),
    on=w.AddColumn,
)
def volatile_default(subject: Subject) -> Iterator[Hit]:
    """The default cannot be stored once for all rows."""
    column = _added(subject)
    if column is None or column.default is None or column.generated or column.type.serial:
        return
    if is_volatile(column.default, subject.schema):
        what = ", ".join(column.default.functions)
        (call,) = [f"{spelled(name)}()" for name in column.default.functions] if "," not in what else ["…"]
        yield Hit(
            f"{what}() is computed for every row, so {subject.key} is written again",
            f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {type_sql(column.type)};\n"
            f"-- fill in batches (a move), then:\n"
            f"ALTER TABLE {subject.sql} ALTER COLUMN {quote(column.name)} SET DEFAULT {call};",
            subject.key,
        )


@rule(
    Hazard(
        id="col-add-notnull-no-default",
        name="New column that existing rows cannot satisfy",
        detects="ADD COLUMN … NOT NULL without a default.",
        effect="It fails as soon as the table has a row; and the previous release's inserts fail afterwards.",
        lock=_AX,
        workaround="Give it a constant default, or add it nullable, fill it, and set NOT NULL by way of a CHECK.",
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN kind text NOT NULL;",
        good="ALTER TABLE orders ADD COLUMN kind text NOT NULL DEFAULT 'web';",
    ),
    on=w.AddColumn,
)
def not_null_without_default(subject: Subject) -> Iterator[Hit]:
    """NOT NULL with nothing to put in."""
    column = _added(subject)
    if column is None or not column.not_null or column.default is not None or fills_rows_by_itself(column):
        return
    yield Hit(
        f"{subject.key}.{column.name} is NOT NULL and has no default: rows that exist, and inserts of the previous "
        "release, have no value for it",
        f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {type_sql(column.type)};",
    )


def fills_rows_by_itself(column: w.Column) -> bool:
    """Serial, identity and generated columns bring their own values."""
    return column.type.serial or bool(column.identity) or bool(column.generated)


@rule(
    Hazard(
        id="col-add-serial",
        name="New serial column",
        detects="ADD COLUMN of type serial, bigserial or smallserial.",
        effect="Every row gets a number, so the table is written again while nobody can use it.",
        lock=_AX,
        workaround="Add a plain integer column and a sequence, set the default, fill old rows in batches.",
        by_size=True,
        source="observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN number bigserial;",
        good="ALTER TABLE orders ADD COLUMN number bigint;",
    ),
    on=w.AddColumn,
)
def serial(subject: Subject) -> Iterator[Hit]:
    """A serial pseudo-type."""
    column = _added(subject)
    if column is not None and column.type.serial:
        sequence = beside(subject.key, joined(bare(subject.key), column.name, "seq"))
        yield Hit(
            f"numbering the rows writes {subject.key} again",
            f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {type_sql(column.type)};\n"
            f"CREATE SEQUENCE {sequence} OWNED BY {subject.sql}.{quote(column.name)};\n"
            f"ALTER TABLE {subject.sql} ALTER COLUMN {quote(column.name)} SET DEFAULT nextval({literal(sequence)});",
            subject.key,
        )


@rule(
    Hazard(
        id="col-add-identity",
        name="New identity column",
        detects="ADD COLUMN … GENERATED … AS IDENTITY.",
        effect="Every row gets a number, so the table is written again while nobody can use it.",
        lock=_AX,
        workaround="Add a nullable column, fill it, set NOT NULL by way of a CHECK, then ADD GENERATED AS IDENTITY.",
        by_size=True,
        source="observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;",
        good="ALTER TABLE orders ADD COLUMN number bigint;",
    ),
    on=w.AddColumn,
)
def identity(subject: Subject) -> Iterator[Hit]:
    """An identity column."""
    column = _added(subject)
    if column is not None and column.identity:
        yield Hit(
            f"numbering the rows writes {subject.key} again",
            f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {type_sql(column.type)};",
            subject.key,
        )


@rule(
    Hazard(
        id="col-add-generated-stored",
        name="New stored generated column",
        detects="ADD COLUMN … GENERATED ALWAYS AS (…) STORED.",
        effect="The expression is computed for every row while nobody can use the table.",
        lock=_AX,
        workaround="A plain column kept by a trigger and filled in batches; on PostgreSQL 18 a virtual one.",
        by_size=True,
        source="observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN twice integer GENERATED ALWAYS AS (qty * 2) STORED;",
        good="ALTER TABLE orders ADD COLUMN twice integer;",
    ),
    on=w.AddColumn,
)
def generated_stored(subject: Subject) -> Iterator[Hit]:
    """A stored generated column."""
    column = _added(subject)
    if column is not None and column.generated == "s":
        yield Hit(
            f"computing {column.name} writes {subject.key} again",
            f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {type_sql(column.type)};",
            subject.key,
        )


@rule(
    Hazard(
        id="col-add-constrained-domain",
        name="New column of a constrained domain",
        detects="ADD COLUMN whose type is a domain with CHECK or NOT NULL.",
        effect="The server writes the table again to prove the domain's constraint, even for NULLs.",
        lock=_AX,
        workaround="Use the base type and a CHECK … NOT VALID, validated later.",
        by_size=True,
        source="observed",
        setup="CREATE DOMAIN positive AS integer CHECK (VALUE > 0);\n" + _SETUP,
        bad="ALTER TABLE orders ADD COLUMN weight positive;",
        good="ALTER TABLE orders ADD COLUMN weight integer;\n"
        "ALTER TABLE orders ADD CONSTRAINT weight_positive CHECK (weight > 0) NOT VALID;",
    ),
    on=w.AddColumn,
)
def constrained_domain(subject: Subject) -> Iterator[Hit]:
    """A domain that checks."""
    column = _added(subject)
    if column is None:
        return
    state = subject.schema.user_type(column.type)
    if (
        state is not None
        and state.kind == "domain"
        and not column.type.array
        and subject.schema.checked(state)
    ):
        below = subject.schema.base_of(state)
        base = type_sql(below) if below else "…"
        yield Hit(
            f"the domain {state.key} has constraints, so {subject.key} is written again",
            f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {base};",
            subject.key,
        )


@rule(
    Hazard(
        id="col-add-inline-check",
        name="New column with a CHECK of its own",
        detects="ADD COLUMN … CHECK (…).",
        effect="The whole table is read while nobody can use it.",
        lock=_AX,
        workaround="Add the column, then the CHECK as NOT VALID, and validate it in a later file.",
        by_size=True,
        source="observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN weight integer CHECK (weight > 0);",
        good="ALTER TABLE orders ADD COLUMN weight integer;\n"
        "ALTER TABLE orders ADD CONSTRAINT weight_positive CHECK (weight > 0) NOT VALID;",
    ),
    on=w.AddColumn,
)
def inline_check(subject: Subject) -> Iterator[Hit]:
    """A validated CHECK inside the definition."""
    column = _added(subject)
    checks = [] if column is None else [c for c in column.constraints if c.kind == "check"]
    checks = [c for c in checks if not c.not_valid and c.enforced]
    if column is not None and checks:
        yield Hit(
            f"the CHECK of {column.name} reads all of {subject.key} under {_AX}",
            f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {type_sql(column.type)};\n"
            f"ALTER TABLE {subject.sql} ADD CONSTRAINT {quote(joined(column.name, '', 'check'))} {check_text(subject, checks[0].expression)} NOT VALID;",
            subject.key,
        )


@rule(
    Hazard(
        id="col-add-inline-unique",
        name="New column with an index of its own",
        detects="ADD COLUMN … UNIQUE or PRIMARY KEY.",
        effect="The index is built while nobody can use the table.",
        lock=_AX,
        workaround="Add the column, build a unique index CONCURRENTLY, then ADD CONSTRAINT … USING INDEX.",
        by_size=True,
        source="observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN slug text UNIQUE;",
        good="ALTER TABLE orders ADD COLUMN slug text;",
    ),
    on=w.AddColumn,
)
def inline_unique(subject: Subject) -> Iterator[Hit]:
    """UNIQUE or PRIMARY KEY inside the definition."""
    column = _added(subject)
    if column is not None and any(c.kind in ("unique", "primary") for c in column.constraints):
        index = joined(bare(subject.key), column.name, "key")
        yield Hit(
            f"the index of {column.name} is built under {_AX} on {subject.key}",
            f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {type_sql(column.type)};\n"
            f"CREATE UNIQUE INDEX CONCURRENTLY {quote(index)} ON {subject.sql} ({quote(column.name)});\n"
            f"ALTER TABLE {subject.sql} ADD CONSTRAINT {quote(index)} UNIQUE USING INDEX {quote(index)};",
            subject.key,
        )


@rule(
    Hazard(
        id="col-add-inline-references",
        name="New column with a foreign key of its own",
        detects="ADD COLUMN … REFERENCES.",
        effect="All access to the table and all writes to the referenced table wait for it.",
        lock=f"{_AX}, ShareRowExclusiveLock on the referenced table",
        workaround="Add the column, then the foreign key as NOT VALID in another file, and validate it in a third.",
        by_target=True,
        source="observed",
        setup=_SETUP + "\nCREATE TABLE customers (id bigint PRIMARY KEY);",
        bad="ALTER TABLE orders ADD COLUMN customer_id bigint REFERENCES customers (id);",
        good="ALTER TABLE orders ADD COLUMN customer_id bigint;",
    ),
    on=w.AddColumn,
)
def inline_references(subject: Subject) -> Iterator[Hit]:
    """REFERENCES inside the definition."""
    column = _added(subject)
    for constraint in column.constraints if column is not None else ():
        if column is not None and constraint.references is not None:
            other = subject.schema.resolve(constraint.references)
            yield Hit(
                f"{subject.key} is locked against all use and {other} against writes at the same time",
                f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} {type_sql(column.type)};\n"
                f"ALTER TABLE {subject.sql} ADD CONSTRAINT {quote(joined(column.name, '', 'fkey'))} FOREIGN KEY ({quote(column.name)}) "
                f"REFERENCES {spelled(other)} NOT VALID;",
                subject.key,
            )
