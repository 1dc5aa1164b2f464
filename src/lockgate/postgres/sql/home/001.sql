-- Format 1 of the schema lockgate. Later formats are added as 002.sql, 003.sql ...; this file never changes.

-- CREATE SCHEMA IF NOT EXISTS would need CREATE on the database even where an owner made the schema for the migrator.
DO $body$ BEGIN
  IF pg_catalog.to_regnamespace('lockgate') IS NULL THEN CREATE SCHEMA lockgate; END IF;
END $body$;
COMMENT ON SCHEMA lockgate IS 'History, journal and fence of lockgate. Changed by lockgate only.';

CREATE TABLE lockgate.format (
  number     integer PRIMARY KEY,
  changed_at timestamptz NOT NULL DEFAULT now(),
  changed_by text STORAGE PLAIN NOT NULL DEFAULT session_user
);

-- One row: who may write now (epoch), and the head of the history's hash chain. A chain alone does not show that its
-- last rows were deleted, so its head stands here too.
CREATE TABLE lockgate.fence (
  singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  epoch         bigint NOT NULL DEFAULT 0,
  run_id        text STORAGE PLAIN,
  head          text STORAGE PLAIN NOT NULL DEFAULT '',
  ordinal       bigint NOT NULL DEFAULT 0,
  compat_floor  text STORAGE PLAIN NOT NULL DEFAULT '',
  schema_head   text STORAGE PLAIN,
  schema_digest text STORAGE PLAIN
);
INSERT INTO lockgate.fence DEFAULT VALUES;

CREATE TABLE lockgate.run (
  run_id       text PRIMARY KEY,
  kind         text NOT NULL,
  state        text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'held', 'cancelled', 'abandoned')),
  reason_code  text NOT NULL DEFAULT '',
  message      text NOT NULL DEFAULT '',
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at  timestamptz,
  epoch        bigint NOT NULL,
  operator     text NOT NULL,
  host         text NOT NULL,
  client_pid   bigint NOT NULL,
  guard_pid    integer NOT NULL,
  work_pid     integer NOT NULL,
  release_id   text,
  plan_hash    text,
  before_rev   text,
  after_rev    text,
  tool_version text NOT NULL,
  details      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX run_started_at ON lockgate.run (started_at);

-- What was tried and did not simply succeed: failures, retries, outcomes that had to be looked up.
CREATE TABLE lockgate.run_step (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id       text NOT NULL REFERENCES lockgate.run,
  at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  revision_id  text,
  step         text NOT NULL,
  outcome      text NOT NULL,
  reason_code  text NOT NULL DEFAULT '',
  details      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX run_step_run_id ON lockgate.run_step (run_id);

CREATE TABLE lockgate.migration_history (
  revision_id   text COLLATE "C" PRIMARY KEY,
  applied_at    timestamptz NOT NULL,
  checksum      text NOT NULL,
  operator      text NOT NULL,
  name          text NOT NULL,
  ordinal       bigint NOT NULL UNIQUE,
  phase         text NOT NULL CHECK (phase IN ('expand', 'contract')),
  state         text NOT NULL CHECK (state IN ('applied', 'adopted')),
  started_at    timestamptz NOT NULL,
  duration_ms   bigint NOT NULL,
  run_id        text NOT NULL,
  release_id    text,
  xid           text NOT NULL,
  epoch         bigint NOT NULL,
  tool_version  text NOT NULL,
  schema_digest text,
  source_text   text NOT NULL,
  prev_hash     text NOT NULL,
  row_hash      text NOT NULL
);

-- The journal of the statements of a non-transactional file. An intent ('running') is committed before the statement.
CREATE TABLE lockgate.migration_step (
  revision_id    text COLLATE "C" NOT NULL,
  number         integer NOT NULL,
  statement_hash text NOT NULL,
  statement      text NOT NULL,
  kind           text NOT NULL,
  state          text NOT NULL CHECK (state IN ('running', 'done')),
  before_state   jsonb NOT NULL DEFAULT '{}',
  run_id         text NOT NULL,
  epoch          bigint NOT NULL,
  attempts       integer NOT NULL DEFAULT 1,
  started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at    timestamptz,
  PRIMARY KEY (revision_id, number)
);

-- What people changed: who, why, before and after. Only ever added to.
CREATE TABLE lockgate.history_event (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind        text NOT NULL CHECK (kind IN ('baseline', 'adopt', 'repair', 'down')),
  revision_id text,
  actor       text NOT NULL,
  reason      text NOT NULL,
  before      jsonb,
  after       jsonb,
  run_id      text NOT NULL,
  head_before text NOT NULL
);

-- The live schema as the last run left it, object by object, so that drift can be named. The newest five are kept.
CREATE TABLE lockgate.schema_snapshot (
  head        text PRIMARY KEY,
  revision_id text NOT NULL,
  digest      text NOT NULL,
  objects     jsonb NOT NULL,
  taken_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Running services with the contract of their image; the gate writes it, the contract phase reads it.
CREATE TABLE lockgate.instance (
  instance_id  text PRIMARY KEY,
  service      text NOT NULL,
  release_id   text NOT NULL DEFAULT '',
  schema_min   text NOT NULL DEFAULT '',
  schema_max   text NOT NULL DEFAULT '',
  contract     jsonb NOT NULL DEFAULT '{}',
  observed     jsonb NOT NULL DEFAULT '{}',
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ttl_seconds  integer NOT NULL DEFAULT 60
);

CREATE FUNCTION lockgate.keep_history() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  -- lockgate's own repair names the event that it wrote in this very transaction; nothing else may pass.
  IF TG_TABLE_NAME = 'migration_history' AND TG_OP <> 'TRUNCATE' AND EXISTS (
       SELECT FROM lockgate.history_event e
        WHERE e.id::text = pg_catalog.current_setting('lockgate.history_event', true) AND e.xmin = pg_catalog.pg_current_xact_id()::xid)
  THEN
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'lockgate.% is append-only', TG_TABLE_NAME
    USING ERRCODE = 'LG001', HINT = 'lockgate repair changes the history with a reason and an actor.';
END
$body$;

CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON lockgate.migration_history FOR EACH ROW EXECUTE FUNCTION lockgate.keep_history();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON lockgate.migration_history FOR EACH STATEMENT EXECUTE FUNCTION lockgate.keep_history();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON lockgate.history_event FOR EACH ROW EXECUTE FUNCTION lockgate.keep_history();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON lockgate.history_event FOR EACH STATEMENT EXECUTE FUNCTION lockgate.keep_history();

-- before 3 {
-- What the gates of images in the field read. Its name and the keys it gives stay as they are in every later format.
CREATE FUNCTION lockgate.gate_v1() RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
  SELECT pg_catalog.jsonb_build_object(
    'format', (SELECT max(number) FROM lockgate.format),
    'revision', COALESCE((SELECT max(h.revision_id) FROM lockgate.migration_history h), ''),
    'compat_floor', f.compat_floor,
    'head', f.head,
    'epoch', f.epoch,
    'running', (SELECT jsonb_build_object('run_id', r.run_id, 'kind', r.kind, 'started_at', r.started_at, 'heartbeat_at', r.heartbeat_at)
                  FROM lockgate.run r WHERE r.run_id = f.run_id AND r.state = 'running'),
    'partial', COALESCE((SELECT jsonb_agg(DISTINCT s.revision_id) FROM lockgate.migration_step s
                  WHERE NOT EXISTS (SELECT FROM lockgate.migration_history h WHERE h.revision_id = s.revision_id)), '[]'))
  FROM lockgate.fence f
$body$;
-- }
