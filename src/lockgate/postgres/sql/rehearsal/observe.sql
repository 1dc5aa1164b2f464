-- What this session holds now: relation, modes, name, kind, file of its storage, scans begun in this transaction, bytes.
SELECT l.relation::text, pg_catalog.string_agg(l.mode, ','), COALESCE(n.nspname, ''), COALESCE(c.relname, ''), COALESCE(c.relkind::text, ''),
       COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0)::text,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_stat_get_xact_numscans(c.oid) ELSE 0 END::text,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_table_size(c.oid) WHEN c.relkind = 'i' THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END::text
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.relation >= 16384
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
 GROUP BY l.relation, n.nspname, c.relname, c.relkind, c.oid
