-- Columns in the order of their table. A default is only read for the functions and sequences that it names; of the
-- statistics only three figures are, and no value: of a column that may not be selected, or was never analyzed, -1, 0, -1.
SELECT pg_catalog.row_to_json(found)::text
  FROM (
    SELECT n.nspname AS schema, c.relname AS relation, a.attname AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
           a.attnotnull AS not_null, a.attidentity AS identity, a.attgenerated AS generated, a.attislocal AS local,
           CASE WHEN a.attcollation <> t.typcollation THEN COALESCE((SELECT l.collname FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation), '') ELSE '' END AS collation,
           COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') AS expression,
           (SELECT pg_catalog.json_build_array(sn.nspname, s.relname) FROM pg_catalog.pg_depend o
              JOIN pg_catalog.pg_class s ON s.oid = o.objid AND s.relkind = 'S' JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
             WHERE o.classid = 'pg_class'::regclass AND o.refclassid = 'pg_class'::regclass AND o.refobjid = c.oid
               AND o.refobjsubid = a.attnum AND o.deptype = 'i' LIMIT 1) AS identity_sequence,
           COALESCE(st.null_frac, -1) AS null_share, COALESCE(st.n_distinct, 0) AS distinct_values, COALESCE(st.avg_width, -1) AS width
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
      LEFT JOIN pg_catalog.pg_stats st ON st.schemaname = n.nspname AND st.tablename = c.relname AND st.attname = a.attname AND NOT st.inherited
      LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
     ORDER BY c.oid, a.attnum
  ) AS found
