-- Every table: its schema and name, the names of its columns by number, and the checks that all of its rows satisfy, also those
-- from before a check (one that is NOT VALID proves nothing of them), each with the numbers of the columns that it speaks of.
SELECT pg_catalog.json_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname,
  'columns', COALESCE((SELECT pg_catalog.json_object_agg(a.attnum, a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}'),
  'checks', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('text', pg_catalog.pg_get_expr(k.conbin, k.conrelid), 'columns', COALESCE(pg_catalog.to_json(k.conkey), '[]')) ORDER BY k.oid)
                        FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated), '[]')
)::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384
