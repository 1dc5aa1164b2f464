-- How hard the server is pressed: connections in percent, lock waiters, replicas with their lag, hidden replicas, WAL position, segments that wait for the archiver, now.
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend') * 100.0 / pg_catalog.current_setting('max_connections')::int,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE NOT granted),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'),
       (SELECT pg_catalog.max(COALESCE(EXTRACT(epoch FROM replay_lag), 0)) FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication WHERE state IS NULL),
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0'),
       CASE WHEN pg_catalog.current_setting('archive_mode') = 'off' THEN 0 ELSE (
         -- Names of segments: timeline, then two numbers of 8 hexadecimal digits; before the first one is archived, all since the start wait.
         SELECT GREATEST(0, (pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0') / b.size)::bigint - 1
                - COALESCE(('x' || pg_catalog.lpad(pg_catalog.substr(b.name, 9, 8), 16, '0'))::bit(64)::bigint * (4294967296 / b.size)
                           + ('x' || pg_catalog.lpad(pg_catalog.substr(b.name, 17, 8), 16, '0'))::bit(64)::bigint, 0))
           FROM (SELECT pg_catalog.substring(a.last_archived_wal, '^[0-9A-F]{24}') AS name, pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS size
                   FROM pg_catalog.pg_stat_archiver a) b) END,
       pg_catalog.clock_timestamp()
