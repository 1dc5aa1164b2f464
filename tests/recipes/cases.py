"""One call of each recipe, with the database that it starts from and what old and new releases do meanwhile."""

from typing import NamedTuple


class Case(NamedTuple):
    """A call, and SQL to run before it, between expand and contract, and after. ``same`` must return true."""

    recipe: str
    values: dict[str, str]
    setup: str = ""
    # What the move does to the rows that are there; runs before the first file with after=move:…
    move: str = ""
    # What the old release does once every expand file is applied.
    old: str = ""
    # One row of one true: what both sides then see.
    same: str = "SELECT true"
    # What the new release does after the contract files.
    new: str = "SELECT true"


ORDERS = """
CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE orders (id bigint PRIMARY KEY, note text, qty integer NOT NULL DEFAULT 1, customer_id bigint, made date NOT NULL DEFAULT '2026-01-15', mood mood);
INSERT INTO customers SELECT generate_series(1, 10);
INSERT INTO orders (id, note, qty, customer_id) SELECT n, 'note ' || n, n, n % 10 + 1 FROM generate_series(1, 500) AS n;
CREATE SCHEMA "Ware House";
CREATE TABLE "Ware House"."Order" (id bigint PRIMARY KEY, "User" text, "select" integer);
INSERT INTO "Ware House"."Order" SELECT n, 'u' || n, n FROM generate_series(1, 50) AS n;
"""
ODD = '"Ware House"."Order"'

CASES = [
    Case("add-not-null", {"table": "orders", "column": "note"}, old="INSERT INTO orders (id, note) VALUES (1001, 'n')",
         same="SELECT attnotnull FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'note'"),
    Case("add-not-null", {"table": "orders", "column": "mood", "fill": "'good'"}, move="UPDATE orders SET mood = 'good' WHERE mood IS NULL",
         same="SELECT attnotnull FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'mood'"),
    Case("rename-column", {"table": "orders", "column": "note", "to": "remark", "type": "text", "not_null": "yes", "default": "'none'"},
         move="UPDATE orders SET remark = note WHERE remark IS NULL AND note IS NOT NULL",
         old="INSERT INTO orders (id, note) VALUES (1001, 'by old');"
             "INSERT INTO orders (id, remark) VALUES (1002, 'by new');"
             "UPDATE orders SET note = 'old wrote' WHERE id = 1;"
             "UPDATE orders SET remark = 'new wrote' WHERE id = 2;"
             "UPDATE orders SET qty = 7 WHERE id = 3",
         same="SELECT bool_and(note = remark) AND bool_or(note = 'by new') AND bool_or(remark = 'by old')"
              " AND bool_or(remark = 'old wrote') AND bool_or(note = 'new wrote') FROM orders",
         new="INSERT INTO orders (id) VALUES (1003) RETURNING remark = 'none'"),
    Case("rename-column", {"table": ODD, "column": '"User"', "to": "user", "type": "text"},
         move=f"""UPDATE {ODD} SET "user" = "User" WHERE "user" IS NULL""",
         old=f"""INSERT INTO {ODD} (id, "User") VALUES (1001, 'x'); UPDATE {ODD} SET "user" = 'y' WHERE id = 1; UPDATE {ODD} SET "user" = NULL WHERE id = 2""",
         same=f"""SELECT bool_and("User" IS NOT DISTINCT FROM "user") AND count(*) FILTER (WHERE "User" IS NULL) = 1 FROM {ODD}""",
         new=f"""SELECT count("user") = 50 FROM {ODD}"""),
    Case("rename-column", {"table": "orders", "column": "doc", "to": "document", "type": "json"}, setup="ALTER TABLE orders ADD COLUMN doc json",
         old="""INSERT INTO orders (id, doc) VALUES (1001, '{"a":1}'); UPDATE orders SET document = '{"b":2}' WHERE id = 1;"""
             """UPDATE orders SET doc = '{"c":3}' WHERE id = 1001""",
         same="""SELECT count(doc) = 2 AND bool_and(doc::text IS NOT DISTINCT FROM document::text) AND bool_or(document->>'c' = '3') FROM orders"""),
    Case("change-type", {"table": "orders", "column": "qty", "from": "integer", "type": "numeric(12, 2)", "to": "amount", "forward": "{value} / 100.0", "backward": "({value} * 100)::integer", "not_null": "yes"},
         move="UPDATE orders SET amount = qty / 100.0 WHERE amount IS NULL",
         old="INSERT INTO orders (id, qty) VALUES (1001, 250); INSERT INTO orders (id, amount) VALUES (1002, 3.75); UPDATE orders SET qty = 99 WHERE id = 1; UPDATE orders SET amount = 1.23 WHERE id = 2",
         same="SELECT bool_and(amount = qty / 100.0) AND bool_or(amount = 2.5) AND bool_or(qty = 375) AND bool_or(qty = 123) FROM orders",
         new="SELECT sum(amount) > 0 FROM orders"),
    Case("drop-column", {"table": "orders", "column": "qty", "default": "0"}, old="INSERT INTO orders (id) VALUES (1001); SELECT qty FROM orders",
         new="SELECT count(*) = 0 FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'qty'"),
    Case("add-foreign-key", {"table": "orders", "column": "customer_id", "references": "customers", "on_delete": "cascade"},
         old="INSERT INTO orders (id, customer_id) VALUES (1001, 3)",
         same="SELECT convalidated FROM pg_constraint WHERE conname = 'orders_customer_id_fkey'"),
    Case("add-unique", {"table": ODD, "columns": '"select"'}, old=f"""INSERT INTO {ODD} (id, "select") VALUES (1001, 1001)""",
         same="SELECT contype = 'u' FROM pg_constraint WHERE conname = 'Order_select_key'"),
    Case("add-check", {"table": "orders", "expression": "qty > 0 AND note <> '--'"}, old="INSERT INTO orders (id, note) VALUES (1001, 'n')",
         same="SELECT convalidated FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype = 'c'"),
    Case("add-index", {"table": "orders", "columns": "customer_id,made", "where": "qty > 5"}, old="UPDATE orders SET qty = 6 WHERE id = 1",
         same="SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_customer_id_made_idx'::regclass"),
    Case("split-table", {"table": "orders", "to": "order_notes", "key": "id", "key_type": "bigint", "columns": "note:text,made:date"},
         move="INSERT INTO order_notes (id, note, made) SELECT id, note, made FROM orders FOR UPDATE ON CONFLICT DO NOTHING",
         old="INSERT INTO orders (id, note) VALUES (1001, 'by old'); UPDATE orders SET note = 'old wrote' WHERE id = 1;"
             "UPDATE order_notes SET note = 'new wrote' WHERE id = 2; DELETE FROM orders WHERE id = 3; UPDATE orders SET id = 1004 WHERE id = 4",
         same="SELECT count(*) = 500 AND bool_and(o.note = n.note AND o.made = n.made) AND bool_or(n.note = 'by old') AND bool_or(n.note = 'old wrote')"
              " AND bool_or(o.note = 'new wrote') FROM orders AS o FULL JOIN order_notes AS n USING (id)",
         new="INSERT INTO orders (id) VALUES (2001) RETURNING true"),
    Case("partition-table", {"table": "orders", "to": "orders_by_day", "by": "made", "key": "id", "columns": "id,note,qty,customer_id,made,mood", "bounds": "2026-01-01,2026-02-01,2026-03-01"},
         move="INSERT INTO orders_by_day (id, note, qty, customer_id, made, mood) SELECT id, note, qty, customer_id, made, mood FROM orders FOR UPDATE ON CONFLICT DO NOTHING",
         old="INSERT INTO orders (id, note) VALUES (1001, 'by old'); UPDATE orders SET made = '2026-02-02' WHERE id = 1;"
             "INSERT INTO orders_by_day (id, note, qty, made) VALUES (1002, 'by new', 1, '2027-01-01');"
             "UPDATE orders_by_day SET made = '2026-02-03' WHERE id = 2; UPDATE orders_by_day SET note = 'new wrote' WHERE id = 5;"
             "DELETE FROM orders_by_day WHERE id = 3; DELETE FROM orders WHERE id = 4",
         same="SELECT count(*) = 500 AND bool_and(o.note = n.note AND o.made = n.made) AND bool_or(o.note = 'by new') AND bool_or(n.note = 'by old')"
              " AND bool_or(o.note = 'new wrote') FROM orders AS o FULL JOIN orders_by_day AS n USING (id)",
         new="SELECT count(*) = 500 AND to_regclass('orders') IS NULL FROM orders_by_day"),
    Case("drop-table", {"table": "orders"}, old="SELECT * FROM orders", new="SELECT to_regclass('orders') IS NULL"),
    Case("drop-table", {"table": "orders", "foreign_keys": '"Order FK"'}, setup='ALTER TABLE orders ADD CONSTRAINT "Order FK" FOREIGN KEY (customer_id) REFERENCES customers',
         new="SELECT to_regclass('orders') IS NULL"),
    Case("add-enum-value", {"type": "mood", "value": "it's fine", "before": "bad"}, old="UPDATE orders SET mood = 'it''s fine' WHERE id = 1",
         same="SELECT enum_range(NULL::mood)::text = '{good,\"it''s fine\",bad}'"),
]  # fmt: skip
