-- Format 2, data moves: what is moved, where it stands, and the ledger of what was copied. One outbox a feed is made when a move starts.

CREATE TABLE lockgate.move (
  name             text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{0,39}$'),
  stage            text NOT NULL,
  resume_stage     text,
  reason           text NOT NULL DEFAULT '',
  switching        text NOT NULL DEFAULT '' CHECK (switching IN ('', 'cutover', 'rollback')),
  declaration      jsonb NOT NULL,
  declaration_hash text NOT NULL,
  source_oid       oid NOT NULL,
  target_oid       oid NOT NULL,
  same_database    boolean NOT NULL,
  target_created   boolean NOT NULL DEFAULT false,
  source_shape     text NOT NULL DEFAULT '',
  target_shape     text NOT NULL DEFAULT '',
  epoch            bigint NOT NULL DEFAULT 0,
  round            integer NOT NULL DEFAULT 1,
  cursor_key       text[],
  cursor_done      boolean NOT NULL DEFAULT false,
  rows_estimate    bigint NOT NULL DEFAULT -1,
  operator         text NOT NULL,
  started_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  stage_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  reconciled_at    timestamptz,
  cutover_at       timestamptz,
  cutover_ms       numeric,
  rollback_until   timestamptz,
  finished_at      timestamptz
);

-- Every step from stage to stage with its evidence. Only ever added to.
CREATE TABLE lockgate.move_event (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  move       text COLLATE "C" NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind       text NOT NULL,
  from_stage text NOT NULL DEFAULT '',
  to_stage   text NOT NULL DEFAULT '',
  reason     text NOT NULL DEFAULT '',
  operator   text NOT NULL DEFAULT session_user,
  evidence   jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX move_event_move ON lockgate.move_event (move, id);

-- The ledger of the backfill: one row a range of keys, low exclusive, high inclusive. A lease that ran out is anybody's.
CREATE TABLE lockgate.move_range (
  move          text COLLATE "C" NOT NULL,
  number        integer NOT NULL,
  low           text[],
  high          text[] NOT NULL,
  state         text NOT NULL CHECK (state IN ('leased', 'copied', 'failed')),
  lease_owner   text NOT NULL DEFAULT '',
  lease_until   timestamptz,
  attempt       integer NOT NULL DEFAULT 0,
  rows_source   bigint,
  rows_target   bigint,
  digest_source text,
  digest_target text,
  equal         boolean,
  algorithm     text NOT NULL DEFAULT '',
  epoch         bigint NOT NULL DEFAULT 0,
  seconds       double precision,
  message       text NOT NULL DEFAULT '',
  finished_at   timestamptz,
  PRIMARY KEY (move, number)
);
CREATE INDEX move_range_open ON lockgate.move_range (move, lease_until) WHERE state <> 'copied';

-- Rows that the target does not take, with the reason. They block the cutover.
CREATE TABLE lockgate.move_quarantine (
  move     text COLLATE "C" NOT NULL,
  feed     text NOT NULL,
  key      text[] NOT NULL,
  sqlstate text NOT NULL,
  message  text NOT NULL,
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (move, feed, key)
);

-- Which side serves. Readers of two servers cache it and listen to lockgate_switch; writers are stopped by the barrier itself.
CREATE TABLE lockgate.move_switch (
  move        text STORAGE PLAIN COLLATE "C" PRIMARY KEY,
  serves      text STORAGE PLAIN NOT NULL CHECK (serves IN ('source', 'target')),
  epoch       bigint NOT NULL,
  switched_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What shadow reads saw: one row an observation, both sides redacted.
CREATE TABLE lockgate.move_shadow (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  move       text COLLATE "C" NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  query      text NOT NULL,
  equal      boolean,
  old_ms     double precision,
  new_ms     double precision,
  difference text NOT NULL DEFAULT '',
  error      text NOT NULL DEFAULT ''
);
CREATE INDEX move_shadow_move ON lockgate.move_shadow (move, at);

-- In the way of every write that is not the move's own: of the target before the switch, of the old side after it.
CREATE FUNCTION lockgate.move_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  RAISE EXCEPTION 'the data move % holds %: writes go to the other side now', TG_ARGV[0], TG_RELID::regclass
    USING ERRCODE = 'LG010', HINT = 'Read lockgate.move_switch again; lockgate move status ' || TG_ARGV[0];
END
$body$;

CREATE VIEW lockgate.backfill_jobs AS
SELECT m.name AS move, m.stage, m.round, m.rows_estimate, r.migrated_rows, r.ranges_copied, r.ranges_running, r.ranges_abandoned, r.ranges_failed, r.ranges_equal,
       m.cursor_done AS all_ranges_known,
       CASE WHEN m.cursor_done AND r.ranges_open = 0 THEN 1.0
            WHEN m.rows_estimate > 0 THEN LEAST(0.999, r.migrated_rows::double precision / m.rows_estimate) END AS progress,
       rate.rows_per_second,
       CASE WHEN NOT m.cursor_done AND rate.rows_per_second > 0 AND m.rows_estimate > 0
            THEN GREATEST(0, m.rows_estimate - r.migrated_rows) / rate.rows_per_second END AS eta_seconds,
       r.last_checkpoint, r.last_error,
       (SELECT count(*) FROM lockgate.move_quarantine q WHERE q.move = m.name) AS quarantined,
       m.reason -- of a pause, or why the backfill waits
  FROM lockgate.move m
  CROSS JOIN LATERAL (
    SELECT COALESCE(sum(x.rows_source) FILTER (WHERE x.state = 'copied'), 0)::bigint AS migrated_rows,
           count(*) FILTER (WHERE x.state = 'copied') AS ranges_copied,
           count(*) FILTER (WHERE x.state <> 'copied') AS ranges_open,
           count(*) FILTER (WHERE x.state = 'leased' AND x.lease_until > now()) AS ranges_running,
           count(*) FILTER (WHERE x.state = 'leased' AND x.lease_until <= now()) AS ranges_abandoned,
           count(*) FILTER (WHERE x.state = 'failed') AS ranges_failed,
           count(*) FILTER (WHERE x.equal) AS ranges_equal,
           max(x.finished_at) AS last_checkpoint,
           (array_agg(x.message ORDER BY x.number) FILTER (WHERE x.message <> ''))[1] AS last_error
      FROM lockgate.move_range x WHERE x.move = m.name) r
  CROSS JOIN LATERAL (
    -- Over the last batches of the last minute, from the first one's begin to the last one's end.
    SELECT sum(x.rows_source) / NULLIF(EXTRACT(epoch FROM max(x.finished_at) - min(x.finished_at - make_interval(secs => x.seconds))), 0)::double precision AS rows_per_second
      FROM (SELECT y.rows_source, y.finished_at, y.seconds FROM lockgate.move_range y
             WHERE y.move = m.name AND y.state = 'copied' AND y.finished_at > now() - interval '60 s' ORDER BY y.finished_at DESC LIMIT 50) x) rate;

-- The switch of a move changes the schema without a migration: it stands among what changed the history.
ALTER TABLE lockgate.history_event DROP CONSTRAINT history_event_kind_check;
ALTER TABLE lockgate.history_event ADD CONSTRAINT history_event_kind_check CHECK (kind IN ('baseline', 'adopt', 'repair', 'down', 'move'));
