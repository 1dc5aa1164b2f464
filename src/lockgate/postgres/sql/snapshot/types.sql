-- Enums, domains, composites and ranges. Array types, row types of tables and types of extensions come with something else.
SELECT pg_catalog.row_to_json(found)::text
  FROM (
    SELECT n.nspname AS schema, t.typname AS name, t.typtype AS kind, t.typnotnull AS not_null, pg_catalog.pg_get_userbyid(t.typowner) AS owner,
           CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) ELSE '' END AS base,
           COALESCE((SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum l WHERE l.enumtypid = t.oid), '[]') AS labels,
           COALESCE((SELECT pg_catalog.json_object_agg(k.conname, k.convalidated) FROM pg_catalog.pg_constraint k
                      WHERE k.contypid = t.oid AND k.contype = 'c'), '{}') AS constraints,
           COALESCE((SELECT pg_catalog.json_agg(pg_catalog.pg_get_constraintdef(k.oid) ORDER BY k.oid) FROM pg_catalog.pg_constraint k
                      WHERE k.contypid = t.oid AND k.contype = 'c'), '[]') AS checks,
           CASE WHEN t.typtype = 'd' THEN COALESCE(pg_catalog.pg_get_expr(t.typdefaultbin, 0), '') ELSE '' END AS fallback
      FROM pg_catalog.pg_type t
      JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
      LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
     WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c') OR (t.typtype = 'b' AND t.typcategory <> 'A'))
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')
     ORDER BY t.oid
  ) AS found
