"""Every form of statement we know, each against one schema that has a bit of everything."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from claims import claim, differences, model_of
from observation import observe

from lockgate.postgres.embedded import Embedded
from support import servers

_FORMS = Path(__file__).parent / "forms"
BASE = (_FORMS / "base.sql").read_text()


def forms(name: str) -> list[str]:
    """The statements of a file, one a line."""
    return [line.removesuffix(";") for line in (_FORMS / name).read_text().splitlines() if line]


@pytest.fixture(scope="module")
def connection(server: Embedded) -> Iterator[psycopg.Connection]:
    with (
        servers.fresh_database(server, "policy_forms") as url,
        psycopg.connect(url, autocommit=True) as opened,
    ):
        opened.execute(BASE)  # type: ignore[call-overload]
        yield opened


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("file", ["every_version.sql", "from_18.sql"])
def test_claims_equal_what_the_server_shows(connection: psycopg.Connection, file: str) -> None:
    """Locks, rewrites and scans of some 380 forms of statement are exactly those that the server shows."""
    version = connection.info.server_version // 10000
    if file == "from_18.sql" and version < 18:
        pytest.skip("these forms came with PostgreSQL 18")
    schema = model_of(BASE)
    wrong = []
    cursor = connection.cursor()
    for sql in forms(file):
        cursor.execute("BEGIN")
        try:
            seen = observe(cursor, sql)
        finally:
            cursor.execute("ROLLBACK")
        word, facts = claim(sql, schema, version)
        assert facts.understood, sql
        wrong += [f"{sql}\n    {difference}" for difference in differences(word, facts, seen)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.postgres("16", "18")
def test_owners_and_tablespaces(connection: psycopg.Connection) -> None:
    """A new owner reaches indexes and sequences; a new tablespace is new storage for the heap alone."""
    version = connection.info.server_version // 10000
    schema = model_of(BASE)
    wrong = []
    cursor = connection.cursor()
    cursor.execute("SET allow_in_place_tablespaces = on")
    cursor.execute("CREATE TABLESPACE tsp LOCATION ''")
    try:
        for sql in forms("owner_and_tablespace.sql"):
            cursor.execute("BEGIN")
            try:
                cursor.execute("CREATE ROLE bob SUPERUSER")
                seen = observe(cursor, sql)
            finally:
                cursor.execute("ROLLBACK")
            word, facts = claim(sql, schema, version)
            wrong += [f"{sql}\n    {difference}" for difference in differences(word, facts, seen)]
    finally:
        cursor.execute("DROP TABLESPACE tsp")
    assert not wrong, "\n" + "\n".join(wrong)
