-- Who keeps session $1 waiting, as a tree: its blockers, and whoever blocks those. Reads pg_locks and pg_stat_activity alone.
WITH RECURSIVE tree AS (
  SELECT b.pid, 1 AS depth, ARRAY[$1::integer, b.pid] AS path
    FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids($1::integer)) AS b(pid)
  UNION ALL
  SELECT b.pid, t.depth + 1, t.path || b.pid
    FROM tree t CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(t.pid)) AS b(pid)
   WHERE b.pid <> ALL (t.path) AND t.depth < 8
)
SELECT t.pid::text, t.depth::text,
       COALESCE(a.application_name, ''), COALESCE(a.usename::text, ''), COALESCE(a.state, ''),
       COALESCE(pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))::text, ''),
       COALESCE(a.backend_type, ''), COALESCE(pg_catalog.left(a.query, 200), ''),
       COALESCE(a.wait_event_type || ':' || a.wait_event, ''),
       COALESCE((SELECT pg_catalog.string_agg(DISTINCT l.relation::regclass::text || ' ' || l.mode, ', ')
                   FROM pg_catalog.pg_locks l
                  WHERE l.pid = t.pid AND l.granted AND l.locktype = 'relation'
                    AND l.relation IN (SELECT w.relation FROM pg_catalog.pg_locks w WHERE w.pid = $1::integer AND NOT w.granted)), '')
  FROM tree t LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = t.pid
 ORDER BY t.depth, t.pid
