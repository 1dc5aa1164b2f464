"""Vectors that stay bytes on their way: from a table of pgvector through a build or a move into an index."""

import math
import random
import struct
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.test_moving import STORES, Hand, article, vector
from lockgate.indexes.moving import drive
from lockgate.indexes.records import RecordError, as_vector, from_table
from lockgate.moves.dual import drive as shared
from lockgate.postgres.link import Link, texts
from lockgate.postgres.target import Target
from lockgate.stores.vectors import Packed, packed, single
from support.tables import run_sql

FLOATS = st.lists(st.floats(width=32), min_size=1, max_size=20)


@given(FLOATS)
def test_bytes_are_the_numbers_that_they_hold(numbers: list[float]):
    """A vector in its canonical bytes has the length, the components and the bytes of the tuple, and tells a component that is no number, whatever stands beside it."""
    data = struct.pack(f">{len(numbers)}f", *numbers)
    found = Packed(data)
    assert (len(found), packed(found)) == (len(numbers), data)
    assert found.is_finite() == all(map(math.isfinite, numbers))
    if found.is_finite():
        assert found == tuple(numbers)
        assert tuple(numbers) == found
        assert hash(found) == hash(tuple(numbers))
        assert single(found) == tuple(found)
        assert found[-1] == numbers[-1]


@pytest.mark.parametrize("text", ["\\x", "\\x00", "\\xzz", "\\x7f800000", "\\x3f8000007fc00000"])
def test_bytes_that_are_no_vector_are_refused(text: str):
    """Bytes that are none, too few, no hex, infinite or no number are refused as a list of such numbers is."""
    with pytest.raises(RecordError):
        as_vector(text, "here")
    assert as_vector("\\x3f80000000000000", "here") == (1.0, 0.0)


@pytest.mark.postgres("18")
@pytest.mark.parametrize("values", [[], ["a", "", "ö'\"\\{},NULL", "NULL"]])
def test_texts_travel_whole(database: str, values: list[str]):
    """An array of texts in the server's binary form comes out as it went in, with quotes, braces, backslashes and NULL as words."""
    link = Link(Target(database, source="test"), "test")
    try:
        assert link.rows("SELECT $1::text[]", texts(values)) == [(values,)]
    finally:
        link.close()


@pytest.fixture
def table(databases) -> str:
    """The URL of a database whose table ``articles`` has vectors of pgvector, in a schema that is on nobody's path."""
    url: str = databases()
    rows = [tuple(article(random.Random(n), n).values()) for n in range(1, 91)]
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        if not cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchall():
            pytest.skip("this server has no pgvector")
        cursor.execute("CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext")
        cursor.execute("CREATE TABLE articles (id bigint PRIMARY KEY, body text, embedding ext.vector(8))")
        cursor.executemany("INSERT INTO articles VALUES (%s, %s, %s)", rows)
    return url


@pytest.mark.postgres("18")
def test_a_build_reads_the_bytes_of_a_column(table: str):
    """Records of a table with a column of pgvector have the very bytes that the column holds, wherever the extension stands."""
    link = Link(Target(table, source="test"), "test")
    try:
        with link.transaction():
            found = {r.id: r.vector for r in from_table(link, "articles", "id", "body", "embedding", "")}
        kept = link.rows("SELECT id::text, embedding::text FROM articles")
        assert len(kept) == 90
        assert all(isinstance(found[id_], Packed) for id_, _ in kept)
        assert {id_: tuple(found[id_] or ()) for id_, _ in kept} == {id_: single(tuple(as_vector(t, "") or ())) for id_, t in kept}  # fmt: skip
    finally:
        link.close()


@pytest.mark.postgres("18")
def test_a_move_carries_the_bytes_of_a_column(table: str, tmp_path: Path, database: str):
    """A move from a column of pgvector copies and carries its bytes, the outbox among it, and the index holds what the table holds, of rows written before and meanwhile."""
    assert "pgvector" in STORES
    move = Hand(tmp_path, database, table, "pgvector")
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        move.copy()
        rng = random.Random(5)
        writer.put({"id": 7, "body": "anew", "embedding": str(vector(rng))})
        images = run_sql(table, "SELECT image FROM lockgate.dual_into_op")
        assert [r'"\\x' in image for (image,) in images] == [True]
        writer.put({"id": 500, "body": "one more", "embedding": str(vector(rng))})
        writer.delete({"id": 8})
    move.call(shared.relay)
    done = move.call(drive.reconcile)
    assert (done.source.records, done.source.root) == (90, done.held.root)
    equal = run_sql(table, "SELECT id::text, embedding::text FROM articles ORDER BY id")
    with move.open() as opened:
        fed = opened.pair.target.fed
        held = {r.id: tuple(r.vector or ()) for r, _ in fed.store.scan(fed.row.physical)}
    assert held == {id_: single(tuple(as_vector(text, "") or ())) for id_, text in equal}
