-- The CHECK constraints of a table that its new rows have to hold: $1 its oid. Name, condition, the columns that it names, and
-- whether all of its rows hold it: those that were there before a NOT VALID need not. NOT ENFORCED ones (18) demand nothing.
SELECT k.conname::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) ORDER BY a.attnum),
       k.convalidated
  FROM pg_catalog.pg_constraint k
 WHERE k.conrelid = $1::oid AND k.contype = 'c' AND COALESCE((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true)
 ORDER BY k.conname
