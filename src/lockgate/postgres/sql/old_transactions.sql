-- Sessions of this database whose transaction a concurrent build has to wait for: open for more than 5 seconds.
SELECT a.pid::text, COALESCE(a.application_name, ''), COALESCE(a.usename::text, ''), COALESCE(a.state, ''),
       pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))::text
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
   AND a.xact_start < pg_catalog.clock_timestamp() - interval '5 seconds' AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
 ORDER BY a.xact_start LIMIT 20
