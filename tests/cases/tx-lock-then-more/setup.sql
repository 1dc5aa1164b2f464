CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);
ALTER TABLE customers ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;
