"""Random DDL over a random schema: facts claimed against facts observed. Disagreement is a bug of ours."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from claims import differences
from observation import observe
from random_ddl import PRELUDE, RandomDdl

from lockgate.policy.facts import Server, facts_of
from lockgate.policy.model.replay import replay
from lockgate.policy.model.schema import Schema
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.tree import statements_of
from support import servers

_CATALOGUE = """
SELECT c.oid, CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END, c.relkind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'app') AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I')
"""
_COLUMNS = """
SELECT attrelid, attname, attnotnull FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p') AND n.nspname IN ('public', 'app')
"""
_CONSTRAINTS = """
SELECT conrelid, conname, convalidated FROM pg_constraint
WHERE conrelid <> 0 AND contype IN ('c', 'f', 'p', 'u', 'x') AND (conparentid = 0 OR contype <> 'f')
"""


def catalogue(cursor: psycopg.Cursor[Any]) -> dict[str, object]:
    """What the server has, in the shape of ``known``."""
    cursor.execute(_CATALOGUE)
    names = {oid: (name, kind) for oid, name, kind in cursor.fetchall()}
    shape: dict[str, object] = {name: kind.lower() for name, kind in names.values()}
    cursor.execute(_COLUMNS)
    for oid, column, not_null in cursor.fetchall():
        shape[f"{names[oid][0]} column {column}"] = not_null
    cursor.execute(_CONSTRAINTS)
    for oid, constraint, valid in cursor.fetchall():
        if oid in names:
            shape[f"{names[oid][0]} constraint {constraint}"] = valid
    return shape


def known(schema: Schema) -> dict[str, object]:
    """What the model has."""
    shape: dict[str, object] = {key: state.kind.lower() for key, state in schema.relations.items()}
    shape.update(dict.fromkeys(schema.indexes, "i"))
    for key, state in schema.relations.items():
        if state.kind in "rp":
            for column in state.columns.values():
                shape[f"{key} column {column.name}"] = column.not_null
            for constraint in state.constraints.values():
                if constraint.kind != "not_null" and not (
                    constraint.kind == "foreign" and constraint.inherited
                ):
                    shape[f"{key} constraint {constraint.name}"] = constraint.valid
    return shape


@pytest.fixture(scope="module")
def connection(server: Embedded) -> Iterator[psycopg.Connection]:
    with (
        servers.fresh_database(server, "policy_random") as url,
        psycopg.connect(url, autocommit=True) as opened,
    ):
        opened.execute("SET client_min_messages = error")
        yield opened


def walk(connection: psycopg.Connection, seed: int, length: int) -> list[str]:
    """Run ``length`` accepted random statements; every disagreement in words."""
    cursor = connection.cursor()
    cursor.execute("DROP SCHEMA IF EXISTS app CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    cursor.execute(PRELUDE)
    version = connection.info.server_version // 10000
    schema = Schema(version=version)
    for item in statements_of(PRELUDE):
        replay(schema, item.statement, 0)
    ddl = RandomDdl(seed)
    wrong: list[str] = []
    accepted = 0
    for _ in range(length * 6):
        sql = ddl.statement(schema)
        cursor.execute("BEGIN")
        try:
            seen = observe(cursor, sql)
        except psycopg.Error:
            cursor.execute("ROLLBACK")
            continue
        cursor.execute("COMMIT")
        accepted += 1
        (item,) = statements_of(sql)
        facts = facts_of(item.statement, schema, Server(version, "postgres"))
        wrong += [f"seed {seed}: {sql}\n    {text}" for text in differences(item.statement, facts, seen)]
        replay(schema, item.statement, 0)
        there, here = catalogue(cursor), known(schema)
        if there != here:
            odd = {
                key: (here.get(key), there.get(key))
                for key in {*there, *here}
                if here.get(key) != there.get(key)
            }
            wrong.append(f"seed {seed}: {sql}\n    model and catalogue (model, catalogue): {odd}")
            break
        if accepted == length:
            break
    return wrong


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("seed", range(8))
def test_random_statements(connection: psycopg.Connection, seed: int) -> None:
    """Sixty random statements in a row: claims equal observations, and the model equals the catalogue after each."""
    wrong = walk(connection, seed, 60)
    assert not wrong, "\n" + "\n".join(wrong)
