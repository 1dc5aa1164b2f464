"""Readers and writers at work while the files go through: how long the slowest of them waited, and how many failed."""

import threading
import time
from collections.abc import Callable

import msgspec

from lockgate.errors import LockgateError
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import Table, quote
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire

CALM_SECONDS = 1.0
"""How long the load runs before the first file: what is slow then is not slow because of it."""


class Work(msgspec.Struct, frozen=True):
    """One thing that a client does again and again: ``kind`` is read or write."""

    kind: str
    prepare: str
    execute: str
    name: str


class Sample(msgspec.Struct, frozen=True):
    """One transaction: when it ended, how long it took, read or write, and what the server said when it failed."""

    at: float
    seconds: float
    kind: str
    error: str = ""


class Load(msgspec.Struct, frozen=True, rename="camel"):
    """What the clients lived through."""

    seconds: float
    clients: int
    transactions: int
    failed: int
    slowest_read_ms: float
    slowest_write_ms: float
    calm_read_ms: float
    calm_write_ms: float
    errors: tuple[str, ...]
    by: str = "clients"
    """Who the clients were: lockgate's own (clients), or pgbench."""


def work_of(tables: list[Table], filled: dict[str, int]) -> list[Work]:
    """Reads and writes for the tables that hold rows, where no release says what it asks."""
    found = []
    for number, table in enumerate(t for t in tables if filled.get(t.key)):
        column = next((c for c in table.columns if not c.generated and not c.identity), None)
        somewhere = (
            f"(SELECT ctid FROM {table.quoted} OFFSET floor(random() * {filled[table.key]})::int LIMIT 1)"  # noqa: S608
        )
        texts = {"read": f"SELECT * FROM {table.quoted} WHERE ctid = {somewhere}"}  # noqa: S608
        if column is not None:
            name = quote(column.name)
            texts["write"] = f"UPDATE {table.quoted} SET {name} = {name} WHERE ctid = {somewhere}"  # noqa: S608
        for kind, text in texts.items():
            label = f"lockgate_load_{kind}_{number}"
            found.append(Work(kind, f"PREPARE {label} AS {text}", f"EXECUTE {label}", label))
    return found


class Clients:
    """So many sessions, each in a thread of its own, half of them writing; a context manager."""

    def __init__(self, target: Target, work: list[Work], count: int) -> None:
        reads = [w for w in work if w.kind == "read"] or work
        writes = [w for w in work if w.kind == "write"] or work
        self.samples: list[Sample] = []
        self.began = time.monotonic()
        self._stop = threading.Event()
        self._target = target
        self._threads = [
            threading.Thread(
                target=self._run, args=(writes if number % 2 else reads, number), name="lockgate-load", daemon=True
            )
            for number in range(count)
        ]  # fmt: skip

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def wait(self, seconds: float) -> None:
        """Let them work for a while."""
        self._stop.wait(seconds)

    def _run(self, work: list[Work], number: int) -> None:
        wire: Wire | None = None
        turn = number
        ready: set[str] = set()
        while not self._stop.is_set():
            item = work[turn % len(work)]
            turn += 1
            start = time.monotonic()
            error = ""
            try:
                if wire is None or not wire.alive:
                    wire, ready = Wire(self._target, "load"), set()
                if item.name not in ready:
                    wire.one(item.prepare)
                    ready.add(item.name)
                wire.batch([Call("BEGIN"), Call(item.execute), Call("ROLLBACK")])
            except (ServerError, LockgateError) as problem:
                error = f"{getattr(problem, 'sqlstate', '')} {problem}".strip()
                if wire is not None:
                    wire.close()  # as an application would: it takes another connection
            now = time.monotonic()
            self.samples.append(Sample(now, now - start, item.kind, error))
            self._stop.wait(
                0.002
            )  # a busy service, not a benchmark: two cores have to serve the migration too
        if wire is not None:
            wire.close()


def under_load(target: Target, work: list[Work], clients: int, apply: Callable[[], None]) -> Load:
    """Run ``apply`` while ``clients`` sessions do ``work``. Raises what ``apply`` raises."""
    with Clients(target, work, clients) as crowd:
        crowd.wait(CALM_SECONDS)
        since = time.monotonic()
        try:
            apply()
        finally:
            crowd.wait(0.2)
    return load_of(crowd.samples, since, clients, time.monotonic() - crowd.began)


def load_of(samples: list[Sample], since: float, clients: int, seconds: float, by: str = "clients") -> Load:
    """The figures of these samples; ``since`` is when the files began. A sample belongs to where it ended. Pure."""

    def slowest(kind: str, *, calm: bool) -> float:
        chosen = [s.seconds for s in samples if s.kind == kind and (s.at < since) is calm]
        return round(max(chosen, default=0.0) * 1000, 3)

    errors = [s.error for s in samples if s.error]
    return Load(
        round(seconds, 3), clients, len(samples), len(errors),
        slowest("read", calm=False), slowest("write", calm=False), slowest("read", calm=True), slowest("write", calm=True),
        tuple(dict.fromkeys(errors))[:20], by,
    )  # fmt: skip
