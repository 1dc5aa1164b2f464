"""Random kills: whatever dies when, one server runs in the end and every committed row is there."""

import random
import subprocess
import sys

import psycopg
import pytest

from lockgate.postgres.embedded import Embedded
from support import processes

WORKER = """
import sys
from pathlib import Path
import psycopg
from lockgate.errors import LockgateError
from lockgate.postgres.embedded import Embedded
home, first = Path(sys.argv[1]), int(sys.argv[2])
for number in range(first, first + 3):
    try:
        server = Embedded.ensure(home, settings={"fsync": "off"}, idle_seconds=float(sys.argv[3]))
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("insert into kept values (%s)", [number])
    except (LockgateError, psycopg.Error):
        continue
    print(number, flush=True)
"""


def victims(home, workers):
    """Everything that may be killed: workers, keepers, every process of the server."""
    return [
        *(worker.pid for worker in workers if worker.poll() is None),
        *processes.with_word(f'"home": "{home}"'),
        *processes.working_in(home / "pg18/data"),
    ]


def read(home):
    """The running server and the numbers it holds; None when it went away just then."""
    try:
        server = Embedded.ensure(home, settings={"fsync": "off"})
        with psycopg.connect(server.url()) as connection:
            return server, {row[0] for row in connection.execute("select number from kept")}
    except psycopg.OperationalError:
        return None


def play(home, start, seed, rounds):
    """Insert from many processes while random processes are killed; check the rows after each round."""
    dice = random.Random(seed)
    with psycopg.connect(start(home).url(), autocommit=True) as connection:
        connection.execute("create table kept (number int primary key)")
    acknowledged = set()
    for number in range(rounds):
        idle = dice.choice(["0.05", "0.3", "300"])
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, home, str(number * 100 + 10 * index), idle],
                stdout=subprocess.PIPE,
                text=True,
            )
            for index in range(dice.randint(1, 4))
        ]
        for _ in range(dice.randint(1, 5)):
            if alive := victims(home, workers):
                processes.kill(dice.choice(alive))
        for worker in workers:
            acknowledged |= {int(line) for line in worker.communicate()[0].split()}
        # A server that is told to be idle after 50 ms may stop again before we connect.
        server, rows = processes.until(lambda: read(home))
        assert acknowledged <= rows, f"seed {seed}, round {number}"
        pids = processes.working_in(home / "pg18/data")
        assert [pid for pid in pids if processes.parent(pid) not in pids and processes.lives(pid)] == [
            server.pid
        ]
    return acknowledged


@pytest.mark.parametrize("seed", range(2))
def test_random_kills(home, start, seed):
    """A few rounds of kills: nothing acknowledged is lost, never two servers, always a way to go on."""
    play(home, start, seed, rounds=4)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_random_kills(home, start, seed):
    """The same for many rounds."""
    assert play(home, start, seed, rounds=40)
