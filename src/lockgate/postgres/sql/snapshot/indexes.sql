-- Indexes with the server's own words for them, whether they answer, and the index of the partitioned table above.
SELECT pg_catalog.row_to_json(found)::text
  FROM (
    SELECT n.nspname AS schema, x.relname AS name, pg_catalog.pg_get_indexdef(i.indexrelid) AS definition,
           i.indisvalid AND i.indisready AND i.indislive AS valid, i.indisprimary AS primary, i.indisclustered AS clustered,
           COALESCE(k.conname, '') AS constraint,
           COALESCE((SELECT s.spcname FROM pg_catalog.pg_tablespace s WHERE s.oid = x.reltablespace), '') AS tablespace,
           (SELECT pg_catalog.json_build_array(pn.nspname, p.relname) FROM pg_catalog.pg_inherits h
              JOIN pg_catalog.pg_class p ON p.oid = h.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
             WHERE h.inhrelid = x.oid LIMIT 1) AS parent
      FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
      LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.oid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
     WHERE x.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate')
     ORDER BY x.oid
  ) AS found
