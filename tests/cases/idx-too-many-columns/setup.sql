CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, code text, qty integer, placed_at date);
