-- The runs that are shown as under way, with the sessions that they work on and the age of their heartbeat in seconds.
SELECT r.run_id, r.kind, r.operator, r.host, r.guard_pid::text, r.work_pid::text,
       GREATEST(0, pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - r.heartbeat_at)))::text,
       GREATEST(0, pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - r.started_at)))::text
  FROM lockgate.run r
 WHERE r.state = 'running'
 ORDER BY r.started_at
