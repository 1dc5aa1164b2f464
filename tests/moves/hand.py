"""A move in the hand of a test: declared, with its calls one by one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from lockgate.moves import backfill, cutover, ending, reconcile, start
from lockgate.moves.declaration import Declaration, LimitsPart, Source, TargetSide
from lockgate.moves.opened import Opened, Where, opened
from lockgate.postgres.moves import home
from lockgate.postgres.target import Target
from support.calls import Project

DECLARED = '[source]\ntable = "item"\n[target]\ntable = "item_new"\ncreate = true\n[limits]\nbatch_rows = 100\nmax_connections_percent = 100\nmax_lock_waiters = 1000\n'
"""A move of the table ``item`` that makes its target."""
SMALL = LimitsPart(
    batch_rows=200,
    relay_rows=100,
    workers=2,
    lock_attempt_ms=50,
    lock_patience_seconds=20,
    block_ms=5000,
    max_connections_percent=100,
    max_lock_waiters=1000,
)


class Hand:
    """One move between ``item`` and ``item_new`` (or ``item`` elsewhere)."""

    def __init__(
        self, source: str, target: str | None = None, *, to: TargetSide | None = None, **more: Any
    ) -> None:
        self.far_url = target
        words: dict[str, Any] = {
            "source": Source("item"), "target": TargetSide("item_new" if target is None else "item", "" if target is None else "ELSEWHERE", True),
            "name": "items", "switch": "rename" if target is None else "none", "limits": SMALL,
        }  # fmt: skip
        if to is not None:
            words["target"] = to
        self.declared = Declaration(**{**words, **more})
        self.places = Where(
            Target(source, source="test"), None if target is None else Target(target, source="test")
        )
        for place in filter(None, self.places):
            home.ensure(place)

    @contextmanager
    def open(self) -> Iterator[Opened]:
        with opened(self.declared, self.places, "test") as move:
            yield move

    def start(self) -> str:
        with self.open() as move:
            return start.start(move, "tester")

    def plan(self) -> Any:
        with self.open() as move:
            return start.plan(move)

    def backfill(self, **more: Any) -> Any:
        with self.open() as move:
            return backfill.backfill(move, **more)

    def reconcile(self, **more: Any) -> Any:
        with self.open() as move:
            return reconcile.reconcile(move, **more)

    def cutover(self) -> Any:
        with self.open() as move:
            return cutover.cutover(move, operator="tester")

    def rollback(self) -> Any:
        with self.open() as move:
            return cutover.rollback(move, operator="tester")

    def finish(self, **more: Any) -> Any:
        with self.open() as move:
            return ending.finish(move, **more)

    def abort(self) -> Any:
        with self.open() as move:
            return ending.abort(move, "test")

    def resume(self) -> Any:
        with self.open() as move:
            return ending.resume(move)

    def relay(self) -> Any:
        with self.open() as move:
            return ending.relay_once(move)

    @property
    def stage(self) -> str:
        with self.open() as move:
            return move.row().stage

    def there(self) -> None:
        """start, backfill, reconcile."""
        self.start()
        assert self.backfill().complete
        self.reconcile()

    def serving(self) -> str:
        from lockgate.moves.stages import SOURCE_SERVES

        return "source" if self.stage in SOURCE_SERVES else "target"

    def with_limits(self, **more: Any) -> "Hand":
        self.declared = msgspec.structs.replace(
            self.declared, limits=msgspec.structs.replace(self.declared.limits, **more)
        )
        return self


def make(url: str, rows: int = 3000) -> None:
    from moves.writers import MAKE
    from support.tables import run_sql

    run_sql(url, *(s.format(rows=rows) for s in MAKE))


__all__ = ["Hand", "Path", "make"]


def declare(project: Project, text: str = DECLARED) -> None:
    """Let the project have the move ``items``."""
    (project.root / "moves").mkdir(exist_ok=True)
    (project.root / "moves" / "items.toml").write_text(text)
