"""Functions whose bodies use what a file drops, renames or moves: told where the server says nothing until they run."""

from collections.abc import Iterator
from datetime import date

import psycopg
import pytest

from lockgate.policy.finding import Finding
from lockgate.policy.judge import Judge, Source
from lockgate.policy.model.schema import key_of
from lockgate.policy.recipes import known
from lockgate.postgres.embedded import Embedded
from support import servers

_BASE = """CREATE TABLE orders (id bigint PRIMARY KEY, note text, qty integer);
CREATE TABLE audit (what text, note text);
CREATE TABLE lines (order_id bigint, total integer);
"""
_TRIGGER = "CREATE TRIGGER orders_noted BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f();"
_DROP, _RENAME = "ALTER TABLE orders DROP COLUMN note;", "ALTER TABLE orders RENAME COLUMN note TO remark;"
_INSERT = "INSERT INTO orders (id) VALUES (1);"


def _sql(body: str) -> str:
    return f"CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ {body} $$;"


def _plain(body: str, declare: str = "") -> str:
    return f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ {declare} BEGIN {body} END $$;"


def _fired(body: str) -> str:
    return f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN new; END $$;\n{_TRIGGER}"


# (what earlier files made, the file, what runs afterwards; the severity: an error fails then, and "" does not)
_CASES = {
    "new.column of a trigger": (_fired("new.note := upper(new.note);"), _DROP, _INSERT, "error"),
    "renamed under a trigger": (_fired("INSERT INTO audit VALUES (new.note);"), _RENAME, _INSERT, "error"),
    "another column of the row": (_fired("new.qty := 1;"), _DROP, _INSERT, ""),
    "the same name of another table": (_fired("INSERT INTO audit (note) VALUES ('x');"), _DROP, _INSERT, ""),
    "in a comment and a text": (_fired("new.qty := length('new.note'); -- new.note\n"), _DROP, _INSERT, ""),
    "an UPDATE": (_plain("UPDATE orders SET note = 'x';"), _RENAME, "SELECT f();", "error"),
    "an INSERT with columns": (_plain("INSERT INTO orders (id, note) VALUES (2, 'x');"), _DROP, "SELECT f();", "error"),
    "an INSERT by place": (_plain("INSERT INTO orders VALUES (2, 'x', 1);"), _DROP, "SELECT f();", "error"),
    "an INSERT by place, renamed": (_plain("INSERT INTO orders VALUES (2, 'x', 1);"), _RENAME, "SELECT f();", ""),
    "an alias": (_sql("DELETE FROM orders AS o USING lines l WHERE o.id = l.order_id AND o.note = 'x';"), _DROP, "SELECT f();", "error"),
    "a query in SQL": (_sql("INSERT INTO lines SELECT id, length(note) FROM orders;"), _DROP, "SELECT f();", "error"),
    "the type of the column": (_plain("x := 'y';", "DECLARE x orders.note%TYPE;"), _DROP, "SELECT f();", "error"),
    "two tables have it": (_sql("DELETE FROM orders USING audit WHERE audit.note = 'x';"), _DROP, "SELECT f();", "warning"),
    "a record of all columns": (_plain("FOR r IN SELECT * FROM orders LOOP PERFORM r.note; END LOOP;", "DECLARE r record;"), _DROP, "SELECT f();", "warning"),
    "a text that is put together": (_plain("EXECUTE 'UPDATE orders SET note = ' || quote_literal('x');"), _DROP, "SELECT f();", "warning"),
    "a dropped table": (_plain("DELETE FROM lines;"), "DROP TABLE lines;", "SELECT f();", "error"),
    "a renamed table": (_plain("PERFORM count(*) FROM lines;"), "ALTER TABLE lines RENAME TO parts;", "SELECT f();", "error"),
    "a moved table": (_plain("TRUNCATE lines;"), "CREATE SCHEMA s;\nALTER TABLE lines SET SCHEMA s;", "SELECT f();", "error"),
    "a renamed table with a view of the old name": (_plain("PERFORM count(*) FROM lines;"), "ALTER TABLE lines RENAME TO parts;\nCREATE VIEW lines AS TABLE parts;", "SELECT f();", ""),
    "a parsed body": ("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(note) FROM orders; END;", _RENAME, "SELECT f();", ""),
    "a dropped function": ("CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1';\n" + _plain("PERFORM g();"), "DROP FUNCTION g();", "SELECT f();", "error"),
    "a renamed function": ("CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1';\n" + _plain("PERFORM g();"), "ALTER FUNCTION g() RENAME TO h;", "SELECT f();", "error"),
    "dropped by a DO block": (_plain("UPDATE orders SET note = 'x';"), f"DO $$ BEGIN {_DROP} END $$;", "SELECT f();", "error"),
    "a view that CASCADE takes": ("CREATE VIEW v AS TABLE lines;\n" + _plain("PERFORM count(*) FROM v;"), "DROP TABLE lines CASCADE;", "SELECT f();", "error"),
    "a schema that goes": ("CREATE SCHEMA s; CREATE TABLE s.t (a int);\n" + _plain("PERFORM count(*) FROM s.t;"), "DROP SCHEMA s CASCADE;", "SELECT f();", "error"),
    "a renamed schema": ("CREATE SCHEMA s; CREATE TABLE s.t (a int);\n" + _plain("PERFORM count(*) FROM s.t;"), "ALTER SCHEMA s RENAME TO z;", "SELECT f();", "error"),
    "a function of a schema that goes": ("CREATE SCHEMA s; CREATE FUNCTION s.g() RETURNS int LANGUAGE sql AS 'SELECT 1';\n" + _plain("PERFORM s.g();"), "DROP SCHEMA s CASCADE;", "SELECT f();", "error"),
    "a function of a renamed schema": ("CREATE SCHEMA s; CREATE FUNCTION s.g() RETURNS int LANGUAGE sql AS 'SELECT 1';\n" + _plain("PERFORM s.g();"), "ALTER SCHEMA s RENAME TO z;", "SELECT f();", "error"),
    "a function of another schema": ("CREATE SCHEMA s; CREATE SCHEMA z; CREATE FUNCTION z.g() RETURNS int LANGUAGE sql AS 'SELECT 1';\n" + _plain("PERFORM z.g();"), "DROP SCHEMA s CASCADE;", "SELECT f();", ""),
    "a renamed column of a view": ("CREATE VIEW v AS TABLE lines;\n" + _plain("PERFORM total FROM v;"), "ALTER VIEW v RENAME COLUMN total TO whole;", "SELECT f();", "error"),
    "replaced in the same file": (_plain("UPDATE orders SET note = 'x';"), _plain("UPDATE orders SET qty = 1;").replace("CREATE", "CREATE OR REPLACE") + _DROP, "SELECT f();", ""),
    "dropped in the same file": (_plain("UPDATE orders SET note = 'x';"), f"DROP FUNCTION f();\n{_DROP}", "SELECT 1;", ""),
    "added anew": (_plain("UPDATE orders SET note = 'x';"), f"{_DROP}\nALTER TABLE orders ADD COLUMN note text;", "SELECT f();", ""),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", _CASES.values(), ids=_CASES.keys())


def _found(setup: str, text: str, phase: str = "") -> list[Finding]:
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE + setup)
    findings = judge.judge(Source("2.sql", text, phase)).findings
    return [each for each in findings if each.id == "function-body-left-behind"]


@every_case
@pytest.mark.parametrize("phase", ["expand", "contract"])
def test_a_body_that_uses_what_goes_is_told(case: tuple[str, str, str, str], phase: str) -> None:
    """In both phases: an error where a statement surely names it, a warning where nobody can tell, and silence elsewhere."""
    setup, text, _, severity = case
    assert [each.severity for each in _found(setup, text, phase)] == ([severity] if severity else [])


@pytest.fixture(scope="module")
def url(server: Embedded) -> Iterator[str]:
    with servers.fresh_database(server, "left_behind") as made:
        yield made


@pytest.mark.postgres("16", "18")
@every_case
def test_the_server_agrees(case: tuple[str, str, str, str], url: str) -> None:
    """The file runs without a word, and what runs afterwards fails where an error was told and only there."""
    setup, text, then, severity = case
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS s, z CASCADE; CREATE SCHEMA public"
        )
        connection.execute(_BASE + setup)
    # A session that has not compiled the function yet, as every new one.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text)
        if severity == "error":
            with pytest.raises(psycopg.ProgrammingError):
                connection.execute(then)
        elif not severity:
            connection.execute(then)


def test_the_message_names_function_trigger_and_column() -> None:
    """Who reads it knows which function to replace, and which writes would fail."""
    (found,) = _found(_fired("new.note := 'x';"), _DROP)
    assert (
        found.message
        == "f() uses orders.note, which is dropped, and trigger orders_noted of orders runs it: those writes fail"
    )
    assert "CREATE OR REPLACE FUNCTION f(…)" in found.fix


def test_schemas_and_search_paths_are_followed() -> None:
    """A table of the same name in another schema is another table, and a function's own search_path says which it means."""
    setup = (
        'CREATE SCHEMA "Shop";\nCREATE TABLE "Shop".orders (id int, note text);\n'
        "CREATE FUNCTION mine() RETURNS void LANGUAGE sql AS 'UPDATE orders SET note = 1';\n"
        'CREATE FUNCTION its() RETURNS void LANGUAGE sql SET search_path = "Shop" AS $$ UPDATE orders SET note = 1 $$;\n'
    )
    (found,) = _found(setup, 'ALTER TABLE "Shop".orders DROP COLUMN note;')
    assert found.message.startswith(f"its() uses {key_of('Shop', 'orders')}.note")
    (found,) = _found(setup, _DROP)
    assert found.message.startswith("mine() uses orders.note")


@pytest.mark.parametrize(
    ("recipe", "values"),
    [
        ("rename-column", {"column": "note", "to": "remark", "type": "text"}),
        ("drop-column", {"column": "note"}),
        ("drop-table", {}),
    ],
)
def test_recipes_say_which_functions_are_left_behind(recipe: str, values: dict[str, str]) -> None:
    """What a recipe drops in the end and a body uses is a note when its files are written."""
    built = known.learn([_BASE, _plain("UPDATE orders SET note = 'x';"), _fired("").replace("f()", "g()")])
    (note,) = known.judge(recipe, {"table": "orders", **values}, built)
    assert "the function f() uses orders" in note
    assert "CREATE OR REPLACE FUNCTION" in note
