"""Families D, E and F of the catalogue: what is told apart, and what raises no alarm."""

from datetime import date

import pytest

from lockgate.policy.finding import Finding
from lockgate.policy.judge import Judge, Source

_BASE = """
CREATE TABLE orders (id bigint PRIMARY KEY, code text NOT NULL, at date);
CREATE TABLE events (id bigint, at date) PARTITION BY RANGE (at);
CREATE VIEW order_list AS SELECT id, code FROM orders;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a integer, b integer);
CREATE FUNCTION short(code text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(code)';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER orders_noted AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();
CREATE INDEX orders_short ON orders (short(code));
CREATE INDEX orders_code ON orders (code);
"""


def judged(text: str, *, phase: str = "", base: str = _BASE, transactional: bool = True) -> list[Finding]:
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(base)
    return judge.judge(Source("f.sql", text, phase, transactional)).findings + judge.finish()


def severities(text: str, id: str, base: str = _BASE) -> list[str]:
    return [finding.severity for finding in judged(text, base=base) if finding.id == id]


@pytest.mark.parametrize(
    "text",
    [
        "COMMENT ON TABLE orders IS 'x';",
        "CREATE STATISTICS pair_of ON id, at FROM orders;",
        "ALTER TABLE orders CLUSTER ON orders_code;",
        "ALTER TABLE orders SET (fillfactor = 80, autovacuum_enabled = true);",
        "ALTER TABLE orders SET ACCESS METHOD heap;",
        "ALTER TABLE orders REPLICA IDENTITY DEFAULT;",
        "ALTER TABLE orders OWNER TO CURRENT_USER;",
        "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, code text NOT NULL);",
        "CREATE TABLE a (x bigint PRIMARY KEY); ALTER TABLE a OWNER TO bob; ALTER TABLE a REPLICA IDENTITY FULL;",
        "CREATE TABLE a (x bigint PRIMARY KEY); ALTER TABLE a ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE a (x bigint PRIMARY KEY); CREATE POLICY p ON a USING (x > 1); ALTER TABLE a ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE a (x bigint PRIMARY KEY); CREATE VIEW v AS SELECT x FROM a; DROP VIEW v; DROP TABLE a CASCADE;",
        "CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b AS SELECT * FROM a; ALTER TABLE b ADD PRIMARY KEY (x);",
        "CREATE TEMP TABLE \"Odd\" (x int);",
        "CREATE TYPE hue AS ENUM ('red'); ALTER TYPE hue ADD VALUE 'blue'; ALTER TYPE hue RENAME VALUE 'red' TO 'rot';",
        "CREATE TYPE span AS (a int); ALTER TYPE span ADD ATTRIBUTE b int; DROP TYPE span;",
        "CREATE DOMAIN note AS text;",
        "DROP VIEW IF EXISTS nowhere; DROP TYPE IF EXISTS nowhere; DROP FUNCTION IF EXISTS nowhere();",
        "CREATE OR REPLACE FUNCTION fresh() RETURNS int LANGUAGE sql AS 'SELECT 1';",
        "CREATE FUNCTION once() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION once() FROM PUBLIC; DROP FUNCTION once();",
        "CREATE TABLE a (x bigint PRIMARY KEY); REVOKE ALL ON a FROM PUBLIC; GRANT ALL ON a TO bob;",
        "GRANT SELECT, INSERT ON orders TO bob;",
        "CREATE TABLE a (x bigint PRIMARY KEY); CREATE POLICY p ON a FOR SELECT USING (true); ALTER TABLE a ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');",
        "CREATE FUNCTION def() RETURNS int LANGUAGE sql SECURITY DEFINER BEGIN ATOMIC SELECT 1; END;",
    ],
)  # fmt: skip
def test_the_harmless_raises_no_alarm(text: str) -> None:
    """Options, comments, and whatever the file itself created give nothing above info."""
    expected = {"tab-create-partition-of"}
    assert [f for f in judged(text) if f.severity != "info" and f.id not in expected] == []


@pytest.mark.parametrize(
    ("text", "id", "expected"),
    [
        # A cascade is told by what it takes, and not told when it takes nothing that is known.
        ("DROP TABLE orders CASCADE;", "tab-drop-cascade", ["error"]),
        ("DROP TABLE events CASCADE;", "tab-drop-cascade", []),
        ("DROP TYPE mood CASCADE;", "tab-drop-cascade", []),
        # A partitioned table refuses keys without its partition key.
        ("ALTER TABLE events ADD PRIMARY KEY (id);", "tab-partition-design", ["error"]),
        ("ALTER TABLE events ADD PRIMARY KEY (id, at);", "tab-partition-design", []),
        ("CREATE UNIQUE INDEX u ON events (id);", "tab-partition-design", ["error"]),
        ("CREATE TABLE p (id bigint PRIMARY KEY, k int) PARTITION BY LIST (k);", "tab-partition-design", ["error"]),
        ("CREATE TABLE p (id bigint PRIMARY KEY, k int);", "tab-partition-design", []),
        # The shape that IF NOT EXISTS hides.
        ("CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY);", "tab-exists-drift", ["warning"]),
        ("CREATE TABLE orders (id int PRIMARY KEY);", "tab-exists-drift", []),
        # Habits.
        ("CREATE TABLE a (x int);", "tab-policy", ["info"]),
        ("CREATE TABLE a (x int); ALTER TABLE a ADD PRIMARY KEY (x);", "tab-policy", []),
        ('CREATE TABLE "Odd" (x int PRIMARY KEY);', "tab-policy", ["info"]),
        ('CREATE TABLE a (x int PRIMARY KEY, "user" text);', "tab-policy", ["info"]),
        ("CREATE TABLE a$_1 (_x2 int PRIMARY KEY);", "tab-policy", []),
        ("CREATE TABLE größe (x int PRIMARY KEY);", "tab-policy", []),
        # Row security is judged by the end of the file.
        ("ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON orders USING (id > 1);", "tab-rls-toggle", []),
        ("ALTER TABLE orders FORCE ROW LEVEL SECURITY;", "tab-rls-toggle", ["warning"]),
        ("ALTER TABLE orders DISABLE ROW LEVEL SECURITY;", "tab-rls-toggle", ["warning"]),
        ("CREATE POLICY p ON orders USING (id > 1);", "tab-rls-toggle", ["info"]),
        # Enums.
        ("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'ok';", "enum-ordering", []),
        ("ALTER TYPE mood ADD VALUE 'so' BEFORE 'ok';", "enum-ordering", []),
        ("DROP TYPE mood;", "enum-rename-or-drop-value", ["error"]),
        ("ALTER TYPE pair RENAME ATTRIBUTE a TO c;", "type-composite-change", ["warning"]),
        ("ALTER TABLE orders RENAME COLUMN at TO day;", "type-composite-change", []),
        ("ALTER TYPE mood RENAME TO feeling;", "type-composite-change", []),
        # Views.
        ("CREATE OR REPLACE VIEW order_list AS SELECT id, code, at FROM orders;", "view-replace", ["info"]),
        ("CREATE OR REPLACE VIEW order_list AS SELECT code FROM orders;", "view-replace", ["error"]),
        ("CREATE OR REPLACE VIEW order_list AS TABLE orders;", "view-replace", ["info"]),
        ("DROP VIEW order_list; CREATE VIEW order_list AS SELECT id FROM orders;", "view-drop", ["warning"]),
        ("CREATE RULE r AS ON DELETE TO orders DO INSTEAD NOTHING;", "rule-create", ["warning"]),
        # Triggers and policies.
        ("ALTER TABLE orders DISABLE TRIGGER ALL;", "trigger-toggle", ["warning"]),
        ("ALTER TABLE orders ENABLE TRIGGER USER;", "trigger-toggle", ["info"]),
        ("DROP TRIGGER IF EXISTS orders_noted ON orders;", "trigger-drop", ["warning"]),
        ("DROP TRIGGER IF EXISTS orders_noted ON nowhere;", "trigger-drop", []),
        ("CREATE POLICY p ON orders AS RESTRICTIVE USING (id > 1);", "policy-change", ["info"]),
        ("ALTER POLICY p ON orders USING (id > 1);", "policy-change", ["warning"]),
        # Functions.
        ("CREATE OR REPLACE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN old; END';", "function-replace", ["info"]),
        ("CREATE OR REPLACE FUNCTION short(code text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(code)';", "function-replace", ["warning"]),
        ("CREATE OR REPLACE FUNCTION help() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION help();", "function-replace", []),
        # What stops nobody, unless the file already does.
        ("ALTER TABLE orders CLUSTER ON orders_code;", "harmless-sux", ["info"]),
        ("COMMENT ON TYPE mood IS 'x';", "harmless-sux", []),
        ("ALTER TABLE orders DROP COLUMN at; COMMENT ON TABLE orders IS 'x';", "harmless-sux", []),
        # Copies.
        ("CREATE TABLE a AS SELECT * FROM orders;", "tab-ctas-large", ["warning"]),
        ("CREATE TABLE a AS SELECT relname FROM pg_class;", "tab-ctas-large", []),
        # Extensions and privileges.
        ("CREATE EXTENSION citext;", "extension-change", ["info"]),
        ("ALTER EXTENSION citext UPDATE;", "extension-change", ["warning"]),
        ("DROP EXTENSION citext CASCADE;", "extension-change", ["error"]),
        ("REVOKE SELECT ON orders FROM bob;", "privilege-change", ["warning"]),
        ("GRANT ALL ON orders TO bob;", "privilege-change", ["info"]),
        ("GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;", "privilege-change", ["warning"]),
        ("GRANT admins TO bob;", "privilege-change", ["warning"]),
        ("ALTER ROLE bob SUPERUSER;", "privilege-change", ["warning"]),
        ("ALTER SYSTEM SET work_mem = '1GB';", "privilege-change", ["warning"]),
        # Advice.
        ("CREATE POLICY p ON orders USING (true);", "security-advice", ["warning"]),
        ("CREATE POLICY p ON orders USING (false);", "security-advice", []),
        ("CREATE POLICY p ON orders FOR SELECT USING (true);", "security-advice", []),
        ("CREATE POLICY p ON orders FOR INSERT WITH CHECK (true);", "security-advice", ["warning"]),
    ],
)  # fmt: skip
def test_what_is_told_apart(text: str, id: str, expected: list[str]) -> None:
    """Each hazard is found where it is, with the weight that the case has."""
    assert severities(text, id) == expected


@pytest.mark.parametrize(
    ("command", "raw"),
    [
        ("'SELECT ' || what", True),
        ("what || ' WHERE true'", True),
        ("format('SELECT %s', what)", True),
        ("format('SELECT %1$s', what)", True),
        ("'SELECT ' || quote_ident(lower(what))", False),
        ("'SELECT ' || format('%I', what) || ' x; '", False),
        ("'SELECT ' || what::regclass", False),
        ("'SELECT $1' USING 'a' || what", False),
        ("'SELECT ' || '1 || x'", False),
        ("what", False),
    ],
)
def test_sql_built_from_raw_text(command: str, raw: bool) -> None:
    """What quotes its values is fine, and so is a constant."""
    text = (
        f"CREATE FUNCTION f(what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE {command}; END $$;"
    )
    assert severities(text, "dynamic-sql") == (["warning"] if raw else [])


def test_the_fix_has_the_names_of_the_file() -> None:
    """A label is placed after the last one known, and a recreated enum is answered with ADD VALUE."""
    (found,) = [f for f in judged("ALTER TYPE mood ADD VALUE 'it''s';") if f.id == "enum-ordering"]
    assert found.fix == "ALTER TYPE mood ADD VALUE 'it''s' AFTER 'ok';"
    text = (
        "ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('sad', 'ok', 'so');\n"
        "ALTER TABLE people ALTER COLUMN m TYPE mood USING m::text::mood;"
    )
    base = _BASE + "CREATE TABLE people (id bigint PRIMARY KEY, m mood);"
    (found,) = [f for f in judged(text, base=base) if f.id == "enum-recreate"]
    assert found.fix == "ALTER TYPE mood ADD VALUE 'so';"


def test_a_drop_in_a_contract_file_is_told_not_refused() -> None:
    """Views, labels, functions and triggers may go where the file says so."""
    text = "DROP VIEW order_list; DROP FUNCTION noted(); ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';"
    assert {f.severity for f in judged(text, phase="contract")} == {"info"}


def test_a_view_dropped_outside_a_transaction_is_gone_for_a_while() -> None:
    """Only a transaction hides the moment between drop and create."""
    text = "DROP VIEW order_list; CREATE VIEW order_list AS SELECT id FROM orders;"
    found = [f for f in judged(text, transactional=False) if f.id == "view-drop"]
    assert [f.severity for f in found] == ["error"]


def test_many_locks_weigh_more() -> None:
    """Past the default room for locks the word becomes a warning."""
    base = _BASE + "".join(
        f"CREATE TABLE events_{day} PARTITION OF events FOR VALUES FROM ({day}) TO ({day + 1});"
        for day in range(70)
    )
    assert severities("ALTER TABLE events ADD COLUMN note text;", "tab-partition-fanout", base=base) == [
        "warning"
    ]
    assert severities("ANALYZE events;", "tab-partition-fanout", base=base) == []


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("DROP SCHEMA elsewhere CASCADE;", "tab-drop-cascade"),
        ("DROP OWNED BY bob CASCADE;", "tab-drop"),
        ("REASSIGN OWNED BY bob TO alice;", "tab-inherit-owner"),
        ("ALTER TABLE ALL IN TABLESPACE slow SET TABLESPACE fast;", "tab-move"),
    ],
)
def test_what_only_the_server_could_name_is_told_all_the_same(text: str, id: str) -> None:
    """A statement on everything of a schema, a role or a tablespace that no file tells of is never silent."""
    (severity,) = severities(text, id)
    assert severity in ("error", "warning")


def test_what_a_role_owns_is_named() -> None:
    """DROP OWNED names the tables that the files gave to the role."""
    base = _BASE + "ALTER TABLE orders OWNER TO bob;"
    (found,) = [
        finding for finding in judged("DROP OWNED BY bob CASCADE;", base=base) if finding.id == "tab-drop"
    ]
    assert "orders" in found.message
    assert "order_list AccessExclusiveLock" in found.evidence
