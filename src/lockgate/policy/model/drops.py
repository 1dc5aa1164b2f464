"""What goes when something is dropped: one answer, used for its locks and for replaying it (``forgetting``)."""

from collections.abc import Iterable

from lockgate.policy.model.extensions import objects_of
from lockgate.policy.model.names import bare
from lockgate.policy.model.schema import Schema, calls, schema_of
from lockgate.postgres.tree.words import Name


class Closure:
    """Everything a drop takes with it.

    ``gone`` are relations and indexes that cease to exist; ``touched`` are those that survive but are changed and so
    locked (the other side of a foreign key, the parent of a partition, the table of an index).
    """

    __slots__ = (
        "columns",
        "constraints",
        "domains",
        "gone",
        "guards",
        "sampled",
        "schema",
        "touched",
        "triggers",
        "types",
    )

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.gone: dict[str, None] = {}
        self.touched: dict[str, None] = {}
        self.constraints: list[tuple[str, str]] = []
        self.columns: list[tuple[str, str]] = []
        self.types: list[str] = []
        self.guards: list[tuple[str, str]] = []
        self.triggers: list[tuple[str, str]] = []
        # Domains that lose a check.
        self.domains: list[str] = []
        # Tables that only lose extended statistics.
        self.sampled: list[str] = []

    def relation(self, key: str, *, cascade: bool) -> None:
        """A table, view, sequence, …"""
        if key in self.gone:
            return
        self.gone[key] = None
        state = self.schema.relations.get(key)
        if state is None:
            return
        for index in state.indexes:
            self.gone[index] = None
        for sequence in state.owned_sequences:
            self.relation(sequence, cascade=cascade)
        for child in state.children:
            child_state = self.schema.relations.get(child)
            if cascade or (child_state is not None and child_state.partition):
                self.relation(child, cascade=cascade)
        for constraint in state.constraints.values():
            # What a partition repeats of its parent has its triggers on the parent's side only.
            if constraint.kind == "foreign" and constraint.references and not constraint.inherited:
                self._other_side(constraint.references)
        for child, name in state.referenced_by:
            if child not in self.gone and cascade:
                self.constraint(child, name)
        if state.partition:
            for parent in state.parents:
                self.touched[parent] = None
            if cascade:
                # A key that points to the partitioned table hangs on every partition's index.
                for above in self.schema.ancestors(key):
                    for child, name in list(self.schema.relations[above].referenced_by):
                        if child not in self.gone:
                            self.constraint(child, name)
            for parent in state.parents:
                default = getattr(self.schema.relations.get(parent), "default_partition", "")
                if default:
                    self.touched[default] = None
        if cascade:
            for view in state.dependents:
                self.relation(view, cascade=True)
            self._guards(self.schema.guards_with(source=key))
            if state.kind == "S":
                self._defaults_from(key)

    def _guards(self, found: list[tuple[str, str]]) -> None:
        """Policies and rules go, and the tables that they stand on are locked for it."""
        for table, label in found:
            if table not in self.gone:
                self.touched[table] = None
                self.guards.append((table, label))

    def _other_side(self, key: str) -> None:
        self.touched[key] = None
        for child in self.schema.partitions(key):
            self.touched[child] = None

    def _defaults_from(self, sequence: str) -> None:
        for key, state in self.schema.relations.items():
            for column in state.columns.values():
                if column.sequence == sequence:
                    self.touched[key] = None

    def constraint(self, table: str, name: str, *, only: bool = False) -> None:
        """One constraint of a table; its index, and for a foreign key the other side's triggers, go with it.

        With ``only`` children keep theirs, as their own.
        """
        self.touched[table] = None
        self.constraints.append((table, name))
        state = self.schema.relations.get(table)
        if state is None or name not in state.constraints:
            return
        constraint = state.constraints[name]
        if constraint.index:
            self.gone[constraint.index] = None
        if constraint.kind == "foreign":
            self._other_side(constraint.references)
            for child in self.schema.partitions(table):
                self.touched[child] = None
                for own in self.schema.relations[child].constraints.values():
                    same = (own.references, own.columns) == (constraint.references, constraint.columns)
                    if own.inherited and own.kind == "foreign" and same:
                        self.constraints.append((child, own.name))
        if constraint.kind in ("unique", "primary"):
            for child, other in list(state.referenced_by):
                reference = getattr(self.schema.relations.get(child), "constraints", {}).get(other)
                if reference is not None and reference.ref_index == constraint.index:
                    self.constraint(child, other)
        for child in state.children if only else ():
            inherited = constraint.kind == "not_null" and not constraint.no_inherit
            if inherited or name in self.schema.relations[child].constraints:
                self.touched[child] = None
        for child in self.schema.descendants(table) if not only else ():
            child_state = self.schema.relations.get(child)
            if (
                child_state is not None
                and name in child_state.constraints
                and child_state.constraints[name].inherited
            ):
                self.constraint(child, name)
            elif child_state is not None and constraint.index:
                for below in self.schema.index_descendants(constraint.index):
                    index = self.schema.indexes[below]
                    if index.table == child:
                        self.gone[below] = None
                        self.touched[child] = None
                        if index.constraint:
                            self.constraints.append((child, index.constraint))

    def index(self, key: str) -> None:
        """An index: its table is locked too, and for a partitioned one all partitions."""
        self.gone[key] = None
        state = self.schema.indexes.get(key)
        if state is None:
            return
        self.touched[state.table] = None
        for child in self.schema.index_descendants(key):
            self.gone[child] = None
            self.touched[self.schema.indexes[child].table] = None
        for child in self.schema.descendants(state.table):
            if state.children or self.schema.relations[state.table].kind == "p":
                self.touched[child] = None

    def column(self, table: str, column: str, *, cascade: bool, only: bool = False) -> None:
        """A column: indexes, constraints and with CASCADE views that use it. With ``only`` children keep theirs."""
        state = self.schema.relations.get(table)
        if state is not None and cascade and column in state.partition_columns:
            # Alone the column may not go; with its type the table goes that is split by it.
            self.relation(table, cascade=True)
            return
        self.touched[table] = None
        self.columns.append((table, column))
        if state is None:
            return
        for constraint in list(state.constraints.values()):
            if column in constraint.columns or (constraint.kind == "check" and column in constraint.columns):
                self.constraint(table, constraint.name, only=only)
        for index in self.schema.indexes_reading(table, column):
            if index.constraint and index.key not in self.gone:
                self.constraint(table, index.constraint, only=only)
            self.gone[index.key] = None
        for sequence in state.owned_sequences:
            if self.schema.owning_column(sequence) == column:
                self.relation(sequence, cascade=cascade)
        for child, name in list(state.referenced_by):
            reference = getattr(self.schema.relations.get(child), "constraints", {}).get(name)
            if reference is not None and column in reference.ref_columns and cascade:
                self.constraint(child, name)
        if cascade:
            for view in state.dependents:
                view_state = self.schema.relations.get(view)
                if view_state is not None and column in view_state.source_columns:
                    self.relation(view, cascade=True)
            for other in list(state.columns.values()):
                if column in other.reads and (table, other.name) not in self.columns:
                    self.column(table, other.name, cascade=True, only=only)
            for label, guard in state.guards.items():
                if guard.rule is None and column in guard.columns and (table, label) not in self.guards:
                    self.guards.append((table, label))
            for trigger in state.triggers.values():
                if column in trigger.columns or column in trigger.reads:
                    self.triggers.append((table, trigger.name))
        for child in state.children:
            child_state = self.schema.relations.get(child)
            if child_state is None or column not in child_state.columns:
                continue
            if only:
                self.touched[child] = None
            else:
                self.column(child, column, cascade=cascade)

    def function(self, name: str) -> None:
        """A function by its plain name: whatever calls it goes, and the table of what goes is locked."""
        for key, state in list(self.schema.relations.items()):
            for trigger in state.triggers.values():
                if trigger.function == name:
                    self.touched[key] = None
                    self.triggers.append((key, trigger.name))
            if calls(state.functions, name):
                self.relation(key, cascade=True)
            for column in list(state.columns.values()):
                if calls(column.default_functions, name):
                    self.touched[key] = None
                if calls(column.generated_functions, name):
                    self.column(key, column.name, cascade=True)
            for constraint in list(state.constraints.values()):
                if calls(constraint.functions, name):
                    self.constraint(key, constraint.name)
        for key, index in list(self.schema.indexes.items()):
            if calls(index.functions, name):
                self.index(key)
        self._guards(self.schema.guards_with(function=name))
        for key, made in self.schema.types.items():
            if made.kind == "domain" and calls(made.functions, name):
                self.domains.append(key)

    def collation(self, name: str) -> None:
        """A collation by its plain name: the columns that sort by it, and the indexes that say so themselves."""
        for key, state in list(self.schema.relations.items()):
            for column in list(state.columns.values()):
                if column.collation == name:
                    self.column(key, column.name, cascade=True)
        for key, index in list(self.schema.indexes.items()):
            if any(order.split(" ")[0] == name for order in index.orders):
                self.index(key)

    def extension(self, name: str) -> None:
        """DROP EXTENSION: columns and domains of its types, indexes by its methods, and whatever calls its functions."""
        schema, own = self.schema, objects_of(name)
        for table, column in schema.columns_named(own.types):
            self.column(table, column, cascade=True)
        for key, made in list(schema.types.items()):
            if made.kind == "domain" and made.base is not None and made.base.name in own.types:
                self.user_type(key, cascade=True)
        for key, index in list(schema.indexes.items()):
            state = schema.relations.get(index.table)
            types = (
                [state.columns[each].type for each in index.columns if each in state.columns] if state else []
            )
            if key not in self.gone and own.serves(index.method, index.opclasses, types):
                if index.constraint:
                    self.constraint(index.table, index.constraint)
                else:
                    self.index(key)
        called = {each for state in schema.relations.values() for each in state.functions}
        called |= {each for index in schema.indexes.values() for each in index.functions}
        for state in schema.relations.values():
            for own_column in state.columns.values():
                called.update(own_column.default_functions, own_column.generated_functions)
            for constraint in state.constraints.values():
                called.update(constraint.functions)
        for function in own.functions.intersection(map(bare, called)):
            self.function(function)

    def owned(self, role: str) -> None:
        """DROP OWNED: what the role owns, and the policies that are for it."""
        for key, state in list(self.schema.relations.items()):
            if state.owner == role:
                self.relation(key, cascade=True)
        for key, made in list(self.schema.types.items()):
            if made.owner == role:
                self.user_type(key, cascade=True)
        for table, label in self.schema.guards_with(role=role):
            # One that is for others too stays, and its table is locked only while the role is struck out.
            if self.schema.relations[table].guards[label].roles == (role,):
                self._guards([(table, label)])

    def user_type(self, key: str, *, cascade: bool) -> None:
        """A type or domain; with CASCADE the columns of that type go."""
        self.types.append(key)
        if cascade:
            for table, column in self.schema.columns_of_type(key):
                self.column(table, column, cascade=True)
            for table in self.schema.tables_of_type(key):
                self.relation(table, cascade=True)
        if key in self.schema.relations:
            self.gone[key] = None


def closure_of(
    schema: Schema, kind: str, names: tuple[Name, ...], subs: tuple[str, ...], *, cascade: bool
) -> Closure:
    """What a DROP of ``kind`` takes with it."""
    closure = Closure(schema)
    for position, name in enumerate(names):
        if kind in ("table", "view", "matview", "sequence", "foreign_table"):
            key = schema.resolve(name)
            closure.relation(key, cascade=cascade)
        elif kind == "index":
            closure.index(schema.resolve(name))
        elif kind in ("type", "domain"):
            closure.user_type(schema.type_key(name.schema, name.name), cascade=cascade)
        elif kind in ("trigger", "rule", "policy"):
            key = schema.resolve(name)
            closure.touched[key] = None
            state = schema.relations.get(key)
            if kind == "trigger" and state is not None:
                for child in schema.descendants(key):
                    if subs[position] in schema.relations[child].triggers:
                        closure.touched[child] = None
        elif kind == "schema" and cascade:
            _whole_schema(closure, name.name)
        elif kind in ("function", "procedure", "routine", "aggregate") and cascade:
            closure.function(name.name)
        elif kind == "collation" and cascade:
            closure.collation(name.name)
        elif kind == "owned":
            closure.owned(name.name)
        elif kind == "extension" and cascade:
            closure.extension(name.name)
        elif kind in ("foreign_server", "fdw") and cascade:
            servers = servers_of(schema, kind, name.name)
            for key in [key for key, state in schema.relations.items() if state.server in servers]:
                closure.relation(key, cascade=True)
        elif kind == "statistic_ext":
            table = schema.statistics.get(schema.type_key(name.schema, name.name)) or _statistics_table(
                schema, name
            )
            if table:
                closure.sampled.append(table)
    return closure


def servers_of(schema: Schema, kind: str, name: str) -> list[str]:
    """The foreign server, or all those of the wrapper, called ``name``."""
    if kind == "foreign_server":
        return [name]
    return [server for server, wrapper in schema.servers.items() if wrapper == name]


def _statistics_table(schema: Schema, name: Name) -> str:
    for key, table in schema.statistics.items():
        if key == name.name or bare(key) == name.name:
            return table
    return ""


def _whole_schema(closure: Closure, schema_name: str) -> None:
    schema = closure.schema

    def inside(keys: Iterable[str]) -> list[str]:
        return [key for key in keys if schema_of(key) == schema_name]

    for key in inside(schema.relations):
        closure.relation(key, cascade=True)
    for key in inside(schema.types):
        closure.user_type(key, cascade=True)
    for key in inside(schema.functions):
        closure.function(bare(key))
    for key in inside(schema.statistics):
        closure.sampled.append(schema.statistics[key])
