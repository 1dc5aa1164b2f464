"""The schema as plain mutable records, and the look-ups that facts and rules need.

A relation is keyed by its name as reports show it: unqualified in ``public``, else ``schema.name``; a part with a dot in
it stands in quotes. The records
are msgspec structs, so a model can be written to a cache or read from a snapshot as it stands.
"""

from collections.abc import Collection

from msgspec import Struct, field

from lockgate.postgres.tree.lexing import dotted, parted
from lockgate.postgres.tree.words import Bound, Condition, CreateRule, Name, Routine, TypeName

BUILT_IN = frozenset({
    "bit", "bool", "bpchar", "bytea", "char", "cidr", "date", "daterange", "float4", "float8", "inet", "int2", "int4",
    "int8", "interval", "json", "jsonb", "macaddr", "money", "name", "numeric", "oid", "regclass", "text", "time",
    "timestamp", "timestamptz", "timetz", "tsquery", "tstzrange", "tsvector", "uuid", "varbit", "varchar", "xml",
})  # fmt: skip
"""Types by PostgreSQL's internal names, the common ones."""


class Column(Struct):
    """A column as it stands now."""

    name: str
    type: TypeName
    not_null: bool = False
    has_default: bool = False
    default_functions: tuple[str, ...] = ()
    identity: str = ""
    generated: str = ""
    # Columns that a generated column reads.
    reads: tuple[str, ...] = ()
    sequence: str = ""
    collation: str = ""
    # NOT NULL of PostgreSQL 18 that is not validated yet proves nothing.
    not_null_valid: bool = True
    # NOT NULL said of this very table, not only inherited: since 18 it survives the parent's DROP NOT NULL.
    own_not_null: bool = False
    # Functions that a generated column calls.
    generated_functions: tuple[str, ...] = ()
    # DEFAULT NULL, which is none, but hides the default of a domain.
    default_null: bool = False
    # Since 18, a NOT NULL set on ONLY a table that has children is not inherited by later ones either.
    not_null_only_here: bool = False
    # From the server's statistics: share of NULL (-1: not known), distinct values as in pg_stats (0: not known), bytes.
    null_share: float = -1
    distinct: float = 0
    width: int = -1


class Constraint(Struct):
    """A constraint as it stands now. ``kind`` as in the vocabulary."""

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    valid: bool = True
    enforced: bool = True
    not_null: tuple[str, ...] = ()
    references: str = ""
    ref_columns: tuple[str, ...] = ()
    index: str = ""
    # The unique index on the other side that a foreign key hangs on.
    ref_index: str = ""
    no_inherit: bool = False
    inherited: bool = False
    # Functions that a check calls.
    functions: tuple[str, ...] = ()
    deferred: bool = False
    on_delete: str = "a"
    on_update: str = "a"
    created_file: int = -1


class Index(Struct):
    """An index as it stands now. ``columns`` has "" for an expression."""

    key: str
    table: str
    columns: tuple[str, ...] = ()
    # What the server calls the index's own columns, included ones too: names are made up from these.
    names: tuple[str, ...] = ()
    # Every column that the index reads: keys, included columns, expressions and predicate.
    reads: tuple[str, ...] = ()
    unique: bool = False
    primary: bool = False
    partial: bool = False
    expressions: bool = False
    # Expressions and predicate by shape; empty for plain columns.
    shapes: tuple[str, ...] = ()
    method: str = "btree"
    opclasses: tuple[str, ...] = ()
    # Collation and order of each key, where they are not the default; empty when all are.
    orders: tuple[str, ...] = ()
    constraint: str = ""
    valid: bool = True
    parent: str = ""
    children: list[str] = field(default_factory=list)
    created_file: int = -1
    # Set when a concurrent build may have left it invalid: the file that built it.
    concurrently: bool = False
    # Functions of expressions and predicate.
    functions: tuple[str, ...] = ()
    # Empty: the default of the database.
    tablespace: str = ""
    # CLUSTER without a name writes its table in this order.
    clustered: bool = False


class Guard(Struct):
    """A policy or a rule: what it reads, and so goes with; what it does is in the vocabulary's own words."""

    name: str
    sources: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    # Of a policy; "public" for everybody.
    roles: tuple[str, ...] = ()
    rule: CreateRule | None = None
    # Columns that its expressions read, of a policy.
    columns: tuple[str, ...] = ()


class Trigger(Struct):
    """A user trigger."""

    name: str
    row: bool = False
    function: str = ""
    # INSTEAD OF, on a view: the events that it takes over.
    instead: tuple[str, ...] = ()
    # What fires it, otherwise; empty where nobody said.
    events: tuple[str, ...] = ()
    # The key of its function.
    routine: str = ""
    enabled: bool = True
    # It has WHEN, or waits for the commit: whether it runs with the statement, its rows say.
    hesitates: bool = False
    # It fires only for an UPDATE of these.
    columns: tuple[str, ...] = ()
    transitions: tuple[str, ...] = ()
    # Columns that WHEN reads.
    reads: tuple[str, ...] = ()
    before: bool = False


class Read(Struct):
    """A relation that a view reads: conditions on it, and (column of the view, its column)."""

    key: str
    mode: int
    only: bool = False
    conditions: tuple[Condition, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()


class Relation(Struct):
    """A table, partitioned table, view, materialized view, sequence, foreign table or composite type.

    ``kind`` is PostgreSQL's relkind: r, p, v, m, S, f, c.
    """

    key: str
    kind: str
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    indexes: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    partition: bool = False
    default_partition: str = ""
    partition_columns: tuple[str, ...] = ()
    # A key has an order of its own: another collation than its column, or an operator class that is not the usual one.
    partition_order: bool = False
    # Of a partition: what it holds, where a file said so.
    bound: Bound | None = None
    # Foreign keys elsewhere that point here: (table, constraint).
    referenced_by: list[tuple[str, str]] = field(default_factory=list)
    # Views whose query names this relation.
    dependents: list[str] = field(default_factory=list)
    # What a view's query names: (relation, lock mode).
    sources: list[tuple[str, int]] = field(default_factory=list)
    # The same with what its query asks of each, and which of its columns are theirs.
    view_reads: list[Read] = field(default_factory=list)
    # Column names that occur in a view's query; "*" stands for all.
    source_columns: tuple[str, ...] = ()
    owned_sequences: list[str] = field(default_factory=list)
    owner_table: str = ""
    # Of a sequence: the column of its table that it goes with.
    owner_column: str = ""
    triggers: dict[str, Trigger] = field(default_factory=dict)
    policies: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    # What policies and rules read and do: ("policy name" or "rule name") → it.
    guards: dict[str, Guard] = field(default_factory=dict)
    # Functions that a view's query calls, and those that it is sure to call.
    functions: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    statistics: list[str] = field(default_factory=list)
    row_security: bool = False
    replica_identity: str = "d"
    persistence: str = "p"
    of_type: str = ""
    # Of a foreign table.
    server: str = ""
    # Empty: the default of the database.
    tablespace: str = ""
    # Empty: the role that runs the migrations.
    owner: str = ""
    created_file: int = -1
    rows: int = -1
    bytes: int = -1
    # Files put rows into it.
    filled: bool = False
    # Columns whose proof of NOT NULL went with a CHECK that was dropped: column → constraint.
    lost_proofs: dict[str, str] = field(default_factory=dict)

    @property
    def has_storage(self) -> bool:
        """Whether there is a file on disk that a rewrite would replace."""
        return self.kind in "rmS"


class UserType(Struct):
    """An enum, domain, composite, range or base type."""

    key: str
    kind: str
    labels: list[str] = field(default_factory=list)
    base: TypeName | None = None
    constraints: dict[str, bool] = field(default_factory=dict)
    not_null: bool = False
    created_file: int = -1
    # Empty: the role that runs the migrations.
    owner: str = ""
    # What a value runs that becomes one: checks of a domain, and casts that files made.
    functions: tuple[str, ...] = ()
    # Of a domain: whether it has a default that is not NULL, what that calls, and the sequence that it asks.
    has_default: bool = False
    default_functions: tuple[str, ...] = ()
    sequence: str = ""

    @property
    def constrained(self) -> bool:
        """Whether values must be checked when they become this domain."""
        return self.not_null or bool(self.constraints)


class Published(Struct):
    """A publication: table → the columns it names, empty for all of them."""

    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    all_tables: bool = False
    # Table → the columns that its WHERE reads.
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Schema(Struct):
    """Everything that the earlier statements built."""

    relations: dict[str, Relation] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    types: dict[str, UserType] = field(default_factory=dict)
    # Their volatility; what is known of their bodies stands in ``routines``, one for each set of arguments.
    functions: dict[str, str] = field(default_factory=dict)
    routines: dict[str, tuple[Routine, ...]] = field(default_factory=dict)
    schemas: dict[str, int] = field(default_factory=lambda: {"public": -1})
    extensions: dict[str, str] = field(default_factory=dict)
    # Where their functions are, as far as files tell.
    extension_schemas: dict[str, str] = field(default_factory=dict)
    # Foreign servers → their wrapper.
    servers: dict[str, str] = field(default_factory=dict)
    statistics: dict[str, str] = field(default_factory=dict)
    publications: dict[str, Published] = field(default_factory=dict)
    search_path: list[str] = field(default_factory=lambda: ["public"])
    time_zone: str = "UTC"
    # No table was renamed, moved or inherited yet, so a made-up constraint name can only clash in its own table.
    plain_names: bool = True
    # Replay differs in a few places by major version.
    version: int = 16

    # -- names -------------------------------------------------------------------------------------

    def resolve(self, name: Name) -> str:
        """The key of an existing relation or index; for an unknown one the key it would have."""
        if name.schema:
            return key_of(name.schema, name.name)
        plain = name.name
        # Asked about six times a statement: a name without dots and quotes is put together here.
        simple = "." not in plain and '"' not in plain
        key = f"pg_temp.{plain}" if simple else key_of("pg_temp", plain)
        if key in self.relations or key in self.indexes:
            return key
        for schema in self.search_path:
            key = plain if simple and schema == "public" else key_of(schema, plain)
            if key in self.relations or key in self.indexes:
                return key
        if plain.startswith("pg_"):
            return f"pg_catalog.{plain}"
        return key_of(self.search_path[0] if self.search_path else "public", plain)

    def new_key(self, name: Name, persistence: str = "p") -> str:
        """The key that a relation created as ``name`` gets."""
        if persistence == "t":
            return key_of("pg_temp", name.name)
        if name.schema:
            return key_of(name.schema, name.name)
        return key_of(self.search_path[0] if self.search_path else "public", name.name)

    def get(self, name: Name) -> Relation | None:
        """The relation called ``name``, when the model knows it."""
        return self.relations.get(self.resolve(name))

    def type_key(self, schema: str, name: str) -> str:
        """The key of a user type."""
        if schema:
            return key_of(schema, name)
        for path in self.search_path:
            key = key_of(path, name)
            if key in self.types:
                return key
        return key_of(self.search_path[0] if self.search_path else "public", name)

    def routine_key(self, name: Name) -> str:
        """The key of a function."""
        for path in () if name.schema else self.search_path:
            key = key_of(path, name.name)
            if key in self.functions:
                return key
        return self.type_key(name.schema, name.name)

    def user_type(self, type: TypeName) -> UserType | None:
        """The enum, domain or composite behind ``type``, when it is one."""
        if type.name in BUILT_IN and not type.schema:
            return None  # PostgreSQL's own types come first in every search path
        return self.types.get(self.type_key(type.schema, type.name))

    # -- families ----------------------------------------------------------------------------------

    def descendants(self, key: str) -> list[str]:
        """All children of a relation, nearest first; partitions and inheritance alike."""
        found: list[str] = []
        relation = self.relations.get(key)
        if relation is None or not relation.children:
            return found
        queue = list(relation.children)
        while queue:
            child = queue.pop(0)
            if child not in found:
                found.append(child)
                state = self.relations.get(child)
                if state is not None:
                    queue.extend(state.children)
        return found

    def partitions(self, key: str) -> list[str]:
        """All partitions below a relation; children by inheritance alone do not count."""
        relation = self.relations.get(key)
        return self.descendants(key) if relation is not None and relation.kind == "p" else []

    def ancestors(self, key: str) -> list[str]:
        """The partitioned tables above a partition, nearest first."""
        found: list[str] = []
        state = self.relations.get(key)
        while state is not None and state.partition and state.parents:
            found.append(state.parents[0])
            state = self.relations.get(state.parents[0])
        return [name for name in found if name in self.relations]

    def index_descendants(self, key: str) -> list[str]:
        """All indexes attached below a partitioned index."""
        found: list[str] = []
        queue = [key]
        while queue:
            index = self.indexes.get(queue.pop(0))
            if index is not None:
                found.extend(index.children)
                queue.extend(index.children)
        return found

    def indexes_of(self, key: str) -> list[Index]:
        """The indexes of a relation."""
        relation = self.relations.get(key)
        if relation is None:
            return []
        return [self.indexes[name] for name in relation.indexes if name in self.indexes]

    def excludes(self, key: str) -> bool:
        """Whether an index is that of an exclusion constraint, which nothing builds concurrently."""
        index = self.indexes.get(key)
        table = self.relations.get(index.table) if index is not None and index.constraint else None
        constraint = (
            table.constraints.get(index.constraint) if table is not None and index is not None else None
        )
        return constraint is not None and constraint.kind == "exclude"

    def indexes_reading(self, key: str, column: str) -> list[Index]:
        """The indexes of a relation that read ``column``."""
        return [index for index in self.indexes_of(key) if column in index.reads]

    def columns_of_type(self, type_key: str) -> list[tuple[str, str]]:
        """(relation, column) of every table column whose type is ``type_key``, also through other domains."""
        found = []
        for key, relation in self.relations.items():
            if relation.kind in "rpfmc":
                for column in relation.columns.values():
                    if self._is_of(column.type, type_key):
                        found.append((key, column.name))
        return found

    def columns_named(self, names: Collection[str]) -> list[tuple[str, str]]:
        """(relation, column) of every column whose type is called one of ``names`` and is none that the files made."""
        return [
            (key, column.name)
            for key, relation in self.relations.items()
            for column in relation.columns.values()
            if column.type.name in names and self.user_type(column.type) is None
        ]

    def owning_column(self, sequence: str) -> str:
        """The column that a sequence goes with; older snapshots tell only the one whose default asks it."""
        state = self.relations[sequence]
        owner = self.relations.get(state.owner_table)
        asking = [at.name for at in owner.columns.values() if at.sequence == sequence] if owner else []
        return state.owner_column or (asking[0] if asking else "")

    def checked(self, state: UserType) -> bool:
        """Whether values must be checked when they become this domain, by its constraints or by those of one below it."""
        return any(one.constrained for one in self._domains(state))

    def base_of(self, state: UserType) -> TypeName | None:
        """What values of a domain are stored as, with its length, through all domains below it."""
        *_, last = self._domains(state)
        return last.base

    def _domains(self, state: UserType) -> list[UserType]:
        """A domain and those that it is made of."""
        found = [state]
        while (base := found[-1].base) is not None and not base.array:
            below = self.user_type(base)
            if below is None or below.kind != "domain" or below in found:
                break
            found.append(below)
        return found

    def tables_of_type(self, type_key: str) -> list[str]:
        """The tables made OF a composite type."""
        return [key for key, state in self.relations.items() if state.of_type == type_key]

    def _is_of(self, type: TypeName, type_key: str) -> bool:
        state: UserType | None = self.user_type(type)
        while state is not None:
            if state.key == type_key:
                return True
            state = self.user_type(state.base) if state.kind == "domain" and state.base else None
        return False

    def guards_with(self, *, source: str = "", function: str = "", role: str = "") -> list[tuple[str, str]]:
        """(table, guard) of every policy and rule that reads ``source``, calls ``function``, or is for ``role``."""
        return [
            (key, label)
            for key, state in self.relations.items()
            for label, guard in state.guards.items()
            if source in guard.sources or calls(guard.functions, function) or role in guard.roles
        ]

    def proves_not_null(self, relation: Relation, column: str, without: Collection[str] = ()) -> str:
        """What proves that ``column`` holds no NULL: the name of a constraint, "NOT NULL", or "".

        ``without`` are constraints that do not count, "NOT NULL" among them.
        """
        state = relation.columns.get(column)
        if state is not None and state.not_null and state.not_null_valid and "NOT NULL" not in without:
            return "NOT NULL"
        for constraint in relation.constraints.values():
            if (
                constraint.kind == "check"
                and constraint.valid
                and constraint.enforced
                and column in constraint.not_null
                and constraint.name not in without
            ):
                return constraint.name
        return ""


def calls(functions: Collection[str], name: str) -> bool:
    """Whether a function called ``name`` is among ``functions``, which may be qualified. Which of several is not told."""
    return bool(name) and any(parted(function)[1] == name for function in functions)


def key_of(schema: str, name: str) -> str:
    """The name as reports show it."""
    if schema in ("public", ""):
        return name if "." not in name and name[:1] != '"' else dotted(name)
    return dotted(schema, name)


def schema_of(key: str) -> str:
    """The schema in a key."""
    return parted(key)[0] or "public"
