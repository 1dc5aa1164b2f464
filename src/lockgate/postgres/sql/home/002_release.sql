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
  name         text PRIMARY KEY,
  token        bigint NOT NULL DEFAULT 0,
  release_key  text,
  holder       text NOT NULL DEFAULT '',
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
