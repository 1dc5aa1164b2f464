"""COPY through a data session: blocks of many rows, byte for byte what the server sent, and a session that is whole afterwards whatever happened."""

import itertools

import psycopg
import pytest

from lockgate.postgres.link import BLOCK, Link
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def link(database: str):
    found = Link(Target(database, source="test"), "test")
    yield found
    found.close()


@pytest.mark.parametrize("form", ["binary", "text"])
def test_blocks_are_what_the_server_sent(link: Link, database: str, form: str):
    """Rows small and larger than a block come whole and in order, as the driver itself reads them, in far fewer pieces than there are rows."""
    query = f"COPY (SELECT g, repeat('x', CASE WHEN g % 1000 = 0 THEN {BLOCK * 2} ELSE 20 END) FROM generate_series(1, 20000) g) TO STDOUT (FORMAT {form})"
    blocks = list(link.copy_out(query))
    with psycopg.connect(database) as connection, connection.cursor().copy(query) as copy:
        assert b"".join(blocks) == b"".join(bytes(row) for row in copy)
    assert len(blocks) < 200
    assert link.value("SELECT 1") == 1


def test_from_one_session_into_another(link: Link, database: str):
    """What one session reads another writes, and tells how many rows they were; nothing at all is no error."""
    run_sql(database, "CREATE TABLE t (a int, b text)")
    other = Link(Target(database, source="test"), "other")
    try:
        for rows in (12_345, 0):
            blocks = link.copy_out(
                f"COPY (SELECT g, 'b' || g FROM generate_series(1, {rows}) g) TO STDOUT (FORMAT binary)"
            )
            assert other.copy_in("COPY t FROM STDIN (FORMAT binary)", blocks) == rows
    finally:
        other.close()
    assert run_sql(database, "SELECT count(*), sum(a) FROM t") == [(12_345, 12_345 * 12_346 // 2)]


def test_an_error_of_the_server_in_the_middle(link: Link, database: str):
    """A row that the server cannot make ends the copy as its error, what was read so far is not written, and both sessions go on."""
    run_sql(database, "CREATE TABLE t (a int)")
    other = Link(Target(database, source="test"), "other")
    try:
        with pytest.raises(ServerError) as caught:
            other.copy_in(
                "COPY t FROM STDIN",
                link.copy_out("COPY (SELECT 1 / (50000 - g) FROM generate_series(1, 60000) g) TO STDOUT"),
            )
        assert caught.value.sqlstate == "22012"
        assert (link.value("SELECT 1"), other.value("SELECT count(*) FROM t")) == (1, 0)
    finally:
        other.close()


def test_a_reader_that_stops(link: Link):
    """Whoever reads no further gets a session that can be used again."""
    blocks = link.copy_out("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000) g) TO STDOUT")
    assert len(list(itertools.islice(blocks, 2))) == 2
    blocks.close()
    assert link.value("SELECT 1") == 1
