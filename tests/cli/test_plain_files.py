"""Files that are not parsed twice are those of which the contract has nothing to say."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.migrations.contract import prepare
from lockgate.migrations.directives import DirectiveError, parse
from lockgate.migrations.files import Migration
from lockgate.policy.rules import HAZARDS
from lockgate.postgres.script.identifiers import LONG_NAME
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.record.reasons import REASONS
from lockgate.release import plain
from lockgate.release.walk import TWINS

ROOT = Path(__file__).resolve().parents[2]
QUIET = [
    "CREATE TABLE a (id int);",
    "ALTER TABLE a ADD COLUMN b text;",
    "INSERT INTO a VALUES (1);",
    "SET lock_timeout = '2s';",
    "CREATE TRIGGER t BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION f();",
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;",
    "DO $$ BEGIN NULL; END $$;",
    "CREATE INDEX i ON a (id);",
]
LOUD = [
    "COMMIT;", "BEGIN;", "SAVEPOINT s;", "SET ROLE x;", "RESET ALL;", "SET SESSION AUTHORIZATION x;",
    "SET session_replication_role = replica;", "SET TRANSACTION READ ONLY;", "DISCARD ALL;", "DISCARD PLANS;",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;", "SET client_encoding = latin1;", "SET lockgate.x = 1;",
    "PREPARE p AS SELECT 1;", "EXECUTE p;", "DEALLOCATE p;", "LISTEN c;", "COPY a FROM PROGRAM 'x';",
    "COPY a FROM '/x';", "COPY (SELECT 1) TO STDOUT;", "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x';",
    "CREATE INDEX CONCURRENTLY i ON a (id);", "CREATE INDEX CONCURRENTLY ON a (id);", "DROP INDEX CONCURRENTLY i;",
    "REINDEX TABLE CONCURRENTLY a;", "REINDEX (CONCURRENTLY) TABLE a;", "REINDEX SCHEMA public;", "VACUUM a;",
    "ALTER TABLE a DETACH PARTITION b CONCURRENTLY;", "CLUSTER;", "CREATE DATABASE d;", "DROP DATABASE d;",
    "ALTER SYSTEM SET x = 1;", "ALTER DATABASE d SET TABLESPACE t;", "CREATE TABLESPACE t LOCATION '/x';", "DROP TABLESPACE t;",
    "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p;", "DROP SUBSCRIPTION s;", "LOAD 'x';", "CHECKPOINT;",
    "SELECT pg_advisory_unlock(1);", "SELECT set_config('role', 'x', false);", "SELECT pg_terminate_backend(1);",
    'SELECT U&"pg_t\\0065rminate_backend"(1);', "DO $$ BEGIN PERFORM dblink('x'); END $$;",
    f"CREATE TABLE {'n' * 64} (id int);", f'CREATE TABLE "{"n " * 40}" (id int);', 'CREATE TABLE "e\u0301" (id int);',
    "ALTER TYPE t ADD VALUE 'v';", "SELECT 'v'::t;", "START TRANSACTION;", "ROLLBACK;", "PREPARE TRANSACTION 'x';",
    "EXPLAIN SELECT pg_reload_conf();", "CREATE TABLE b AS EXECUTE p;", "\\restrict x", "SELEC 1;", "-- only a comment",
]  # fmt: skip


def judged_plain(text: str) -> bool:
    """What the fast path says of ``text``."""
    try:
        words = [item.statement for item in statements_of(text)]
        transactional = parse(text).transaction
    except (SyntaxProblem, DirectiveError):
        return False
    return plain.plain(text, words, transactional=transactional, most=20_000)


def problems(text: str) -> list[str]:
    """What the contract finds in ``text``."""
    return [p.id for p in prepare(Migration("1700000000001", "a", "a.sql", "", text))[1]]


def test_the_pattern_of_long_names_is_that_of_the_contract():
    """The pattern that is spelled twice, for text and for bytes, is the same."""
    assert plain.LONG_NAME.pattern == LONG_NAME.pattern.decode()


@pytest.mark.parametrize("text", LOUD)
@pytest.mark.parametrize("head", ["", "-- lockgate: transaction=off\n"])
def test_what_the_contract_refuses_is_not_plain(head, text):
    """No statement that the contract refuses is taken for plain, with and without a transaction."""
    if problems(head + text):
        assert not judged_plain(head + text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(QUIET + LOUD), min_size=1, max_size=4), st.booleans())
def test_mixtures(statements, off):
    """Nor is any mixture of them."""
    text = ("-- lockgate: transaction=off\n" if off else "") + "\n".join(statements)
    assert not (judged_plain(text) and problems(text))


def test_real_files():
    """Nor any example of the hazards or the shop."""
    paths = [*ROOT.glob("tests/cases/*/*.sql"), *ROOT.glob("examples/*/db/migrations/*.sql")]
    assert len(paths) > 100
    for path in paths:
        text = path.read_text()
        assert not (judged_plain(text) and problems(text)), path


def test_twins_exist():
    """Each hazard that the contract speaks for exists, and so does the reason code."""
    assert set(TWINS) <= set(HAZARDS)
    assert set(TWINS.values()) <= set(REASONS)


def test_most_files_are_plain():
    """What teams mostly write takes the fast path."""
    assert all(map(judged_plain, QUIET))
    assert judged_plain("-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY i ON a (id);")
