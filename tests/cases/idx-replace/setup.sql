CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, code text);
CREATE INDEX orders_customer_id_idx ON orders (customer_id);
