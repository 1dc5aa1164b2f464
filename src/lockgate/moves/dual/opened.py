"""A dual-written move with its sessions open: the ledger in the project's database, and both sides."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from lockgate.errors import Refused
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.dual.pair import Pair, Urls, open_pair
from lockgate.postgres.link import Link, refusal
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.stores.side import Side


class Opened:
    """One move, open. ``home`` holds the ledger; ``pair`` opens both stores when it is first asked for."""

    def __init__(self, declared: DualDeclaration, home: Target, places: Urls, purpose: str) -> None:
        self.declared, self.target, self.places, self.purpose = declared, home, places, purpose
        self.owner = f"{purpose} {uuid.uuid4().hex[:8]}"
        self.home = Link(home, f"move {declared.name} {purpose}")
        self._pair: Pair | None = None
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
    def again(self) -> Callable[[DualDeclaration, Target, Urls, str], AbstractContextManager["Opened"]]:
        """How a worker opens the same move; a function of a module, so that it can be sent to another process."""
        return opened

    @property
    def pair(self) -> Pair:
        """Both sides."""
        if self._pair is None:
            self._pair = open_pair(self.declared, self.places, self.purpose)
        return self._pair

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
