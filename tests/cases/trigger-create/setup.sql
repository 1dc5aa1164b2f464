CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
