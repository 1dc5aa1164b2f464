CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, code text);
ALTER TABLE orders ADD CONSTRAINT orders_code_key UNIQUE (code);
