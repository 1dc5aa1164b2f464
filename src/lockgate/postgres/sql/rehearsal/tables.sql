-- Every relation of the kinds $2, as JSON: columns, unique ones, foreign keys, checks and the constraint of its partition. $1 are tables to leave out.
SELECT pg_catalog.json_build_object(
  'oid', c.oid::bigint, 'kind', c.relkind, 'schema', n.nspname, 'name', c.relname,
  'columns', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', a.attname, 'number', a.attnum, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'base', b.typname, 'kind', b.typtype, 'category', b.typcategory,
      'element', COALESCE((SELECT e.typname FROM pg_catalog.pg_type e WHERE e.oid = b.typelem AND b.typcategory = 'A'), ''),
      'modifier', CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
      'notNull', a.attnotnull OR t.typnotnull, 'default', a.atthasdef AND a.attgenerated = '', 'identity', a.attidentity <> '', 'generated', a.attgenerated <> '',
      'labels', COALESCE((SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum l WHERE l.enumtypid = b.oid), '[]'),
      'unique', EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey)),
      'alone', EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indnkeyatts = 1 AND a.attnum = i.indkey[0]),
      'checks', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.pg_get_expr(k.conbin, k.conrelid)) FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]), '[]'),
      'domain', CASE WHEN t.typtype = 'd' THEN COALESCE((SELECT pg_catalog.json_agg(pg_catalog.pg_get_expr(k.conbin, 0)) FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'), '[]') ELSE '[]' END,
      'sequence', COALESCE((SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%' FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.oid AND d.adnum = a.attnum), false)
    ) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    -- OFFSET 0: both types are looked up by their number. A join reads all of pg_type, which is most of what there is.
    JOIN LATERAL (SELECT y.* FROM pg_catalog.pg_type y WHERE y.oid = a.atttypid OFFSET 0) t ON true
    JOIN LATERAL (SELECT y.* FROM pg_catalog.pg_type y WHERE y.oid = CASE WHEN t.typtype <> 'd' THEN t.oid ELSE (
        WITH RECURSIVE base AS (SELECT t.typbasetype AS oid UNION ALL
                                SELECT d.typbasetype FROM base JOIN pg_catalog.pg_type d ON d.oid = base.oid WHERE d.typtype = 'd')
        SELECT base.oid FROM base JOIN pg_catalog.pg_type d ON d.oid = base.oid WHERE d.typtype <> 'd') END OFFSET 0) b ON true
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'foreign', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'columns', (SELECT pg_catalog.json_agg(a.attname ORDER BY k.n) FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY k(num, n) JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num),
      'schema', rn.nspname, 'table', r.relname,
      'refers', (SELECT pg_catalog.json_agg(a.attname ORDER BY k.n) FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY k(num, n) JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num)))
    FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class r ON r.oid = f.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    WHERE f.conrelid = c.oid AND f.contype = 'f'), '[]'),
  'checks', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.pg_get_expr(k.conbin, k.conrelid)) FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'), '[]'),
  'partition', CASE WHEN c.relispartition THEN COALESCE(pg_catalog.pg_get_partition_constraintdef(c.oid), '') ELSE '' END
)::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind::text = ANY ($2::text[]) AND c.oid >= 16384 AND c.oid NOT IN (SELECT pg_catalog.unnest($1::oid[])) AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY c.oid
