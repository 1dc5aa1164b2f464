"""Connections of a live process: 0A000 after a migration, with and without the hook, and the warm-up."""

import psycopg
import pytest
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

from gate.contracts import contract
from lockgate.gate import Gate
from lockgate.gate.connections import recycle_engine, recycle_pool, warm_up

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def pool(applied, database):
    """A pool of three connections on each of which `SELECT * FROM a` is prepared."""
    with ConnectionPool(
        database, min_size=3, max_size=3, open=True, kwargs={"autocommit": True, "prepare_threshold": 0}
    ) as made:
        made.wait()
        use_all(made)
        yield made


def use_all(pool):
    """Run the query on every connection of the pool; the SQLSTATEs of those that fail."""
    from contextlib import ExitStack

    failed = []
    with ExitStack() as borrowed:
        for connection in [borrowed.enter_context(pool.connection()) for _ in range(3)]:
            try:
                connection.execute("SELECT * FROM a")
            except psycopg.Error as error:
                failed.append(error.sqlstate)
    return failed


def migrate(project):
    project.write("wider", "ALTER TABLE a ADD COLUMN y text;\n")
    assert project.run("up").code == 0


def test_without_the_hook_it_fails(pool, applied):
    """What the hook is for: after the migration each of the connections fails once with 0A000."""
    migrate(applied)
    assert use_all(pool) == ["0A000"] * 3


def test_the_pool_is_recycled(pool, applied, database):
    """With the hook no connection fails: the gate sees the new revision and the pool is drained."""
    gate = Gate(contract(1, 9), database)
    recycle_pool(gate, pool)
    gate.refresh()
    gate.refresh()
    migrate(applied)
    gate.refresh()
    assert use_all(pool) == []
    gate.stop()


def test_a_borrowed_connection_is_recycled_when_it_comes_back(pool, applied, database):
    """A connection that is out while the schema moves is replaced when it is returned."""
    gate = Gate(contract(1, 9), database)
    recycle_pool(gate, pool)
    gate.refresh()
    with pool.connection() as connection:
        pid = connection.info.backend_pid
        migrate(applied)
        gate.refresh()
    pids = set()
    from contextlib import ExitStack

    with ExitStack() as borrowed:
        pids = {borrowed.enter_context(pool.connection()).info.backend_pid for _ in range(3)}
    assert pid not in pids
    gate.stop()


def test_the_engine_is_recycled(applied, database):
    """The same for SQLAlchemy: no error with the hook; and an error before the gate has looked costs the pool, not every connection."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(database, prepare_threshold=0),
        poolclass=QueuePool,
        pool_size=2,
    )
    gate = Gate(contract(1, 9), database)
    recycle_engine(gate, engine)
    gate.refresh()

    def both():
        with engine.connect() as one, engine.connect() as two:
            for connection in (one, two):
                connection.execute(text("SELECT * FROM a"))

    both()
    migrate(applied)
    gate.refresh()
    both()
    applied.write("wider_still", "ALTER TABLE a ADD COLUMN z text;\n")
    assert applied.run("up").code == 0
    failures = 0
    for _ in range(4):
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT * FROM a"))
        except Exception:
            failures += 1
    assert failures <= 1
    engine.dispose()
    gate.stop()


def test_warm_up(pool, applied):
    """Queries that fit the schema are prepared on every connection and leave nothing; those that do not are named."""
    good = ["SELECT id FROM a WHERE id = $1", "INSERT INTO a (id, x) VALUES ($1, $2);"]
    assert warm_up(pool, good) == ()
    (cold,) = warm_up(pool, [*good, "SELECT nothing_here FROM a WHERE id = $1"])
    assert (cold.sqlstate, "nothing_here" in cold.message) == ("42703", True)
    with pool.connection() as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE name = 'lockgate_warm_up'"
        ).fetchone() == (0,)
