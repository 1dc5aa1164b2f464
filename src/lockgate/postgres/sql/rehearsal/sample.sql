-- What another session holds now, and whether it waits for a lock.
SELECT COALESCE(l.relation, 0)::text, COALESCE(l.mode, ''), (a.wait_event_type = 'Lock')::text
  FROM pg_catalog.pg_stat_activity a
  LEFT JOIN pg_catalog.pg_locks l ON l.pid = a.pid AND l.locktype = 'relation' AND l.granted AND l.relation >= 16384
 WHERE a.pid = $1::integer
