-- Format 2, the gate: what an environment says of itself (accepted secrets, live index generations), the
-- announced floor, read-only mode, and what the gates of services write.

-- The floor that a contract-phase file is about to raise. Instances read it in the step in which they register.
CREATE TABLE lockgate.floor_announcement (
  singleton    boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  floor        text STORAGE PLAIN COLLATE "C" NOT NULL,
  run_id       text STORAGE PLAIN NOT NULL,
  announced_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Revisions of the set of secrets that this environment accepts now: one, or two during a rotation. None at all is no condition.
CREATE TABLE lockgate.accepted_secrets (
  revision       text COLLATE "C" PRIMARY KEY,
  epoch          bigint GENERATED ALWAYS AS IDENTITY,
  accepted_from  timestamptz NOT NULL DEFAULT clock_timestamp(),
  accepted_until timestamptz,
  actor          text NOT NULL,
  reason         text NOT NULL DEFAULT ''
);

-- The live sealed generation of every named index. index_hash is empty until the generation is sealed.
CREATE TABLE lockgate.live_index (
  name       text COLLATE "C" PRIMARY KEY,
  generation text NOT NULL,
  spec_hash  text NOT NULL,
  index_hash text NOT NULL DEFAULT '',
  valid      boolean NOT NULL DEFAULT true,
  since      timestamptz NOT NULL DEFAULT clock_timestamp(),
  details    jsonb NOT NULL DEFAULT '{}'
);

-- Read-only mode: services refuse writes while a row stands here.
CREATE TABLE lockgate.read_only_mode (
  singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  reason      text NOT NULL,
  actor       text NOT NULL,
  retry_after integer NOT NULL DEFAULT 30 CHECK (retry_after > 0),
  since       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- How starts of services ended, summed up: counters that no killed process loses.
CREATE TABLE lockgate.gate_attempt (
  service      text STORAGE PLAIN COLLATE "C" NOT NULL,
  outcome      text STORAGE PLAIN COLLATE "C" NOT NULL CHECK (outcome IN ('ready', 'refused', 'unknown')),
  reason       text STORAGE PLAIN COLLATE "C" NOT NULL,
  attempts     bigint NOT NULL DEFAULT 0,
  wait_seconds double precision NOT NULL DEFAULT 0,
  wait_buckets jsonb STORAGE PLAIN NOT NULL DEFAULT '{}',
  last_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (service, outcome, reason)
);

-- What an environment was brought up with, once per bootstrap that came to its end. Only ever added to.
CREATE TABLE lockgate.environment_revision (
  id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  environment      text NOT NULL,
  at               timestamptz NOT NULL DEFAULT clock_timestamp(),
  release_id       text NOT NULL DEFAULT '',
  schema_revision  text NOT NULL,
  schema_head      text NOT NULL,
  secrets_revision text NOT NULL DEFAULT '',
  indexes          jsonb NOT NULL DEFAULT '{}',
  run_id           text NOT NULL,
  digest           text NOT NULL
);
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON lockgate.environment_revision FOR EACH ROW EXECUTE FUNCTION lockgate.keep_history();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON lockgate.environment_revision FOR EACH STATEMENT EXECUTE FUNCTION lockgate.keep_history();

-- The journal of a bootstrap: which conditions of the declared graph hold, so that the next call goes on from there.
CREATE TABLE lockgate.bootstrap_step (
  run_id      text NOT NULL,
  step        text NOT NULL,
  state       text NOT NULL CHECK (state IN ('running', 'done', 'failed')),
  reason_code text NOT NULL DEFAULT '',
  evidence    text NOT NULL DEFAULT '',
  attempts    integer NOT NULL DEFAULT 1,
  started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  beat_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  PRIMARY KEY (run_id, step)
);

-- True while a runner holds one of its two session locks (postgres/guard.py, GUARD_KEY and WORK_KEY). A standby does not show the primary's locks, so there the heartbeat decides.
CREATE FUNCTION lockgate.run_is_live(heartbeat_at timestamptz) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
  SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN heartbeat_at > pg_catalog.clock_timestamp() - interval '30 seconds'
    ELSE EXISTS (
      SELECT FROM pg_catalog.pg_locks l
       WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
         AND (l.classid::bigint, l.objid::bigint) IN ((233269469, 1537866002), (2921361617, 3756736260))) END
$body$;

-- lockgate.move is made by a later file of this format, in the same transaction: bodies are not checked while they are made (home.py).

-- before 3 {
-- Keeps the keys that format 1 gave, and their meaning.
CREATE OR REPLACE FUNCTION lockgate.gate_v1() RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
  SELECT pg_catalog.jsonb_build_object(
    'format', (SELECT max(number) FROM lockgate.format),
    'revision', COALESCE((SELECT max(h.revision_id) FROM lockgate.migration_history h), ''),
    'compat_floor', f.compat_floor,
    'head', f.head,
    'epoch', f.epoch,
    'running', r.running,
    'partial', COALESCE((SELECT pg_catalog.jsonb_agg(DISTINCT s.revision_id) FROM lockgate.migration_step s
                  WHERE NOT EXISTS (SELECT FROM lockgate.migration_history h WHERE h.revision_id = s.revision_id)), '[]'),
    'announced_floor', COALESCE((SELECT a.floor FROM lockgate.floor_announcement a
                  WHERE a.run_id = r.running ->> 'run_id' AND (r.running -> 'live')::boolean), ''),
    'secrets', COALESCE((SELECT pg_catalog.jsonb_agg(s.revision ORDER BY s.epoch) FROM lockgate.accepted_secrets s
                  WHERE s.accepted_from <= pg_catalog.clock_timestamp() AND (s.accepted_until IS NULL OR s.accepted_until > pg_catalog.clock_timestamp())), '[]'),
    'indexes', COALESCE((SELECT pg_catalog.jsonb_object_agg(i.name, pg_catalog.jsonb_build_object(
                  'generation', i.generation, 'spec_hash', i.spec_hash, 'index_hash', i.index_hash, 'valid', i.valid)) FROM lockgate.live_index i), '{}'),
    'moves', COALESCE((SELECT pg_catalog.jsonb_object_agg(m.name, pg_catalog.jsonb_build_object('stage', m.stage)) FROM lockgate.move m), '{}'),
    'read_only', (SELECT pg_catalog.jsonb_build_object('reason', o.reason, 'retry_after', o.retry_after) FROM lockgate.read_only_mode o),
    'standby', pg_catalog.pg_is_in_recovery())
  FROM lockgate.fence f
  LEFT JOIN LATERAL (
    SELECT pg_catalog.jsonb_build_object('run_id', r.run_id, 'kind', r.kind, 'started_at', r.started_at, 'heartbeat_at', r.heartbeat_at,
                                         'live', lockgate.run_is_live(r.heartbeat_at)) AS running
      FROM lockgate.run r WHERE r.run_id = f.run_id AND r.state = 'running') r ON true
$body$;
-- }

-- The digest over (revision, checksum) up to a revision: equal in every place that applied the same files.
CREATE FUNCTION lockgate.history_digest_v1(until text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
  SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
           COALESCE(pg_catalog.string_agg(h.revision_id || ' ' || h.checksum || pg_catalog.chr(10), '' ORDER BY h.revision_id), ''), 'UTF8')), 'hex')
    FROM lockgate.migration_history h WHERE until = '' OR h.revision_id <= until
$body$;

-- The same with what only the contract asks for: the digest up to its newest revision.
CREATE FUNCTION lockgate.gate_v1(contract jsonb) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
  SELECT lockgate.gate_v1() || pg_catalog.jsonb_build_object('digest',
    CASE WHEN COALESCE(contract -> 'schema' ->> 'digest', '') <> '' THEN lockgate.history_digest_v1(contract -> 'schema' ->> 'max') END)
$body$;

-- A service's heartbeat: reads what the gate reads and registers the instance in one step that the announcement of a floor
-- cannot pass in the middle (postgres/gate.py, FLOOR_KEY). A new instance is registered only inside its window; one that is registered stays so.
CREATE FUNCTION lockgate.gate_beat_v1(contract jsonb, instance jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  state jsonb;
  seen boolean := false;
  window_min text := COALESCE(contract -> 'schema' ->> 'min', '');
  window_max text := COALESCE(contract -> 'schema' ->> 'max', '');
BEGIN
  IF pg_catalog.pg_is_in_recovery() OR pg_catalog.current_setting('transaction_read_only') = 'on' THEN
    RETURN lockgate.gate_v1(contract) || '{"registered": false, "why": "the session is read-only"}';
  END IF;
  PERFORM pg_catalog.pg_advisory_xact_lock_shared(-2220181150874751038);
  state := lockgate.gate_v1(contract);
  SELECT i.heartbeat_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => i.ttl_seconds::double precision) INTO seen
    FROM lockgate.instance i WHERE i.instance_id = instance ->> 'instance_id';
  IF (state ->> 'compat_floor') COLLATE "C" > window_max
     OR (seen IS NOT TRUE AND ((state ->> 'announced_floor') COLLATE "C" > window_max OR (state ->> 'revision') COLLATE "C" < window_min))
  THEN
    DELETE FROM lockgate.instance i WHERE i.instance_id = instance ->> 'instance_id';
    RETURN state || '{"registered": false, "why": "outside the window"}';
  END IF;
  INSERT INTO lockgate.instance AS i (instance_id, service, release_id, schema_min, schema_max, contract, observed, ttl_seconds)
  VALUES (instance ->> 'instance_id', instance ->> 'service', COALESCE(contract ->> 'release_id', ''), window_min, window_max, contract,
          COALESCE(instance -> 'observed', '{}') || pg_catalog.jsonb_build_object('revision', state -> 'revision', 'compat_floor', state -> 'compat_floor'),
          COALESCE((instance ->> 'ttl_seconds')::integer, 60))
  ON CONFLICT (instance_id) DO UPDATE
     SET heartbeat_at = pg_catalog.clock_timestamp(), observed = excluded.observed, contract = excluded.contract, release_id = excluded.release_id,
         schema_min = excluded.schema_min, schema_max = excluded.schema_max, ttl_seconds = excluded.ttl_seconds;
  RETURN state || '{"registered": true, "why": ""}';
EXCEPTION WHEN insufficient_privilege THEN
  RETURN lockgate.gate_v1(contract) || '{"registered": false, "why": "the role may not write lockgate.instance"}';
END
$body$;

-- One start of a service has ended: count it. The buckets are cumulative, as a histogram's are.
CREATE FUNCTION lockgate.gate_attempt_v1(service text, outcome text, reason text, seconds double precision) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  reached jsonb := (SELECT pg_catalog.jsonb_object_agg(b.le, CASE WHEN seconds <= b.le::double precision THEN 1 ELSE 0 END)
                      FROM pg_catalog.unnest(ARRAY['0.1', '0.5', '1', '5', '15', '60', '300', '900']) AS b (le));
BEGIN
  INSERT INTO lockgate.gate_attempt AS g (service, outcome, reason, attempts, wait_seconds, wait_buckets)
  VALUES (service, outcome, reason, 1, seconds, reached)
  ON CONFLICT ON CONSTRAINT gate_attempt_pkey DO UPDATE
     SET attempts = g.attempts + 1, wait_seconds = g.wait_seconds + excluded.wait_seconds, last_at = pg_catalog.clock_timestamp(),
         wait_buckets = (SELECT pg_catalog.jsonb_object_agg(k.key, COALESCE((g.wait_buckets ->> k.key)::bigint, 0) + k.value::bigint)
                           FROM pg_catalog.jsonb_each_text(excluded.wait_buckets) k);
END
$body$;
