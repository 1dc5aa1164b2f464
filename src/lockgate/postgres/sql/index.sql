-- The index named $2 in the schema of table $1 (a qualified name): is it valid, what is it, who builds it now.
SELECT i.indisvalid AND i.indisready AND i.indislive, i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid),
       i.indrelid = pg_catalog.to_regclass($1), i.indexrelid::regclass::text,
       COALESCE((SELECT p.pid FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid AND p.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
                  AND p.pid <> pg_catalog.pg_backend_pid() LIMIT 1)::text, '')
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
 WHERE c.relname = $2 AND c.relnamespace = (SELECT t.relnamespace FROM pg_catalog.pg_class t WHERE t.oid = pg_catalog.to_regclass($1))
