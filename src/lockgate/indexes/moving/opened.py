"""A move into an index with its sessions open: the ledger, the source, and the generations that are fed."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from lockgate.indexes.embedders import Cached, Embedder, open_embedder
from lockgate.indexes.moving.side import NEW, OLD, Fed, IndexSide
from lockgate.indexes.register import Generation, find_generation
from lockgate.moves.dual.declaration import DualDeclaration
from lockgate.moves.dual.into import IndexMove, source_side
from lockgate.moves.dual.opened import Opened
from lockgate.moves.dual.pair import Pair, Urls
from lockgate.postgres.link import refusal
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.stores.open_search import IN_DATABASE, one_owner, open_search, unproven
from lockgate.stores.searching import LiveStore
from lockgate.stores.side import Side
from lockgate.stores.speaking import PostgresSpeaker


class IndexPair(Pair):
    """The source and the generation that is being filled; the stores are closed with them."""

    target: IndexSide

    def __init__(self, source: Side, target: IndexSide, stores: "Stores") -> None:
        super().__init__(source, target)
        self.stores = stores

    def close(self) -> None:
        """See ``Pair``."""
        self.stores.close()
        super().close()


class Stores:
    """The stores of one session, each opened once. Relative places start at the project's folder."""

    def __init__(self, speaker: PostgresSpeaker, root: str) -> None:
        self._speaker, self._root = speaker, Path(root)
        self._open: dict[tuple[str, str], LiveStore] = {}

    def at(self, kind: str, place: str) -> LiveStore:
        """The store of a kind and a place. Raises ``ConfigError``."""
        if (kind, place) not in self._open:
            path = place if kind in IN_DATABASE or "://" in place or not place else str(self._root / place)
            key = os.environ.get("LOCKGATE_STORE_KEY", "")
            found: LiveStore = open_search(kind, path, self._speaker.link, key)  # type: ignore[assignment]
            self._open[kind, place] = found
        return self._open[kind, place]

    def of(self, row: Generation) -> LiveStore:
        """The store of a generation."""
        return self.at(row.store, row.place)

    def embedder(self, row: Generation) -> Embedder | None:
        """What makes the vectors of a generation, cached by content; None where they come with the records."""
        if not row.embedder or row.manifest.kind != "vector":
            return None
        found = open_embedder(row.embedder, embedder_key())
        return found if row.embedder.startswith("hashing") else Cached(found, self.cache)

    @property
    def cache(self) -> Path:
        """The file in which vectors are kept by the content of their texts."""
        folder = self._root / ".lockgate"
        folder.mkdir(exist_ok=True)
        return folder / "embeddings.sqlite"

    def close(self) -> None:
        """Close them."""
        for store in self._open.values():
            store.close()


def embedder_key() -> str:
    """The key of an embedding endpoint; it comes from the environment only."""
    return os.environ.get("LOCKGATE_EMBEDDER_KEY", "")


class Inline(Executor):
    """Work is done where it is submitted, at once: for stores that belong to one session."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """See ``Executor``."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class OpenedIndex(Opened):
    """One move into an index, open."""

    declared: IndexMove

    @property
    def alone(self) -> bool:
        """Whether the store is written by one session at a time, so that this one does all the work."""
        return one_owner(self.declared.index.store, self.declared.index.place)

    @property
    def place_told(self) -> dict[str, str]:
        """See ``Opened``."""
        index = self.declared.index
        return {"store": index.store, "unproven": unproven(index.store, index.place)}

    @property
    def again(self) -> Callable[[DualDeclaration, Target, Urls, str], AbstractContextManager[Opened]]:
        """See ``Opened``. A store that is written by one session at a time is worked on by this one."""
        if self.alone:
            return lambda *_: nullcontext(self)
        return opened_index

    @property
    def pair(self) -> IndexPair:
        """See ``Opened``. The generations are those that the ledger names."""
        if not isinstance(self._pair, IndexPair):
            row = self.row().declaration
            self._pair = self.open(str(row.get("generation", "")), str(row.get("previous", "")))
        return self._pair

    def open(self, generation: str, previous: str) -> IndexPair:
        """The source and the generations named; ``previous`` is fed too, "" for none."""
        speaker = PostgresSpeaker(self.target, f"move {self.name} {self.purpose}")
        stores = Stores(speaker, self.declared.root)
        source: Side | None = None
        try:
            source = source_side(self.declared, self.places.source, self.purpose)

            def fed(name: str) -> Fed:
                row = find_generation(speaker.link, self.declared.index.name, name)
                return Fed(row, stores.of(row), stores.embedder(row))

            older = IndexSide(speaker, source, fed(previous), OLD) if previous else None
            return IndexPair(source, IndexSide(speaker, source, fed(generation), NEW, older), stores)
        except BaseException:
            stores.close()
            speaker.close()
            if source is not None:
                source.speaker.close()
            raise

    def feed(self, row: MoveRow) -> tuple[Side, Side]:
        """(the table, the index): it never turns round."""
        return self.pair.source, self.pair.target


@contextmanager
def opened_index(declared: DualDeclaration, home: Target, places: Urls, purpose: str) -> Iterator[OpenedIndex]:  # fmt: skip
    """Open a move into an index; what the project's database refuses comes out as an error for people."""
    assert isinstance(declared, IndexMove)
    move = OpenedIndex(declared, home, places, purpose)
    try:
        yield move
    except ServerError as error:
        raise refusal(error, f"the move {declared.name}", home) from None
    finally:
        move.close()
