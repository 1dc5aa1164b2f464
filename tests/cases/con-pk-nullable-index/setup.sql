CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint NOT NULL, customer_id bigint, qty integer);
CREATE UNIQUE INDEX orders_qty ON orders (qty);
CREATE UNIQUE INDEX orders_id ON orders (id);
