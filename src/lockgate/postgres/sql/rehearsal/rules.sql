-- What refuses a row for its values: the checks of tables and domains, and unique indexes. Children of a table have theirs from it.
-- Each as JSON: whose it is, how it is taken off, what it says, the columns that it speaks of, and the indexes of partitions that refuse for it.
SELECT pg_catalog.json_build_object(
  'oid', k.oid::bigint, 'kind', CASE WHEN t.oid IS NULL THEN 'check' ELSE 'domain' END, 'relation', k.conrelid::bigint, 'name', k.conname,
  'key', CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || COALESCE(c.relname, t.typname),
  'owner', pg_catalog.format('%s %I.%I', CASE WHEN t.oid IS NULL THEN 'TABLE' ELSE 'DOMAIN' END, n.nspname, COALESCE(c.relname, t.typname)),
  'off', pg_catalog.format('ALTER %s %I.%I DROP CONSTRAINT %I', CASE WHEN t.oid IS NULL THEN 'TABLE' ELSE 'DOMAIN' END, n.nspname, COALESCE(c.relname, t.typname), k.conname),
  'definition', pg_catalog.pg_get_constraintdef(k.oid), 'says', pg_catalog.pg_get_expr(k.conbin, k.conrelid),
  'type', CASE WHEN t.oid IS NULL THEN '' ELSE pg_catalog.format_type(t.oid, NULL) END,
  'columns', COALESCE((SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)), '[]')
)::text
  FROM pg_catalog.pg_constraint k
  LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  LEFT JOIN pg_catalog.pg_type t ON t.oid = k.contypid
  JOIN pg_catalog.pg_namespace n ON n.oid = COALESCE(c.relnamespace, t.typnamespace)
 WHERE k.contype = 'c' AND k.coninhcount = 0 AND k.oid >= 16384 AND n.nspname <> 'lockgate'
UNION ALL
SELECT pg_catalog.json_build_object(
  'oid', x.oid::bigint, 'kind', 'unique', 'relation', i.indrelid::bigint, 'name', x.relname,
  'key', CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || c.relname,
  'owner', '',
  'off', CASE WHEN k.oid IS NULL THEN pg_catalog.format('DROP INDEX %I.%I CASCADE', n.nspname, x.relname) ELSE pg_catalog.format('ALTER TABLE %I.%I DROP CONSTRAINT %I CASCADE', n.nspname, c.relname, k.conname) END,
  'definition', pg_catalog.pg_get_indexdef(x.oid), 'says', '', 'type', '',
  'columns', COALESCE((SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid
                          AND (a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
                               OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = x.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum))), '[]'),
  'parts', CASE WHEN x.relkind = 'I' THEN COALESCE((SELECT pg_catalog.json_agg(p.relname) FROM pg_catalog.pg_partition_tree(x.oid) h JOIN pg_catalog.pg_class p ON p.oid = h.relid WHERE h.level > 0), '[]') ELSE '[]' END
)::text
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.oid AND k.conrelid = c.oid AND k.contype IN ('p', 'u')
 WHERE i.indisunique AND x.oid >= 16384 AND n.nspname NOT IN ('lockgate', 'pg_toast')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = x.oid)
