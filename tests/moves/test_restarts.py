"""Both servers of a move die as a whole and are started again: nothing that was acknowledged is lost, on either side."""

import itertools
import random
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.cluster import Cluster
from lockgate.errors import LockgateError
from lockgate.moves.dual import DualWriter
from lockgate.moves.dual import declaration as declarations
from lockgate.moves.dual.pair import Urls
from lockgate.moves.dual.writer import AWAY_SECONDS
from moves.hand import make
from moves.test_crashes import chaos
from support.calls import Project, finish
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def clusters(server, session_directory, postgres_label) -> Iterator[tuple[Cluster, Cluster]]:
    """Two servers, whose COMMITs are on disk when they are acknowledged."""
    folder = session_directory / f"restarts-{uuid.uuid4().hex[:8]}"
    made = [Cluster.like(server, Path(f"{folder}{n}"), session_directory, postgres_label) for n in "ab"]
    try:
        for one in made:
            one.start(synchronous_commit="on")
        # Both are copies of one: a database of another number tells them apart.
        made[1].execute("CREATE DATABASE there")
        yield made[0], made[1]
    finally:
        for one in made:
            one.remove()


def deaths(*clusters: Cluster) -> Iterator[Callable[[], None]]:
    """One death after the other: SIGKILL of everything and immediate stop, of each server in turn; then it is started again."""

    def death(cluster: Cluster, how: Callable[[], None]) -> None:
        how()
        cluster.start(synchronous_commit="on")

    one, other = clusters
    ways = [(one, "kill"), (other, "crash"), (one, "crash"), (other, "kill")]
    for one, how in itertools.cycle(ways):
        yield lambda one=one, how=how: death(one, getattr(one, how))


def by_triggers(
    clusters: tuple[Cluster, Cluster], project: Project, rounds: int, rows: int, times: int
) -> None:
    """Rounds of run, cutover and rollback between both servers under three writers, who look what became of what was not acknowledged."""
    source, target = clusters
    make(source.url(), rows)
    ways = deaths(source, target)
    count = 0

    def hurt(_: random.Random, __: "subprocess.Popen[str]") -> None:
        nonlocal count
        count += 1
        next(ways)()

    chaos(project, source.url(), target.url("there"), rounds, 3, rows=rows, hurt=hurt, times=times)
    assert count >= 3, "both servers died, and in both ways"


def test_servers_die_under_a_move_by_triggers(clusters, tmp_path):
    """Source and target die in turn, by SIGKILL of all their processes and by an immediate stop, while a move copies, cuts over, goes back and cuts over: the same commands go on, and no acknowledged write is missing, stale or resurrected."""
    by_triggers(clusters, Project(tmp_path, clusters[0].url()), 1, 3000, 2)


@pytest.mark.soak
def test_servers_die_under_a_move_by_triggers_for_long(clusters, tmp_path):
    """Ten rounds of the same, with more deaths in each command."""
    by_triggers(clusters, Project(tmp_path, clusters[0].url()), 10, 20000, 4)


class Keeper(threading.Thread):
    """An application with ``DualWriter``: it repeats a write that failed, under the same op_id, until it is acknowledged."""

    def __init__(self, writer: DualWriter, number: int) -> None:
        super().__init__(name=f"keeper {number}")
        self.writer, self.number = writer, number
        self.rng = random.Random(number)
        self.held = {n: f"v{n}" for n in range(1, 1001) if n % 2 == number}
        self.writes = self.repeated = 0
        self.stop_asked = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop_asked.wait(0.004):
                key, word = self.rng.randrange(1, 600) * 2 + self.number, f"w{self.rng.random()}"
                goes, op_id = self.rng.random() < 0.3, uuid.uuid4().hex
                last = 0
                while not self.acknowledged(key, None if goes else word, op_id):
                    self.repeated += 1
                    last += self.stop_asked.wait(0.02)
                    assert last < 1000, "both servers run, and the writer does not find them again"
                self.held.pop(key, None)
                if not goes:
                    self.held[key] = word
                self.writes += 1
        except BaseException as error:
            self.error = error

    def acknowledged(self, key: int, word: str | None, op_id: str) -> bool:
        try:
            if word is None:
                self.writer.delete({"id": key}, op_id=op_id)
            else:
                self.writer.put({"id": key, "v": word}, op_id=op_id)
        except LockgateError:
            return False
        return True


def declared(project: Project, urls: tuple[str, str], rows: int) -> Path:
    """A dual-written move between two tables that are there, the source with rows; its file."""
    for url in urls:
        run_sql(url, "CREATE TABLE t (id bigint PRIMARY KEY, v text)")
    run_sql(urls[0], f"INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, {rows}) g")
    (project.root / "moves").mkdir()
    file = project.root / "moves" / "things.toml"
    file.write_text(
        'kind = "dual-write"\nwriters = 1\n[source]\ntable = "t"\nurl_env = "ONE"\n[target]\ntable = "t"\nurl_env = "OTHER"\n[limits]\nbatch_rows = 20\n'
    )
    project.environ |= {"ONE": urls[0], "OTHER": urls[1]}
    assert project.json("move", "start", "things").code == 0
    return file


def by_the_application(clusters: tuple[Cluster, Cluster], project: Project, ledger: str, rounds: int) -> None:
    """Rounds of run, cutover and rollback of a dual-written move; in each command both servers die once."""
    urls = clusters[0].url(), clusters[1].url("there")
    file = declared(project, urls, 1000)
    ways = deaths(*clusters)

    def insist(*arguments: str) -> None:
        for attempt in range(30):
            seen = run_sql(ledger, "SELECT count(*), max(id) FROM lockgate.move_event")
            copied = run_sql(ledger, "SELECT count(*) FROM lockgate.move_range")
            process = project.start("move", *arguments, "--format", "json")
            if attempt < 2:
                # Killed once it has done something that the ledger knows.
                until(
                    lambda process=process, seen=seen, copied=copied: (
                        process.poll() is not None
                        or run_sql(ledger, "SELECT count(*), max(id) FROM lockgate.move_event") != seen
                        or run_sql(ledger, "SELECT count(*) FROM lockgate.move_range") != copied
                    )
                )
                next(ways)()
            answer = finish(process)
            if answer.code == 0 and attempt >= 2:
                return
            assert answer.code in (0, 1, 3, 69, 75), answer
        raise AssertionError(f"{arguments} does not come to an end: {answer}")

    def go_on() -> None:
        wanted = [k.writes + 10 for k in keepers]
        until(lambda: all(k.error or k.writes >= w for k, w in zip(keepers, wanted, strict=True)))

    with DualWriter.from_file(file, project.environ) as writer:
        writer.beat()
        keepers = [Keeper(writer, number) for number in (0, 1)]
        for keeper in keepers:
            keeper.start()
        try:
            for _ in range(rounds):
                for arguments in (("run", "things", "--cutover"), ("rollback", "things")):
                    insist(*arguments)
                    go_on()
            insist("run", "things", "--cutover")
            go_on()
        finally:
            for keeper in keepers:
                keeper.stop_asked.set()
            for keeper in keepers:
                keeper.join()
    assert [k.error for k in keepers] == [None, None]
    assert sum(k.repeated for k in keepers) > 0, "the servers were missed"
    assert run_sql(urls[1], "SELECT id, v FROM t ORDER BY id") == sorted({**keepers[0].held, **keepers[1].held}.items())  # fmt: skip
    assert project.json("move", "verify", "things").code == 0


def test_servers_die_under_a_dual_written_move(clusters, tmp_path, database: str):
    """The same under a move that the application writes with DualWriter: sessions that were lost are opened again, what failed is repeated under its op_id, and at the end both sides hold exactly what was acknowledged."""
    by_the_application(clusters, Project(tmp_path, database), database, 0)


@pytest.mark.soak
def test_servers_die_under_a_dual_written_move_for_long(clusters, tmp_path, database: str):
    """Ten rounds of the same."""
    by_the_application(clusters, Project(tmp_path, database), database, 10)


def test_a_server_that_is_away_fails_no_write(clusters, tmp_path, database: str):
    """While the target is away each write is acknowledged at once and waits, also when the source died meanwhile and came back; once the target is back the same writer brings the next one over itself, and the relay the others."""
    source, target = clusters
    urls = source.url(), target.url("there")
    project = Project(tmp_path, database)
    file = declared(project, urls, 5)
    now = [0.0]
    move = declarations.parse(file, "things")
    with DualWriter(move, Urls(*urls), clock=lambda: now[0]) as writer:
        writer.put({"id": 10, "v": "both"})
        target.kill()
        writer.put({"id": 11, "v": "waits"})
        now[0] += AWAY_SECONDS  # looks again, in vain
        writer.put({"id": 12, "v": "waits"})
        source.crash()
        source.start(synchronous_commit="on")
        with pytest.raises(LockgateError):
            writer.put({"id": 13, "v": "never"})
        writer.put({"id": 13, "v": "waits"})
        assert writer.failed == 3
        target.start(synchronous_commit="on")
        now[0] += AWAY_SECONDS
        writer.put({"id": 14, "v": "both"})
        assert writer.failed == 3
        assert run_sql(urls[1], "SELECT id FROM t ORDER BY id") == [(10,), (14,)]
    assert project.json("move", "run", "things").code == 0
    assert run_sql(urls[1], "SELECT id, v FROM t ORDER BY id") == run_sql(urls[0], "SELECT id, v FROM t ORDER BY id")  # fmt: skip
