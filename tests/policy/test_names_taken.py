"""Names that go: with or without a phase directive a file that takes one from a running release is refused."""

from datetime import date

import pytest

from lockgate.policy.facts import Server
from lockgate.policy.judge import Judge, Source
from lockgate.policy.subject import Options

_BASE = """CREATE TABLE t (id int PRIMARY KEY, x int, g int GENERATED ALWAYS AS (x * 2) STORED, d int GENERATED ALWAYS AS (x * 2) VIRTUAL);
CREATE VIEW v AS SELECT id FROM t; CREATE MATERIALIZED VIEW mv AS SELECT id FROM t; CREATE SEQUENCE s; CREATE SCHEMA app;
CREATE TYPE ty AS ENUM ('a'); CREATE DOMAIN nn AS int; CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'select 1';
CREATE PROCEDURE p() LANGUAGE sql AS 'select 1'; CREATE AGGREGATE ag(int) (sfunc = int4pl, stype = int);
CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq); CREATE CAST (ty AS int) WITH INOUT; CREATE COLLATION cc (locale = 'C');
"""


def errors(text: str, phase: str = "") -> set[str]:
    """The hazards of error severity."""
    judge = Judge(Options(server=Server(18)), today=date(2030, 1, 1))
    judge.replay(_BASE)
    return {f.id for f in judge.judge(Source("f.sql", text, phase)).findings if f.severity == "error"}


@pytest.mark.parametrize(
    "what",
    ["VIEW v", "MATERIALIZED VIEW mv", "SEQUENCE s", "TYPE ty", "DOMAIN nn", "FUNCTION f(int)", "PROCEDURE p()", "ROUTINE f(int)", "AGGREGATE ag(int)", "COLLATION cc"],
)  # fmt: skip
def test_a_name_that_goes_is_refused(what: str) -> None:
    """RENAME and SET SCHEMA are errors without a directive, and misplaced in a file that says expand."""
    for change in ("RENAME TO other", "SET SCHEMA app"):
        assert errors(f"ALTER {what} {change};") == {"object-rename"}
        assert errors(f"ALTER {what} {change};", "expand") == {"object-rename", "phase-contract-in-expand"}


@pytest.mark.parametrize(
    "change",
    ["TABLE t RENAME TO u", "TABLE t SET SCHEMA app", "TABLE t RENAME COLUMN x TO y", "VIEW v RENAME TO w", "FUNCTION f(int) RENAME TO h"],
)  # fmt: skip
def test_a_rename_is_at_home_in_a_contract_file(change: str) -> None:
    """What no running release uses may be renamed there, and it is a warning: the floor keeps older releases out, not the readers that nobody knows of."""
    assert errors(f"ALTER {change};") & {"tab-rename", "col-rename", "object-rename"}
    assert errors(f"ALTER {change};", "contract") == set()


def test_a_schema_that_is_renamed_is_refused() -> None:
    """All names in it go; one that the same file made is nobody's."""
    assert errors("ALTER SCHEMA app RENAME TO other;") == {"object-rename"}
    assert errors("CREATE SCHEMA a; ALTER SCHEMA a RENAME TO b;") == set()


@pytest.mark.parametrize(
    "what", ["SEQUENCE s", "OPERATOR === (int, int)", "CAST (ty AS int)", "COLLATION cc"]
)
def test_what_is_dropped_is_refused(what: str) -> None:
    """An error without a directive, misplaced in expand, at home in contract."""
    assert errors(f"DROP {what};") == {"object-drop"}
    assert errors(f"DROP {what};", "expand") == {"object-drop", "phase-contract-in-expand"}
    assert errors(f"DROP {what};", "contract") == set()


@pytest.mark.parametrize(
    "text",
    [
        "CREATE VIEW w AS SELECT id FROM t; ALTER VIEW w RENAME TO w2;",
        "CREATE SEQUENCE q; ALTER SEQUENCE q RENAME TO q2;",
        "CREATE TYPE e AS ENUM ('a'); ALTER TYPE e RENAME TO e2;",
        "CREATE FUNCTION h() RETURNS int LANGUAGE sql AS 'select 1'; ALTER FUNCTION h() RENAME TO h2;",
        "CREATE SEQUENCE q; DROP SEQUENCE q;",
        "DROP SEQUENCE IF EXISTS never;",
    ],
)
def test_what_the_file_made_is_nobodys(text: str) -> None:
    """A name that the same file gave is used by no release."""
    assert errors(text) == set()


def test_a_stored_expression_that_changes_writes_the_table() -> None:
    """SET EXPRESSION of a stored column is an error like every rewrite; of a virtual one, or of a new table, it is not."""
    assert errors("ALTER TABLE t ALTER COLUMN g SET EXPRESSION AS (x * 3);") == {"col-type-rewrite"}
    assert errors("ALTER TABLE t ALTER COLUMN d SET EXPRESSION AS (x * 3);") == set()
    new = "CREATE TABLE n (x int, g int GENERATED ALWAYS AS (x) STORED);"
    assert errors(new + "ALTER TABLE n ALTER COLUMN g SET EXPRESSION AS (x * 3);") == set()
