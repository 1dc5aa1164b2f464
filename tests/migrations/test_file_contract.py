"""What a migration file may hold: every construct with its reason code and its line, without a database."""

import hashlib

import pytest

from lockgate.config import Migrations
from lockgate.migrations.contract import prepare
from lockgate.migrations.files import Migration
from lockgate.migrations.finding import Problem

OFF = "-- lockgate: transaction=off\n"


def judged(sql: str, **limits: object) -> list[Problem]:
    """What is wrong with a file that holds ``sql``."""
    raw = hashlib.sha256(sql.encode()).hexdigest()
    prepared, problems = prepare(
        Migration("1700000000001", "a", "1700000000001_a.sql", raw, sql), Migrations(**limits)
    )
    assert (prepared is None) == bool(problems)
    for problem in problems:
        assert problem.file == "1700000000001_a.sql"
        assert problem.fix
        assert problem.message
    return problems


REFUSED = {
    "FILE_TRANSACTION_CONTROL": [
        "BEGIN", "begin work", "START TRANSACTION READ ONLY", "COMMIT", "commit/**/and chain", "END", "ROLLBACK", "ABORT", "SAVEPOINT a", "RELEASE a",
        "ROLLBACK TO a", "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'x'", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET LOCAL TRANSACTION READ ONLY", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    ],
    "FILE_SESSION_STATE": [
        "SET ROLE app", "SET LOCAL ROLE app", "set \"role\" to app", "RESET ROLE", "SET SESSION AUTHORIZATION app", "RESET SESSION AUTHORIZATION",
        "SET session_replication_role = replica", "SET LOCAL session_replication_role TO replica", "SELECT set_config('session_replication_role', 'replica', true)",
        "SELECT pg_catalog.set_config('role', 'app', false)", "SET lockgate.history_event = '1'", "SELECT set_config('lockgate.history_event', '1', true)",
        "RESET ALL", "reset/**/all", "DISCARD ALL", "DISCARD TEMP", "PREPARE p AS SELECT 1", "EXECUTE p", "DEALLOCATE ALL", "LISTEN x",
        "SELECT pg_advisory_unlock_all()", "SELECT 1 WHERE pg_advisory_unlock(1)", "DO $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$",
        "DO $$ BEGIN SET session_replication_role = replica; END $$", "DO $$ BEGIN EXECUTE 'DISCARD  ALL'; END $$",
        "SET standard_conforming_strings = off", "SET client_encoding = 'LATIN1'", "SET NAMES 'SJIS'", "SELECT set_config('client_encoding', 'LATIN1', false)",
    ],
    "FILE_FORBIDDEN": [
        "CREATE DATABASE x", "DROP DATABASE x", "ALTER DATABASE x SET TABLESPACE y", "CREATE TABLESPACE x LOCATION '/x'", "DROP TABLESPACE x",
        "ALTER SYSTEM SET fsync = off", "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", "DROP SUBSCRIPTION s", "LOAD 'x'", "CHECKPOINT",
        "CLUSTER", "REINDEX DATABASE x", "REINDEX SCHEMA CONCURRENTLY x", "REINDEX SYSTEM x",
        "COPY t TO PROGRAM 'sh'", "COPY t FROM PROGRAM 'sh'", "COPY t FROM '/etc/passwd'", "COPY (SELECT 1) TO '/tmp/x'", "COPY t TO STDOUT",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x', 'y'", "CREATE OR REPLACE FUNCTION f() RETURNS int AS 'x' LANGUAGE \"C\"",
        "CREATE FUNCTION f() RETURNS int LANGUAGE internal AS 'x'",
        "SELECT pg_read_file('/etc/passwd')", "SELECT pg_catalog.pg_read_binary_file('/etc/passwd')", "CREATE VIEW v AS SELECT * FROM pg_ls_dir('/') AS d",
        "SELECT * FROM pg_ls_logdir()", "SELECT pg_stat_file('/')", "SELECT lo_import('/etc/passwd')", "SELECT lo_export(1, '/x')",
        "SELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int)", "SELECT dblink_exec('host=x', 'DROP TABLE y')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity", "SELECT pg_cancel_backend(1)", "SELECT pg_reload_conf()", "SELECT pg_rotate_logfile()",
        "ALTER TABLE t ALTER c SET DEFAULT pg_read_file('/x')", "INSERT INTO t SELECT 1 FROM (SELECT pg_read_file('/x')) AS x",
        "SELECT U&\"pg_read\\005ffile\"('/etc/passwd')", "SELECT \"pg_read_file\"('/etc/passwd')",
        "DO $$ BEGIN PERFORM pg_terminate_backend(1); END $$", "DO $$ BEGIN PERFORM set_config('a.b', 'c', true); PERFORM pg_read_file('/x'); END $$",
    ],
    "FILE_COPY_STDIN": ["COPY t FROM STDIN", "copy t (a, b) from stdin with (format csv)"],
    "FILE_NEEDS_TRANSACTION_OFF": [
        "CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", "DROP INDEX CONCURRENTLY i", "REINDEX INDEX CONCURRENTLY i",
        "REINDEX (CONCURRENTLY) TABLE t", "VACUUM", "VACUUM (FULL) t", "vacuum analyze t", "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("code", "sql"), [(code, sql) for code, many in REFUSED.items() for sql in many])
def test_refused(code: str, sql: str):
    """Each is refused by its code at its line, in the file and in its down section alike."""
    (problem,) = judged(f"SELECT 1;\n\n/* x */ {sql};\nSELECT 2;\n")
    assert (problem.id, problem.line) == (code, 3)
    (problem,) = judged(f"SELECT 1;\n-- lockgate: down\n\n{sql};\n")
    assert (problem.id, problem.line) == (code, 4)


def test_all_at_once():
    """A file with many problems is told all of them, each at its line."""
    found = judged("BEGIN;\nSET ROLE x;\nVACUUM;\nSELECT pg_reload_conf();\nCOMMIT;\n")
    assert [(p.id, p.line) for p in found] == [
        ("FILE_TRANSACTION_CONTROL", 1), ("FILE_SESSION_STATE", 2), ("FILE_FORBIDDEN", 4), ("FILE_TRANSACTION_CONTROL", 5), ("FILE_NEEDS_TRANSACTION_OFF", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "SET search_path = x", "SET LOCAL lock_timeout = '1s'", "SET statement_timeout = 0", "SELECT pg_catalog.set_config('search_path', '', false)",
        "SET client_encoding = 'UTF8'", "SET standard_conforming_strings = on", "SET client_min_messages = warning", "RESET search_path",
        "SELECT 'COMMIT; pg_read_file()'", "SELECT $$ \\copy x $$", "COMMENT ON TABLE t IS 'dblink'", "SELECT \"pg_read_file\" FROM t",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT pg_read_file('x') $$", "CREATE INDEX i ON t (a)", "REINDEX TABLE t", "ANALYZE t",
        "ALTER TYPE e ADD VALUE 'x'", "ALTER TABLE t DETACH PARTITION p", "CREATE EXTENSION dblink", "NOTIFY x", "LOCK TABLE t IN SHARE MODE", "CALL p()", "SET CONSTRAINTS ALL IMMEDIATE",
        "SELECT pg_advisory_xact_lock(1)", "CLUSTER t USING i", "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
    ],
)  # fmt: skip
def test_allowed(sql: str):
    """What only looks like one of them is allowed."""
    assert judged(sql) == []


def test_allow_list():
    """A function that the project allows passes, and only that one."""
    assert (
        judged(
            "SELECT dblink_exec('x', 'y'); DO $$ BEGIN PERFORM pg_reload_conf(); END $$",
            allow_functions=("dblink_exec", "pg_reload_conf"),
        )
        == []
    )
    (problem,) = judged("SELECT dblink_exec('x', 'y'), pg_read_file('z')", allow_functions=("dblink_exec",))
    assert "pg_read_file()" in problem.message
    assert [
        p.id
        for p in judged(
            "DO $$ BEGIN PERFORM pg_reload_conf(), pg_read_file('x'); END $$",
            allow_functions=("pg_reload_conf",),
        )
    ] == ["FILE_FORBIDDEN"]


@pytest.mark.parametrize(
    ("sql", "line", "name"),
    [
        ("\\restrict AbC\nSELECT 1;", 1, "\\restrict"),
        ("SELECT 1;\n\n\\i other.sql\n", 3, "\\i"),
        ("-- caf\u00e9 \U0001f600\nSELECT 1;\n\\copy t FROM 'x.csv'\n", 3, "\\copy"),
        ("SELECT 1 \\gset\n", 1, "\\gset"),
        ("SELECT 1;\n  \\connect other\n", 2, "\\connect"),
        ("CREATE TABLE t (a int);\n\\.\n", 2, "\\."),
    ],
)
def test_meta_commands(sql: str, line: int, name: str):
    """psql's own commands are named as such, at their line."""
    (problem,) = judged(sql)
    assert (problem.id, problem.line) == ("FILE_META_COMMAND", line)
    assert name in problem.message
    assert "plain SQL" in problem.fix


def test_copy_with_data():
    """COPY FROM STDIN with its data, as pg_dump writes it, is named at the line of the COPY."""
    (problem,) = judged(
        "CREATE TABLE t (a int, b text);\nCOPY public.t (a, b) FROM stdin;\n1\tone\n2\ttwo\n\\.\n\nSELECT 1;\n"
    )
    assert (problem.id, problem.line) == ("FILE_COPY_STDIN", 2)
    assert "INSERT" in problem.fix


@pytest.mark.parametrize(
    "sql",
    [
        "",
        " \n\t\n",
        ";",
        ";;\n;",
        "-- only words\n",
        "/* a /* b */ c */",
        "-- lockgate: phase=expand\n",
        "\r\n",
        "-- x\n;\n",
    ],
)
def test_empty(sql: str):
    """A file without a statement is refused."""
    (problem,) = judged(sql)
    assert problem.id == "FILE_EMPTY"
    (problem,) = judged(f"SELECT 1;\n-- lockgate: down\n{sql}")
    assert (problem.id, problem.line) == ("FILE_EMPTY", 3), "an empty down section undoes nothing"


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("CREATE TABLE user (id int);", 1),
        ("SELECT 1;\nCREATE TABEL t ();", 2),
        ("SELECT 'caf\u00e9';\nSELECT 'caf\u00e9';\nCREATE TABLE t (order int);", 3),
        ("SELECT 'never closed;\n\n", 1),
        ("SELECT 1;\n/* never closed", 2),
        ("SELECT $a$ never closed $b$;", 1),
        ("SELECT 1;\nSELECT :variable;", 2),
        ("SELECT 1\nSELECT 2", 2),
        ("CREATE FUNCTION f() RETURNS int AS $$\n-- lockgate: down\nSELECT 1 $$ LANGUAGE sql;", 1),
    ],
)
def test_syntax(sql: str, line: int):
    """What the server's grammar refuses, reserved words without quotes too, is told with the parser's words and the line."""
    problem = judged(sql)[0]
    assert (problem.id, problem.line) == ("FILE_SYNTAX", line)


ADD = "ALTER TYPE mood ADD VALUE {};\n"


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        (ADD.format("'new'") + "INSERT INTO t VALUES ('new');", 2),
        (ADD.format("'it''s'") + "SELECT 1;\nINSERT INTO t VALUES ('it''s');", 3),
        (ADD.format("'it''s'") + "UPDATE t SET m = E'it\\'s';", 2),
        (ADD.format("'new'") + ADD.format("'newer'") + "ALTER TABLE t ALTER m SET DEFAULT 'newer';", 3),
        (ADD.format("'new'") + "CREATE INDEX i ON t (m) WHERE m = $q$new$q$;", 2),
        ("ALTER TYPE app.mood ADD VALUE IF NOT EXISTS 'new' BEFORE 'old';\nSELECT 'new'::app.mood;", 2),
    ],
)
def test_enum_value_used_where_it_is_added(sql: str, line: int):
    """A new enum value may not be used before its commit: refused at the line of the use, naming that of the addition."""
    (problem,) = judged(sql)
    assert (problem.id, problem.line) == ("FILE_ENUM_USE", line)
    assert "which line" in problem.message


@pytest.mark.parametrize(
    "sql",
    [
        ADD.format("'new'") + "INSERT INTO t VALUES ('newest');",
        "CREATE TYPE mood AS ENUM ('a');\n" + ADD.format("'new'") + "INSERT INTO t VALUES ('new');",
        OFF + ADD.format("'new'") + "INSERT INTO t VALUES ('new');",
        "INSERT INTO t VALUES ('new');\n" + ADD.format("'new'"),
        "ALTER TYPE mood RENAME VALUE 'a' TO 'new';\nINSERT INTO t VALUES ('new');",
    ],
)
def test_enum_values_that_may_be_used(sql: str):
    """Another value, a type of the same transaction, a file without one, a use before: allowed."""
    assert judged(sql) == []


def test_limits():
    """Too many statements, and an expression that would overflow the parser, are FILE_SIZE with the limit in the message."""
    (problem,) = judged("SELECT 1;\n" * 11, max_statements=10)
    assert (problem.id, "11 statements" in problem.message, "max_statements" in problem.message) == (
        "FILE_SIZE",
        True,
        True,
    )
    assert judged("SELECT 1;\n" * 10, max_statements=10) == []
    (problem,) = judged("SELECT 1;\nSELECT 1" + "+1" * 50_000)
    assert (problem.id, problem.line) == ("FILE_SIZE", 2)


def test_index_without_a_name():
    """An index that is built concurrently needs a name, so that a half-built one can be found."""
    (problem,) = judged(OFF + "CREATE INDEX CONCURRENTLY ON t (a);")
    assert (problem.id, problem.line) == ("FILE_SYNTAX", 2)
    assert "Name the index" in problem.fix


def test_opaque_statements_are_marked():
    """DO and CALL hide what they do: they are prepared, and marked for whoever judges."""
    sql = "DO $$ BEGIN EXECUTE 'DROP TABLE x'; END $$;\nCALL p();\nSELECT 1;"
    prepared, _ = prepare(Migration("1", "a", "a", "", sql))
    assert [s.opaque for s in prepared.statements] == [True, True, False]
