"""Rules on indexes, columns and constraints: what each branch says, and that what is harmless stays quiet."""

from datetime import date

import pytest

from lockgate.policy.judge import Judge, Source
from lockgate.policy.subject import Options

_BASE = """
CREATE SCHEMA app;
CREATE TABLE customers (id bigint PRIMARY KEY, email text);
CREATE UNIQUE INDEX customers_email_key ON customers (email);
CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, code varchar(10), customer_id bigint, price numeric(10,2),
  at timestamptz, doc jsonb, email text REFERENCES customers (email), half integer GENERATED ALWAYS AS (qty / 2) STORED);
CREATE INDEX orders_qty_code_idx ON orders (qty, code DESC);
CREATE TABLE app.notes (id bigint PRIMARY KEY, body text COLLATE "C", tag text);
CREATE INDEX notes_body_tag_idx ON app.notes (body, tag);
"""


def found(text: str, id: str) -> list[tuple[str, str]]:
    """(severity, message) of each finding of one hazard; the text may hold several files."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE)
    findings = []
    for part in text.split("-- next file\n"):
        findings += judge.judge(Source("f.sql", part, "", "CONCURRENTLY" not in part)).findings
    return [(item.severity, item.message) for item in findings + judge.finish() if item.id == id]


@pytest.mark.parametrize(
    ("id", "text"),
    [
        # An order, an operator class or a predicate of its own makes it another index.
        ("idx-redundant", "CREATE INDEX CONCURRENTLY a ON orders (qty, code);"),
        ("idx-redundant", "CREATE INDEX CONCURRENTLY a ON orders (qty) WHERE code IS NULL;"),
        ("idx-redundant", "CREATE INDEX CONCURRENTLY a ON orders (qty) INCLUDE (price);"),
        ("idx-redundant", "CREATE UNIQUE INDEX CONCURRENTLY a ON orders (qty);"),
        ("idx-redundant", "CREATE INDEX CONCURRENTLY a ON orders USING hash (qty);"),
        # What cleared the way before the build is no gap.
        (
            "idx-replace",
            "DROP INDEX CONCURRENTLY IF EXISTS orders_qty_code_idx;\n-- next file\n"
            "CREATE INDEX CONCURRENTLY orders_qty_code_idx ON orders (qty);",
        ),
        (
            "idx-invalid-leftover",
            "DROP INDEX CONCURRENTLY IF EXISTS a;\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a ON orders (at);",
        ),
        ("idx-exists-other-definition", "CREATE INDEX IF NOT EXISTS orders_qty_code_idx ON orders (qty, code DESC);"),
        ("idx-unique-duplicates", "CREATE TABLE a (x int); CREATE UNIQUE INDEX a_x ON a (x);"),
        # Wider is not narrower.
        ("col-type-narrowing", "ALTER TABLE orders ALTER code TYPE text;"),
        ("col-type-narrowing", "ALTER TABLE orders ALTER price TYPE numeric(14,2);"),
        ("col-type-narrowing", "ALTER TABLE orders ALTER price TYPE numeric;"),
        ("col-type-narrowing", "ALTER TABLE orders ALTER qty TYPE bigint;"),
        ("col-type-using", "ALTER TABLE orders ALTER code TYPE text USING code::text;"),
        ("col-collation-change", "ALTER TABLE orders ALTER code TYPE text;"),
        ("col-collation-change", 'ALTER TABLE app.notes ALTER body TYPE text COLLATE "C";'),
        ("col-drop-not-null", "ALTER TABLE orders ALTER qty DROP NOT NULL;"),
        ("col-set-default", "ALTER TABLE orders ALTER qty SET DEFAULT 5;"),
        ("col-set-default", "ALTER TABLE orders ADD COLUMN a int DEFAULT 1; ALTER TABLE orders ALTER a DROP DEFAULT;"),
        ("col-drop-dependents", "ALTER TABLE orders DROP COLUMN price;"),
        ("col-order-padding", "CREATE TABLE a (x bigint, y integer, z text, b boolean);"),
        # The index may come later, and may be wider than the key.
        (
            "con-fk-no-index",
            "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers NOT VALID;\n-- next file\n"
            "CREATE INDEX CONCURRENTLY a ON orders (customer_id, at);",
        ),
        (
            "con-fk-many-parents",
            "CREATE TABLE a (id bigint PRIMARY KEY); CREATE TABLE b (a bigint REFERENCES a, c bigint REFERENCES customers);",
        ),
        ("con-fk-type-mismatch", "CREATE TABLE a (email varchar(100) REFERENCES customers (email));"),
        ("con-expression", "ALTER TABLE orders ADD CONSTRAINT c CHECK (lower(code) = code AND unknown(qty)) NOT VALID;"),
        ("con-drop-pk-replica", "ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (code);"),
    ],
)  # fmt: skip
def test_what_is_harmless_stays_quiet(id: str, text: str) -> None:
    """No finding of this hazard."""
    assert found(text, id) == []


@pytest.mark.parametrize(
    ("id", "text", "severity", "part"),
    [
        ("idx-redundant", "CREATE INDEX CONCURRENTLY a ON orders (qty, code DESC);", "warning", "same as orders_qty"),
        ("idx-redundant", "CREATE INDEX CONCURRENTLY a ON orders (qty, code DESC, at);", "info", "makes orders_qty"),
        ("idx-too-many-columns", f"CREATE INDEX CONCURRENTLY a ON orders ({', '.join(['qty'] * 33)});", "error", "33"),
        ("idx-extension-types", "CREATE INDEX CONCURRENTLY a ON orders (doc);", "info", "equality"),
        ("idx-drop-backs-constraint", "DROP INDEX customers_email_key;", "error", "foreign key orders_email_fkey"),
        (
            "idx-replace",
            "DROP INDEX CONCURRENTLY orders_qty_code_idx;\n-- next file\n"
            "CREATE INDEX CONCURRENTLY orders_qty_code_idx ON orders (qty);",
            "warning",
            "no orders_qty_code_idx",
        ),
        ("col-drop-dependents", "ALTER TABLE orders DROP COLUMN qty;", "error", "generated column half"),
        ("col-drop-dependents", "ALTER TABLE customers DROP COLUMN email;", "error", "orders_email_fkey"),
        ("col-type-narrowing", "ALTER TABLE orders ALTER price TYPE numeric(10,4);", "warning", "numeric(10,4)"),
        ("col-type-narrowing", "ALTER TABLE orders ALTER at TYPE timestamptz(0);", "warning", "timestamptz(0)"),
        ("col-collation-change", "ALTER TABLE app.notes ALTER body TYPE varchar;", "error", "app.notes_body_tag_idx"),
        ("col-set-default", "ALTER TABLE orders ALTER half DROP EXPRESSION; ALTER TABLE orders ALTER qty SET DEFAULT 1; "
         "ALTER TABLE orders ALTER qty SET DEFAULT 2;", "info", "new default"),
        ("con-fk-policy", "CREATE TABLE a (c bigint NOT NULL REFERENCES customers ON DELETE SET NULL);", "warning", "fails"),
        ("con-fk-no-index", "CREATE TABLE a (c bigint REFERENCES customers);", "info", "reads all of a"),
        ("con-expression", "ALTER TABLE orders ADD COLUMN x float CHECK (x < random());", "warning", "random()"),
        ("con-validate-while-blocking", "ALTER TABLE orders ADD CONSTRAINT c CHECK (qty > 0) NOT VALID;\n-- next file\n"
         "ALTER TABLE orders ADD COLUMN n int, VALIDATE CONSTRAINT c;", "error", "AccessExclusiveLock"),
        ("con-check-drops-proof", "ALTER TABLE orders ADD CONSTRAINT c CHECK (qty IS NOT NULL);\n-- next file\n"
         "ALTER TABLE orders DROP CONSTRAINT c;\n-- next file\nALTER TABLE orders ALTER qty SET NOT NULL;", "error", "c proved"),
        ("con-drop-pk-replica", "CREATE PUBLICATION p FOR TABLE orders; ALTER TABLE orders DROP CONSTRAINT orders_pkey;",
         "error", "subscriber"),
    ],
)  # fmt: skip
def test_each_branch_says_what_happens(id: str, text: str, severity: str, part: str) -> None:
    """One finding of this hazard with its severity, and the user's own names in its message."""
    assert [(one, part in message) for one, message in found(text, id)] == [(severity, True)]


def test_a_new_table_has_the_columns_that_the_settings_require() -> None:
    """Tables that take their columns from elsewhere, and changes of old ones, are left alone."""
    judge = Judge(Options(required_columns=("created_at", "id")), today=date(2030, 1, 1))
    judge.replay(_BASE)
    text = (
        "CREATE TABLE a (id bigint); CREATE TABLE b (LIKE orders); CREATE TEMP TABLE c (x int);"
        "ALTER TABLE orders ADD COLUMN x int; CREATE TABLE d (id bigint, created_at timestamptz);"
    )
    messages = [
        item.message for item in judge.judge(Source("f.sql", text)).findings if item.id == "col-policy"
    ]
    assert messages == ["a lacks created_at, which the settings require of every table"]
