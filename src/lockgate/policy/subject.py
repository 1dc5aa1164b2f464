"""What a rule gets to look at."""

from collections.abc import Iterator

from msgspec import Struct

from lockgate.policy.facts import Facts, Server
from lockgate.policy.model.environment import UNKNOWN, Environment
from lockgate.policy.model.schema import Relation, Schema
from lockgate.policy.model.spelling import in_words, spelled
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode, Name

EARLY_STAGE = "early-stage"
"""The profile of a product that nobody depends on yet: what takes data or names away is a warning."""
ALLOWED = f"; profile {EARLY_STAGE} allows it"
"""How the evidence of such a finding ends."""


class Hit(Struct, frozen=True):
    """What a rule answers: a message with the user's own names, and the safe way in SQL where there is one."""

    message: str
    fix: str = ""
    # The relation that the hit is about: its size may lower the severity.
    relation: str = ""
    # Overrides the severity of the hazard.
    severity: str = ""
    line: int = 0


class Options(Struct, frozen=True):
    """The settings of the policy, as plain values."""

    server: Server = Server()
    # "default", or EARLY_STAGE
    profile: str = "default"
    # Tables with fewer rows, by the snapshot, are small.
    small_rows: int = 1000
    # From here on a table is large: reading it under a lock is an outage.
    big_rows: int = 1_000_000
    big_bytes: int = 1 << 30
    # More rows than this may not change in one transaction.
    row_limit: int = 100_000
    # Statements that the organisation forbids, by the first words of their kind.
    forbidden: tuple[str, ...] = ("ALTER SYSTEM",)
    # Types that no column may have, by PostgreSQL's internal names; at first those that only its catalogues use.
    forbidden_types: tuple[str, ...] = ("char", "name", "oid", "xid", "cid", "tid")
    # Columns that every new table must have.
    required_columns: tuple[str, ...] = ()
    # What a snapshot says of the server around the schema.
    environment: Environment = UNKNOWN


class Judged(Struct):
    """A statement with its facts, as later statements of the file see it."""

    statement: w.Statement
    facts: Facts
    line: int


class File(Struct):
    """The file under judgement."""

    name: str
    number: int
    # The phase that the file declares; empty when it says nothing.
    declared: str = ""
    transactional: bool = True
    judged: list[Judged] = []
    total: int = 0
    text: str = ""
    # The down section, as text.
    down: str = ""
    # The moves that must be reconciled before it may run.
    after: tuple[str, ...] = ()
    # Its place among all files of the project, when only some are judged.
    place: int = 0
    # The span, in bytes of the text, of the statement that is looked at.
    start: int = 0
    end: int = 0


class Subject:
    """One statement before the model of everything that ran earlier.

    ``action`` is set for rules on sub-actions of ALTER TABLE; ``key`` and ``table`` are the relation that the
    statement is about. ``schema`` is the state *before* the statement and must not be changed.
    """

    __slots__ = ("action", "facts", "file", "key", "line", "name", "options", "schema", "statement", "table")

    def __init__(
        self, statement: w.Statement, facts: Facts, line: int, file: File, schema: Schema, options: Options
    ) -> None:
        self.statement = statement
        self.facts = facts
        self.line = line
        self.file = file
        self.schema = schema
        self.options = options
        self.action: w.Action | None = None
        name = (
            getattr(statement, "table", None)
            or getattr(statement, "target", None)
            or getattr(statement, "name", None)
        )
        self.name = name if isinstance(name, Name) else None
        self.key = schema.resolve(name) if isinstance(name, Name) else ""
        self.table: Relation | None = schema.relations.get(self.key)

    @property
    def sql(self) -> str:
        """The relation that the statement is about, as SQL spells it."""
        return in_words(self.name, self.key) if self.name is not None else spelled(self.key)

    def is_new(self, key: str) -> bool:
        """Whether ``key`` was created by this same file: nobody uses it yet, and it holds little."""
        state = self.schema.relations.get(key)
        if state is not None:
            return state.created_file == self.file.number
        index = self.schema.indexes.get(key)
        return index is not None and self.is_new(index.table)

    @property
    def new(self) -> bool:
        """Whether the statement's own relation was created by this file."""
        return self.table is not None and self.table.created_file == self.file.number

    def rows(self, key: str) -> int:
        """The row estimate of a snapshot, or -1."""
        state = self.schema.relations.get(key)
        return -1 if state is None else state.rows

    def small(self, key: str) -> bool:
        """Whether a snapshot shows that ``key`` is small."""
        return 0 <= self.rows(key) < self.options.small_rows

    def busy_locks(self, least: LockMode) -> list[str]:
        """Relations that older files built and that this statement locks with ``least`` or more."""
        return [key for key, mode in self.facts.locks.items() if mode >= least and not self.is_new(key)]

    def earlier(self) -> Iterator[Judged]:
        """The statements of the file before this one."""
        return iter(self.file.judged)
