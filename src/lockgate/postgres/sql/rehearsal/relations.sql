-- Every user relation: oid, schema, name, kind, file of its storage, scans so far, bytes when $1 is true.
SELECT c.oid::text, n.nspname, c.relname, c.relkind::text, COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0)::text,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_stat_get_numscans(c.oid) ELSE 0 END::text,
       CASE WHEN $1 AND c.relkind IN ('r', 'm') THEN pg_catalog.pg_table_size(c.oid) WHEN $1 AND c.relkind = 'i' THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid >= 16384 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'lockgate') AND n.nspname NOT LIKE 'pg\_toast%'
