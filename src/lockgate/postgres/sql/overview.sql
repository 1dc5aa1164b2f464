-- What an operator looks at first, one row a thing: its kind, and its facts as JSON. Ages in seconds by this server's clock. Format 2 and above.
SELECT 'state', pg_catalog.jsonb_build_object('revision', h.revision_id, 'name', h.name, 'age', extract(epoch FROM pg_catalog.clock_timestamp() - h.applied_at), 'files', h.ordinal, 'floor', f.compat_floor)::text
  FROM (SELECT * FROM lockgate.migration_history ORDER BY ordinal DESC LIMIT 1) h, lockgate.fence f
UNION ALL
SELECT 'run', pg_catalog.jsonb_build_object('kind', r.kind, 'state', r.state, 'reason', r.reason_code, 'message', r.message, 'operator', r.operator, 'after', r.after_rev,
         'age', extract(epoch FROM pg_catalog.clock_timestamp() - r.started_at), 'seconds', extract(epoch FROM r.finished_at - r.started_at),
         'live', r.state = 'running' AND lockgate.run_is_live(r.heartbeat_at))::text
  FROM (SELECT * FROM lockgate.run ORDER BY started_at DESC LIMIT 5) r
UNION ALL
SELECT 'lease', pg_catalog.jsonb_build_object('holder', l.holder, 'sha', r.sha, 'age', extract(epoch FROM pg_catalog.clock_timestamp() - l.acquired_at),
         'left', extract(epoch FROM l.expires_at - pg_catalog.clock_timestamp()))::text
  FROM lockgate.lease l JOIN lockgate.release r ON r.release_key = l.release_key WHERE l.expires_at IS NOT NULL
UNION ALL
SELECT 'release', pg_catalog.jsonb_build_object('sha', r.sha, 'state', r.state, 'reason', r.reason_code, 'message', r.message, 'operator', r.operator,
         'age', extract(epoch FROM pg_catalog.clock_timestamp() - r.started_at),
         'step', (SELECT s.name FROM lockgate.release_step s WHERE s.release_key = r.release_key ORDER BY s.number DESC LIMIT 1))::text
  FROM (SELECT * FROM lockgate.release ORDER BY sequence DESC LIMIT 3) r
UNION ALL
SELECT 'workers', pg_catalog.jsonb_build_object('state', p.state, 'reason', p.reason, 'owner', p.owner, 'age', extract(epoch FROM pg_catalog.clock_timestamp() - p.paused_at),
         'overdue', p.expires_at < pg_catalog.clock_timestamp())::text
  FROM lockgate.worker_pause p WHERE p.state <> 'resumed'
UNION ALL
SELECT 'readonly', pg_catalog.jsonb_build_object('reason', m.reason, 'actor', m.actor, 'age', extract(epoch FROM pg_catalog.clock_timestamp() - m.since))::text
  FROM lockgate.read_only_mode m
UNION ALL
SELECT 'instance', pg_catalog.jsonb_build_object('service', i.service, 'release', i.release_id, 'min', i.schema_min, 'max', i.schema_max, 'live', i.live, 'lost', i.lost, 'age', i.age)::text
  FROM (SELECT x.service, x.release_id, x.schema_min, x.schema_max, count(*) FILTER (WHERE x.fresh) AS live, count(*) FILTER (WHERE NOT x.fresh) AS lost, min(x.age) AS age
          FROM (SELECT i.*, extract(epoch FROM pg_catalog.clock_timestamp() - i.heartbeat_at) AS age,
                       i.heartbeat_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => i.ttl_seconds::double precision) AS fresh
                  FROM lockgate.instance i WHERE i.heartbeat_at > pg_catalog.clock_timestamp() - interval '1 hour') x
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 2 DESC LIMIT 50) i
UNION ALL
SELECT 'move', pg_catalog.jsonb_build_object('name', m.name, 'stage', m.stage, 'reason', m.reason, 'progress', j.progress, 'rows', j.migrated_rows, 'eta', j.eta_seconds, 'quarantined', j.quarantined,
         'age', extract(epoch FROM pg_catalog.clock_timestamp() - m.stage_at))::text
  FROM (SELECT * FROM lockgate.move ORDER BY finished_at IS NOT NULL, started_at DESC LIMIT 20) m LEFT JOIN lockgate.backfill_jobs j ON j.move = m.name
UNION ALL
SELECT 'index', pg_catalog.jsonb_build_object('name', g.name, 'generation', g.generation, 'store', g.store, 'state', g.state, 'live', g.live, 'verdict', g.verdict, 'records', g.records,
         'pending', a.pending IS NOT NULL AND g.live, 'age', extract(epoch FROM pg_catalog.clock_timestamp() - COALESCE(a.swapped_at, g.sealed_at, g.started_at)))::text
  FROM (SELECT * FROM lockgate.index_generation WHERE live OR state = 'building' OR (state = 'sealed' AND started_at > pg_catalog.clock_timestamp() - interval '7 days') ORDER BY name, live DESC, started_at DESC LIMIT 50) g
  LEFT JOIN lockgate.index_alias a ON a.name = g.name AND a.generation = g.generation
UNION ALL
SELECT 'backup', pg_catalog.jsonb_build_object('id', b.backup_id, 'provider', b.provider, 'state', b.state, 'message', b.message, 'age', extract(epoch FROM pg_catalog.clock_timestamp() - COALESCE(b.finished_at, b.started_at)),
         'drilled', extract(epoch FROM pg_catalog.clock_timestamp() - d.drilled_at), 'equal', d.drill->'equal')::text
  FROM (SELECT * FROM lockgate.backup ORDER BY started_at DESC LIMIT 1) b
  LEFT JOIN (SELECT drilled_at, drill FROM lockgate.backup WHERE drilled_at IS NOT NULL ORDER BY drilled_at DESC LIMIT 1) d ON true
UNION ALL
SELECT 'environment', pg_catalog.jsonb_build_object('release', e.release_id, 'schema', e.schema_revision, 'digest', e.digest, 'age', extract(epoch FROM pg_catalog.clock_timestamp() - e.at))::text
  FROM (SELECT * FROM lockgate.environment_revision ORDER BY id DESC LIMIT 1) e
