-- The CHECK constraints of a table: $1 its oid. Name, condition, and the columns that it names.
SELECT k.conname::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) ORDER BY a.attnum)
  FROM pg_catalog.pg_constraint k
 WHERE k.conrelid = $1::oid AND k.contype = 'c'
 ORDER BY k.conname
