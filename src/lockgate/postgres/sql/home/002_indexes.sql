-- Format 2, vector and search indexes: their generations, the aliases, and what was done to them. What is live and sealed is
-- told to the gate in lockgate.live_index, in the transaction of the swap.

CREATE TABLE lockgate.index_generation (
  name         text COLLATE "C" NOT NULL,
  generation   text COLLATE "C" NOT NULL,
  store        text NOT NULL,
  place        text NOT NULL DEFAULT '',
  state        text NOT NULL CHECK (state IN ('building', 'sealed', 'dropped')),
  live         boolean NOT NULL DEFAULT false,
  spec_hash    text NOT NULL,
  manifest     text NOT NULL,
  embedder     text NOT NULL DEFAULT '',
  canary       jsonb NOT NULL DEFAULT '[]',
  records      bigint NOT NULL DEFAULT 0,
  content_root text NOT NULL DEFAULT '',
  index_hash   text NOT NULL DEFAULT '',
  scan_digest  text NOT NULL DEFAULT '',
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  sealed_at    timestamptz,
  verdict      text NOT NULL DEFAULT '' CHECK (verdict IN ('', 'pass', 'fail', 'hold')),
  validated_at timestamptz,
  validation   jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (name, generation),
  CHECK ((state = 'building') = (sealed_at IS NULL)),
  CHECK (NOT live OR state = 'sealed')
);
CREATE UNIQUE INDEX index_generation_live ON lockgate.index_generation (name) WHERE live;

-- One row for each alias. "pending" is the intent of a swap that the store makes by itself: the next command finishes it or
-- takes it back, whatever became of who wrote it.
CREATE TABLE lockgate.index_alias (
  name           text COLLATE "C" PRIMARY KEY,
  generation     text NOT NULL,
  previous       text NOT NULL DEFAULT '',
  epoch          bigint NOT NULL DEFAULT 0,
  swapped_at     timestamptz,
  rollback_until timestamptz,
  pending        jsonb
);

-- Only ever added to.
CREATE TABLE lockgate.index_event (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at              timestamptz NOT NULL DEFAULT clock_timestamp(),
  name            text NOT NULL,
  kind            text NOT NULL,
  from_generation text NOT NULL DEFAULT '',
  to_generation   text NOT NULL DEFAULT '',
  actor           text NOT NULL,
  elapsed_ms      double precision,
  details         jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX index_event_name ON lockgate.index_event (name, at);
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON lockgate.index_event FOR EACH ROW EXECUTE FUNCTION lockgate.keep_history();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON lockgate.index_event FOR EACH STATEMENT EXECUTE FUNCTION lockgate.keep_history();
