-- Constraints that hold for new rows only (NOT VALID): CHECK, and from 18 on NOT NULL. Children of a table have theirs from it.
SELECT c.oid::text,
       pg_catalog.format('%I.%I', n.nspname, r.relname),
       CASE WHEN n.nspname = 'public' THEN r.relname::text ELSE n.nspname || '.' || r.relname END,
       c.conname,
       pg_catalog.pg_get_constraintdef(c.oid),
       r.oid::text,
       COALESCE((SELECT pg_catalog.jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)), '[]')::text
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
 WHERE NOT c.convalidated AND c.contype IN ('c', 'n') AND c.coninhcount = 0 AND n.nspname <> 'lockgate'
 ORDER BY c.oid
