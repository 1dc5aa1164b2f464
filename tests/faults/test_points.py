"""Every point of ``up``, every kind of fault: n = 1 … N, then a run without a fault, then the invariants.

``make test`` tries a seeded sample of the points, ``make soak`` all of them.
"""

import random
import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from faults import conftest, invariants, look
from faults.cluster import Cluster
from faults.drive import CANARY, Ended, Project
from faults.relay import Line, Relay
from faults.shapes import SHAPES, Shape

SEED = 20240229
SAMPLE = {"raise": 2, "kill": 4, "term": 1, "cut": 2, "lost answer": 3, "half-open": 1, "crash": 1}
"""How many points of each shape ``make test`` tries."""
HALF_OPEN = {"FAULT_GRACE": "1", "MIGRATION_TIMEOUT_SECONDS": "3"}
"""A wire that is silent for good costs each point all the patience there is, so there is little of it."""


class Bench:
    """Where one kind of fault is tried: how to get a fresh database, and how to run with the fault at a point."""

    def __init__(
        self,
        project: Project,
        fresh: Callable[[], str],
        strike: Callable[[str, int], Ended],
        calm: Callable[[str], str],
        codes: frozenset[int] = frozenset(),
    ) -> None:
        self.project = project
        self.fresh = fresh
        self.strike = strike
        self.calm = calm
        self.codes = codes

    def try_point(self, shape: Shape, number: int) -> None:
        """One fault at point ``number``, then a run without one, with the invariants after each."""
        url = self.fresh()
        hurt = self.strike(url, number)
        assert not self.codes or hurt.code in self.codes, (
            f"{shape.name}, point {number}: the fault ended with {hurt}"
        )
        try:
            invariants.after_fault(self.calm(url), shape, hurt)
            again = self.project.run(url)
            invariants.after_rerun(self.calm(url), shape, again)
        except AssertionError as error:
            raise AssertionError(
                f"{shape.name}, point {number}: {error}\nthe run with the fault: {hurt}"
            ) from error


def sample(shape: Shape, kind: str, total: int) -> list[int]:
    """The points that ``make test`` tries: the same ones every time."""
    rng = random.Random(SEED + zlib.crc32(f"{shape.name}/{kind}".encode()))
    return sorted(rng.sample(range(1, total + 1), min(SAMPLE[kind], total)))


def simple(project: Project, fresh: Callable[[], str], kind: str, shape: Shape) -> Bench:
    """Faults that the runner does to itself, and how it may end then. A signal may come too late."""
    codes = {"kill": {-signal.SIGKILL}, "raise": {70}, "term": {143, shape.exit}}
    return Bench(
        project,
        fresh,
        lambda url, number: project.run(url, fault={"kind": kind, "at": number}),
        lambda url: url,
        frozenset(codes[kind]),
    )


@contextmanager
def wired(project: Project, fresh: Callable[[], str], relay: Relay, line: Line, kind: str) -> Iterator[Bench]:
    """Faults of the wire. The runner speaks through the relay, the checker does not."""
    direct: dict[str, str] = {}

    def make() -> str:
        url = fresh()
        through = relay.url(url.rsplit("/", 1)[1], password=CANARY)
        direct[through] = url
        return through

    def strike(url: str, number: int) -> Ended:
        environment = HALF_OPEN if kind == "half-open" else {}
        runner = project.start(
            url, fault={"kind": "ask", "at": number, "control": line.path}, environment=environment
        )
        line.wait()
        if kind == "cut":
            relay.cut()
        elif kind == "lost answer":
            relay.cut_on_answer()
        else:
            relay.freeze()
        line.answer()
        ended = runner.wait()
        relay.forget()
        relay.cut()
        return ended

    yield Bench(project, make, strike, direct.__getitem__)


@contextmanager
def deadly(project: Project, cluster: Cluster, relay_to: Relay, line: Line) -> Iterator[Bench]:
    """The whole server goes down at the point, without a checkpoint, and is started again while the runner waits."""
    made: list[str] = []

    def make() -> str:
        name = f"d{len(made)}"
        conftest.drop(cluster.url(), name)
        conftest.create(cluster.url(), name)
        made.append(name)
        return relay_to.url(name, password=CANARY)

    def strike(url: str, number: int) -> Ended:
        runner = project.start(url, fault={"kind": "ask", "at": number, "control": line.path})
        line.wait()
        cluster.crash()
        line.answer()
        cluster.start()
        return runner.wait()

    def calm(url: str) -> str:
        return conftest.with_canary(cluster.url(url.rsplit("/", 1)[1].split("?", 1)[0]))

    try:
        yield Bench(project, make, strike, calm)
    finally:
        for name in made:
            conftest.drop(cluster.url(), name)


@pytest.fixture
def bench(
    kind: str,
    shape: Shape,
    project: Project,
    fresh: Callable[[], str],
    line: Line,
    request: pytest.FixtureRequest,
) -> Iterator[Bench]:
    """The bench for ``kind`` with the files of ``shape``."""
    project.write(*shape.files)
    if kind in ("raise", "kill", "term"):
        yield simple(project, fresh, kind, shape)
    elif kind == "crash":
        cluster: Cluster = request.getfixturevalue("mortal")
        with Relay(lambda: cluster.socket) as relay, deadly(project, cluster, relay, line) as made:
            yield made
    else:
        if kind == "half-open":
            project.configure(reconnect_seconds=1)
        with wired(project, fresh, request.getfixturevalue("relay"), line, kind) as made:
            yield made


SILENT = ("small", "concurrent", "contract")
"""The shapes that are tried on a silent wire: each of their points takes seconds."""
ALL = [
    (kind, shape)
    for kind in SAMPLE
    for shape in SHAPES.values()
    if kind != "half-open" or shape.name in SILENT
]
FEW = [(kind, shape) for kind, shape in ALL if kind != "half-open" or shape.name in SILENT[:2]]


def each(pairs: list[tuple[str, Shape]]) -> pytest.MarkDecorator:
    """The test for each of ``pairs``."""
    return pytest.mark.parametrize(
        ("kind", "shape"), pairs, ids=[f"{kind}-{shape.name}".replace(" ", "-") for kind, shape in pairs]
    )


@look.SERVERS
@each(FEW)
def test_a_sample_of_the_points(bench: Bench, shape: Shape, kind: str, fresh: Callable[[], str]) -> None:
    """After a fault at any of these points the next run finishes the work, exactly once, and the database says so."""
    total = len(bench.project.points(fresh()))
    assert total > 40, "the points are gone: nothing would be tried"
    for number in sample(shape, kind, total):
        bench.try_point(shape, number)


@pytest.mark.soak
@pytest.mark.postgres("18", "machine")
@each(ALL)
def test_every_point(bench: Bench, shape: Shape, kind: str, fresh: Callable[[], str]) -> None:
    """The same at every point there is."""
    for number in range(1, len(bench.project.points(fresh())) + 1):
        bench.try_point(shape, number)
