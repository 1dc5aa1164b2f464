-- Constraints of tables. Since PostgreSQL 18 each NOT NULL is one too. A foreign key to a partitioned table has rows of the
-- server's own making, one for each partition it points to: they say nothing new and are left out.
SELECT pg_catalog.row_to_json(found)::text
  FROM (
    SELECT n.nspname AS schema, c.relname AS relation, k.conname AS name, k.contype AS kind, k.convalidated AS valid,
           COALESCE((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true) AS enforced, k.connoinherit AS no_inherit,
           k.conislocal AS local, k.conparentid <> 0 AS part, k.confdeltype AS on_delete, k.confupdtype AS on_update, k.condeferred AS deferred,
           CASE WHEN k.contype = 'c' THEN pg_catalog.pg_get_constraintdef(k.oid) ELSE '' END AS definition,
           COALESCE((SELECT pg_catalog.json_agg(COALESCE(a.attname, '') ORDER BY p.place) FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS p(number, place)
                       LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.number AND p.number > 0), '[]') AS columns,
           COALESCE((SELECT pg_catalog.json_agg(a.attname ORDER BY p.place) FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS p(number, place)
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = p.number), '[]') AS ref_columns,
           (SELECT pg_catalog.json_build_array(fn.nspname, f.relname) FROM pg_catalog.pg_class f
              JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace WHERE f.oid = k.confrelid) AS references_table,
           (SELECT pg_catalog.json_build_array(xn.nspname, x.relname) FROM pg_catalog.pg_class x
              JOIN pg_catalog.pg_namespace xn ON xn.oid = x.relnamespace WHERE x.oid = k.conindid) AS index
      FROM pg_catalog.pg_constraint k
      JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE k.contype IN ('c', 'f', 'p', 'u', 'x', 'n')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o WHERE o.oid = k.conparentid AND o.conrelid = k.conrelid)
     ORDER BY k.oid
  ) AS found
