"""Hazards of family I that the catalogue shows: versions, unknown tables, dependants, publications, foreign tables."""

from collections.abc import Iterator

from lockgate.policy.hazard import ERROR, WARNING, Hazard
from lockgate.policy.model.drops import closure_of
from lockgate.policy.model.spelling import quote, quoted, spelled
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE customers (id bigint PRIMARY KEY);\nCREATE TABLE orders (id bigint PRIMARY KEY, qty integer);"
_ADD = "ALTER TABLE orders ADD COLUMN note text;"
_OTHER = "ALTER TABLE customers ADD COLUMN note text;"


@rule(
    Hazard(
        id="env-server-version",
        name="Syntax that the server does not know",
        detects="A form that came with a later version of PostgreSQL than the one judged for.",
        effect="The file fails there.",
        severity=WARNING,
        workaround="The older form, or the version of the server in the settings.",
        source="PostgreSQL release notes",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN twice integer GENERATED ALWAYS AS (qty * 2) VIRTUAL;",
        good="ALTER TABLE orders ADD COLUMN twice integer;",
        unproven="a server of that version refuses it",
    )
)
def server_version(subject: Subject) -> Iterator[Hit]:
    """Each form with the version that brought it."""
    have = subject.options.server.version
    for version, what in _newer(subject.statement):
        if version > have:
            yield Hit(f"{what} needs PostgreSQL {version}; this is judged for {have}")


def _newer(word: w.Statement) -> Iterator[tuple[int, str]]:
    columns: tuple[w.Column, ...] = ()
    constraints: tuple[w.Constraint, ...] = ()
    if isinstance(word, w.CreateTable):
        columns, constraints = word.columns, word.constraints
    elif isinstance(word, w.AlterTable):
        columns = tuple([action.column for action in word.actions if isinstance(action, w.AddColumn)])
        constraints = tuple(
            [action.constraint for action in word.actions if isinstance(action, w.AddConstraint)]
        )
        for action in word.actions:
            if isinstance(action, w.SetExpression) and action.expression is not None:
                yield 17, "SET EXPRESSION"
            elif isinstance(action, w.AlterConstraint) and action.enforced is not None:
                yield 18, "ALTER CONSTRAINT … ENFORCED"
    elif isinstance(word, w.Dml) and word.kind == "merge" and word.returning:
        yield 17, "MERGE … RETURNING"
    for column in columns:
        if column.generated == "v":
            yield 18, "a VIRTUAL column"
        if column.default is not None and {"uuidv7", "uuidv4"} & set(column.default.functions):
            yield 18, "uuidv7()"
        constraints += column.constraints
    for constraint in constraints:
        if constraint.kind == "not_null" and constraint.not_valid:
            yield 18, "NOT NULL … NOT VALID"
        elif not constraint.enforced:
            yield 18, "NOT ENFORCED"


_DDL = (
    w.AlterTable
    | w.CreateIndex
    | w.Rename
    | w.SetSchema
    | w.Truncate
    | w.CreateTrigger
    | w.LockTable
    | w.Cluster
)


@rule(
    Hazard(
        id="env-table-unknown",
        name="Table that nobody knows",
        detects="DDL on a relation that neither the earlier files nor a snapshot have.",
        effect="Its size, indexes, partitions and dependants are not known, so nobody can say that the change is safe.",
        severity=WARNING,
        workaround="`lockgate snapshot` of the database, or the file that creates it.",
        source="Field practice: what the server and its surroundings decide",
        setup="DO $$ BEGIN EXECUTE 'CREATE TABLE ' || 'legacy (id bigint)'; END $$;\nCREATE TABLE orders (id bigint PRIMARY KEY);",
        bad="ALTER TABLE legacy ADD COLUMN note text;",
        good=_ADD,
    ),
    on=(
        w.AlterTable, w.CreateIndex, w.Rename, w.SetSchema, w.Truncate, w.CreateTrigger, w.LockTable, w.Cluster,
    ),
)  # fmt: skip
def table_unknown(subject: Subject) -> Iterator[Hit]:
    """What the facts could not find."""
    if getattr(subject.statement, "if_exists", False):
        return
    for key in dict.fromkeys(subject.facts.unknown):
        yield Hit(f"no earlier file and no snapshot knows {key}: what depends on it is unknown", relation=key)


@rule(
    Hazard(
        id="env-dependents",
        name="CASCADE takes more than it names",
        detects="DROP … CASCADE of a type, domain, sequence or schema that columns, tables or views of earlier files hang on.",
        effect="Columns with their values, tables with their rows and views go along in silence.",
        lock="AccessExclusiveLock on each table that is changed",
        workaround="Drop what hangs on it by name, in contract files; then drop it without CASCADE.",
        destructive=True,
        source="observed",
        setup="CREATE TYPE mood AS ENUM ('good');\nCREATE TYPE color AS ENUM ('red');\nCREATE TABLE people (id bigint PRIMARY KEY, mood mood);",
        bad="DROP TYPE mood CASCADE;",
        good="DROP TYPE color;",
    ),
    on=w.Drop,
)
def dependents(subject: Subject) -> Iterator[Hit]:
    """The whole closure, by name."""
    word = subject.statement
    assert isinstance(word, w.Drop)
    if not word.cascade or word.kind not in ("type", "domain", "sequence", "schema"):
        return
    closure = closure_of(subject.schema, word.kind, word.names, word.subs, cascade=True)
    named = {subject.schema.resolve(name) for name in word.names}
    gone = [key for key in closure.gone if key in subject.schema.relations and key not in named]
    lost = [f"{table}.{column}" for table, column in closure.columns if table not in closure.gone]
    changed = [key for key in closure.touched if word.kind == "sequence" and key not in gone]
    taken = [key for key in gone if not subject.is_new(key)] + lost
    if taken or changed:
        also = f"the defaults of {', '.join(changed)}" if changed else ""
        yield Hit(f"{', '.join([*taken, also] if also else taken)} go along with it")


_PUBLISHED = f"{_SETUP}\nDROP PUBLICATION IF EXISTS changes;\nCREATE PUBLICATION changes FOR TABLE orders"


@rule(
    Hazard(
        id="env-replication",
        name="Published table changed",
        detects="ADD COLUMN on a table that a publication sends as a whole, or a table published without replica identity.",
        effect="DDL is not replicated: the subscriber lacks the column and stops. Without an identity UPDATE and DELETE fail here.",
        severity=WARNING,
        workaround="Change the subscriber first. A table needs a primary key or REPLICA IDENTITY before it is published.",
        source="PostgreSQL documentation, Logical Replication, Restrictions",
        setup=f"{_PUBLISHED};",
        bad=_ADD,
        good=_OTHER,
    ),
    on=(w.AlterTable, w.Publication),
)
def replication(subject: Subject) -> Iterator[Hit]:
    """What subscribers and the server itself need."""
    word = subject.statement
    if isinstance(word, w.Publication):
        for name in word.tables if word.what != "drop" else ():
            key = subject.schema.resolve(name)
            state = subject.schema.relations.get(key)
            if state is None or state.kind != "r" or state.replica_identity in "fi":
                continue
            if not any(constraint.kind == "primary" for constraint in state.constraints.values()):
                yield Hit(
                    f"{key} has no primary key: UPDATE and DELETE on it fail once it is published",
                    f"ALTER TABLE {spelled(key)} REPLICA IDENTITY FULL;",
                    key,
                    ERROR,
                )
        return
    assert isinstance(word, w.AlterTable)
    added = [action.column.name for action in word.actions if isinstance(action, w.AddColumn)]
    for publication, published in subject.schema.publications.items() if added and not subject.new else ():
        if published.all_tables or published.tables.get(subject.key) == ():
            yield Hit(
                f"subscribers of {publication} need {subject.key}.{added[0]} before this runs, or they stop",
                f"ALTER TABLE {subject.sql} ADD COLUMN {quote(added[0])} …;  -- on each subscriber first",
                subject.key,
            )


@rule(
    Hazard(
        id="env-publication-column",
        name="New column that is not published",
        detects="ADD COLUMN on a table that a publication sends with a list of columns.",
        effect="The column stays empty on the subscriber, and nothing says so.",
        severity=WARNING,
        workaround="ALTER PUBLICATION … SET TABLE with the whole list.",
        source="PostgreSQL documentation, Logical Replication, Column Lists",
        setup=f"{_PUBLISHED} (id, qty);",
        bad=_ADD,
        good=_OTHER,
    ),
    on=w.AddColumn,
)
def publication_column(subject: Subject) -> Iterator[Hit]:
    """The list does not grow by itself."""
    action = subject.action
    assert isinstance(action, w.AddColumn)
    for publication, published in subject.schema.publications.items():
        columns = published.tables.get(subject.key)
        if columns and action.column.name not in columns:
            listed = quoted((*columns, action.column.name))
            yield Hit(
                f"{publication} does not send {subject.key}.{action.column.name}",
                f"ALTER PUBLICATION {quote(publication)} SET TABLE {subject.sql} ({listed});",
                subject.key,
            )


@rule(
    Hazard(
        id="env-foreign-table",
        name="Foreign table changed on this side only",
        detects="Columns or constraints of a foreign table changed, or a unique index on a partitioned table with a foreign partition.",
        effect="The table behind it stays as it is: queries fail on the next access, and a constraint is believed, not checked.",
        severity=WARNING,
        workaround="Change the remote table first.",
        source="PostgreSQL documentation, CREATE FOREIGN TABLE",
        setup="""CREATE TABLE orders (id bigint PRIMARY KEY);
DROP FOREIGN DATA WRAPPER IF EXISTS elsewhere CASCADE;
CREATE FOREIGN DATA WRAPPER elsewhere;
CREATE SERVER remote FOREIGN DATA WRAPPER elsewhere;
CREATE FOREIGN TABLE rates (id bigint, rate numeric) SERVER remote;""",
        bad="ALTER TABLE rates ADD COLUMN day date;",
        good="ALTER TABLE orders ADD COLUMN day date;",
    ),
    on=(w.AlterTable, w.CreateIndex),
)
def foreign_table(subject: Subject) -> Iterator[Hit]:
    """Relations of kind f."""
    word = subject.statement
    if isinstance(word, w.CreateIndex):
        for child in subject.schema.partitions(subject.key) if word.unique and not word.only else ():
            if subject.schema.relations[child].kind == "f":
                yield Hit(f"{child} is a foreign table: it cannot have a unique index", severity=ERROR)
        return
    assert isinstance(word, w.AlterTable)
    if subject.table is None or subject.table.kind != "f" or subject.new:
        return
    if any(isinstance(action, _SHAPE) for action in word.actions):
        yield Hit(f"the table behind {subject.key} does not change with it")


_SHAPE = w.AddColumn | w.DropColumn | w.AlterType | w.AddConstraint | w.SetNotNull
