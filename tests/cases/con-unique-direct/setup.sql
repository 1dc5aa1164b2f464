CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint NOT NULL, customer_id bigint, qty integer);
CREATE UNIQUE INDEX orders_qty_key ON orders (qty);
