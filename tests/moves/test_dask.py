"""The backfill on a Dask cluster: a real scheduler, worker processes, one of them killed while it copies."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moves.hand import make
from support.calls import Project, finish
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
DECLARED = """[source]
table = "item"
[target]
table = "item_new"
create = true
[limits]
batch_rows = 60
workers = 3
max_connections_percent = 100
max_lock_waiters = 1000
"""


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.log = (folder / "dask.log").open("wb")
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file))  # fmt: skip
        until(self.file.exists, 60)
        self.workers = [self.worker() for _ in range(3)]

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "dask", *arguments], stdout=self.log, stderr=self.log, env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "60s"})  # fmt: skip

    def worker(self) -> "subprocess.Popen[bytes]":
        return self._start("worker", "--scheduler-file", str(self.file), "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard")  # fmt: skip

    @property
    def address(self) -> str:
        import json

        return str(json.loads(self.file.read_text())["address"]).removeprefix("tcp://")

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
        self.log.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    made = Cluster(tmp_path)
    yield made
    made.close()


def test_workers_of_a_cluster_are_killed(cluster: Cluster, tmp_path: Path, database: str):
    """Three worker processes copy; one is killed in the middle: the others take its range over, the ledger is complete, and both sides are equal."""
    make(database, 12_000)
    project = Project(tmp_path, database)
    (tmp_path / "moves").mkdir()
    (tmp_path / "moves" / "items.toml").write_text(DECLARED)
    project.ok("move", "move", "start", "items")
    process = project.start("move", "backfill", "items", "--executor", f"dask://{cluster.address}", "--format", "json")  # fmt: skip
    owners = "SELECT count(DISTINCT lease_owner), count(*) FILTER (WHERE state = 'copied') FROM lockgate.move_range"
    until(lambda: (seen := run_sql(database, owners)[0])[0] >= 2 and seen[1] >= 5, 120)
    cluster.workers[0].send_signal(signal.SIGKILL)
    answer = finish(process, 240)
    assert answer.code == 0, answer
    assert answer.document("move")["moves"][0]["job"]["progress"] == 1
    assert run_sql(database, owners)[0][0] >= 2
    assert project.ok("move", "move", "verify", "items")["result"]["rows"] == {"source": 12_000, "target": 12_000}  # fmt: skip


def test_no_cluster_there(tmp_path: Path, database: str):
    """A scheduler that nobody answers for: an error that says so, and nothing is lost."""
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    make(database, 100)
    project = Project(tmp_path, database)
    (tmp_path / "moves").mkdir()
    (tmp_path / "moves" / "items.toml").write_text(DECLARED)
    project.ok("move", "move", "start", "items")
    answer = project.json("move", "backfill", "items", "--executor", "dask://127.0.0.1:1", DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="1s")  # fmt: skip
    assert answer.error("UNREACHABLE")["exitCode"] == 69
    assert project.ok("move", "move", "backfill", "items")["stage"] == "backfilling"
