-- Indexes that answer nothing, in any user schema; that of a partitioned table counts until each part's is attached to it.
SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND c.relkind IN ('i', 'I') AND n.nspname !~ '^pg_' ORDER BY 1
