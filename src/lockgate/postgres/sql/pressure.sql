-- How full the server is, and the oldest open transaction that is not ours.
SELECT current_setting('max_connections'),
       (current_setting('superuser_reserved_connections')::int)::text,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend')::text,
       COALESCE(extract(epoch FROM clock_timestamp() - o.xact_start), 0)::text,
       COALESCE('pid ' || o.pid || ' ' || o.application_name || ' as ' || o.usename, '')
  FROM (SELECT 1) one
  LEFT JOIN LATERAL (SELECT a.xact_start, a.pid, a.application_name, a.usename FROM pg_catalog.pg_stat_activity a
                      WHERE a.xact_start IS NOT NULL AND a.datname = current_database() AND a.pid <> pg_catalog.pg_backend_pid()
                        AND a.backend_type = 'client backend' AND a.application_name NOT LIKE 'lockgate/%'
                      ORDER BY a.xact_start LIMIT 1) o ON true
