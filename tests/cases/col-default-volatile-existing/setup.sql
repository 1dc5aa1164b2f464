CREATE TABLE orders (id bigint PRIMARY KEY, token uuid, qty integer);
