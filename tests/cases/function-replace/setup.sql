CREATE TABLE orders (id bigint PRIMARY KEY, code text);
CREATE FUNCTION short(code text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(code)';
