"""The vocabulary: every statement as one small frozen value.

Rules, facts and the schema model know these words and nothing of the parser. A word says what a statement
*asks for*; what it costs (locks, rewrites, scans) is for ``lockgate.policy.facts`` to tell. This file has the
statements; it also gives out ``shapes`` (names, types, columns, constraints) and ``actions`` (of ALTER TABLE).

A name is kept as written: ``Name("", "t")`` is unqualified, and the model resolves it by the search path.
"""

from typing import TypeAlias

from lockgate.postgres.tree.actions import Action as Action
from lockgate.postgres.tree.actions import AddColumn as AddColumn
from lockgate.postgres.tree.actions import AddConstraint as AddConstraint
from lockgate.postgres.tree.actions import AlterConstraint as AlterConstraint
from lockgate.postgres.tree.actions import AlterIdentity as AlterIdentity
from lockgate.postgres.tree.actions import AlterType as AlterType
from lockgate.postgres.tree.actions import AttachPartition as AttachPartition
from lockgate.postgres.tree.actions import ClusterOn as ClusterOn
from lockgate.postgres.tree.actions import DependsOnExtension as DependsOnExtension
from lockgate.postgres.tree.actions import DetachPartition as DetachPartition
from lockgate.postgres.tree.actions import DropColumn as DropColumn
from lockgate.postgres.tree.actions import DropConstraint as DropConstraint
from lockgate.postgres.tree.actions import DropNotNull as DropNotNull
from lockgate.postgres.tree.actions import ForeignOptions as ForeignOptions
from lockgate.postgres.tree.actions import Inherit as Inherit
from lockgate.postgres.tree.actions import OfType as OfType
from lockgate.postgres.tree.actions import OwnerTo as OwnerTo
from lockgate.postgres.tree.actions import ReplicaIdentity as ReplicaIdentity
from lockgate.postgres.tree.actions import RowSecurity as RowSecurity
from lockgate.postgres.tree.actions import SetAccessMethod as SetAccessMethod
from lockgate.postgres.tree.actions import SetColumnOptions as SetColumnOptions
from lockgate.postgres.tree.actions import SetDefault as SetDefault
from lockgate.postgres.tree.actions import SetExpression as SetExpression
from lockgate.postgres.tree.actions import SetLogged as SetLogged
from lockgate.postgres.tree.actions import SetNotNull as SetNotNull
from lockgate.postgres.tree.actions import SetOptions as SetOptions
from lockgate.postgres.tree.actions import SetStatistics as SetStatistics
from lockgate.postgres.tree.actions import SetStorage as SetStorage
from lockgate.postgres.tree.actions import SetTablespace as SetTablespace
from lockgate.postgres.tree.actions import ToggleRule as ToggleRule
from lockgate.postgres.tree.actions import ToggleTrigger as ToggleTrigger
from lockgate.postgres.tree.actions import ValidateConstraint as ValidateConstraint
from lockgate.postgres.tree.shapes import Access as Access
from lockgate.postgres.tree.shapes import Bound as Bound
from lockgate.postgres.tree.shapes import Column as Column
from lockgate.postgres.tree.shapes import Condition as Condition
from lockgate.postgres.tree.shapes import Constraint as Constraint
from lockgate.postgres.tree.shapes import ConstraintIndex as ConstraintIndex
from lockgate.postgres.tree.shapes import Either as Either
from lockgate.postgres.tree.shapes import Expression as Expression
from lockgate.postgres.tree.shapes import Insert as Insert
from lockgate.postgres.tree.shapes import LockMode as LockMode
from lockgate.postgres.tree.shapes import Name as Name
from lockgate.postgres.tree.shapes import Put as Put
from lockgate.postgres.tree.shapes import Query as Query
from lockgate.postgres.tree.shapes import Test as Test
from lockgate.postgres.tree.shapes import TypeName as TypeName
from lockgate.postgres.tree.shapes import Word as Word
from lockgate.postgres.tree.shapes import Write as Write


class CreateTable(Word, frozen=True):
    """CREATE TABLE in every form but AS."""

    name: Name
    columns: tuple[Column, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    inherits: tuple[Name, ...] = ()
    partition_of: Name | None = None
    default_partition: bool = False
    bound: Bound | None = None
    # "" or the strategy: list, range, hash
    partition_by: str = ""
    partition_columns: tuple[str, ...] = ()
    # Collation and operator class of each key, where one is named; empty where none is.
    partition_orders: tuple[tuple[str, str], ...] = ()
    like: tuple["Like", ...] = ()
    of_type: Name | None = None
    persistence: str = "p"
    if_not_exists: bool = False
    foreign: bool = False
    tablespace: str = ""
    server: str = ""


class Like(Word, frozen=True):
    """LIKE source INCLUDING … (``options`` is the parser's bit set)."""

    source: Name
    options: int = 0


class CreateTableAs(Word, frozen=True):
    """CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW."""

    name: Name
    query: Query
    materialized: bool = False
    with_data: bool = True
    if_not_exists: bool = False
    persistence: str = "p"


class CreateView(Word, frozen=True):
    """CREATE [OR REPLACE] VIEW."""

    name: Name
    query: Query
    replace: bool = False
    persistence: str = "p"
    options: tuple[str, ...] = ()


class IndexKey(Word, frozen=True):
    """One key of an index: a column, or an expression with the name PostgreSQL derives for it."""

    column: str = ""
    expression: Expression | None = None
    derived_name: str = "expr"
    opclass: str = ""
    collation: str = ""
    # "" is ascending with NULLs last; else "desc", "desc nulls last" or "nulls first".
    order: str = ""


class CreateIndex(Word, frozen=True):
    """CREATE INDEX."""

    name: str
    table: Name
    keys: tuple[IndexKey, ...]
    include: tuple[str, ...] = ()
    unique: bool = False
    concurrently: bool = False
    if_not_exists: bool = False
    only: bool = False
    method: str = "btree"
    where: Expression | None = None
    nulls_not_distinct: bool = False
    tablespace: str = ""


class AlterTable(Word, frozen=True):
    """ALTER TABLE, and ALTER INDEX, SEQUENCE, VIEW, … in its forms (``kind``)."""

    name: Name
    actions: tuple[Action, ...]
    kind: str = "table"
    only: bool = False
    if_exists: bool = False


class Rename(Word, frozen=True):
    """RENAME of an object, a column (``sub``), a constraint, …; ``kind`` is what is renamed."""

    kind: str
    name: Name
    new: str
    sub: str = ""
    # What the relation is called in the text: table, view, index, …
    relation_kind: str = "table"
    only: bool = False
    if_exists: bool = False


class SetSchema(Word, frozen=True):
    """SET SCHEMA."""

    kind: str
    name: Name
    schema: str
    if_exists: bool = False


class Drop(Word, frozen=True):
    """DROP of anything. For triggers, rules and policies ``names`` are the tables and ``subs`` the objects."""

    kind: str
    names: tuple[Name, ...]
    subs: tuple[str, ...] = ()
    cascade: bool = False
    concurrently: bool = False
    if_exists: bool = False


class ReassignOwned(Word, frozen=True):
    """REASSIGN OWNED BY ``roles`` TO ``new``. DROP OWNED is a ``Drop`` of kind "owned"."""

    roles: tuple[str, ...]
    new: str


class MoveAll(Word, frozen=True):
    """ALTER TABLE, INDEX or MATERIALIZED VIEW ALL IN TABLESPACE ``source`` [OWNED BY ``owners``] SET TABLESPACE ``target``."""

    # table, index, matview
    kind: str
    source: str
    target: str
    owners: tuple[str, ...] = ()


class Truncate(Word, frozen=True):
    """TRUNCATE."""

    names: tuple[Name, ...]
    only: tuple[bool, ...] = ()
    restart: bool = False
    cascade: bool = False


class CreateTrigger(Word, frozen=True):
    """CREATE TRIGGER."""

    name: str
    table: Name
    row: bool = False
    replace: bool = False
    constraint: bool = False
    # before, after, instead
    timing: str = "after"
    events: int = 0
    function: Name | None = None
    from_table: Name | None = None
    # Has WHEN, or fires for some columns only: these.
    when: bool = False
    columns: tuple[str, ...] = ()
    deferred: bool = False
    # What REFERENCING calls the old and the new rows.
    transitions: tuple[str, ...] = ()
    # Columns that WHEN reads.
    reads: tuple[str, ...] = ()


class CreateRule(Word, frozen=True):
    """CREATE RULE. ``event``: select, insert, update, delete."""

    name: str
    table: Name
    replace: bool = False
    accesses: tuple[Access, ...] = ()
    instead: bool = False
    event: str = ""
    # Has WHERE: the statement itself still runs for the other rows.
    qualified: bool = False
    # Functions that its actions and its WHERE call.
    functions: tuple[str, ...] = ()
    inserts: tuple[Insert, ...] = ()
    # DO NOTHING has no action.
    acts: bool = True
    # Its actions or its WHERE speak of OLD or NEW.
    rows: bool = False


class Policy(Word, frozen=True):
    """CREATE or ALTER POLICY."""

    name: str
    table: Name
    create: bool
    accesses: tuple[Access, ...] = ()
    always_true: bool = False
    permissive: bool = True
    # all, select, insert, update, delete; empty for ALTER, which cannot change it
    command: str = ""
    # Roles by name, "public" among them; empty where ALTER leaves them as they are.
    roles: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    # Columns that its expressions read.
    columns: tuple[str, ...] = ()


class CreateSequence(Word, frozen=True):
    """CREATE SEQUENCE."""

    name: Name
    owned_by: tuple[Name, str] | None = None
    if_not_exists: bool = False
    persistence: str = "p"


class AlterSequence(Word, frozen=True):
    """ALTER SEQUENCE with its options."""

    name: Name
    options: tuple[str, ...] = ()
    owned_by: tuple[Name, str] | None = None
    owned_by_none: bool = False
    if_exists: bool = False
    # Options that give other numbers than before, or fewer: restart, maxvalue, minvalue, increment, as, cycle.
    turns: tuple[str, ...] = ()


class CreateType(Word, frozen=True):
    """CREATE TYPE. ``kind``: enum, composite, range, base, shell."""

    name: Name
    kind: str
    labels: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()


class AlterEnum(Word, frozen=True):
    """ALTER TYPE … ADD VALUE or RENAME VALUE."""

    name: Name
    value: str
    renamed_from: str = ""
    positioned: bool = False
    if_not_exists: bool = False
    # BEFORE or AFTER: which label it stands beside.
    beside: str = ""
    after: bool = False


class CreateDomain(Word, frozen=True):
    """CREATE DOMAIN."""

    name: Name
    base: TypeName
    constraints: tuple[Constraint, ...] = ()
    default: Expression | None = None
    not_null: bool = False


class AlterDomain(Word, frozen=True):
    """ALTER DOMAIN. ``what``: add, drop, validate, set_not_null, drop_not_null, default."""

    name: Name
    what: str
    constraint: Constraint | None = None
    constraint_name: str = ""
    default: Expression | None = None


class Routine(Word, frozen=True):
    """What is known of the body of a function or procedure; ``bodies.steps_of`` reads what it runs."""

    language: str = ""
    body: str = ""
    # Of BEGIN ATOMIC and RETURN, which the server keeps parsed: the parser's tree as JSON.
    tree: str = ""
    # The arguments as a frame for the body declares them, and their types, which tell functions of one name apart.
    arguments: tuple[str, ...] = ()
    signature: tuple[str, ...] = ()
    # "trigger", "void", "text" for any type, "SETOF text"
    returns: str = "void"
    # Of SET search_path.
    search_path: tuple[str, ...] = ()
    # RETURNS NULL ON NULL INPUT: of a NULL among its arguments it does nothing.
    strict: bool = False
    # Functions that the defaults of its arguments call.
    defaults: tuple[str, ...] = ()


class CreateFunction(Word, frozen=True):
    """CREATE FUNCTION or PROCEDURE."""

    name: Name
    replace: bool = False
    procedure: bool = False
    language: str = ""
    volatility: str = "volatile"
    definer: bool = False
    sets_search_path: bool = False
    # Locks that validating an SQL-language body takes when the function is created.
    accesses: tuple[Access, ...] = ()
    opaque_body: bool = True
    # The body of a plpgsql or SQL function, for rules that read it.
    body: str = ""
    routine: Routine = Routine()


class CreateSchema(Word, frozen=True):
    """CREATE SCHEMA with the statements inside it."""

    name: str
    elements: tuple["Statement", ...] = ()
    if_not_exists: bool = False


class CreateExtension(Word, frozen=True):
    """CREATE or ALTER EXTENSION."""

    name: str
    create: bool = True
    version: str = ""
    schema: str = ""
    if_not_exists: bool = False


class CreateServer(Word, frozen=True):
    """CREATE SERVER of a foreign-data wrapper."""

    name: str
    wrapper: str


class CreateStatistics(Word, frozen=True):
    """CREATE STATISTICS."""

    name: Name
    table: Name | None
    if_not_exists: bool = False


class Dml(Word, frozen=True):
    """INSERT, UPDATE, DELETE, MERGE, SELECT, COPY, and what wraps them (``kind``)."""

    kind: str
    query: Query
    target: Name | None = None
    where: bool = False
    # INSERT … VALUES always has rows; INSERT … SELECT may have none.
    values: bool = False
    columns: tuple[str, ...] = ()
    # What UPDATE sets, on its own, in MERGE or in ON CONFLICT: column and constant, as ``conditions.datum`` writes it.
    sets: tuple[tuple[str, str], ...] = ()
    on_conflict: bool = False
    # COPY of a table reads it without a plan.
    unplanned: bool = False
    default_values: bool = False
    # Of INSERT and COPY FROM.
    insert: Insert | None = None
    # What it may do to the rows of its target: those of MERGE, and UPDATE of ON CONFLICT.
    events: tuple[str, ...] = ()
    # The rows that a MERGE inserts.
    puts: tuple[Put, ...] = ()
    # EXPLAIN, PREPARE and DECLARE only look.
    runs: bool = True
    returning: bool = False
    # String literals, for rules that look for a value (a new enum label).
    literals: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Write, ...]:
        """All that it does to rows that are there, its own UPDATE, DELETE or MERGE and those inside WITH; of a MERGE each event."""
        own = (Write(self.target, self.kind, self.events, self.where),) if self.target is not None else ()
        return tuple(
            Write(write.target, event, (event,), write.where)
            for write in (*own, *self.query.writes)
            for event in (write.events if write.event == "merge" else (write.event,))
            if self.runs and event in ("update", "delete")
        )


class Refresh(Word, frozen=True):
    """REFRESH MATERIALIZED VIEW."""

    name: Name
    concurrently: bool = False
    with_data: bool = True


class Reindex(Word, frozen=True):
    """REINDEX. ``kind``: index, table, schema, system, database."""

    kind: str
    name: Name
    concurrently: bool = False


class Cluster(Word, frozen=True):
    """CLUSTER; ``name`` is None for all tables."""

    name: Name | None
    index: str = ""


class Vacuum(Word, frozen=True):
    """VACUUM or ANALYZE; no names means every table."""

    names: tuple[Name, ...]
    vacuum: bool = True
    full: bool = False
    analyze: bool = False
    only: tuple[bool, ...] = ()


class LockTable(Word, frozen=True):
    """LOCK TABLE."""

    names: tuple[Name, ...]
    mode: LockMode
    only: tuple[bool, ...] = ()


class Comment(Word, frozen=True):
    """COMMENT ON, SECURITY LABEL ON."""

    kind: str
    name: Name | None
    sub: str = ""


class Grant(Word, frozen=True):
    """GRANT or REVOKE on objects. ``kind`` is the kind of object, "role" for membership."""

    grant: bool
    kind: str
    names: tuple[Name, ...] = ()
    privileges: tuple[str, ...] = ()
    grantees: tuple[str, ...] = ()
    in_schema: bool = False


class Publication(Word, frozen=True):
    """CREATE or ALTER PUBLICATION. ``columns`` are those of each table, empty for all; ``what``: add, drop, set."""

    name: str
    tables: tuple[Name, ...] = ()
    create: bool = True
    columns: tuple[tuple[str, ...], ...] = ()
    all_tables: bool = False
    what: str = "add"
    only: tuple[bool, ...] = ()
    # Columns that WHERE of each table reads.
    reads: tuple[tuple[str, ...], ...] = ()


class SetVariable(Word, frozen=True):
    """SET, RESET; ``values`` is empty for RESET and DEFAULT."""

    name: str
    values: tuple[str, ...] = ()
    local: bool = False
    reset: bool = False


class DoBlock(Word, frozen=True):
    """DO, whose body is read like that of a function."""

    language: str = "plpgsql"
    body: str = ""


class Call(Word, frozen=True):
    """CALL of a procedure; ``query`` has what its arguments read and call."""

    name: Name
    query: Query = Query()


class TransactionControl(Word, frozen=True):
    """BEGIN, COMMIT, SAVEPOINT, …: understood, and refused inside a migration file."""

    kind: str


class Utility(Word, frozen=True):
    """A known statement that takes no relation lock worth naming. ``transactional`` False: not in a transaction."""

    kind: str
    transactional: bool = True
    name: str = ""


class AlterFunction(Word, frozen=True):
    """ALTER FUNCTION or PROCEDURE: the search path that it sets. ``unclear``: what it sets is not in the text."""

    name: Name
    search_path: tuple[str, ...] = ()
    strict: bool = False
    unclear: bool = False
    # SECURITY DEFINER.
    definer: bool = False


class CreateConversion(Word, frozen=True):
    """CREATE OPERATOR, or CREATE CAST WITH FUNCTION to a type: the function that it runs."""

    function: Name
    operator: str = ""
    type: TypeName | None = None


class NotUnderstood(Word, frozen=True):
    """A statement we have no word for. It blocks."""

    node: str
    why: str


Statement: TypeAlias = (
    CreateTable | CreateTableAs | CreateView | CreateIndex | AlterTable | Rename | SetSchema | Drop | Truncate
    | ReassignOwned | MoveAll | CreateTrigger | CreateRule | Policy | CreateSequence | AlterSequence | CreateType | AlterEnum | CreateDomain
    | AlterDomain | CreateFunction | CreateSchema | CreateExtension | CreateServer | CreateStatistics | Dml | Refresh | Reindex
    | Cluster | Vacuum | LockTable | Comment | Grant | Publication | SetVariable | DoBlock | Call | AlterFunction | CreateConversion
    | TransactionControl | Utility | NotUnderstood
)  # fmt: skip


class Located(Word, frozen=True):
    """A statement and where it stands: line from 1, byte span, and the line where its own text begins."""

    statement: Statement
    line: int
    start: int
    end: int
