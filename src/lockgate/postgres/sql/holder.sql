-- Who holds the advisory lock with the 64-bit key ($1 high half, $2 low half) in this database.
SELECT l.pid::text, COALESCE(a.application_name, ''), COALESCE(a.usename::text, ''), COALESCE(a.client_addr::text, 'local'),
       COALESCE(pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.backend_start))::text, ''), COALESCE(a.state, '')
  FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
   AND l.classid = $1::bigint::oid AND l.objid = $2::bigint::oid
