CREATE TYPE order_state AS ENUM ('new', 'paid');
CREATE TABLE customers (id bigint PRIMARY KEY, email varchar(100) NOT NULL);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id bigint, code varchar(10), total numeric(10, 2), placed timestamp, note text, state order_state
);
ALTER TABLE orders ADD CONSTRAINT total_known CHECK (total IS NOT NULL);
CREATE TABLE events (id bigint NOT NULL, at date NOT NULL, body text) PARTITION BY RANGE (at);
