-- Every table with the checks that all of its rows satisfy, also those from before a check: one that is NOT VALID proves nothing of them.
SELECT c.oid::text,
       COALESCE((SELECT pg_catalog.jsonb_agg(pg_catalog.pg_get_expr(k.conbin, k.conrelid) ORDER BY k.oid) FROM pg_catalog.pg_constraint k
                  WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated), '[]')::text
  FROM pg_catalog.pg_class c
 WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384
