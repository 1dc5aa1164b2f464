"""The facts of one statement, and the draft they are gathered in.

* ``locks``: relation → the strongest mode that the statement takes on it, whatever the rows. Relations that the
  statement itself creates are left out, as are system catalogues and TOAST tables. What foreign keys make of rows is
  in where the files or a snapshot tell of rows (``lookups.py``); elsewhere it is ``hidden``, as something that may be.
* ``rewrites``: relations whose storage is replaced. Indexes are relations: those of a rewritten table are in, and so
  is an index that is built again while its table stays. A partitioned table or index has no storage and is never in.
* ``scans``: tables that DDL reads from end to end while it holds its lock. What the planner chooses for DML is left
  out, but for an UPDATE or DELETE without WHERE.
"""

from collections.abc import Callable

from msgspec import Struct, field

from lockgate.policy.model.schema import Relation, Schema
from lockgate.postgres.tree.words import LockMode, Name, Statement


class Server(Struct, frozen=True):
    """What the answer depends on besides the schema."""

    version: int = 16
    # The role that runs the migrations, when known: OWNER TO it changes nothing.
    role: str = ""


class Hidden(Struct, frozen=True):
    """Something that cannot be judged. ``slight``: at most rows are read and written, by what rows there are."""

    why: str
    slight: bool = False


class Change(Struct, frozen=True):
    """A statement of a body that changes the schema, or that holds writers up: what, and whose body it is.

    ``certain``: it runs whenever the statement around it does.
    """

    what: str
    where: str
    certain: bool = True


class Facts(Struct):
    """What one statement does to the world."""

    kind: str
    understood: bool = True
    opaque: bool = False
    transactional: bool = True
    locks: dict[str, LockMode] = field(default_factory=dict)
    rewrites: list[str] = field(default_factory=list)
    scans: list[str] = field(default_factory=list)
    # What other sessions see once it commits, in words.
    visible: list[str] = field(default_factory=list)
    # Whether a later statement can put everything back, rows included. None: nobody can tell.
    reversible: bool | None = True
    # Why ``locks`` may not be all of them, since functions run whose bodies or turns the files do not tell.
    hidden: list["Hidden"] = field(default_factory=list)
    # Relations it names that the model has never met: their dependants are unknown.
    unknown: list[str] = field(default_factory=list)
    # Of what runs inside it, what no body should do in silence.
    changes: list[Change] = field(default_factory=list)


class Course(Struct):
    """How far one statement of a file is followed into bodies, and who looks at what runs there."""

    # The number of the file, whose own tables are new.
    file: int = -1
    # Of each step before it runs: whose body it is of, the statement, its facts and the model then.
    look: Callable[[str, Statement, Facts, Schema], None] | None = None
    # The routines that were run.
    runs: list[str] = field(default_factory=list)


class Draft:
    """Facts while they are gathered."""

    __slots__ = ("course", "facts", "inside", "locks", "schema", "server")

    def __init__(
        self,
        schema: Schema,
        server: Server,
        kind: str,
        inside: tuple[str, ...] = (),
        course: Course | None = None,
    ) -> None:
        # The routines that are running, outermost first.
        self.inside = inside
        self.course = course or Course()
        self.schema = schema
        self.server = server
        self.facts = Facts(kind)
        self.locks = self.facts.locks

    def lock(self, key: str, mode: LockMode) -> None:
        """Note a lock; the strongest stays."""
        if self.locks.get(key, 0) < mode:
            self.locks[key] = mode

    def lock_all(self, keys: "list[str]", mode: LockMode) -> None:
        """Note one mode on several relations."""
        for key in keys:
            if self.locks.get(key, 0) < mode:
                self.locks[key] = mode

    def rewrite(self, key: str) -> None:
        """Note that the storage of ``key`` is replaced."""
        if key not in self.facts.rewrites:
            self.facts.rewrites.append(key)

    def scan(self, key: str) -> None:
        """Note that ``key`` is read from end to end."""
        state = self.schema.relations.get(key)
        if (state is None or state.kind in "rm") and key not in self.facts.scans:
            self.facts.scans.append(key)

    def hide(self, why: str, *, slight: bool = False) -> None:
        """Note that something runs of which nothing can be claimed."""
        self.facts.opaque = True
        hidden = Hidden(why, slight)
        if hidden not in self.facts.hidden:
            self.facts.hidden.append(hidden)

    def change(self, change: Change) -> None:
        """Note that a body changes the schema."""
        if change not in self.facts.changes:
            self.facts.changes.append(change)

    def see(self, text: str) -> None:
        """Note what other sessions will see."""
        self.facts.visible.append(text)

    def known(self, name: Name) -> tuple[str, Relation | None]:
        """The key of ``name`` and what the model knows of it; an unknown one is noted."""
        key = self.schema.resolve(name)
        state = self.schema.relations.get(key)
        if (
            state is None
            and key not in self.schema.indexes
            and not key.startswith(("pg_catalog.", "information_schema."))
        ):
            self.facts.unknown.append(key)
        return key, state

    def absent(self, name: Name) -> bool:
        """Whether IF EXISTS finds nothing: as far as the files tell it is not there, and what is not there is not locked."""
        key, state = self.known(name)
        return state is None and key not in self.schema.indexes

    def indexes(self, key: str, mode: LockMode) -> None:
        """Note a lock on each index of a relation."""
        state = self.schema.relations.get(key)
        if state is not None:
            for index in state.indexes:
                self.lock(index, mode)

    def storage(self, key: str) -> None:
        """Note that a table and all its indexes get new storage: AccessExclusiveLock on each of them."""
        state = self.schema.relations.get(key)
        if state is None:
            self.rewrite(key)
            return
        if state.has_storage:
            self.rewrite(key)
            for index in state.indexes:
                self.rewrite(index)
            self.indexes(key, LockMode.AccessExclusiveLock)
