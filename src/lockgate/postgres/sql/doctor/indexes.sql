-- Indexes that are not valid: being built now, left over by a broken build, or waiting for the index of a partition.
SELECT CASE WHEN b.pid IS NOT NULL THEN 'index-building'
            WHEN c.relkind = 'I' THEN 'index-incomplete'
            WHEN c.relname ~ '_ccnew[0-9]*$' THEN 'index-leftover-new'
            WHEN c.relname ~ '_ccold[0-9]*$' THEN 'index-leftover-old'
            ELSE 'index-invalid' END,
       i.indexrelid::regclass::text, i.indrelid::regclass::text, COALESCE(b.pid::text, ''),
       pg_catalog.pg_size_pretty(COALESCE(pg_catalog.pg_relation_size(i.indexrelid), 0)), pg_catalog.pg_get_indexdef(i.indexrelid)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  -- Other users' builds show only pid and database here, so the lock that every concurrent build holds is asked too.
  LEFT JOIN LATERAL (
    SELECT p.pid FROM pg_catalog.pg_stat_progress_create_index p
     WHERE p.datname = pg_catalog.current_database()
       AND (p.index_relid = i.indexrelid
            OR EXISTS (SELECT FROM pg_catalog.pg_locks l
                        WHERE l.pid = p.pid AND l.locktype = 'relation' AND l.database = p.datid AND l.relation = i.indrelid
                          AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted))
     LIMIT 1) b ON true
 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
 ORDER BY 2
