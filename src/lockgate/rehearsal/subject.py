"""One query of a release on its way through the migrations: what is known of it, and how it is called."""

from typing import Any

from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import literal
from lockgate.rehearsal.compatibility import Outcome
from lockgate.rehearsal.nulls import Sent, Together
from lockgate.rehearsal.references import Known
from lockgate.rehearsal.refusing import Edges, Sending
from lockgate.rehearsal.results import Gives, Key
from lockgate.rehearsal.trials import Trial


class Subject:
    """One query on its way through the migrations."""

    def __init__(self, number: int, release: str, query: Any) -> None:
        self.name = f"lockgate_{number}"
        self.release = release
        self.query = query
        self.shown: str = query.text
        """The text as it was given; that of ``query`` may have types that it does not show."""
        self.types: list[str] | None = None
        self.sent: list[str] = []
        """The types that a driver sends: of the server's own types their number, of others nothing, so the server infers them anew."""
        self.sets: list[Trial] = []
        self.nulls: list[Sent | Together] | None = None
        """The NULLs that it could send where it first worked."""
        self.edges: Edges | None = None
        """What it could write where it first worked, and new rules refuse."""
        self.known = Known(frozenset(), frozenset())
        self.before: tuple[str, ...] = ()
        """Statements that make room for what it writes, in the same transaction."""
        self.rows = 0
        """How many rows it gave or touched with all its sets where it last did."""
        self.roles: dict[str, int] = {}
        """Role under which it works → how many rows that gave."""
        self.outcomes: list[Outcome] = []
        self.gives: tuple[Gives, ...] | None = None
        """The columns of its result where it first worked."""
        self.takes: dict[Key, Gives] = {}
        """The columns that its parameters are written into, as they were where it first worked."""
        self.scans: frozenset[str] = frozenset()
        self.warm = False
        self.slow: ServerError | None = None
        """That it took too long with made-up values: it is not tried again."""

    @property
    def prepare(self) -> str:
        """The statement that prepares it, with the types that a driver sends."""
        types = f" ({', '.join(self.sent)})" if self.sent else ""
        return f"PREPARE {self.name}{types} AS {self.query.text}"

    def execute(self, trial: Trial) -> list[str]:
        """The calls of a trial, in order."""
        texts = [*self.before]
        for values in trial:
            listed = ", ".join("NULL" if v is None else literal(v) for v in values)
            texts.append(f"EXECUTE {self.name}{f' ({listed})' if listed else ''}")
        return texts

    @property
    def sending(self) -> Sending:
        """How it is sent."""
        return Sending(self.query, self.types or [], self.sets, self.execute)
