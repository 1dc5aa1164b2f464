CREATE TABLE orders (id bigint PRIMARY KEY, qty integer NOT NULL DEFAULT 1, code varchar(10), total numeric(10,2));
CREATE VIEW order_codes AS SELECT id, code FROM orders;
