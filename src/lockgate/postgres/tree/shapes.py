"""The parts that words are made of: names, types, expressions, columns, constraints."""

from enum import IntEnum

from msgspec import Struct


class LockMode(IntEnum):
    """Table-level lock modes in PostgreSQL's own order: a higher number conflicts with more."""

    AccessShareLock = 1
    RowShareLock = 2
    RowExclusiveLock = 3
    ShareUpdateExclusiveLock = 4
    ShareLock = 5
    ShareRowExclusiveLock = 6
    ExclusiveLock = 7
    AccessExclusiveLock = 8


class Word(Struct, frozen=True, gc=False):
    """Base of all words: immutable, and left out of cycle collection."""


class Name(Word, frozen=True):
    """A possibly qualified name. ``schema`` is empty when the text gave none."""

    schema: str
    name: str


class TypeName(Word, frozen=True):
    """A type by PostgreSQL's internal name (``int8``, ``varchar``), with modifiers and array dimensions."""

    name: str
    schema: str = ""
    mods: tuple[int, ...] = ()
    array: bool = False
    serial: bool = False


class Test(Word, frozen=True, tag="test"):
    """A column held against constants. ``op``: = (any of several values), <> (none of them), <, <=, >, >=, null, not null,
    unknown and known (IS UNKNOWN, which the planner takes for IS NULL since 17).

    Values are written as by ``conditions.datum``; ``cast`` is the type that the text gives them, where it does.
    """

    column: str
    op: str
    values: tuple[str, ...] = ()
    cast: str = ""


class Either(Word, frozen=True, tag="either"):
    """OR of conditions; each part is an AND."""

    parts: tuple[tuple["Test | Either", ...], ...]


Condition = Test | Either


class Access(Word, frozen=True):
    """One relation that a query names, with the lock that parsing the query takes on it."""

    name: Name
    mode: LockMode
    only: bool = False
    # What WHERE and inner joins ask of its columns: the planner leaves out partitions by it.
    conditions: tuple[Condition, ...] = ()
    # The target of an INSERT, which is not planned as a table that is read.
    insert: bool = False
    # Of a view: (what it calls a column, the column), "*" for all of them; a condition on it reaches the table.
    outputs: tuple[tuple[str, str], ...] = ()
    # In a part of the query that the planner drops: views are opened, and nothing is planned.
    idle: bool = False


class Insert(Word, frozen=True):
    """What an INSERT puts where. ``values``: rows are certain; of INSERT … SELECT there may be none."""

    target: Name
    values: bool = False
    columns: tuple[str, ...] = ()
    # ON CONFLICT (…): the planner looks for the index that decides; ON CONSTRAINT names it.
    infers: bool = False
    arbiter: str = ""
    conflicts: bool = False
    # OVERRIDING USER VALUE: identity columns take their own value whatever the row says.
    own_identity: bool = False
    # How many columns a row of VALUES has, and which places say DEFAULT.
    width: int = 0
    defaults: tuple[int, ...] = ()
    # The constants of each row, as ``conditions.datum`` writes them.
    rows: tuple[tuple[str, ...], ...] = ()


class Expression(Word, frozen=True):
    """What there is to know about an expression without evaluating it."""

    constant: bool = False
    functions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    # Columns that cannot be NULL when this expression, used as a CHECK, holds.
    not_null: tuple[str, ...] = ()
    accesses: tuple[Access, ...] = ()
    # ``col`` or ``col::type`` and nothing else: (column, casts from the inside out).
    cast_of: str = ""
    casts: tuple[TypeName, ...] = ()
    # A string literal, when the whole expression is one (also cast): for nextval and the like.
    literal: str | None = None
    # NULL and nothing else, also cast.
    null: bool = False
    sequences: tuple[str, ...] = ()
    # Those of the functions that working it out is sure to call.
    calls: tuple[str, ...] = ()
    # The parser's tree without places, for index expressions and predicates: equal text, equal shape.
    shape: str = ""


Put = tuple[tuple[str, ...], tuple[str, ...]]
"""A row that a MERGE inserts: the columns it names, and what it gives them, as ``conditions.datum`` writes it."""


class Write(Word, frozen=True):
    """What an UPDATE, DELETE or MERGE changes, and how; ``sets`` as in ``Dml``."""

    target: Name
    event: str
    events: tuple[str, ...] = ()
    where: bool = False
    sets: tuple[tuple[str, str], ...] = ()
    puts: tuple[Put, ...] = ()


class Query(Word, frozen=True):
    """What a query touches: relations with locks, and the functions it calls."""

    accesses: tuple[Access, ...] = ()
    functions: tuple[str, ...] = ()
    # Output column names when they can be read off the text, else None.
    columns: tuple[str, ...] | None = None
    star: bool = False
    # Every column name that occurs anywhere in the query, whatever its table.
    column_refs: tuple[str, ...] = ()
    # Sequences that nextval or setval name, and (table, column) that pg_get_serial_sequence does.
    sequences: tuple[str, ...] = ()
    serials: tuple[tuple[str, str], ...] = ()
    # INSERTs inside WITH, or among the actions of a rule.
    inserts: tuple[Insert, ...] = ()
    # Those of the functions that it is sure to call.
    calls: tuple[str, ...] = ()
    # UPDATE, DELETE and MERGE inside WITH.
    writes: tuple["Write", ...] = ()
    # Operators and the types of casts, by which functions of users run, too.
    operators: tuple[str, ...] = ()
    types: tuple[TypeName, ...] = ()
    # What set_config sets: setting and value, "?" where it is no constant.
    settings: tuple[tuple[str, str], ...] = ()
    # The tables whose columns its stars stand for, at any depth; None is one that cannot be told.
    starred: tuple[Name | None, ...] = ()
    # With a star: the output columns, a table for each star; () where they cannot be told.
    shown: tuple[str | Name, ...] = ()
    # Of each of ``columns`` the one that it hands on, "" where it is worked out.
    plain: tuple[str, ...] = ()


# -- columns and constraints -----------------------------------------------------------------------


class Bound(Word, frozen=True):
    """What a partition holds. ``strategy``: list, range or hash; values as ``conditions.datum`` writes them."""

    strategy: str
    values: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    upper: tuple[str, ...] = ()
    modulus: int = 0
    remainder: int = 0


class ConstraintIndex(Word, frozen=True):
    """What the index of a constraint holds: INCLUDE, expressions and WHERE."""

    # What the server calls its columns, and the columns that it reads.
    names: tuple[str, ...]
    reads: tuple[str, ...]
    opclasses: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    partial: bool = False


class Constraint(Word, frozen=True):
    """A constraint as written. ``kind``: check, foreign, unique, primary, exclude, not_null."""

    kind: str
    name: str = ""
    columns: tuple[str, ...] = ()
    not_valid: bool = False
    enforced: bool = True
    expression: Expression | None = None
    references: Name | None = None
    ref_columns: tuple[str, ...] = ()
    on_delete: str = "a"
    on_update: str = "a"
    using_index: str = ""
    deferrable: bool = False
    no_inherit: bool = False
    method: str = ""
    expressions: bool = False
    # Of a column definition, not a table-level constraint.
    inline: bool = False
    # A foreign key with PERIOD.
    period: bool = False
    # INITIALLY DEFERRED: nothing is looked up before the commit.
    deferred: bool = False
    # Of one that has an index with more than its plain columns: this.
    index: "ConstraintIndex | None" = None


class Column(Word, frozen=True):
    """A column definition as written."""

    name: str
    type: TypeName
    default: Expression | None = None
    # "" none, "a" always, "d" by default
    identity: str = ""
    # "" none, "s" stored, "v" virtual
    generated: str = ""
    not_null: bool = False
    constraints: tuple[Constraint, ...] = ()
    collation: str = ""
    sequence: Name | None = None
