-- Constraints that hold for new rows only (NOT VALID), each with a SELECT that counts the rows which break it, the expression of a check,
-- the table as SQL takes it, the definition and the columns.
SELECT c.oid::text,
       CASE WHEN n.nspname = 'public' THEN r.relname::text ELSE n.nspname || '.' || r.relname END,
       c.conname,
       CASE c.contype
         WHEN 'c' THEN pg_catalog.format('SELECT count(*) FROM %s WHERE NOT (%s)', own.name, pg_catalog.pg_get_expr(c.conbin, c.conrelid, true))
         WHEN 'n' THEN pg_catalog.format('SELECT count(*) FROM %s WHERE %s', own.name, keys.nulls)
         ELSE pg_catalog.format('SELECT count(*) FROM %s c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)', own.name, keys.filled, other.name, keys.equal)
       END,
       COALESCE(pg_catalog.pg_get_expr(c.conbin, c.conrelid), ''),
       pg_catalog.format('%I.%I', n.nspname, r.relname),
       pg_catalog.pg_get_constraintdef(c.oid),
       COALESCE((SELECT pg_catalog.jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)), '[]')::text
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
  CROSS JOIN LATERAL (SELECT CASE WHEN n.nspname = 'public' THEN pg_catalog.quote_ident(r.relname) ELSE pg_catalog.format('%I.%I', n.nspname, r.relname) END AS name) own
  LEFT JOIN LATERAL (SELECT CASE WHEN f.nspname = 'public' THEN pg_catalog.quote_ident(p.relname) ELSE pg_catalog.format('%I.%I', f.nspname, p.relname) END AS name
                       FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace f ON f.oid = p.relnamespace WHERE p.oid = c.confrelid) other ON true
  LEFT JOIN LATERAL (SELECT pg_catalog.string_agg(pg_catalog.format('%I IS NULL', a.attname), ' OR ' ORDER BY k.i) AS nulls,
                            pg_catalog.string_agg(pg_catalog.format('c.%I IS NOT NULL', a.attname), ' AND ' ORDER BY k.i) AS filled,
                            pg_catalog.string_agg('p.' || pg_catalog.quote_ident(b.attname) || ' = c.' || pg_catalog.quote_ident(a.attname), ' AND ' ORDER BY k.i) AS equal
                       FROM pg_catalog.generate_subscripts(c.conkey, 1) k(i)
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[k.i]
                       LEFT JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[k.i]) keys ON true
 WHERE NOT c.convalidated AND c.contype IN ('c', 'n', 'f') AND c.conparentid = 0 AND c.coninhcount = 0 AND n.nspname <> 'lockgate'
 ORDER BY c.oid
