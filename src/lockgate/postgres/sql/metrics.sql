-- The figures of one database as rows of (name, labels, value), from tables of format 1.
SELECT 'migration_duration_count', pg_catalog.jsonb_build_object('phase', h.phase, 'outcome', h.state)::text, count(*)::text
  FROM lockgate.migration_history h GROUP BY h.phase, h.state
UNION ALL
SELECT 'migration_duration_sum', pg_catalog.jsonb_build_object('phase', h.phase, 'outcome', h.state)::text, (sum(h.duration_ms) / 1000.0)::text
  FROM lockgate.migration_history h GROUP BY h.phase, h.state
UNION ALL
SELECT 'runs', pg_catalog.jsonb_build_object('outcome', r.state, 'reason', r.reason_code)::text, count(*)::text FROM lockgate.run r GROUP BY r.state, r.reason_code
UNION ALL
SELECT 'revision', pg_catalog.jsonb_build_object('revision', COALESCE(max(h.revision_id), ''))::text, '1' FROM lockgate.migration_history h
UNION ALL
SELECT 'mismatch', pg_catalog.jsonb_build_object('service', i.service, 'kind', k.kind)::text,
       count(*) FILTER (WHERE CASE k.kind WHEN 'behind' THEN h.revision < i.schema_min COLLATE "C" ELSE f.compat_floor > i.schema_max COLLATE "C" END)::text
  FROM lockgate.instance i, lockgate.fence f, (SELECT COALESCE(max(revision_id), '') AS revision FROM lockgate.migration_history) h,
       (VALUES ('behind'), ('ahead_too_far')) AS k (kind)
 WHERE i.heartbeat_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => i.ttl_seconds::double precision)
 GROUP BY i.service, k.kind
UNION ALL
SELECT 'lock_victims', '{}', COALESCE(sum((s.details ->> 'victims')::numeric) FILTER (WHERE s.details ->> 'victims' ~ '^[0-9]+$'), 0)::text FROM lockgate.run_step s
UNION ALL
SELECT 'lock_wait_count', '{}', count(*)::text FROM lockgate.run_step s WHERE s.step = 'lock-wait'
UNION ALL
SELECT 'lock_wait_sum', '{}', COALESCE(sum((s.details ->> 'lockWaitSeconds')::numeric), 0)::text FROM lockgate.run_step s WHERE s.step = 'lock-wait'
UNION ALL
SELECT 'lock_failures', pg_catalog.jsonb_build_object('reason', s.reason_code)::text, count(*)::text
  FROM lockgate.run_step s WHERE s.reason_code IN ('LOCK_TIMEOUT', 'LOCK_VICTIMS', 'DEADLOCK') GROUP BY s.reason_code
