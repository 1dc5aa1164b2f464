"""A dual-written move with its sessions open: the ledger in the project's database, and both sides."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from lockgate.errors import LockgateError, Refused
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.dual.pair import Pair, Urls, open_pair
from lockgate.moves.throttle import Gauging
from lockgate.postgres.link import Link, refusal
from lockgate.postgres.moves import ledger, log
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.moves.pressure import gauges
from lockgate.postgres.moves.replica import Replica
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.stores.pressure import MysqlGauge, SqliteGauge, read_lag
from lockgate.stores.side import Side
from lockgate.stores.speaking import MysqlSpeaker, PostgresSpeaker, SqliteSpeaker, speak


def replica_problems(declared: DualDeclaration, places: Urls) -> list[tuple[str, str]]:
    """What stands in the way of reading from the standby that is named, as (what, fix)."""
    if not places.replica:
        return []
    speaker = speak(places.source, f"move {declared.name} plan", "source")
    try:
        if not isinstance(speaker, PostgresSpeaker):
            return [("source.replica_env: only a source in PostgreSQL has standbys that are read", "Take it out.")]  # fmt: skip
        Replica(Target(places.replica, source="source.replica_env"), speaker.link, f"move {declared.name} plan", 0).close()  # fmt: skip
    except LockgateError as error:
        return [(error.message, error.next or "Point replica_env at a streaming standby of the source, or take it out.")]  # fmt: skip
    finally:
        speaker.close()
    return []


def lag_problems(declared: DualDeclaration, places: Urls) -> list[tuple[str, str]]:
    """Replicas of ``lag_env`` that do not say how far they are behind, as (what, fix): they would hold the backfill for good."""
    found = []
    sides = (("source", places.source, declared.source.lag_env, places.lagging[0]), ("target", places.target, declared.target.lag_env, places.lagging[1]))  # fmt: skip
    for side, primary, variables, urls in sides:
        for variable, url in zip(variables, urls, strict=False):
            try:
                if primary.partition(":")[0].lower() not in ("mysql", "mariadb"):
                    found.append((f"{side}.lag_env: standbys of PostgreSQL are seen by their primary, and SQLite has none", "Take it out."))  # fmt: skip
                    continue
                speaker = MysqlSpeaker(url, variable)
                try:
                    if read_lag(speaker) is None:
                        found.append((f"{side}.lag_env: {speaker.where} does not say how far it is behind", f"Start its replication, and GRANT REPLICA MONITOR (MySQL: REPLICATION CLIENT) to the account of {variable}."))  # fmt: skip
                finally:
                    speaker.close()
            except LockgateError as error:
                found.append((f"{side}.lag_env: {error.message}", error.next or f"Mend {variable}, or take it out."))  # fmt: skip
    return found


class Opened:
    """One move, open. ``home`` holds the ledger; ``pair`` opens both stores when it is first asked for."""

    def __init__(self, declared: DualDeclaration, home: Target, places: Urls, purpose: str) -> None:
        self.declared, self.target, self.places, self.purpose = declared, home, places, purpose
        self.owner = f"{purpose} {uuid.uuid4().hex[:8]}"
        self.home = Link(home, f"move {declared.name} {purpose}")
        self._pair: Pair | None = None
        self._replica: Replica | None = None
        self._replicas: list[MysqlSpeaker] = []
        try:
            self.home.refuse_pooler()
            ledger.show_life(self.home, self.owner)
        except BaseException:
            self.home.close()
            raise

    @property
    def name(self) -> str:
        """The move's name."""
        return self.declared.name

    @property
    def place_told(self) -> dict[str, str]:
        """What every document says of where rows go: of an index its store, and whether its adapter was run against the real thing."""
        return {}

    @property
    def again(self) -> Callable[[DualDeclaration, Target, Urls, str], AbstractContextManager["Opened"]]:
        """How a worker opens the same move; a function of a module, so that it can be sent to another process."""
        return opened

    @property
    def pair(self) -> Pair:
        """Both sides."""
        if self._pair is None:
            self._pair = open_pair(self.declared, self.places, self.purpose)
        return self._pair

    @property
    def open_pair(self) -> Pair | None:
        """Both sides where they have been opened."""
        return self._pair

    def gauges(self) -> tuple[Gauging, ...]:
        """A gauge of every server that a backfill presses: the ledger's, and that of each side; each PostgreSQL once."""
        sides = [self.pair.source, self.pair.target]
        links = (self.home, *(s.speaker.link for s in sides if isinstance(s.speaker, PostgresSpeaker)))
        found: list[Gauging] = [*gauges(links)]
        for side, urls, name in zip(sides, self.places.lagging, ("source", "target"), strict=True):
            if isinstance(side.speaker, SqliteSpeaker):
                found.append(SqliteGauge(side))
            elif isinstance(side.speaker, MysqlSpeaker):
                replicas = [MysqlSpeaker(url, f"{name}.lag_env") for url in urls]
                self._replicas += replicas
                found.append(MysqlGauge(side, replicas))
        return tuple(found)

    def reading(self) -> Side:
        """The source for reading much of it: its standby, where there is one, once that is past all that was committed before.

        A row and its revision are read at one moment, so one that is older than the primary's changes nothing where a newer
        one came; but a write from before writers captured has to be in it. Raises ``LockgateError`` (``MOVE_REPLICA``).
        """
        source = self.pair.source
        if not self.places.replica:
            return source
        if self._replica is None:
            if not isinstance(source.speaker, PostgresSpeaker):
                raise Refused("only a source in PostgreSQL has standbys that are read", "MOVE_REPLICA", next="Take source.replica_env out.")  # fmt: skip
            self._replica = Replica(
                Target(self.places.replica, source="source.replica_env"), source.speaker.link, f"move {self.name} {self.purpose} reads",
                self.declared.limits.replica_wait_seconds,
            )  # fmt: skip
        assert isinstance(source.speaker, PostgresSpeaker)
        log.flush(
            source.speaker.link
        )  # writers need not have waited for the disk, and the standby gets what is on it
        return source.by(PostgresSpeaker(self._replica.target, "", self._replica.past()))

    def keep(self, pair: Pair) -> None:
        """Take ``pair`` as both sides from here on; the one that was open is closed."""
        if self._pair is not None:
            self._pair.close()
        self._pair = pair

    def row(self) -> MoveRow:
        """Where the move stands now. Raises ``Refused`` (``MOVE_CHANGED``) when the file is not the one it was started with."""
        row = ledger.read(self.home, self.name)
        if row.declaration_hash != self.declared.hash:
            raise Refused(f"moves/{self.name}.toml is not what the move was started with", "MOVE_CHANGED")
        return row

    def feed(self, row: MoveRow) -> tuple[Side, Side]:
        """(the side that serves, the other one), as the ledger says."""
        return self.pair.of("target" if row.stage in ("cut_over", "tail", "finished") else "source")

    def close(self) -> None:
        """Close every session."""
        if self._pair is not None:
            self._pair.close()
        if self._replica is not None:
            self._replica.close()
        for replica in self._replicas:
            replica.close()
        self.home.close()


@contextmanager
def opened(declared: DualDeclaration, home: Target, places: Urls, purpose: str) -> Iterator[Opened]:
    """Open a move; what the home database refuses comes out as an error for people."""
    move = Opened(declared, home, places, purpose)
    try:
        yield move
    except ServerError as error:
        raise refusal(error, f"the move {declared.name}", home) from None
    finally:
        move.close()
