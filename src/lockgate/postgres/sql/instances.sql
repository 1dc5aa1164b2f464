-- Every registered instance, live ones first, with what it saw; $1 = 't' leaves out those whose heartbeat has expired.
SELECT i.instance_id, i.service, i.release_id, i.schema_min, i.schema_max, i.started_at::text, i.heartbeat_at::text,
       round(extract(epoch FROM pg_catalog.clock_timestamp() - i.heartbeat_at))::bigint::text AS age, i.ttl_seconds::text,
       (i.heartbeat_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => i.ttl_seconds::double precision))::text AS live,
       i.observed::text, f.compat_floor
  FROM lockgate.instance i, lockgate.fence f
 WHERE $1 = 'f' OR i.heartbeat_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => i.ttl_seconds::double precision)
 ORDER BY live DESC, i.service, i.release_id, i.instance_id
