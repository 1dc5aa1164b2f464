"""Rows 52-58: what a file may not do, and what it may although it looks odd. Each refusal happens before the database is touched."""

from collections.abc import Iterator
from typing import Any

import pytest
from asking import ask, findings, made_nothing

from support import servers
from support.calls import Project

HEAD = "CREATE TABLE t (id int PRIMARY KEY, m text);\n"
REFUSED = {
    "restrict": ("\\restrict x\nSELECT 1;\n", "FILE_META_COMMAND", 1, "\\restrict", "plain SQL"),
    "include": ("SELECT 1;\n\\i other.sql\n", "FILE_META_COMMAND", 2, "\\i", "plain SQL"),
    "copy_stdin": ("SELECT 1;\nCOPY t FROM stdin;\n1\tx\n\\.\n", "FILE_COPY_STDIN", 2, "COPY", "INSERT"),
    "begin": ("BEGIN;\nSELECT 1;\nCOMMIT;\n", "FILE_TRANSACTION_CONTROL", 1, "BEGIN", "opens and commits"),
    "commit": ("SELECT 1;\n\nCOMMIT;\n", "FILE_TRANSACTION_CONTROL", 3, "COMMIT", "opens and commits"),
    "rollback": ("SELECT 1; ROLLBACK;\n", "FILE_TRANSACTION_CONTROL", 1, "ROLLBACK", "opens and commits"),
    "prepared": ("PREPARE TRANSACTION 'x';\n", "FILE_TRANSACTION_CONTROL", 1, "PREPARE TRANSACTION", "opens and commits"),
    "set_role": ("SELECT 1;\nSET ROLE postgres;\n", "FILE_SESSION_STATE", 2, "SET role", "SET LOCAL"),
    "replica": ("SET session_replication_role = replica;\n", "FILE_SESSION_STATE", 1, "session_replication_role", "Remove"),
    "unlock": ("SELECT pg_advisory_unlock_all();\n", "FILE_SESSION_STATE", 1, "pg_advisory_unlock_all", "Remove"),
    "discard": ("DISCARD ALL;\n", "FILE_SESSION_STATE", 1, "DISCARD ALL", "Remove"),
    "strings": ("SET standard_conforming_strings = off;\nSELECT 'a\\'; DROP TABLE t; --';\n", "FILE_SESSION_STATE", 1, "standard_conforming_strings", "Remove"),
    "database": ("CREATE DATABASE x;\n", "FILE_FORBIDDEN", 1, "CREATE DATABASE", "provisioning"),
    "system": ("ALTER SYSTEM SET work_mem = '1GB';\n", "FILE_FORBIDDEN", 1, "ALTER SYSTEM", "provisioning"),
    "vacuum": ("SELECT 1;\nVACUUM;\n", "FILE_NEEDS_TRANSACTION_OFF", 2, "VACUUM", "transaction=off"),
    "concurrently": ("CREATE INDEX CONCURRENTLY i ON t (id);\n", "FILE_NEEDS_TRANSACTION_OFF", 1, "CREATE INDEX CONCURRENTLY", "transaction=off"),
    "program": ("COPY t TO PROGRAM 'cat > /tmp/x';\n", "FILE_FORBIDDEN", 1, "PROGRAM", "Take it out"),
    "read_file": ("INSERT INTO t SELECT 1, pg_read_file('/etc/passwd');\n", "FILE_FORBIDDEN", 1, "pg_read_file()", "Take it out"),
    "dblink": ("SELECT 1;\nSELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int);\n", "FILE_FORBIDDEN", 2, "dblink()", "Take it out"),
    "language_c": ("CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x', 'y';\n", "FILE_FORBIDDEN", 1, "LANGUAGE c", "Take it out"),
    "terminate": ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity;\n", "FILE_FORBIDDEN", 1, "pg_terminate_backend()", "Take it out"),
    "terminate_in_do": ("DO $$ BEGIN\n PERFORM pg_terminate_backend(1);\nEND $$;\n", "FILE_FORBIDDEN", 1, "pg_terminate_backend in a DO block", "Take it out"),
    "enum_use": ("ALTER TYPE mood ADD VALUE 'new';\nUPDATE t SET m = 'new';\n", "FILE_ENUM_USE", 2, "line 1 adds", "file of its own"),
    "long_name": (f"SELECT 1;\nCREATE TABLE {'n' * 64} (id int);\n", "FILE_IDENTIFIER", 2, "64 bytes", "Shorten"),
    "nfd_name": ('CREATE TABLE "cafe\u0301" (id int);\n', "FILE_IDENTIFIER", 1, "NFC", "normalise"),
    "reserved": ("CREATE TABLE u (\n id int,\n user text,\n order int\n);\n", "FILE_SYNTAX", 3, 'at or near "user"', "Mend"),
    "unclosed": ("SELECT 'x;\n", "FILE_SYNTAX", 1, "unterminated", "Mend"),
    "directive": ("-- lockgate: phase=contract\n-- lockgate: colour=red\nSELECT 1;\n", "FILE_DIRECTIVE", 2, "colour", "docs/files.md"),
    "near_directive": ("-- Lockgate: phase=contract\nSELECT 1;\n", "FILE_DIRECTIVE", 1, "looks like a directive", "docs/files.md"),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, server) -> Iterator[dict[str, Any]]:
    """One project with a good file and then every bad one: `check`, `plan` and `up`, each run once."""
    with servers.fresh_database(server, "statements") as url:
        project = Project(tmp_path_factory.mktemp("statements"), url)
        project.write("good", HEAD)
        for name, (sql, *_) in REFUSED.items():
            project.write(name, sql)
        yield {
            "check": project.json("check"),
            "text": project.text("check"),
            "plan": project.json("plan"),
            "up": project.json("up"),
            "url": url,
        }


@pytest.mark.postgres("18")
@pytest.mark.parametrize("name", REFUSED)
def test_each_is_refused(answers: dict[str, Any], name: str):
    """Named by file, line, construct and fix, the same in check, plan and up."""
    _, code, line, construct, fix = REFUSED[name]
    for command in ("check", "plan", "up"):
        document = answers[command].document("check" if command == "check" else "error")
        (told,) = [f for f in findings(document) if f["file"].endswith(f"_{name}.sql") and f["id"] == code][
            :1
        ]
        assert told["line"] == line
        assert construct in told["message"]
        assert fix in told["fix"]
    assert f"_{name}.sql:{line}: {code}: " in answers["text"].out


@pytest.mark.postgres("18")
def test_nothing_is_applied(answers: dict[str, Any]):
    """Not even the good file before them: exit 1 of check, 4 of plan and up, and the database is untouched."""
    assert (answers["check"].code, answers["plan"].code, answers["up"].code) == (1, 4, 4)
    files = {f["file"] for f in findings(answers["check"].document("check"))}
    assert len(files) == len(REFUSED)
    assert "problems in the migration files" in answers["up"].err
    assert made_nothing(answers["url"])


@pytest.mark.postgres("18")
def test_transaction_off_changes_the_answer(project: Project, database: str):
    """The same VACUUM and index in a file that says transaction=off run; embedded transaction control does not, there too."""
    project.write("t", HEAD)
    project.write("off", "-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY i ON t (m);\nVACUUM t;\n")
    answer = project.json("up")
    assert answer.code == 0, answer.err
    assert ask(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]
    project.write("bad", "-- lockgate: transaction=off\nBEGIN;\nSELECT 1;\nCOMMIT;\n")
    assert [f["line"] for f in findings(project.json("up").error("FILE_TRANSACTION_CONTROL"))] == [2, 4]


# -- 53: odd, and right ----------------------------------------------------------------------------

ODD = (
    r"""
CREATE TABLE odd (n int, s text); /* a ; /* nested ; */ still ' a " comment */
DO $outer$ BEGIN EXECUTE $inner$ INSERT INTO odd VALUES (1, $$;'$$) $inner$; END $outer$;
INSERT INTO odd VALUES (2, E'it\'s; \\ "x"'); -- ; '
INSERT INTO odd VALUES (3, 'a''b;--c'), (4, U&'d\0061t;'), (5, $é$ $$ ; $é$);
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT n * 2; END;
CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO odd VALUES (twice(3), 'p'); END; $$;
CALL fill();
CREATE RULE r AS ON DELETE TO odd DO INSTEAD (SELECT 1; SELECT 2);
CREATE TABLE "a;b" ("c""d" text DEFAULT ';'); COMMENT ON TABLE "a;b" IS $$-- lockgate$$;
INSERT INTO odd VALUES (7, 'caf"""
    + "\u00e9 \U0001f600');\r\nINSERT INTO odd VALUES (8, 'line\r\nend');\r\n;;\nINSERT INTO odd VALUES (9, '"
    + "\u2028\u00a0')"
)


def test_odd_and_right(project: Project, database: str):
    """Nested dollar quotes, BEGIN ATOMIC, E strings, nested comments, CRLF inside a literal: run as written, byte for byte."""
    project.directory.mkdir(parents=True)
    (project.directory / "1700000000001_odd.sql").write_bytes(ODD.encode())
    project.lock()
    answer = project.json("up")
    assert answer.code == 0, answer.err
    rows = dict(ask(database, "SELECT n, s FROM odd"))
    assert rows == {
        1: ";'",
        2: 'it\'s; \\ "x"',
        3: "a'b;--c",
        4: "dat;",
        5: " $$ ; ",
        6: "p",
        7: "caf\u00e9 \U0001f600",
        8: "line\r\nend",
        9: "\u2028\u00a0",
    }
    assert ask(
        database,
        "SELECT source_text, checksum = encode(sha256(convert_to(source_text, 'UTF8')), 'hex') FROM lockgate.migration_history",
    ) == [(ODD, True)]


# -- 54: what one file sets does not reach the next -------------------------------------------------

LEAKS = {
    "search_path": "CREATE SCHEMA other;\nSET search_path = other, public;\n",
    "search_path_by_function": "SELECT set_config('search_path', 'pg_catalog', false);\n",
    "lock_timeout": "SET lock_timeout = '1ms';\n",
    "statement_timeout": "SET statement_timeout = '7h';\n",
    "both_local": "SET LOCAL lock_timeout = '2ms';\nSET LOCAL search_path = pg_catalog;\n",
    "temporary": "CREATE TEMP TABLE seen (x int);\n",
    "cursor": "DECLARE c CURSOR WITH HOLD FOR SELECT 1;\n",
    "by_do": "DO $$ BEGIN PERFORM set_config('search_path', 'pg_catalog', false); PERFORM set_config('lock_timeout', '3ms', false); END $$;\n",
}
ASK = """
INSERT INTO public.asked SELECT {number}, current_setting('search_path'), current_setting('lock_timeout'), current_setting('statement_timeout'),
  current_user, current_setting('session_replication_role'), pg_catalog.to_regclass('pg_temp.seen') IS NULL AND pg_catalog.to_regclass('pg_temp.seen_too') IS NULL;
"""


def test_what_one_file_sets_does_not_reach_the_next(project: Project, database: str):
    """Each file asks the server itself: path, time-outs, role and temporary names are ours again, whatever the file before it set."""
    project.write(
        "asked",
        "CREATE TABLE asked (n int PRIMARY KEY, path text, lock text, statement text, who text, replication text, clean boolean);\n"
        + ASK.format(number=0),
    )
    for number, (name, sql) in enumerate(LEAKS.items(), 1):
        project.write(name, sql)
        project.write(f"after_{name}", ASK.format(number=number))
        if name in (
            "search_path",
            "search_path_by_function",
            "lock_timeout",
            "statement_timeout",
            "temporary",
        ):
            again = sql.replace("SCHEMA other", "SCHEMA IF NOT EXISTS other").replace("seen", "seen_too")
            project.write(f"off_{name}", "-- lockgate: transaction=off\n" + again)
            project.write(f"after_off_{name}", ASK.format(number=100 + number))
    answer = project.json("up")
    assert answer.code == 0, answer.err
    rows = ask(database, "SELECT path, lock, statement, who, replication, clean FROM asked")
    assert len(rows) == 1 + len(LEAKS) + 5
    assert set(rows) == {('"$user", public', "3s", "15min", "postgres", "origin", True)}


@pytest.mark.postgres("18")
def test_no_setting_at_all_reaches_the_next(project: Project, database: str):
    """Any setting of one file is gone in the next one of the same run: a resumed run has to see the same session as one that was not cut."""
    project.write(
        "sets",
        "SET timezone = 'Asia/Tokyo';\nSET row_security = off;\nSET synchronous_commit = off;\nSET check_function_bodies = off;\n",
    )
    names = ("timezone", "row_security", "synchronous_commit", "check_function_bodies")
    project.write(
        "asked",
        "CREATE TABLE asked AS SELECT "
        + ", ".join(f"current_setting('{name}') AS {name}" for name in names)
        + ";\n",
    )
    assert project.json("up").code == 0
    (usual,) = ask(database, "SELECT current_setting('timezone'), 'on', 'on', 'on'")
    assert ask(database, "SELECT * FROM asked") == [usual]


@pytest.mark.postgres("18")
def test_what_a_file_without_a_transaction_sets(project: Project, database: str):
    """In a transaction=off file a setting holds for the rest of that file, also when it is resumed behind the SET, and is gone in the next."""
    project.write("gate", "CREATE SCHEMA other;\nCREATE TABLE gate (id int PRIMARY KEY);\n")
    project.write(
        "off",
        "-- lockgate: transaction=off\nSET search_path = other;\nSELECT 1 / (SELECT count(*) FROM public.gate);\nCREATE TABLE made (id int PRIMARY KEY);\n",
    )
    project.write("next", "CREATE TABLE next (id int PRIMARY KEY);\n")
    answer = project.json("up")
    assert answer.code == 3, answer.err
    assert "1700000000002_off.sql:3" in answer.err
    ask(database, "INSERT INTO gate VALUES (1)")
    answer = project.json("up")
    assert answer.code == 0, answer.err
    assert ask(
        database, "SELECT to_regclass('other.made') IS NOT NULL, to_regclass('public.next') IS NOT NULL"
    ) == [(True, True)]


@pytest.mark.postgres("18")
def test_a_role_that_leaks_behind_a_function_is_rolled_back(project: Project, database: str):
    """A replication role or a role set where no reader sees it is noticed after the file, which is rolled back whole."""
    hide = "CREATE TABLE left_over (id int PRIMARY KEY);\nDO $$ BEGIN PERFORM set_config('{}' || '{}', '{}', false); END $$;\n"
    project.write("hidden", hide.format("session_rep", "lication_role", "replica"))
    answer = project.json("up")
    assert answer.code == 3, answer.err
    assert "replication role replica" in answer.error("SESSION_LEAK")["message"]
    project.write("hidden", hide.format("ro", "le", "pg_monitor"), revision=1_700_000_000_001)
    # This role may not even write the history, and the server says so before the session is looked at.
    assert project.json("up").code in (3, 77)
    assert ask(
        database, "SELECT to_regclass('left_over') IS NULL, (SELECT count(*) FROM lockgate.migration_history)"
    ) == [(True, 0)]


@pytest.mark.postgres("18")
@pytest.mark.parametrize("sql", ["DO $$ BEGIN COMMIT; END $$;", "DO $$ BEGIN EXECUTE 'COM' || 'MIT'; END $$;", "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN ROLLBACK; END $$;\nCALL p();", "DO $$ BEGIN EXECUTE 'COPY left_over FROM STDIN'; END $$;"])  # fmt: skip
def test_hidden_transaction_control(project: Project, database: str, sql: str):
    """A COMMIT that only the server sees fails there, and the file is rolled back whole."""
    project.write("hidden", f"CREATE TABLE left_over (id int);\n{sql}\n")
    answer = project.json("up")
    assert answer.code == 3, answer.err
    document = answer.error("MIGRATION_EXECUTION_FAILED")
    assert document["details"]["line"] >= 2
    assert ask(
        database, "SELECT to_regclass('left_over') IS NULL, (SELECT count(*) FROM lockgate.migration_history)"
    ) == [(True, 0)]


# -- 56, 57 -----------------------------------------------------------------------------------------


@pytest.mark.postgres("18")
def test_opaque_statements_are_marked(project: Project):
    """`check` marks DO and CALL as opaque, file by file, so that an approval can be asked for."""
    project.write("hidden", "SELECT 1;\nDO $$ BEGIN EXECUTE 'CREATE TABLE hidden (id int)'; END $$;\n")
    statements = project.json("check").document("check")["statements"]
    assert [(s["line"], s["opaque"]) for s in statements] == [(1, False), (2, True)]


@pytest.mark.postgres("18")
def test_an_allow_listed_function_runs(project: Project, database: str):
    """What the project allows in lockgate.toml passes, and is the only thing that does."""
    project.write("reload", "CREATE TABLE reloaded AS SELECT pg_reload_conf() AS done;\n")
    assert project.json("up").code == 4
    assert made_nothing(database)
    project.configure('[migrations]\nallow_functions = ["pg_reload_conf"]\n')
    assert project.json("up").code == 0
    assert ask(database, "SELECT done FROM reloaded") == [(True,)]
