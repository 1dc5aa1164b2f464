CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);
CREATE MATERIALIZED VIEW totals AS SELECT id, qty FROM orders;
CREATE UNIQUE INDEX totals_id ON totals (id);
