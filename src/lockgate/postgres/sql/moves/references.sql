-- The foreign keys of a table that its server enforces: $1 its oid.
SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
  'name', k.conname, 'oid', k.confrelid::bigint, 'schema', n.nspname, 'table', c.relname, 'acts', k.confdeltype IN ('c', 'n', 'd'),
  'columns', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY u.i) FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u(n, i) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n),
  'key', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY u.i) FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u(n, i) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n)
 ) ORDER BY k.conname), '[]')::text
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.conrelid = $1::oid AND k.conparentid = 0
