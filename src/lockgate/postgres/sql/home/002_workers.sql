-- Format 2, the pause of workers: what a release writes and what every worker asks.

-- 'paused' ends by itself at expires_at unless the release that asked for it renews it; 'held' stays until a person
-- resumes it, because the workers do not fit the schema, and is overdue (an alarm) after expires_at.
CREATE TABLE lockgate.worker_pause (
  name        text PRIMARY KEY,
  state       text NOT NULL CHECK (state IN ('pausing', 'paused', 'held', 'resumed')),
  provider    text NOT NULL,
  release_key text NOT NULL,
  owner       text NOT NULL,
  reason      text NOT NULL DEFAULT '',
  paused_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  stopped_at  timestamptz,
  expires_at  timestamptz NOT NULL,
  resumed_at  timestamptz,
  detail      jsonb NOT NULL DEFAULT '{}'
);

-- What workers ask before they take a job.
CREATE FUNCTION lockgate.workers_paused() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
  SELECT EXISTS (SELECT FROM lockgate.worker_pause p
                  WHERE p.state = 'held' OR (p.state IN ('pausing', 'paused') AND p.expires_at > clock_timestamp()))
$body$;

-- The same for a worker that says its name: one of them, the canary, comes back before the others.
CREATE FUNCTION lockgate.workers_paused(worker text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
  SELECT lockgate.workers_paused()
     AND NOT EXISTS (SELECT FROM lockgate.worker_pause p WHERE p.state = 'paused' AND p.detail->>'canary' = worker)
$body$;
