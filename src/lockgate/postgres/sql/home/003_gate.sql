-- Format 3, the gate: writes that were queued in read-only mode, to be done afterwards, each exactly once.

-- One row a write. `order_key` is what must stay in order among each other; `idempotency_key` is the caller's, and says
-- within one principal which writes are the same one. A row that is done stays for a day, so that a repeat is told so.
CREATE TABLE lockgate.write_intent (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  principal       text NOT NULL,
  idempotency_key text NOT NULL,
  order_key       text NOT NULL,
  kind            text NOT NULL,
  payload         jsonb NOT NULL,
  digest          text NOT NULL,
  state           text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'done', 'held', 'discarded')),
  attempts        integer NOT NULL DEFAULT 0,
  last_error      text NOT NULL DEFAULT '',
  queued_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at        timestamptz,
  actor           text NOT NULL DEFAULT '',
  reason          text NOT NULL DEFAULT '',
  UNIQUE (principal, idempotency_key)
);
CREATE INDEX write_intent_waiting ON lockgate.write_intent (order_key, id) WHERE state IN ('queued', 'held');

-- Queue a write, or say why not: `open` where nothing stands in its way and it can be done at once. It holds a shared lock
-- (postgres/intents.py, INTENT_KEY) to its end, so switching read-only mode off, and the end of a drain, wait for it.
CREATE FUNCTION lockgate.intent_queue_v1(intent jsonb, most integer) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  kept lockgate.write_intent;
  placed bigint;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock_shared(6980863270399195977);
  SELECT * INTO kept FROM lockgate.write_intent w
   WHERE w.principal = intent ->> 'principal' AND w.idempotency_key = intent ->> 'idempotency_key';
  IF NOT FOUND THEN
    IF NOT EXISTS (SELECT FROM lockgate.read_only_mode)
       AND NOT EXISTS (SELECT FROM lockgate.write_intent w WHERE w.order_key = intent ->> 'order_key' AND w.state IN ('queued', 'held'))
    THEN
      RETURN '{"state": "open"}';
    END IF;
    IF (SELECT count(*) FROM lockgate.write_intent w WHERE w.state IN ('queued', 'held')) >= most THEN
      RETURN '{"state": "full"}';
    END IF;
    INSERT INTO lockgate.write_intent (principal, idempotency_key, order_key, kind, payload, digest)
    VALUES (intent ->> 'principal', intent ->> 'idempotency_key', intent ->> 'order_key', intent ->> 'kind', intent -> 'payload', intent ->> 'digest')
    ON CONFLICT (principal, idempotency_key) DO NOTHING RETURNING id INTO placed;
    IF placed IS NOT NULL THEN
      RETURN pg_catalog.jsonb_build_object('state', 'queued', 'id', placed, 'new', true);
    END IF;
    SELECT * INTO kept FROM lockgate.write_intent w  -- the same write, a moment before us
     WHERE w.principal = intent ->> 'principal' AND w.idempotency_key = intent ->> 'idempotency_key';
  END IF;
  IF kept.digest <> intent ->> 'digest' THEN
    RETURN pg_catalog.jsonb_build_object('state', 'conflict', 'id', kept.id);
  END IF;
  RETURN pg_catalog.jsonb_build_object('state', kept.state, 'id', kept.id, 'new', false);
END
$body$;

-- What one process has warmed up for all: done once for each version. Who does it holds a session lock (postgres/owners.py).
CREATE TABLE lockgate.warm_up (
  name    text STORAGE PLAIN COLLATE "C" NOT NULL,
  version text STORAGE PLAIN COLLATE "C" NOT NULL,
  owner   text STORAGE PLAIN NOT NULL,
  seconds double precision NOT NULL,
  done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (name, version)
);

-- How long the oldest write that a data move has captured waits for the other side, for every move with an outbox here.
CREATE FUNCTION lockgate.move_lag_v1() RETURNS TABLE (move text, seconds double precision) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  outbox record;
  oldest timestamptz;
BEGIN
  FOR outbox IN
    SELECT m.name, c.relname FROM lockgate.move m
      JOIN pg_catalog.pg_class c ON c.relkind = 'r' AND c.relname IN ('outbox_' || m.name || '_forward', 'outbox_' || m.name || '_reverse')
     WHERE c.relnamespace = 'lockgate'::regnamespace
  LOOP
    EXECUTE pg_catalog.format('SELECT min(o.at) FROM lockgate.%I o', outbox.relname) INTO oldest;
    move := outbox.name;
    seconds := COALESCE(extract(epoch FROM pg_catalog.clock_timestamp() - oldest), 0);
    RETURN NEXT;
  END LOOP;
END
$body$;

-- Keeps the keys that formats 1 and 2 gave, and their meaning; `intents` tells whether any queued write is kept.
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
    'intents', EXISTS (SELECT FROM lockgate.write_intent w WHERE w.ended_at IS NULL OR w.ended_at > pg_catalog.clock_timestamp() - interval '1 day'),
    'standby', pg_catalog.pg_is_in_recovery())
  FROM lockgate.fence f
  LEFT JOIN LATERAL (
    SELECT pg_catalog.jsonb_build_object('run_id', r.run_id, 'kind', r.kind, 'started_at', r.started_at, 'heartbeat_at', r.heartbeat_at,
                                         'live', lockgate.run_is_live(r.heartbeat_at)) AS running
      FROM lockgate.run r WHERE r.run_id = f.run_id AND r.state = 'running') r ON true
$body$;
