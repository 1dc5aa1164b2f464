CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, code text, qty integer, placed_at date);
CREATE INDEX orders_customer_id_code_idx ON orders (customer_id, code);
