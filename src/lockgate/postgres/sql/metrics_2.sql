-- The figures that stand in tables of format 2.
SELECT 'attempts', pg_catalog.jsonb_build_object('service', g.service, 'outcome', g.outcome, 'reason', g.reason)::text, g.attempts::text FROM lockgate.gate_attempt g
UNION ALL
SELECT 'wait_count', '{}', COALESCE(sum(g.attempts), 0)::text FROM lockgate.gate_attempt g
UNION ALL
SELECT 'wait_sum', '{}', COALESCE(sum(g.wait_seconds), 0)::text FROM lockgate.gate_attempt g
UNION ALL
SELECT 'wait_bucket', pg_catalog.jsonb_build_object('le', b.key)::text, sum(b.value::numeric)::text
  FROM lockgate.gate_attempt g, pg_catalog.jsonb_each_text(g.wait_buckets) b GROUP BY b.key
UNION ALL
SELECT 'backup_age', '{}', extract(epoch FROM pg_catalog.clock_timestamp() - max(b.finished_at))::text
  FROM lockgate.backup b WHERE b.state IN ('taken', 'verified') HAVING max(b.finished_at) IS NOT NULL
UNION ALL
SELECT 'drill_age', '{}', extract(epoch FROM pg_catalog.clock_timestamp() - max(b.drilled_at))::text FROM lockgate.backup b HAVING max(b.drilled_at) IS NOT NULL
UNION ALL
SELECT 'read_only', '{}', count(*)::text FROM lockgate.read_only_mode
UNION ALL
SELECT 'instances', pg_catalog.jsonb_build_object('service', i.service, 'release', i.release_id)::text, count(*)::text
  FROM lockgate.instance i WHERE i.heartbeat_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => i.ttl_seconds::double precision)
 GROUP BY i.service, i.release_id
UNION ALL
SELECT 'move_rows', pg_catalog.jsonb_build_object('move', m.name)::text, COALESCE(sum(r.rows_source) FILTER (WHERE r.state = 'copied'), 0)::text
  FROM lockgate.move m LEFT JOIN lockgate.move_range r ON r.move = m.name GROUP BY m.name
UNION ALL
SELECT 'move_checksum_ok', pg_catalog.jsonb_build_object('move', m.name)::text, (m.reconciled_at IS NOT NULL)::integer::text FROM lockgate.move m
UNION ALL
SELECT 'move_dual_write_fail', pg_catalog.jsonb_build_object('move', m.name)::text, (SELECT count(*) FROM lockgate.move_quarantine q WHERE q.move = m.name)::text
  FROM lockgate.move m
UNION ALL
SELECT 'move_cutover', pg_catalog.jsonb_build_object('move', m.name)::text, (m.cutover_ms / 1000)::text FROM lockgate.move m WHERE m.cutover_ms IS NOT NULL
UNION ALL
SELECT 'index_delta_s_diff', pg_catalog.jsonb_build_object('index', e.name)::text, e.details->'look'->>'deltaSDiff'
  FROM (SELECT DISTINCT ON (name) name, details FROM lockgate.index_event WHERE kind IN ('look', 'validate') ORDER BY name, id DESC) e
 WHERE e.details->'look'->>'deltaSDiff' IS NOT NULL
UNION ALL
SELECT 'index_lambda_state', pg_catalog.jsonb_build_object('index', e.name, 'state', s.key)::text, s.value
  FROM (SELECT DISTINCT ON (name) name, details FROM lockgate.index_event WHERE kind IN ('look', 'validate') ORDER BY name, id DESC) e,
       pg_catalog.jsonb_each_text(e.details->'look'->'states') s
UNION ALL
SELECT 'index_info', pg_catalog.jsonb_build_object('index', l.name, 'generation', l.generation, 'index_hash', l.index_hash)::text, '1' FROM lockgate.live_index l
UNION ALL
SELECT 'index_swap', pg_catalog.jsonb_build_object('index', e.name)::text, (e.elapsed_ms / 1000)::text
  FROM (SELECT DISTINCT ON (name) name, elapsed_ms FROM lockgate.index_event WHERE elapsed_ms IS NOT NULL ORDER BY name, id DESC) e
