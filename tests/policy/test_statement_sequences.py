"""Statements one after the other, each on what those before it built: claims and model against the server."""

from pathlib import Path

import psycopg
import pytest
from claims import differences
from observation import anew, observe
from test_differential import catalogue, known

from lockgate.policy.facts import Server, facts_of
from lockgate.policy.model.replay import replay
from lockgate.policy.model.schema import Schema
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.tree import statements_of
from support import servers

FILES = sorted((Path(__file__).parent / "sequences").glob("*.sql"))


def compared(schema: Schema) -> dict[str, object]:
    """The model as the catalogue is read: without composite types, foreign and temporary tables, and app2, which it does not look at."""
    return {
        key: value
        for key, value in known(schema).items()
        if value not in ("c", "f") and not key.startswith(("pg_temp", "app2."))
    }


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_statement_of_the_sequence(path: Path, server: Embedded) -> None:
    """Locks and rewrites are exactly those that the server shows, and after each statement the model is the catalogue."""
    setup, _, body = path.read_text().partition("-- then\n")
    wrong = []
    with (
        servers.fresh_database(server, "policy_sequences") as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        version = connection.info.server_version // 10000
        if path.stem == "from_18" and version < 18:
            pytest.skip("these forms came with PostgreSQL 18")
        cursor = connection.cursor()
        cursor.execute("SET client_min_messages = error")
        schema = Schema(version=version)
        for number, text in enumerate((setup, body)):
            for item in statements_of(text):
                sql = text.encode()[item.start : item.end].decode()
                cursor.execute("BEGIN")
                seen = observe(cursor, sql)
                facts = facts_of(item.statement, schema, Server(version, "postgres"))
                found = differences(item.statement, facts, seen) if number else []
                if found:
                    cursor.execute("ROLLBACK")
                    found = differences(item.statement, facts, anew(cursor, url, sql))
                    cursor.execute("BEGIN")
                    cursor.execute(sql)
                cursor.execute("COMMIT")
                if number:
                    assert facts.understood, sql
                    wrong += [f"{sql}\n    {told}" for told in found]
                replay(schema, item.statement, number)
                assert compared(schema) == catalogue(cursor), f"the model after {sql}"
    assert not wrong, "\n" + "\n".join(wrong)
