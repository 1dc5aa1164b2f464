-- A new function is used by nobody yet.
CREATE FUNCTION order_code(id bigint) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''O-'' || id';
