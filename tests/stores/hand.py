"""A dual-written move in the hand of a test, with its calls one by one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lockgate.moves.declaration import LimitsPart
from lockgate.moves.dual import DualWriter
from lockgate.moves.dual.declaration import DualDeclaration, Place
from lockgate.moves.dual.opened import Opened, opened
from lockgate.moves.dual.pair import Urls
from lockgate.postgres.moves import home
from lockgate.postgres.target import Target
from stores.conftest import COLUMNS
from stores.conftest import Place as Store
from stores.test_conformance import ROWS
from support.calls import Project

LIMITS = LimitsPart(
    batch_rows=40, relay_rows=20, workers=2, lock_attempt_ms=50, lock_patience_seconds=20, block_ms=60_000,
    max_connections_percent=100, max_lock_waiters=1000, max_commit_ms=0,
)  # fmt: skip
"""``block_ms`` is no part of these tests: what a test does behind the barrier may take long on a busy machine. Nor are the
other tests' sessions on the same server, which would hold the backfill."""
BUSY = "[limits]\nmax_connections_percent = 100\nmax_lock_waiters = 1000\nmax_commit_ms = 0\n"
"""The same for a file."""


class Hand:
    """One move between the tables ``t`` of two stores."""

    def __init__(self, source: Store, target: Store, ledger: str, **more: object) -> None:
        words = {"kind": "dual-write", "source": Place("t", "ONE"), "target": Place(target.table, "OTHER"), "name": "things", "limits": LIMITS}  # fmt: skip
        self.declared = DualDeclaration(**{**words, **more})  # type: ignore[arg-type]
        self.places = Urls(source.url, target.url)
        self.home = Target(ledger, source="test")
        home.ensure(self.home)

    @contextmanager
    def open(self) -> Iterator[Opened]:
        with opened(self.declared, self.home, self.places, "test") as move:
            yield move

    def call(self, work: Callable[..., object], **more: object) -> object:
        with self.open() as move:
            return work(move, **more)

    def writer(self, **more: object) -> DualWriter:
        return DualWriter(self.declared, self.places, **more)  # type: ignore[arg-type]

    def state(self, which: str) -> dict[str, tuple[str | None, ...]]:
        with self.open() as move:
            side = getattr(move.pair, which)
            low, found = None, {}
            while (high := side.boundary(low, 1000)) is not None:
                found |= {
                    k[0]: image for k, image in side.rows([k for k, _ in side.between(low, high)], ["u", "n"])
                }
                low = high
            return found


def row(number: int, word: str) -> dict[str, object]:
    """A row as an application writes it."""
    return dict(zip(COLUMNS, (number, *ROWS[5][1:9], word), strict=True))


def declared(
    folder: Path, ledger: str, source: Store, target: Store, *, side: str = "", more: str = ""
) -> Project:
    """A project in ``folder`` whose ``moves/things.toml`` says the move between two stores; ``side`` is more of ``[target]``, ``more`` stands behind it."""
    project = Project(folder, ledger)
    project.environ |= {"ONE": source.url, "OTHER": target.url}
    (folder / "moves").mkdir()
    (folder / "moves" / "things.toml").write_text(
        'kind = "dual-write"\nwriters = 0\nkey = ["id"]\n[source]\ntable = "t"\nurl_env = "ONE"\n'
        f'[target]\ntable = "{target.table}"\nurl_env = "OTHER"\n{side}{more if "[limits]" in more else BUSY + more}'
    )
    return project
