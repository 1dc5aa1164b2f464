"""The digest that a table keeps of each record, against the one of Python, whatever the text and however old the table."""

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from indexes.conftest import make_records
from lockgate.postgres.link import Link
from lockgate.postgres.target import Target
from lockgate.stores.content import content_of, record_digest, vector_hash
from lockgate.stores.manifest import Embedding, Manifest
from lockgate.stores.pgvector import PgVector
from lockgate.stores.recordsql import COLUMN, kept_column, record_digest_sql
from lockgate.stores.vectors import packed

pytestmark = pytest.mark.postgres("16", "18")  # the machine's own server may lack pgvector
ODD = ["", "\\", "\\\\", "\\000", "\\x41", "a\\", "'", "$$", "ä€😀", "\n\t\r\x01", "back\\slash ' quote"]


def table_with(link: Link, records, dtype: str = "float32") -> PgVector:
    """A table of vectors with these records."""
    link.run("CREATE EXTENSION IF NOT EXISTS vector")
    store = PgVector(link)
    dimension = len(records[0].vector)
    spec = Manifest("vector", Embedding("given", "m", dimension, normalised=False, dtype=dtype), "cosine", ann={"type": "flat"})  # fmt: skip
    store.create("d__1", spec)
    store.upsert("d__1", records)
    return store


def odd_records():
    """Records whose ids, texts and payloads hold what trips an encoding."""
    return [
        r._replace(id=f"{n}{odd}", text=odd, payload=f'{{"a":"{n}"}}' + odd)
        for n, (r, odd) in enumerate(zip(make_records(len(ODD)), ODD, strict=True))
    ]


def expected(records):
    """The content of ``records`` as Python makes it."""
    return content_of((r, vector_hash(packed(r.vector))) for r in records)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_kept_digest_is_the_records_own(link, dtype):
    """Backslashes, quotes, control characters and letters beyond ASCII give the content that Python makes, from a column that the server keeps."""
    records = odd_records()
    store = table_with(link, records, dtype)
    assert store.is_generated("d__1", COLUMN)
    assert store.content("d__1") == expected(records)
    assert store.record_digests("d__1", [records[3].id]) == {
        records[3].id: record_digest(*records[3][:3], vector_hash(packed(records[3].vector)))
    }
    changed = [records[0]._replace(text="changed\\"), *records[1:]]
    store.upsert("d__1", changed[:1])
    assert store.content("d__1") == expected(changed)


def test_nobody_writes_another_digest_beside_a_record(link):
    """A change behind lockgate's back changes the digest with it, and the digest alone cannot be set."""
    records = odd_records()
    store = table_with(link, records)
    link.run("UPDATE lockgate_index.d__1 SET text = 'x' WHERE id = $1", records[2].id)
    assert store.content("d__1") == expected([*records[:2], records[2]._replace(text="x"), *records[3:]])
    with pytest.raises(Exception, match=COLUMN):
        link.run(f"UPDATE lockgate_index.d__1 SET {COLUMN} = ''")


@pytest.mark.parametrize("older", ["vector_hash", ""])
def test_a_table_of_an_older_lockgate_has_the_same_content(link, older):
    """Where the table keeps only the hash of the vector, or nothing, the digests are made when they are asked for."""
    records = odd_records()
    store = table_with(link, records)
    link.run(f"ALTER TABLE lockgate_index.d__1 DROP COLUMN {COLUMN}")
    if older:
        made = store.source_hash("d__1")[0]
        link.run(
            f"ALTER TABLE lockgate_index.d__1 ADD {older} bytea NOT NULL GENERATED ALWAYS AS ({made}) STORED"
        )
        assert store.source_hash("d__1")[0] == older
    assert store.content("d__1") == expected(records)
    assert len(store.record_digests("d__1", [r.id for r in records])) == len(records)


def test_another_encoding_has_the_same_content(server):
    """In a database that is not in UTF-8 nothing is kept, and the content is the same."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS latin_records")
        admin.execute(
            "CREATE DATABASE latin_records ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    link = Link(Target(make_conninfo(server.url(), dbname="latin_records"), source="test"), "indexes")
    try:
        records = [r for r in odd_records() if "€" not in r.text]
        records.append(records[0]._replace(id="é", text="naïve ÿ"))
        store = table_with(link, records)
        assert not store.is_generated("d__1", COLUMN)
        assert store.content("d__1") == expected(records)
        link.run(f"ALTER TABLE lockgate_index.d__1 ADD {kept_column(*store.source_hash('d__1'))}")
        assert store.content("d__1") == expected(records), (
            "a dump of a database in UTF-8 brings its column along"
        )
    finally:
        link.close()
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute("DROP DATABASE latin_records WITH (FORCE)")


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(id=TEXT, text=TEXT, payload=TEXT, vector=st.binary(max_size=40))
@example(id="", text="\\", payload="\\134", vector=b"")
def test_both_ways_in_sql_are_the_digest_of_python(link, id, text, payload, vector):
    """For any text the immutable expression of the column and the one made on demand give the digest of Python."""
    kept = kept_column("v", "length(v)").partition("ALWAYS AS ")[2].removesuffix(" STORED")
    made = record_digest_sql("v", "length(v)", utf8=True)
    slow = record_digest_sql("v", "length(v)", utf8=False)
    values = "(VALUES ($1::text, $2::text, $3::text, $4::bytea)) AS r (id, text, payload, v)"
    (row,) = link.rows(f"SELECT {kept}, {made}, {slow} FROM {values}", id, text, payload, vector, binary=True)
    assert {bytes(d) for d in row} == {record_digest(id, text, payload, vector)}
