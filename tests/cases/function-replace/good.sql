CREATE FUNCTION short_2(code text, size integer) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT left(code, size)';
