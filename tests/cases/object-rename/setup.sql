CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);
CREATE VIEW order_list AS SELECT id FROM orders;
CREATE SEQUENCE tickets;
