-- How hard the server is pressed: connections in percent, lock waiters, the largest lag, replicas whose lag is hidden or none yet, standbys and where the last of them stands, WAL position, segments that wait for the archiver, now.
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend') * 100.0 / pg_catalog.current_setting('max_connections')::int,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE NOT granted),
       (SELECT pg_catalog.max(EXTRACT(epoch FROM replay_lag)) FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication WHERE state IS NULL OR state = 'catchup'),
       p.standbys, p.replayed,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0'),
       CASE WHEN pg_catalog.current_setting('archive_mode') = 'off' THEN 0 ELSE (
         -- Names of segments: timeline, then two numbers of 8 hexadecimal digits; before the first one is archived, all since the start wait.
         SELECT GREATEST(0, (pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0') / b.size)::bigint - 1
                - COALESCE(('x' || pg_catalog.lpad(pg_catalog.substr(b.name, 9, 8), 16, '0'))::bit(64)::bigint * (4294967296 / b.size)
                           + ('x' || pg_catalog.lpad(pg_catalog.substr(b.name, 17, 8), 16, '0'))::bit(64)::bigint, 0))
           FROM (SELECT pg_catalog.substring(a.last_archived_wal, '^[0-9A-F]{24}') AS name, pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS size
                   FROM pg_catalog.pg_stat_archiver a) b) END,
       pg_catalog.clock_timestamp()
  -- A subscriber of logical replication comes and goes with its work, and who only stores the log replays nothing: neither is a standby.
  FROM (SELECT pg_catalog.count(*) AS standbys, pg_catalog.min(pg_catalog.pg_wal_lsn_diff(r.replay_lsn, '0/0')) AS replayed
          FROM pg_catalog.pg_stat_replication r
         WHERE r.state = 'streaming' AND r.replay_lsn IS NOT NULL
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')) p
