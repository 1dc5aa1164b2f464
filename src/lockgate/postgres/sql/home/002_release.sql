-- Format 2, the release pipeline: who approved what, which backups there are, who releases now, and what each step did.

CREATE TABLE lockgate.approval (
  approval_id text PRIMARY KEY,
  environment text NOT NULL,
  plan_hash   text NOT NULL,
  approver    text NOT NULL,
  role        text NOT NULL,
  approved_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  expires_at  timestamptz NOT NULL,
  revoked_at  timestamptz,
  break_glass boolean NOT NULL DEFAULT false,
  reason      text NOT NULL DEFAULT '',
  recorded_by text NOT NULL DEFAULT session_user,
  detail      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX approval_environment ON lockgate.approval (environment, approved_at);

CREATE TABLE lockgate.backup (
  backup_id         text PRIMARY KEY,
  environment       text NOT NULL DEFAULT '',
  provider          text NOT NULL,
  state             text NOT NULL CHECK (state IN ('running', 'taken', 'verified', 'failed', 'pruned')),
  started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at       timestamptz,
  lsn               text NOT NULL DEFAULT '',
  timeline          text NOT NULL DEFAULT '',
  system_identifier text NOT NULL DEFAULT '',
  database_name     text NOT NULL DEFAULT '',
  size_bytes        bigint NOT NULL DEFAULT 0,
  sha256            text NOT NULL DEFAULT '',
  location          text NOT NULL DEFAULT '',
  verified_at       timestamptz,
  verified_by       text NOT NULL DEFAULT '',
  drilled_at        timestamptz,
  drill             jsonb NOT NULL DEFAULT '{}',
  release_key       text,
  message           text NOT NULL DEFAULT '',
  detail            jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX backup_started_at ON lockgate.backup (started_at);

-- One release at a time. The session lock says who lives; the token fences out who only believes so.
CREATE TABLE lockgate.lease (
  name         text STORAGE PLAIN PRIMARY KEY,
  token        bigint NOT NULL DEFAULT 0,
  release_key  text STORAGE PLAIN,
  holder       text STORAGE PLAIN NOT NULL DEFAULT '',
  acquired_at  timestamptz,
  heartbeat_at timestamptz,
  expires_at   timestamptz
);

-- sequence orders releases: clocks may step, a sequence does not.
CREATE TABLE lockgate.release (
  release_key     text PRIMARY KEY,
  sequence        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  sha             text NOT NULL,
  environment     text NOT NULL DEFAULT '',
  state           text NOT NULL CHECK (state IN ('running', 'handed-off', 'succeeded', 'failed', 'held', 'cancelled', 'superseded')),
  reason_code     text NOT NULL DEFAULT '',
  message         text NOT NULL DEFAULT '',
  operator        text NOT NULL,
  host            text NOT NULL,
  token           bigint NOT NULL,
  image_digest    text NOT NULL DEFAULT '',
  rollback_digest text NOT NULL DEFAULT '',
  plan_hash       text NOT NULL DEFAULT '',
  base            text NOT NULL DEFAULT '',
  goal            text NOT NULL DEFAULT '',
  replay_reason   text NOT NULL DEFAULT '',
  started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at     timestamptz,
  tool_version    text NOT NULL,
  options         jsonb NOT NULL DEFAULT '{}',
  details         jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX release_sha ON lockgate.release (sha);

CREATE TABLE lockgate.release_step (
  release_key   text NOT NULL REFERENCES lockgate.release,
  number        integer NOT NULL,
  name          text NOT NULL,
  state         text NOT NULL CHECK (state IN ('running', 'done', 'skipped', 'failed', 'held')),
  attempts      integer NOT NULL DEFAULT 1,
  limit_seconds numeric NOT NULL,
  started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at   timestamptz,
  reason_code   text NOT NULL DEFAULT '',
  message       text NOT NULL DEFAULT '',
  evidence      jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (release_key, number)
);

-- What people chose when a release failed. Only ever added to.
CREATE TABLE lockgate.release_event (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  release_key text NOT NULL,
  kind        text NOT NULL,
  actor       text NOT NULL,
  detail      jsonb NOT NULL DEFAULT '{}'
);
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON lockgate.release_event FOR EACH ROW EXECUTE FUNCTION lockgate.keep_history();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON lockgate.release_event FOR EACH STATEMENT EXECUTE FUNCTION lockgate.keep_history();

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
