-- The columns of a table whose NOT NULL is NOT VALID (18), so that rows from before may hold NULL: $1 its oid. The catalog calls
-- them NOT NULL like others.
SELECT a.attname::text
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
 WHERE k.conrelid = $1::oid AND k.contype = 'n' AND NOT k.convalidated
