"""What runs inside a statement, where the files do not tell all of it: said, and never passed over in silence."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.policy.finding import Finding
from lockgate.policy.judge import Judge, Source
from lockgate.postgres.tree.plpgsql import pieces_of

_BASE = """
CREATE TABLE orders (id bigint PRIMARY KEY, note text);
CREATE TABLE audit (what text);
CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM orders';
CREATE FUNCTION built(t text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('DROP TABLE %I', t); END $$;
CREATE FUNCTION branch(n int) RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN IF n > 0 THEN ALTER TABLE orders ADD COLUMN more text; END IF; END $$;
CREATE FUNCTION plus(n int) RETURNS int LANGUAGE sql AS 'SELECT n + 1';
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2';
CREATE FUNCTION twice(n text) RETURNS text LANGUAGE sql AS 'SELECT n || n';
CREATE FUNCTION c_code() RETURNS int LANGUAGE c AS 'library', 'symbol';
CREATE FUNCTION again() RETURNS int LANGUAGE sql AS 'SELECT again()';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER orders_noted AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION noted();
"""


def told(text: str) -> list[Finding]:
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE)
    return [each for each in judge.judge(Source("f.sql", text)).findings if each.id == "do-block-hidden-ddl"]


@pytest.mark.parametrize(
    ("text", "severity", "words"),
    [
        (
            "SELECT create_hypertable('orders', 'id');",
            "warning",
            "create_hypertable() is made by none of the files",
        ),
        ("SELECT built('orders');", "warning", "SQL that is put together from text"),
        ("SELECT branch(1);", "warning", "may lock orders (AccessExclusiveLock)"),
        ("SELECT create_hypertable('orders', 'id') WHERE true;", "warning", "made by none of the files"),
        ("SELECT c_code() FROM orders;", "warning", "its body is c"),
        ("SELECT pg_clear_relation_stats('public', 'orders');", "warning", "pg_clear_relation_stats() locks"),
        ("SELECT query_to_xml('LOCK orders', true, true, '');", "warning", "query_to_xml() locks or runs"),
        ("SELECT c_code();", "warning", "its body is c"),
        ("SELECT twice(4);", "warning", "there are 2 functions twice()"),
        ("UPDATE orders SET note = counted()::text WHERE id = 1;", "info", "may lock orders"),
        ("UPDATE orders SET note = 'x' WHERE id = 1;", "info", "may lock audit (RowExclusiveLock)"),
        ("CALL nobody_made_this();", "warning", "nobody_made_this() is made by none of the files"),
        ("DO $$ BEGIN EXECUTE 'VACUUM ' || 'orders'; END $$;", "error", "put together from text"),
        ("DO LANGUAGE plperl 'x';", "warning", "its body is plperl"),
    ],
)
def test_what_cannot_be_judged_is_said(text: str, severity: str, words: str) -> None:
    """A body that no file has, a branch, rows and built text are findings that say which function it is."""
    found = [each for each in told(text) if words in each.message]
    assert [each.severity for each in found] == [severity], told(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT counted();",
        "SELECT plus(1), now(), lower('A');",
        "SELECT again();",
        "UPDATE orders SET id = plus(1) WHERE id = 5;",
        "INSERT INTO orders VALUES (1, 'x');",
    ],
)
def test_what_is_known_raises_no_alarm(text: str) -> None:
    """Functions whose bodies the files have, and those of PostgreSQL, are claimed and not spoken of."""
    assert [each for each in told(text) if each.severity != "info"] == []


def test_functions_that_call_each_other_many_times_end() -> None:
    """Ten functions that each call the next ten times are not followed to the end, and it is said."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay("CREATE FUNCTION f0() RETURNS int LANGUAGE sql AS 'SELECT 1';")
    for level in range(1, 11):
        body = "; ".join([f"SELECT f{level - 1}()"] * 10)
        judge.replay(f"CREATE FUNCTION f{level}() RETURNS int LANGUAGE sql AS '{body}';")
    found = judge.judge(Source("f.sql", "SELECT f10();")).findings
    assert any("than are followed" in each.message for each in found)


def test_what_a_block_builds_is_in_the_model() -> None:
    """What a DO block or a procedure is sure to build is known to later statements, and so is a guarded CREATE."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(
        "DO $$ BEGIN CREATE TABLE a (id int PRIMARY KEY); "
        "IF NOT EXISTS (SELECT FROM pg_type WHERE typname = 'mood') THEN CREATE TYPE mood AS ENUM ('x'); END IF; END $$;"
        "CREATE PROCEDURE p() LANGUAGE sql AS 'ALTER TABLE a ADD COLUMN note text'; CALL p();"
    )
    assert list(judge.schema.relations["a"].columns) == ["id", "note"]
    assert "mood" in judge.schema.types


_HIDING = """
CREATE FUNCTION dropping() RETURNS void LANGUAGE sql AS 'DROP TABLE orders';
CREATE FUNCTION through() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM dropping(); END';
CREATE PROCEDURE less() LANGUAGE plpgsql AS 'BEGIN ALTER TABLE orders DROP COLUMN note; END';
CREATE FUNCTION indexing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN CREATE INDEX i ON orders (note); RETURN NULL; END';
CREATE TRIGGER t AFTER INSERT ON audit FOR EACH ROW EXECUTE FUNCTION indexing();
CREATE FUNCTION perhaps(b bool) RETURNS void LANGUAGE plpgsql AS 'BEGIN IF b THEN DROP TABLE orders; END IF; END';
CREATE FUNCTION scratch() RETURNS void LANGUAGE plpgsql AS
  'BEGIN CREATE TEMP TABLE x (a int); CREATE INDEX xi ON x (a); INSERT INTO x VALUES (1); DROP TABLE x; END';
"""


@pytest.mark.parametrize(
    ("text", "id", "phase"),
    [
        ("SELECT dropping();", "tab-drop", "contract"),
        ("SELECT through();", "tab-drop", "contract"),
        ("CALL less();", "col-drop", "contract"),
        ("INSERT INTO audit VALUES ('x');", "idx-create-blocking", "expand"),
        ("SELECT perhaps(true);", "tab-drop", "contract"),
        ("DO $$ BEGIN LOCK orders; END $$;", "do-block-hidden-ddl", "expand"),
        ("DO $$ BEGIN REINDEX TABLE orders; END $$;", "idx-reindex-blocking", "expand"),
        ("DO $$ BEGIN ALTER  TABLE orders ADD extra int; END $$;", "do-block-hidden-ddl", "expand"),
        ("DO $$ BEGIN DELETE FROM orders; END $$;", "dml-no-where", "expand"),
        ("DO $$ BEGIN ALTER SYSTEM SET work_mem = 1; END $$;", "rep-forbidden-statements", "expand"),
        ("DO $$ BEGIN DROP TABLE orders; EXCEPTION WHEN OTHERS THEN NULL; END $$;", "tab-drop", "contract"),
    ],
)
def test_the_rules_and_the_phase_look_into_bodies(text: str, id: str, phase: str) -> None:
    """A statement of a body is an error at the line of its call, and makes the file what its phase is."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE + _HIDING)
    judgement = judge.judge(Source("f.sql", f"SELECT 1;\n{text}", "expand"))
    assert ("error", 2) in [(each.severity, each.line) for each in judgement.findings if each.id == id]
    misplaced = [each for each in judgement.findings if each.id == "phase-contract-in-expand"]
    assert (judgement.phase, bool(misplaced)) == (phase, phase == "contract")


def test_a_temporary_table_of_a_body_is_nobodys() -> None:
    """What a function makes, fills and drops for itself is no error and takes nothing away."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE + _HIDING)
    judgement = judge.judge(Source("f.sql", "SELECT scratch();", "expand"))
    assert [each for each in judgement.findings if each.severity == "error"] == []


_MISSED = """
CREATE TABLE other (id int PRIMARY KEY);
CREATE FUNCTION big() RETURNS int LANGUAGE plpgsql AS 'BEGIN LOCK TABLE other; RETURN 1; END';
CREATE FUNCTION bigt() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN LOCK TABLE other; RETURN NEW; END';
CREATE TABLE base (id int PRIMARY KEY, v int);
CREATE TRIGGER r BEFORE INSERT OR UPDATE ON base FOR EACH ROW EXECUTE FUNCTION bigt();
CREATE VIEW shown AS SELECT id, v FROM base;
CREATE VIEW instead AS SELECT id FROM orders;
CREATE TRIGGER i INSTEAD OF INSERT ON instead FOR EACH ROW EXECUTE FUNCTION bigt();
CREATE TABLE part (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TRIGGER p BEFORE INSERT ON part1 FOR EACH ROW EXECUTE FUNCTION bigt();
CREATE TABLE ruled (id int);
CREATE RULE r AS ON INSERT TO ruled DO ALSO INSERT INTO base VALUES (1, 1);
CREATE SCHEMA s2; CREATE TABLE s2.other (id int);
CREATE FUNCTION path() RETURNS void LANGUAGE plpgsql AS 'BEGIN LOCK TABLE other; END';
ALTER FUNCTION path() SET search_path = s2, public;
CREATE FUNCTION unclear() RETURNS void LANGUAGE plpgsql AS 'BEGIN LOCK TABLE other; END';
ALTER FUNCTION unclear() SET search_path FROM CURRENT;
CREATE FUNCTION by_default(x int DEFAULT big()) RETURNS int LANGUAGE sql AS 'SELECT x';
CREATE FUNCTION fine(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN LOCK TABLE other; RETURN true; END';
CREATE DOMAIN dom AS int CHECK (fine(VALUE));
CREATE TABLE domt (a dom, b int CHECK (fine(b)));
CREATE FUNCTION same(int, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN LOCK TABLE other; RETURN true; END';
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = text, FUNCTION = same);
CREATE TYPE pair AS (a int);
CREATE FUNCTION paired(int) RETURNS pair LANGUAGE plpgsql AS 'BEGIN LOCK TABLE other; RETURN ROW(1)::pair; END';
CREATE CAST (int AS pair) WITH FUNCTION paired(int);
CREATE FUNCTION raising() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'x' USING HINT = big()::text; END $$;
CREATE FUNCTION subscript() RETURNS void LANGUAGE plpgsql AS 'DECLARE a int[]; BEGIN a[big()] := 3; END';
"""


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("INSERT INTO shown VALUES (1, 1);", "other"),
        ("UPDATE shown SET v = 1 WHERE id = 1;", "other"),
        ("INSERT INTO instead VALUES (1);", "other"),
        ("INSERT INTO part VALUES (1, 1);", "other"),
        ("UPDATE part SET id = 3 WHERE id = 11;", "other"),
        ("INSERT INTO ruled VALUES (1);", "other"),
        ("SELECT path();", "s2.other"),
        ("SELECT unclear();", "unclear()"),
        ("SELECT by_default();", "other"),
        ("SELECT raising();", "other"),
        ("INSERT INTO domt (a) VALUES (1);", "other"),
        ("UPDATE domt SET b = 2 WHERE b = 1;", "other"),
        ("SELECT 1::dom;", "other"),
        ("SELECT 1 === 'a';", "other"),
        ("SELECT 1::pair;", "other"),
        ("SELECT subscript();", "other"),
    ],
)
def test_no_body_is_missed_in_silence(text: str, relation: str) -> None:
    """Views, INSTEAD OF, triggers of a partition, rules, a search path of later, defaults, domains, operators, casts, RAISE: claimed or told."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE + _MISSED)
    judgement = judge.judge(Source("f.sql", text))
    told = [each.message for each in judgement.findings if each.severity in ("warning", "error")]
    assert judgement.statements[0].locks.get(relation) == "AccessExclusiveLock" or any(
        relation in each for each in told
    )


_PROOF = "ALTER TABLE a ADD CONSTRAINT nn CHECK (n IS NOT NULL);"
_MADE = "CREATE TABLE a (id int, n int NOT NULL);"


@pytest.mark.parametrize(
    "body",
    [
        f"BEGIN PERFORM 1/0; {_PROOF} EXCEPTION WHEN OTHERS THEN NULL; END",
        f"BEGIN BEGIN {_PROOF} RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END",
        f"BEGIN LOOP IF random() < 2 THEN EXIT; END IF; {_PROOF} END LOOP; END",
        f"<<b>> BEGIN LOOP EXIT b; END LOOP; {_PROOF} END",
        f"BEGIN IF random() > 2 THEN {_PROOF} END IF; END",
    ],
)
def test_what_may_be_undone_or_passed_over_proves_nothing(body: str) -> None:
    """A CHECK of a block with a handler, or behind a way out of a loop or block, is no proof for a later SET NOT NULL."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay("CREATE TABLE a (id int, n int);")
    found = judge.judge(
        Source("f.sql", f"DO $$ {body} $$; ALTER TABLE a ALTER COLUMN n SET NOT NULL;")
    ).findings
    assert "col-set-not-null" in [each.id for each in found]


@pytest.mark.parametrize(
    "call",
    [
        "SELECT f() LIMIT 0",
        "SELECT * FROM f() WHERE false",
        "SELECT f() IS NULL AND false",
        "SELECT length(f()::text) + NULL",
        "SELECT strict_f(NULL)",
    ],
)
def test_a_function_that_may_not_be_called_proves_nothing(call: str) -> None:
    """What the planner leaves out, or a NULL argument answers, builds no proof."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(
        f"CREATE TABLE a (id int, n int); CREATE FUNCTION f() RETURNS void LANGUAGE sql AS '{_PROOF}';"
        f"CREATE FUNCTION strict_f(x int) RETURNS void STRICT LANGUAGE sql AS '{_PROOF}';"
    )
    found = judge.judge(Source("f.sql", f"{call}; ALTER TABLE a ALTER COLUMN n SET NOT NULL;")).findings
    assert "col-set-not-null" in [each.id for each in found]


@pytest.mark.parametrize(
    "body",
    [
        f"BEGIN IF random() > 2 THEN {_MADE} END IF; END",
        "BEGIN CREATE TABLE IF NOT EXISTS a (id int, n int NOT NULL); END",
        f"BEGIN {_MADE} EXCEPTION WHEN duplicate_table THEN NULL; END",
    ],
)
def test_a_table_that_a_body_may_have_made_is_not_new(body: str) -> None:
    """CREATE TABLE in a branch, with IF NOT EXISTS or under a handler tells of columns, and exempts the table of nothing."""
    judge = Judge(today=date(2030, 1, 1))
    found = judge.judge(
        Source(
            "f.sql", f"DO $$ {body} $$; CREATE INDEX i ON a (id); ALTER TABLE a ALTER COLUMN n SET NOT NULL;"
        )
    ).findings
    assert {"idx-create-blocking", "col-set-not-null"} <= {each.id for each in found}
    assert list(judge.schema.relations["a"].columns) == ["id", "n"]


@pytest.mark.parametrize(
    ("made", "call", "severity"),
    [
        ("CREATE EXTENSION unaccent;", "unaccent(v)", ""),
        ("", "unaccent(v)", "info"),
        ('CREATE EXTENSION "uuid-ossp" SCHEMA extensions;', "extensions.uuid_generate_v4()::text", ""),
        ('CREATE EXTENSION "uuid-ossp" SCHEMA extensions;', "ops.uuid_generate_v4()::text", "warning"),
        ("CREATE EXTENSION hstore;", "delete('a=>1'::hstore, 'a')::text", ""),
        ("CREATE EXTENSION hstore;", "public.delete('a=>1'::hstore, 'a')::text", ""),
        ("CREATE EXTENSION hstore;", "ops.delete('orders')", "warning"),
        ("CREATE EXTENSION dblink;", "dblink_exec('', v)", "warning"),
        ("", "made_elsewhere(v)", "warning"),
    ],
)
def test_a_function_of_an_extension_is_no_alarm(made: str, call: str, severity: str) -> None:
    """What works on its arguments alone is silent where a file makes the extension, and what may do anything is told."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(f"CREATE TABLE t (id int, v text); CREATE SCHEMA extensions; {made}")
    found = judge.judge(Source("f.sql", f"UPDATE t SET v = {call} WHERE id = 1;")).findings
    told = [each.severity for each in found if each.id == "do-block-hidden-ddl"]
    assert told == ([severity] if severity else [])


_BODY = """begin end if then elsif else loop while for in 1..3 exit when return query execute '1' select count(*)
into i from t ; ; ; := = ( ) declare int exception others raise null perform f() $1 open c cursor case << >> , ."""
_WORDS = st.sampled_from(_BODY.split())


@given(st.lists(_WORDS, max_size=40), st.sampled_from(["void", "trigger", "SETOF text"]))
@settings(max_examples=300, deadline=None)
def test_any_body_is_read_or_closed(words: list[str], returns: str) -> None:
    """Whatever stands in a body, reading it gives pieces, and one that is no plpgsql says that it is closed."""
    pieces = pieces_of(f"begin {' '.join(words)} end", ('IN "i" text',), returns, "insert")
    assert all(piece.closed or piece.text.strip() for piece in pieces)
