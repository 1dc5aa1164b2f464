CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);
DROP PUBLICATION IF EXISTS changes;
CREATE PUBLICATION changes FOR TABLE orders (id, qty);
