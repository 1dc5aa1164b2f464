CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, code varchar(10));
CREATE TABLE customers (id bigint PRIMARY KEY);
