CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, total integer, doc jsonb);
